"""The plots of a report, as SVG: the same bytes whenever the figures are the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ml_model.bundle import LABELS, ModelCard
from ml_model.evaluation import metrics

# Blue and orange are told apart with any kind of colour vision, and by brightness.
COLOURS = dict(zip(LABELS, ("#3b7ea1", "#d1701d"), strict=True))
STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "grid.color": "#e3e8eb",
    "svg.fonttype": "none",
    "svg.hashsalt": "pneumonia-site",
}


def draw(folder: Path, card: ModelCard, figures: dict[str, Any], labels: np.ndarray, probabilities: np.ndarray) -> None:
    """Write every plot that the card and the figures allow into `folder`, which exists.

    figures: of measuring.evaluate. labels: (n,), 1 is pneumonia. probabilities: (n,), 0..1.
    """
    names = pd.Series(np.array(LABELS)[labels.astype(int)])
    plots: dict[str, Callable[[Axes], None]] = {
        "roc_curve": lambda ax: _roc(ax, figures, labels, probabilities),
        "precision_recall_curve": lambda ax: _precision_recall(ax, figures, labels, probabilities),
        "reliability_diagram": lambda ax: _reliability(ax, labels, probabilities),
        "score_histogram": lambda ax: _scores(ax, figures, names, probabilities),
        "shifts": lambda ax: _shifts(ax, card, figures),
    }
    if "train" in card.data:
        plots["class_distribution"] = lambda ax: _classes(ax, card, figures)
    if card.training.get("history"):
        plots["training_history"] = lambda ax: _history(ax, card)
    for point in figures["operating_points"]:
        plots[f"confusion_matrix_{point}"] = lambda ax, point=point: _confusion(ax, point, figures)  # type: ignore[misc]
    with mpl.rc_context(STYLE):
        for name, plot in plots.items():
            # Without pyplot: no window system, and nothing global is left behind.
            figure = Figure(figsize=(5.2, 4.2), layout="constrained")
            plot(figure.subplots())
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def _classes(ax: Axes, card: ModelCard, figures: dict) -> None:
    sets = {"training": card.data["train"], "validation": card.data["validation"], "measured": figures}
    rows = [(name, label, counts[label.lower()]) for name, counts in sets.items() for label in LABELS]
    table = pd.DataFrame(rows, columns=["pictures of", "label", "pictures"])
    sns.barplot(table, x="pictures of", y="pictures", hue="label", palette=COLOURS, ax=ax)
    for bars in ax.containers:
        ax.bar_label(bars, padding=2)  # type: ignore[arg-type]
    ax.set(title="Pictures by class", xlabel="")
    ax.legend(title=None, frameon=False)


def _history(ax: Axes, card: ModelCard) -> None:
    for part, style in zip(card.training["history"], ("-", "--"), strict=False):
        history = pd.DataFrame(card.training["history"][part])
        epochs, kept = history["epoch"] + 1, card.training["best_epochs"][part]
        ax.plot(epochs, history["loss"], style, color="#6b7a83", label=f"{part}, training")
        ax.plot(epochs, history["val_loss"], style, color=COLOURS[LABELS[1]], label=f"{part}, validation")
        ax.plot(kept, history["val_loss"][kept - 1], "o", color="#12191d", label="_" * (style != "-") + "epoch kept")
    ax.set(title="Training history", xlabel="epoch", ylabel="cross-entropy loss", ylim=(0, None))
    ax.legend(frameon=False)


def _confusion(ax: Axes, point: str, figures: dict) -> None:
    counts = figures["operating_points"][point]
    table = [
        [counts["true_negative"], counts["false_positive"]],
        [counts["false_negative"], counts["true_positive"]],
    ]
    share = np.array(table) / np.maximum(np.sum(table, axis=1, keepdims=True), 1)
    text = [[f"{n}\n{100 * s:.1f} %" for n, s in zip(*row, strict=True)] for row in zip(table, share, strict=True)]
    sns.heatmap(share, annot=np.array(text), fmt="", cmap="Blues", vmin=0, vmax=1, cbar=False, square=True, ax=ax)
    ax.set(title=f"Answers at “{point}”", xlabel="answered", ylabel="is")
    ax.set_xticklabels(LABELS)
    ax.set_yticklabels(LABELS, va="center")
    ax.grid(visible=False)


def _roc(ax: Axes, figures: dict, labels: np.ndarray, probabilities: np.ndarray) -> None:
    cuts = np.r_[np.inf, np.unique(probabilities)[::-1]]
    false = [(probabilities[labels == 0] >= cut).mean() for cut in cuts]
    true = [(probabilities[labels == 1] >= cut).mean() for cut in cuts]
    auroc = figures["auroc"]
    ax.plot(false, true, color=COLOURS[LABELS[0]])
    ax.plot([0, 1], [0, 1], color="#9aa7ae", linestyle=":")
    for marker, (point, at) in zip("os^Dv", figures["operating_points"].items(), strict=False):
        ax.plot(1 - at["specificity"]["value"], at["sensitivity"]["value"], marker, color="#12191d", label=point)
    ax.set(
        title=f"ROC curve, area {auroc['value']:.3f} ({auroc['low']:.3f} to {auroc['high']:.3f})",
        xlabel="1 - specificity",
        ylabel="sensitivity",
        aspect="equal",
    )
    ax.legend(frameon=False, loc="lower right")


def _precision_recall(ax: Axes, figures: dict, labels: np.ndarray, probabilities: np.ndarray) -> None:
    cuts = np.unique(probabilities)
    recall = [(probabilities[labels == 1] >= cut).mean() for cut in cuts]
    precision = [labels[probabilities >= cut].mean() for cut in cuts]
    ax.plot(recall, precision, color=COLOURS[LABELS[0]])
    ax.axhline(labels.mean(), color="#9aa7ae", linestyle=":", label="share of pneumonia")
    for marker, (point, at) in zip("os^Dv", figures["operating_points"].items(), strict=False):
        said = at["true_positive"] + at["false_positive"]
        if said:
            ax.plot(at["sensitivity"]["value"], at["true_positive"] / said, marker, color="#12191d", label=point)
    ax.set(
        title="Precision and recall",
        xlabel="recall (sensitivity)",
        ylabel="precision (positive predictive value)",
        xlim=(0, 1.02),
        ylim=(0, 1.02),
    )
    ax.legend(frameon=False, loc="lower left")


def _reliability(ax: Axes, labels: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> None:
    index = np.minimum((probabilities * bins).astype(int), bins - 1)
    filled = [b for b in range(bins) if (index == b).any()]
    stated = [probabilities[index == b].mean() for b in filled]
    true = [labels[index == b].mean() for b in filled]
    sizes = [20 + 300 * (index == b).mean() for b in filled]
    ax.plot([0, 1], [0, 1], color="#9aa7ae", linestyle=":")
    ax.plot(stated, true, color=COLOURS[LABELS[0]])
    ax.scatter(stated, true, s=sizes, color=COLOURS[LABELS[0]], zorder=3)
    error = metrics.calibration_error(probabilities, labels)
    ax.set(
        title=f"Expected calibration error {error:.3f}\namong these pictures, {100 * labels.mean():.1f} % of them ill",
        xlabel="stated probability of pneumonia",
        ylabel="share that has pneumonia",
        aspect="equal",
    )


def _scores(ax: Axes, figures: dict, names: pd.Series, probabilities: np.ndarray) -> None:
    table = pd.DataFrame({"probability of pneumonia": probabilities, "label": names})
    sns.histplot(
        table,
        x="probability of pneumonia",
        hue="label",
        bins=20,
        binrange=(0, 1),
        palette=COLOURS,
        multiple="dodge",
        ax=ax,
    )
    for style, (point, at) in zip((":", "--", "-."), figures["operating_points"].items(), strict=False):
        ax.axvline(at["threshold"], color="#12191d", linestyle=style)
        ax.text(
            at["threshold"], 0.99, f" {point}", transform=ax.get_xaxis_transform(), va="top", rotation=90, ha="right"
        )
    ax.set(title="Probabilities by class", ylabel="pictures")


def _shifts(ax: Axes, card: ModelCard, figures: dict) -> None:
    clean = figures["operating_points"][card.default_operating_point]["accuracy"]["value"]
    shifts = pd.Series({name: at["accuracy"] for name, at in figures["shifts"].items()}).iloc[::-1]
    colours = [COLOURS[LABELS[int(value < clean - 0.03)]] for value in shifts]
    ax.hlines(shifts.index, clean, shifts, color=colours)
    ax.scatter(shifts, shifts.index, color=colours, zorder=3)
    ax.axvline(clean, color="#12191d", linestyle=":")
    ax.set(title=f"Accuracy under shifts; as they are: {clean:.3f}", xlabel="accuracy")
    ax.margins(y=0.03)
