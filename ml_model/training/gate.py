"""The gate: is this a frontal chest X-ray at all? A linear classifier on features the network computes anyway.

Fitted after the network, on its features: chest X-rays, also augmented ones and those of
other hospitals, against every other kind of picture, and against the negatives of chest
X-rays, which serving turns and tries again.
"""

import hashlib
import math
import os
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras import layers

from ml_model import bundle, dataset, images, preprocessing
from ml_model.dataset import DataError
from ml_model.evaluation import metrics
from ml_model.training import linear

EARLY = "block4_add"
"""Features at stride 8, from the part that stays as ImageNet left it."""
REFUSED_CHESTS = 0.003
"""Share of the validation pictures that lie below the threshold, were it not for the margin."""
MARGIN = math.log(10)
"""Logits between them and the threshold, ten times the odds: room for chests unlike the ones at hand."""


def feature_model(model: keras.Model) -> keras.Model:
    """Picture -> float32 (batch, features): averages of an early, the fine and the coarse feature maps."""
    early = layers.GlobalAveragePooling2D(name="early_average")(model.get_layer(EARLY).output)
    features = layers.Concatenate(name="gate_features")([early, model.get_layer("features").output])
    return keras.Model(model.input, features)


def build(
    model: keras.Model,
    chests: np.ndarray,
    validation: np.ndarray,
    other_chests: Path | None,
    other_pictures: Path,
    *,
    augment: Callable[[np.ndarray], np.ndarray],
) -> tuple[linear.Head, bundle.Gate]:
    """Fit the gate of `model`, and measure it on what fitting did not see.

    chests, validation: the network's inputs, uint8 (n, size, size, 1), of training and of
    validation. other_chests: a folder of chest X-rays from elsewhere. other_pictures: a folder
    of KIND/files that are none. Of both, patients are drawn by a hash of what file names tell of them for
    fitting, and the rest are for measuring; of `validation`, which is measured too, only the
    threshold knows. augment: what training does to such pictures. Raises DataError.
    """
    size = model.input.shape[1]
    network_features = feature_model(model)

    def features(pictures: np.ndarray) -> np.ndarray:
        if not len(pictures):  # of few, all may be drawn to one side
            return np.empty((0, network_features.output.shape[1]), np.float32)
        return network_features.predict(pictures, batch_size=64, verbose=0)

    sample = chests[:: max(1, len(chests) // 1000)]
    positive = [features(sample), features(augment(sample))]
    measured: dict = {"accepted": {}, "refused": {}}
    elsewhere = np.empty((0, positive[0].shape[1]))
    if other_chests:
        pictures, files = _read(other_chests, size)
        for_fitting = _drawn_for_fitting(files)
        elsewhere = features(pictures[~for_fitting])
        positive.append(features(pictures[for_fitting]))
    pictures, files = _read(other_pictures, size)
    for path in files:
        if path.parent == other_pictures:
            raise DataError(
                f"{path} is of no kind. Other pictures lie in a folder for each kind: {other_pictures}/KIND."
            )
    kinds = np.array([path.relative_to(other_pictures).parts[0] for path in files])
    for_fitting = _drawn_for_fitting(files)
    others, turned_others = features(pictures), features(255 - pictures)
    turned_chests, held_out = features(255 - sample), features(validation)

    def fit(which: np.ndarray) -> tuple[linear.Head, float]:
        negative = [others[which], turned_others[which], turned_chests]
        head = linear.fit(np.concatenate(positive), np.concatenate(negative))
        lowest = np.quantile(head.logit(held_out), REFUSED_CHESTS)
        return head, float(metrics.sigmoid(lowest - MARGIN))

    def count(head: linear.Head, threshold: float, which: np.ndarray) -> dict[str, int]:
        passed = np.maximum(head.score(others[which]), head.score(turned_others[which])) >= threshold
        return {"pictures": len(passed), "refused": int((~passed).sum())}

    head, threshold = fit(for_fitting)
    for name, values in (("validation", held_out), ("other chest X-rays", elsewhere)):
        if len(values):
            passed = int((head.score(values) >= threshold).sum())
            measured["accepted"][name] = {"pictures": len(values), "accepted": passed}
    for kind in sorted(set(kinds)):
        measured["refused"][kind] = {
            "files held out": count(head, threshold, (kinds == kind) & ~for_fitting),
            "whole kind held out": count(*fit(kinds != kind), kinds == kind),
        }
    return head, bundle.Gate(threshold, measured)


def pictures_for_fitting(folder: Path, size: int) -> np.ndarray:
    """The pictures in `folder` that fitting may see, uint8 (n, size, size, 1); the others measure. Raises DataError."""
    pictures, files = _read(folder, size)
    return pictures[_drawn_for_fitting(files)]


def _drawn_for_fitting(files: list[Path]) -> np.ndarray:
    """Bool (n,): about half, with all pictures of a patient on one side."""
    patients = [dataset.patient_of(path.name) for path in files]
    return np.array([hashlib.sha256(os.fsencode(patient)).digest()[0] < 128 for patient in patients], bool)


def _read(folder: Path, size: int) -> tuple[np.ndarray, list[Path]]:
    """Every readable picture under `folder` as uint8 (n, size, size, 1), with its file."""
    pictures, files = [], []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            pixels = preprocessing.from_bytes(path.read_bytes(), size)
        except images.PictureError:
            continue  # a folder holds notes and licences too
        pictures.append(pixels)
        files.append(path)
    if not files:
        raise DataError(f"There are no pictures in {folder}.")
    return np.array(pictures), files
