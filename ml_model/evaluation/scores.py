"""Each picture's score, kept in a bundle's report: enough to compute every figure anew, and to compare two networks.

Of the validation pictures drift.py keeps scores in a file of its own, since there only their distribution matters.

No picture, no file name: a picture is known by the SHA-256 of its file, and a patient by a number.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ml_model import bundle

ENDING = "_scores.csv"
COLUMNS = ("sha256", "patient", "label", "probability", "accepted")


class NotMeasured(Exception):
    """A bundle has no scores on a set of pictures, or none that fit its card. `str()` says so, without a command."""


@dataclass(frozen=True)
class Scores:
    """What a network said of labelled pictures, a row each; all arrays are (n,).

    digests: SHA-256 of the picture files, hex. patients: numbers in the order of the patients'
    names, the same for pictures of one patient. labels: 1 is pneumonia. probabilities: of
    pneumonia, 0..1. accepted: bool, whether the gate let the picture pass.
    """

    digests: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    accepted: np.ndarray

    def __len__(self) -> int:
        return len(self.digests)


def path_of(folder: Path, measured_on: str) -> Path:
    """Where the bundle in `folder` keeps its scores on the set of pictures `measured_on`."""
    return folder / bundle.REPORT / f"{measured_on}{ENDING}"


def write(path: Path, scores: Scores) -> None:
    """Write `scores` as CSV, in the order of digests, with every digit of the probabilities."""
    columns = (scores.digests, scores.patients, scores.labels, scores.probabilities, scores.accepted.astype(int))
    table = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
    table.sort_values(["sha256", "patient", "label"]).to_csv(path, index=False, lineterminator="\n")


def read(folder: Path, measured_on: str) -> Scores:
    """The scores of the bundle in `folder` on `measured_on`. Raises NotMeasured, also where its card tells others."""
    card = bundle.read(folder, verify=())
    path = path_of(folder, measured_on)
    missing = f"{card.version} has no scores of the pictures of “{measured_on}”"
    if measured_on not in card.metrics:
        raise NotMeasured(missing)
    try:
        table = pd.read_csv(path, dtype={"sha256": str, "probability": str})  # as text: Pandas rounds
        scores = Scores(
            table["sha256"].to_numpy(str),
            table["patient"].to_numpy(np.int64),
            table["label"].to_numpy(np.int64),
            table["probability"].to_numpy().astype(np.float64),
            table["accepted"].to_numpy(np.int64) == 1,
        )
    except FileNotFoundError:
        raise NotMeasured(missing) from None
    except (OSError, KeyError, ValueError) as error:
        raise NotMeasured(f"{path} is damaged") from error
    _check(scores, card, measured_on, path)
    return scores


def _check(scores: Scores, card: bundle.ModelCard, measured_on: str, path: Path) -> None:
    """Raises NotMeasured unless `scores` are those behind the figures of `card`, as far as counts tell."""
    told = card.metrics[measured_on]
    whole = all(re.fullmatch("[0-9a-f]{64}", digest) for digest in scores.digests) and set(scores.labels) == {0, 1}
    counted = {
        "pictures": len(scores),
        "patients": len(set(scores.patients)),
        "normal": int((scores.labels == 0).sum()),
        "accepted": int(scores.accepted.sum()),
    }
    same = whole and all(told.get(name) == count for name, count in counted.items())
    for name, point in card.operating_points.items():
        said = scores.probabilities >= point.threshold
        at = told["operating_points"].get(name, {})
        same = same and at.get("true_positive") == int((said & (scores.labels == 1)).sum())
        same = same and at.get("false_positive") == int((said & (scores.labels == 0)).sum())
    if not same:
        raise NotMeasured(f"{path} is not what the figures of {card.version} were computed from")
