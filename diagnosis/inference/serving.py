"""Serving: the model that this process has open, its card, and what it makes of pictures.

When another model is to be served, the process switches by itself. Neither TensorFlow nor pandas is imported here.
"""

import logging
import threading
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.utils import formats
from django.utils.translation import gettext, gettext_lazy

from diagnosis import metrics
from diagnosis.inference import bundles
from diagnosis.inference.bundles import Unavailable
from ml_model import BundleError, Classifier, Finding, PictureError, bundle, heatmap, images, metadata
from ml_model.evaluation import drift
from ml_model.evaluation.drift import Comparison, NoReference
from ml_model.evaluation.metrics import wilson  # noqa: F401  for diagnosis.agreement
from ml_model.images import Picture

logger = logging.getLogger(__name__)

# Words of the network's wing, for all to use.
NORMAL, PNEUMONIA = LABELS = bundle.LABELS
FORMATS = images.FORMATS
STABLE, DIFFERS, TOO_FEW = drift.STABLE, drift.DIFFERS, drift.TOO_FEW
FEWEST_SCORES = drift.FEWEST

UNAVAILABLE = gettext_lazy(
    "The classifier is not available on this server at the moment. Nothing was stored; please try again later."
)
NOT_A_CHEST_XRAY = gettext_lazy("This does not look like a frontal chest X-ray, so it was not analysed.")
MEASURED_ON = ("test", "validation")
"""Sets of pictures whose figures people are shown, the one that says most first."""
HTTP_STATUS = {"unsupported_format": 415, "too_large": 413, "unreadable": 422}
"""How a page or the API answers to each code of PictureError."""

LOOK_EVERY = 1.0
"""Seconds between two looks whether another bundle is to be served."""
_PATIENCE = 1.0  # seconds that the one request which notices waits for it; opening takes about a tenth

_classifier: Classifier | None = None
_failure = "The classifier has not been loaded."
_opened: tuple | None = None  # what _bundle_to_serve said when _classifier was opened, or failed to
_next_look = 0.0
_exchanging = threading.Lock()


def load() -> None:
    """Open the bundle to serve, for this process. Raises Unavailable, and then `diagnose` does so too."""
    global _classifier, _failure, _opened
    _classifier = None
    _opened = _bundle_to_serve()
    try:
        _classifier = bundles.opened(bundles.served_folder())
    except Unavailable as error:
        _failure = str(error)
        raise


def _bundle_to_serve() -> tuple | None:
    """A value that changes when another bundle, or the same one with another card, is to be served; None if there is
    none."""
    try:
        folder = bundles.served_folder()
    except Unavailable:
        return None
    card = bundles.stamp(folder / bundle.CARD_FILE)
    return card and (str(folder), *card)


def _serving() -> Classifier | None:
    """The current classifier, after checking whether it is still the one to serve.

    A look costs microseconds and happens once in LOOK_EVERY. If there is another bundle, a thread opens it while
    requests keep using the present one; only the request that noticed waits a moment, so that usually the first request
    after a promotion is answered by the new one.
    """
    global _next_look
    if time.monotonic() >= _next_look and _exchanging.acquire(blocking=False):
        _next_look = time.monotonic() + LOOK_EVERY
        if (found := _bundle_to_serve()) == _opened:
            _exchanging.release()
        else:
            thread = threading.Thread(target=_exchange, args=[found], name="exchange of the model", daemon=True)
            thread.start()
            thread.join(_PATIENCE)
    return _classifier


def _exchange(found: tuple | None) -> None:
    """Open the bundle to serve and use it from then on; if that fails, the old one stays."""
    global _classifier, _failure, _opened
    before = _classifier.version if _classifier else None
    try:
        _classifier = bundles.opened(bundles.served_folder())
        logger.info("The model %s answers from now on, after %s.", _classifier.version, before or "none")
    except Unavailable as error:
        _failure = str(error)
        logger.critical("%s %s goes on answering.", error, before or "No model")
    finally:
        _opened = found  # so that a failure is logged once, and retried when something changes
        _exchanging.release()


def classifier() -> Classifier:
    """The process's classifier. Raises Unavailable."""
    serving = _serving()
    if serving is None:
        raise Unavailable(_failure)
    return serving


def model_version() -> str:
    """Version of the model that answers; empty where none is loaded."""
    serving = _serving()
    return serving.version if serving else ""


def model_card() -> bundle.ModelCard | None:
    """What is known of the model that answers; None where none is loaded."""
    serving = _serving()
    return serving.card if serving else None


def measured_on(card: bundle.ModelCard) -> str:
    """The set of pictures whose figures speak for a model; empty where nobody has measured it."""
    return next((name for name in MEASURED_ON if name in card.metrics), "")


