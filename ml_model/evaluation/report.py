"""A bundle's report on one set of pictures: plots, tables and a model card to read, after Mitchell et al. 2019."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml_model.bundle import LABELS, REPORT, ModelCard
from ml_model.evaluation import metrics, plots

CARD = "model_card.md"


def write(
    bundle: Path,
    card: ModelCard,
    measured_on: str,
    figures: dict[str, Any],
    labels: np.ndarray,
    probabilities: np.ndarray,
) -> Path:
    """Write `bundle`/report/`measured_on` anew, about the pictures just measured; returns its model card.

    measured_on: their name. figures: of measuring.evaluate. labels: (n,), 1 is pneumonia.
    probabilities: (n,), 0..1.
    """
    folder = folder_of(bundle, measured_on)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    plots.draw(folder, card, figures, labels, probabilities)
    table = classification_report(figures, card.default_operating_point)
    table.to_csv(folder / "classification_report.csv", lineterminator="\n", float_format="%.4f")
    path = folder / CARD
    even = metrics.calibration_error(probabilities, labels, metrics.even_weights(labels))
    path.write_text(_markdown(card, measured_on, figures, table, even))
    return path


def folder_of(bundle: Path, measured_on: str) -> Path:
    """Where the bundle in `bundle` keeps what it tells of the set of pictures `measured_on`, apart from scores."""
    return bundle / REPORT / measured_on


def classification_report(figures: dict[str, Any], point: str) -> pd.DataFrame:
    """precision, recall, f1 (0..1) and support (pictures) of each label at an operating point; NaN where undefined."""
    at = figures["operating_points"][point]
    right = np.array([at["true_negative"], at["true_positive"]], float)
    answered = right + np.array([at["false_negative"], at["false_positive"]])
    support = np.array([figures["normal"], figures["pneumonia"]])
    table = pd.DataFrame({"right": right}, index=pd.Index(LABELS, name="label"))
    table = table.assign(precision=table["right"] / answered, recall=table["right"] / support)
    table["f1"] = 2 / (1 / table["precision"] + 1 / table["recall"])
    return table.drop(columns="right").assign(support=support)


def _markdown(
    card: ModelCard, measured_on: str, figures: dict[str, Any], table: pd.DataFrame, calibration_at_even_classes: float
) -> str:
    parts = [
        f"# Model card: {card.version}\n\nWritten by `evaluate_model`, in the form of Mitchell et al. 2019.",
        "## Model details\n\n"
        + _list(
            {
                "Made": card.created,
                "Kind": card.training.get("architecture", "convolutional network, one probability"),
                "Input": f"one grey picture, squeezed to {card.input_size} x {card.input_size} pixels",
                **{f"SHA-256 of {name}": f"`{digest}`" for name, digest in card.files.items()},
            }
        ),
        f"## Intended use\n\n{card.intended_use}",
        "## Factors\n\nAge, hospital, machine, projection and how the picture was digitised change what the network "
        "sees. Only the last could be measured here; see the shifts below.",
        "## Training data\n\n" + _data(card),
        f"## Evaluation data\n\nThe folder `{measured_on}`: "
        + "{pictures} pictures of {patients} patients, {normal} normal and {pneumonia} pneumonia; "
        "the gate accepts {accepted}.".format(**figures),
        "## Quantitative analyses\n\nIn brackets the 95 % interval. That of a share is Wilson's, on as many "
        "independent pictures as those of the patients are worth and at most one for each patient; the others are by "
        "bootstrap over patients.\n\n" + _figures(figures, calibration_at_even_classes),
        f"At “{card.default_operating_point}”, by label:\n\n"
        + _table(
            ["label", "precision", "recall", "F1", "pictures"],
            [
                [r.Index, *(_share(of) for of in (r.precision, r.recall, r.f1)), str(r.support)]
                for r in table.itertuples()
            ],
        ),
        f"## Under shifts\n\nThe same pictures as a clinic might spoil them, at “{card.default_operating_point}”.\n\n"
        + _shifts(card, figures),
        "## The gate\n\n" + _gate(card),
        "## Ethical considerations and caveats\n\n"
        "The network knows normal and pneumonia and nothing else. " + _caveat(card),
    ]
    return "\n\n".join(parts) + "\n"


def _caveat(card: ModelCard) -> str:
    learned = (
        "It learned from children of one hospital; for adults, other machines and other diseases these figures do not "
        "hold"
        if card.of_the_public_set
        else "Whom it learned from is not told; for other people, machines and diseases than those measured here these "
        "figures do not hold"
    )
    trained_here = "train" in card.data
    return (
        f"{learned}, and a wrong answer in either direction can harm. "
        + ("Probabilities assume that as many ill as healthy people come. " if trained_here else "")
        + "The heatmap shows what raised the probability, not where disease is."
        + (" Labels were given by physicians looking at the picture alone." if card.of_the_public_set else "")
    )


def _data(card: ModelCard) -> str:
    if "train" not in card.data:
        return "Not known: the network was trained elsewhere."
    counts = {
        name: "{normal} normal, {pneumonia} pneumonia, {patients} patients".format(**card.data[name])
        for name in ("train", "validation")
    }
    if extra := card.data.get("extra"):
        counts["of them extra"] = "{normal} normal, {pneumonia} pneumonia, read at the site".format(**extra)
    if teacher := card.data.get("teacher"):
        unlabelled = card.data["without_labels"]["pictures"]
        counts["teacher"] = f"{teacher['version']}, and {unlabelled} pictures of other hospitals without their labels"
    keys = ("name", "origin", "authors", "licence", "population", "split")
    told = {key: card.data[key] for key in keys if key in card.data}
    return _list({key.capitalize(): value for key, value in (told | counts).items()})


def _figures(figures: dict[str, Any], calibration_at_even_classes: float) -> str:
    rows = [
        [point, f"{at['threshold']:.4f}", *(_interval(at[name]) for name in ("accuracy", "sensitivity", "specificity"))]
        for point, at in figures["operating_points"].items()
    ]
    share_ill = 100 * figures["pneumonia"] / figures["pictures"]
    whole = {
        "AUROC": _interval(figures["auroc"]),
        f"Expected calibration error among these pictures, of which {share_ill:.1f} % are ill": _interval(
            figures["calibration_error"]
        ),
        "Expected calibration error, both classes weighing the same": (f"{calibration_at_even_classes:.4f}"),
    }
    return (
        _table(["operating point", "threshold", "accuracy", "sensitivity", "specificity"], rows) + "\n\n" + _list(whole)
    )


def _shifts(card: ModelCard, figures: dict[str, Any]) -> str:
    clean = figures["operating_points"][card.default_operating_point]["accuracy"]["value"]
    rows = [
        [
            name,
            f"{at['accuracy']:.3f}",
            f"{at['accuracy'] - clean:+.3f}",
            f"{at['sensitivity']:.3f}",
            f"{at['specificity']:.3f}",
            f"{at['auroc']:.3f}",
            str(at["accepted"]),
        ]
        for name, at in figures["shifts"].items()
    ]
    return _table(["shift", "accuracy", "change", "sensitivity", "specificity", "AUROC", "accepted by the gate"], rows)


def _gate(card: ModelCard) -> str:
    if card.gate is None:
        return "None: every picture is answered."
    accepted = [
        [name + _SET_ON.get(name, ""), f"{at['accepted']} of {at['pictures']}"]
        for name, at in card.gate.measured["accepted"].items()
    ]
    refused = [
        [kind, *(f"{at[how]['refused']} of {at[how]['pictures']}" for how in ("files held out", "whole kind held out"))]
        for kind, at in card.gate.measured["refused"].items()
    ]
    return (
        f"Below a chest X-ray score of {card.gate.threshold:.4f} a picture is refused. Chest X-rays accepted:\n\n"
        + _table(["pictures", "accepted"], accepted)
        + "\n\nOther pictures refused, of files that did not fit the gate, and of kinds that did not:\n\n"
        + _table(["kind", "files held out", "whole kind held out"], refused)
    )


_SET_ON = {"validation": " (the threshold was set on these)"}


def _share(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "none"


def _interval(figure: dict[str, float]) -> str:
    return f"{figure['value']:.4f} ({figure['low']:.4f} to {figure['high']:.4f})"


def _list(items: dict[str, Any]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in items.items())


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
