"""Run a served network over labelled pictures and keep the figures with it."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ml_model import bundle, dataset
from ml_model.classifier import Classifier
from ml_model.evaluation import metrics


def evaluate(
    classifier: Classifier,
    folder: Path,
    *,
    scores: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict:
    """Figures of `classifier` on `folder`/{NORMAL,PNEUMONIA}, as metrics.measure gives them.

    They are stored in the bundle's card under the folder's name, in place of older ones.
    scores: a CSV to write, one row a picture. Raises dataset.DataError.
    """
    pictures = dataset.load(folder, classifier.card.input_size, progress=progress)
    probabilities = np.array([classifier.run(pixels)[0] for pixels in pictures.pictures])
    threshold = classifier.card.operating_points[classifier.card.default_operating_point].threshold
    figures = metrics.measure(probabilities, pictures.labels, pictures.patients, threshold)
    if scores:
        scores.parent.mkdir(parents=True, exist_ok=True)
        with scores.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "label", "probability"])
            rows = zip(pictures.files, pictures.labels, probabilities, strict=True)
            writer.writerows((path.name, dataset.CLASSES[int(label)], f"{p:.6f}") for path, label, p in rows)
    card = classifier.card
    bundle.write_card(classifier.folder, replace(card, metrics={**card.metrics, folder.resolve().name: figures}))
    return figures
