"""Drift: are a network's scores today distributed like those of its validation pictures?

The reference travels with the bundle, as report/validation_scores.csv: what the served network said of each
validation picture, without any name. NumPy alone, since web workers ask too.
"""

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_model import bundle, dataset, images, preprocessing
from ml_model.classifier import Classifier, Output
from ml_model.images import gettext_noop

FILE = "validation_scores.csv"
BINS = 10
FEWEST = 100
"""Rows below which nothing is told: chance alone then makes differences that look like drift."""
SOME, MUCH = 0.1, 0.25
"""Population stability index from which scores differ somewhat, and above which much (Siddiqi 2006, Credit Risk
Scorecards; the rule is older, Lewis 1994)."""
STABLE, DIFFERS, DIFFERS_MUCH, TOO_FEW = "stable", "some", "much", "too few"


MISSING = gettext_noop(
    "The model %(version)s keeps no validation scores to compare with. "
    "`manage.py validation_scores DATA_DIR` writes them, where it was trained from such a folder."
)
DAMAGED = gettext_noop(
    "The validation scores of the model %(version)s are damaged. "
    "`manage.py validation_scores DATA_DIR` writes them anew, where it was trained from such a folder."
)
OTHERS = gettext_noop(
    "The validation scores of %(version)s are not those its card tells of. "
    "`manage.py validation_scores DATA_DIR` writes them anew, where it was trained from such a folder."
)


class NoReference(Exception):
    """A bundle has no validation scores to compare with. `str()` says so, and what helps.

    sentence: the same with `%(version)s` in place of the bundle's, for a translation.
    """

    def __init__(self, sentence: str, version: str):
        super().__init__(sentence % {"version": version})
        self.sentence, self.version = sentence, version


@dataclass(frozen=True)
class Reference:
    """Scores of the validation pictures, each (n,), 0..1; chest_xray_scores: None from a network without a gate."""

    probabilities: np.ndarray
    chest_xray_scores: np.ndarray | None


def reference_of(outputs: Sequence[Output]) -> Reference:
    """What the served network said of the validation pictures."""
    gate = [output.chest_xray_score for output in outputs if output.chest_xray_score is not None]
    return Reference(np.array([output.probability for output in outputs]), np.array(gate) if gate else None)


def write(folder: Path, reference: Reference) -> Path:
    """Write `reference` into the report of the bundle in `folder`, with every digit; returns the file."""
    columns = {"probability": reference.probabilities}
    if reference.chest_xray_scores is not None:
        columns["chest_xray_score"] = reference.chest_xray_scores
    path = folder / bundle.REPORT / FILE
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        # In the order of their values: that of the pictures would tell nothing more than whose they are.
        writer.writerows(sorted(zip(*(values.tolist() for values in columns.values()), strict=True)))
    return path


def read(folder: Path) -> Reference:
    """The reference of the bundle in `folder`. Raises NoReference, also where it does not fit the bundle's card."""
    card = bundle.read(folder, verify=())
    try:
        with (folder / bundle.REPORT / FILE).open(newline="") as file:
            rows = list(csv.DictReader(file))
        probabilities = np.array([float(row["probability"]) for row in rows])
        gate = [float(row["chest_xray_score"]) for row in rows if row.get("chest_xray_score")]
    except FileNotFoundError:
        raise NoReference(MISSING, card.version) from None
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise NoReference(DAMAGED, card.version) from error
    values = np.concatenate([probabilities, gate])
    counted = card.data.get("validation", {})
    whole = len(rows) == counted.get("normal", 0) + counted.get("pneumonia", 0) and len(gate) in (0, len(rows))
    if not whole or not np.all((values >= 0) & (values <= 1)):
        raise NoReference(OTHERS, card.version)
    return Reference(probabilities, np.array(gate) if gate else None)


def measure(classifier: Classifier, data_dir: Path, *, progress: Callable[[int, int], None] | None = None) -> Reference:
    """Score the validation part of `data_dir`/train anew, as the card's seed draws it.

    For bundles that were made before training kept the scores. progress: called with (done, total). Raises
    DataError, also where the card does not tell how the part was drawn, or the pictures are not those.
    """
    card = classifier.card
    try:
        share, seed, counted = card.training["validation_share"], card.training["seed"], card.data["validation"]
    except KeyError:
        raise dataset.DataError(
            f"The card of {card.version} does not tell which pictures validated it: it was trained elsewhere."
        ) from None
    files = dataset.labelled_files(data_dir / "train")
    patients = np.array([dataset.patient_of(path.name) for path, _ in files])
    held_out = dataset.in_validation(patients, share, seed)
    chosen = [each for each, keep in zip(files, held_out, strict=True) if keep]
    found = {
        "normal": sum(label == 0 for _, label in chosen),
        "pneumonia": sum(label == 1 for _, label in chosen),
        "patients": len(set(patients[held_out])),
    }
    if found != counted:
        raise dataset.DataError(
            f"{data_dir} is not what {card.version} was trained from: {found} instead of {counted}."
        )
    outputs = []
    for index, (path, _) in enumerate(chosen):
        try:
            pixels = preprocessing.from_bytes(path.read_bytes(), card.input_size)
        except (images.PictureError, OSError) as error:
            raise dataset.DataError(f"{path}: {error}") from error
        outputs.append(classifier.run(pixels))
        if progress:
            progress(index + 1, len(chosen))
    return reference_of(outputs)