def report_plots() -> dict[str, Path]:
    """The plots of the model that answers, by name, of the pictures `measured_on`; none where it was not measured."""
    serving = _serving()
    if serving is None or not (name := measured_on(serving.card)):
        return {}
    return {path.stem: path for path in sorted((serving.folder / bundle.REPORT / name).glob("*.svg"))}


def refusal(error: PictureError) -> str:
    """What `error` says, in the language of whoever asks."""
    return gettext(error.sentence) % {
        name: formats.number_format(f"{figure:.9g}") for name, figure in error.figures.items()
    }


def limits() -> images.Limits:
    """The limits on pictures, from the settings."""
    return images.Limits(megabytes=settings.MAX_UPLOAD_MB, megapixels=settings.MAX_MEGAPIXELS)


def operating_points() -> list[str]:
    """Names of the served model's operating points, the default first; none without a classifier."""
    serving = _serving()
    if serving is None:
        return []
    default = settings.OPERATING_POINT or serving.card.default_operating_point
    return sorted(serving.card.operating_points, key=lambda name: name != default)


def measured(version: str, operating_point: str) -> dict[str, Any] | None:
    """What was measured of a model at an operating point.

    `on`, the name of the set of pictures, with `sensitivity` and `specificity`, each as
    `value`, `low` and `high` of the 95 % interval, 0..1. None where nobody has measured it.
    """
    measured_on_each = _metrics(version)
    for name in MEASURED_ON:
        if figures := measured_on_each.get(name, {}).get("operating_points", {}).get(operating_point):
            return {"on": name, "sensitivity": figures["sensitivity"], "specificity": figures["specificity"]}
    return None


def _metrics(version: str) -> dict[str, Any]:
    serving = _serving()
    if serving and version == serving.version:
        return serving.card.metrics
    folder = bundles.root() / version
    return _metrics_of_another(folder, bundles.stamp(folder / bundle.CARD_FILE))


@lru_cache(maxsize=100)
def _metrics_of_another(folder: Path, card: tuple | None) -> dict[str, Any]:
    try:
        return bundle.read(folder, verify=()).metrics
    except BundleError:
        return {}


def read(data: bytes) -> Picture:
    """Decode one picture file. Raises PictureError for a bad file and Unavailable without a classifier."""
    return classifier().read(data, limits=limits())


def diagnose(picture: Picture, *, operating_point: str | None = None) -> Finding:
    """Classify what `read` gave; operating_point: one of operating_points(), the first of them if None.

    The finding tells the one that decided: if another model took over meanwhile and does not have the chosen point, its
    first one decides. Raises Unavailable without a classifier.
    """
    opened = classifier()
    if operating_point not in opened.card.operating_points:
        operating_point = settings.OPERATING_POINT or None
    finding = opened.answer(picture, operating_point=operating_point)
    metrics.picture_read(picture.milliseconds, finding.milliseconds)
    return finding


def heatmap_png(finding: Finding) -> bytes:
    """The finding's activation map as a transparent PNG to stretch over the X-ray."""
    return heatmap.render(finding.activation_map)


def thumbnail_jpeg(picture: Picture) -> bytes:
    """The X-ray, small, as JPEG: at most 256 pixels a side."""
    return images.thumbnail(picture.grey)


def printable_jpeg(data: bytes) -> bytes:
    """A stored picture file, upright and grey, as a JPEG fine enough for a page: at most 1200 pixels a side."""
    return images.printable(images.read(data, limits=images.NO_LIMITS, at_least=600).grey)


def without_metadata(data: bytes) -> bytes:
    """A picture file that `read` accepted, without what tells of people and places; the same pixels."""
    return metadata.strip(data)


def displayable(data: bytes) -> tuple[bytes, str]:
    """A stored picture file as a browser can show it, with its content type."""
    return images.displayable(data)


def compare_with_validation(
    probabilities: Sequence[float], chest_xray_scores: Sequence[float]
) -> tuple[Comparison, Comparison | None]:
    """How far the served model's scores lie from those of validation; None for the gate if there is none.

    Raises NoReference, Unavailable.
    """
    serving = classifier()
    try:
        reference = drift.read(serving.folder)
    except BundleError as error:  # it still answers although its folder was removed or damaged
        raise NoReference(drift.MISSING, serving.version) from error
    gate = reference.chest_xray_scores
    return (
        drift.compare(reference.probabilities, np.array(probabilities, float)),
        None if gate is None else drift.compare(gate, np.array(chest_xray_scores, float)),
    )


def share_ill_in_validation() -> float | None:
    """The share of its validation pictures with pneumonia, 0..1; None if the card does not say."""
    card = model_card()
    counted = card.data.get("validation") if card else None
    return counted["pneumonia"] / (counted["normal"] + counted["pneumonia"]) if counted else None
