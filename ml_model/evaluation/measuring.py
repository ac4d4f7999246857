"""Run a served network over labelled pictures, as they are and under shifts."""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ml_model import bundle, dataset, images
from ml_model.classifier import Classifier
from ml_model.evaluation import contact_sheet, metrics, report, scores
from ml_model.evaluation.shifts import SHIFTS

_CLEAN = "as it is"
RESERVED = ("", "validation", "validation_augmented")
"""Names that no measured folder may have: the figures under them, and the file of scores, are those of training."""


def evaluate(
    classifier: Classifier,
    folder: Path,
    *,
    output: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict:
    """Figures of `classifier` on `folder`/{NORMAL,PNEUMONIA}, as metrics.measure gives them.

    With them goes `accepted`, how many pictures pass the gate, and under `shifts`, by name of
    the shift, `auroc`, `accepted`, and accuracy, sensitivity and specificity at the default
    operating point. They are stored in the bundle's card under the folder's name, in place
    of older ones, and told in the bundle's report, which keeps each picture's score as well, see
    scores.py. output: a folder for `<version>-<set>.csv`, the probability by file name, and
    `<version>-<set>-errors.jpg`, the worst errors to look at. Raises dataset.DataError, and OSError
    where the bundle cannot be written, before anything is measured.
    """
    measured_on = dataset.printable(folder.resolve().name)
    if measured_on in RESERVED:
        raise dataset.DataError(
            f"A folder named {measured_on!r} cannot be measured: in a bundle that name stands for what training said "
            "of its own pictures. Rename the folder."
        )
    files = dataset.labelled_files(folder)
    try:
        with tempfile.TemporaryFile(dir=classifier.folder):
            pass  # measuring takes minutes, so whether its figures can be kept is tried first
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(classifier.folder)) from error
    labels = np.array([label for _, label in files])
    answers: dict[str, list[tuple[float, bool]]] = {name: [] for name in (_CLEAN, *SHIFTS)}
    digests = []
    for index, (path, _) in enumerate(files):
        try:
            data = path.read_bytes()
            grey = images.read(data, at_least=classifier.card.input_size).grey
        except (images.PictureError, OSError) as error:
            raise dataset.DataError(f"{path}: {error}") from error
        digests.append(hashlib.sha256(data).hexdigest())
        answers[_CLEAN].append(_answer(classifier, grey))
        for name, shift in SHIFTS.items():
            answers[name].append(_answer(classifier, shift(grey)))
        if progress:
            progress(index + 1, len(files))

    card = classifier.card
    thresholds = {name: point.threshold for name, point in card.operating_points.items()}
    patients = np.array([dataset.patient_of(path.name) for path, _ in files])
    probabilities, accepted = np.array(answers.pop(_CLEAN)).T
    figures = metrics.measure(probabilities, labels, patients, thresholds)
    figures["accepted"] = int(accepted.sum())
    default = thresholds[card.default_operating_point]
    figures["shifts"] = {name: _brief(np.array(given), labels, default) for name, given in answers.items()}
    # Read anew: another process may have measured the same model on other pictures meanwhile.
    known = bundle.read(classifier.folder, verify=()).metrics
    card = replace(card, metrics={**known, measured_on: figures})
    bundle.write_card(classifier.folder, card)
    report.write(classifier.folder, card, measured_on, figures, labels, probabilities)
    _, numbers = np.unique(patients, return_inverse=True)
    given = scores.Scores(np.array(digests), numbers, labels, probabilities, accepted == 1)
    scores.write(scores.path_of(classifier.folder, measured_on), given)
    if output:
        output.mkdir(parents=True, exist_ok=True)
        stem = f"{card.version}-{measured_on}"
        names = [dataset.printable(path.name) for path, _ in files]
        table = pd.DataFrame({"file": names, "label": np.array(dataset.CLASSES)[labels], "probability": probabilities})
        table.to_csv(output / f"{stem}.csv", index=False, float_format="%.6f")
        paths = [path for path, _ in files]
        contact_sheet.write(output / f"{stem}-errors.jpg", classifier, paths, labels, probabilities)
    return figures


def _answer(classifier: Classifier, grey: Image.Image) -> tuple[float, bool]:
    output, _ = classifier.classify(grey)
    return output.probability, classifier.accepts(output)


def _brief(answers: np.ndarray, labels: np.ndarray, threshold: float) -> dict[str, float]:
    probabilities, accepted = answers.T
    figures = {**metrics.rates(probabilities, labels, threshold), "auroc": metrics.auroc(probabilities, labels)}
    return {**{name: round(value, 6) for name, value in figures.items()}, "accepted": int(accepted.sum())}