@dataclass(frozen=True)
class Comparison:
    """How far two sets of scores lie apart; the figures are None where level is TOO_FEW.

    rows, reference_rows: how many scores. psi: population stability index. psi_by_chance: what it exceeds
    once in twenty times though nothing has changed. ks: the largest distance of the two
    cumulative distributions, 0..1. p_value: how often chance alone makes one as large, 0..1.
    level: STABLE, DIFFERS or DIFFERS_MUCH, by psi, if it is more than chance makes; by_chance: it is not.
    """

    rows: int
    reference_rows: int
    level: str
    by_chance: bool = False
    psi: float | None = None
    psi_by_chance: float | None = None
    ks: float | None = None
    p_value: float | None = None


def compare(reference: np.ndarray, scores: np.ndarray) -> Comparison:
    """Set `scores`, (m,), against `reference`, (n,)."""
    if min(len(scores), len(reference)) < FEWEST:
        return Comparison(len(scores), len(reference), TOO_FEW)
    psi, chance = population_stability_index(reference, scores), psi_by_chance(len(reference), len(scores))
    by_chance = psi <= chance
    level = STABLE if psi < SOME or by_chance else DIFFERS if psi <= MUCH else DIFFERS_MUCH
    ks, p_value = kolmogorov_smirnov(reference, scores)
    return Comparison(len(scores), len(reference), level, by_chance, psi, chance, ks, p_value)


def population_stability_index(reference: np.ndarray, scores: np.ndarray) -> float:
    """Sum over bins of (a - e) ln(a / e), where e and a are the shares of `reference` and of `scores` in a bin.

    The bins are tenths of the reference (Siddiqi 2006). Half a score is added to each bin, so that an
    empty one does not make the sum infinite. 0 where both agree.
    """
    inner = np.unique(np.quantile(reference, np.linspace(0, 1, BINS + 1)[1:-1]))

    def shares(values: np.ndarray) -> np.ndarray:
        counts = np.bincount(np.searchsorted(inner, values, side="right"), minlength=len(inner) + 1) + 0.5
        return counts / counts.sum()

    expected, actual = shares(reference), shares(scores)
    return float(((actual - expected) * np.log(actual / expected)).sum())


def psi_by_chance(n: int, m: int) -> float:
    """What the index of two samples, of n and m scores from one distribution, stays below in 95 of 100 cases.

    It is then about (1/n + 1/m) times chi-squared with BINS - 1 degrees of freedom (Yurdakul 2018, Statistical
    Properties of Population Stability Index); its quantile by Wilson and Hilferty 1931.
    """
    degrees, normal = BINS - 1, 1.6449
    spread = 2 / (9 * degrees)
    return (1 / n + 1 / m) * degrees * (1 - spread + normal * math.sqrt(spread)) ** 3


def kolmogorov_smirnov(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """The two-sample statistic D and its p-value, by the asymptotic distribution.

    p = 2 sum over k >= 1 of (-1)^(k-1) exp(-2 k^2 t^2), with t = (s + 0.12 + 0.11 / s) D and
    s = sqrt(n m / (n + m)) (Kolmogorov 1933, with the correction of Stephens 1970).
    """
    first, second = np.sort(first), np.sort(second)
    both = np.concatenate([first, second])
    gaps = np.searchsorted(first, both, side="right") / len(first)
    gaps -= np.searchsorted(second, both, side="right") / len(second)
    distance = float(np.abs(gaps).max())
    size = math.sqrt(len(first) * len(second) / (len(first) + len(second)))
    t = (size + 0.12 + 0.11 / size) * distance
    if t < 0.2:  # the series converges slowly there, and p is 1 to twelve digits
        return distance, 1.0
    p = 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * t) ** 2) for k in range(1, 101))
    return distance, min(max(p, 0.0), 1.0)
