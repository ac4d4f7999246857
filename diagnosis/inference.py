"""The one door to ml_model: nothing else in this application imports it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from tqdm import tqdm

import ml_model
from ml_model import bundle, dataset, heatmap, images
from ml_model.bundle import LABELS, NORMAL, PNEUMONIA
from ml_model.classifier import Finding
from ml_model.dataset import DataError
from ml_model.images import FORMATS, PictureError

__all__ = [
    "FORMATS",
    "HTTP_STATUS",
    "LABELS",
    "NORMAL",
    "PNEUMONIA",
    "UNAVAILABLE",
    "DataError",
    "Finding",
    "PictureError",
    "Unavailable",
    "diagnose",
    "displayable",
    "evaluate",
    "heatmap_png",
    "limits",
    "load",
    "model_version",
    "thumbnail_jpeg",
    "train",
]


class Unavailable(Exception):
    """There is no classifier in this process. `str()` says why, and which command mends it."""


UNAVAILABLE = (
    "The classifier is not available on this server at the moment. Nothing was stored; please try again later."
)
HTTP_STATUS = {"unsupported_format": 415, "too_large": 413, "unreadable": 422}
"""How a page or the API answers to each code of PictureError."""

_classifier: ml_model.Classifier | None = None
_failure = "The classifier has not been loaded."


def load() -> None:
    """Open settings.MODEL_BUNDLE for this process. Raises Unavailable, and then `diagnose` does so too."""
    global _classifier, _failure
    _classifier = None
    try:
        folder = Path(settings.MODEL_BUNDLE) if settings.MODEL_BUNDLE else bundle.current()
        _classifier = ml_model.Classifier(folder)
    except ml_model.BundleError as error:
        _failure = str(error)
        raise Unavailable(_failure) from error


def classifier() -> ml_model.Classifier:
    """The process's classifier. Raises Unavailable."""
    if _classifier is None:
        raise Unavailable(_failure)
    return _classifier


def model_version() -> str:
    """Version of the model that answers; empty where none is loaded."""
    return _classifier.version if _classifier else ""


def limits() -> images.Limits:
    """The limits on pictures, from the settings."""
    return images.Limits(megabytes=settings.MAX_UPLOAD_MB, megapixels=settings.MAX_MEGAPIXELS)


def diagnose(data: bytes) -> Finding:
    """Classify one picture file. Raises PictureError for a bad file and Unavailable without a classifier."""
    return classifier().diagnose(data, limits=limits())


def heatmap_png(finding: Finding) -> bytes:
    """The finding's activation map as a transparent PNG to stretch over the X-ray."""
    return heatmap.render(finding.activation_map)


def thumbnail_jpeg(finding: Finding) -> bytes:
    """The X-ray, small, as JPEG: at most 256 pixels a side."""
    return images.thumbnail(finding.picture.grey)


def displayable(data: bytes) -> tuple[bytes, str]:
    """A stored picture file as a browser can show it, with its content type."""
    return images.displayable(data)


def train(data_dir: Path, *, root: Path | None = None, verbose: int = 1, **options: Any) -> Path:
    """Train a network as ml_model.training.pipeline.train does and return the new bundle's folder.

    options: fields of ml_model.training.fitting.Settings. Takes seconds to import TensorFlow.
    Raises DataError.
    """
    dataset.labelled_files(data_dir / "train")  # told at once, not after TensorFlow's seconds
    from ml_model.training import pipeline

    return pipeline.train(
        data_dir,
        pipeline.Settings(**options),
        work=Path(settings.VAR_DIR) / "training",
        root=root or bundle.TRAINED,
        progress=_progress("reading pictures"),
        verbose=verbose,
    )


def evaluate(folder: Path) -> tuple[dict[str, Any], Path]:
    """Measure the served network on labelled pictures: its figures, and the CSV of scores.

    Raises DataError, Unavailable.
    """
    from ml_model.evaluation import measuring

    scores = Path(settings.VAR_DIR) / "evaluation" / f"{model_version()}-{folder.resolve().name}.csv"
    figures = measuring.evaluate(classifier(), folder, scores=scores, progress=_progress("reading pictures"))
    return figures, scores


def _progress(title: str) -> Callable[[int, int], None]:
    bar = tqdm(desc=title, unit=" pictures", disable=None, leave=False)

    def advance(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return advance
