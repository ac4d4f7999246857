"""The one door to ml_model: nothing else in this application imports it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from tqdm import tqdm

import ml_model
from ml_model import bundle, dataset, heatmap, images, metadata
from ml_model.bundle import LABELS, NORMAL, PNEUMONIA
from ml_model.classifier import Finding
from ml_model.dataset import DataError
from ml_model.images import FORMATS, PictureError

__all__ = [
    "FORMATS",
    "HTTP_STATUS",
    "LABELS",
    "NORMAL",
    "NOT_A_CHEST_XRAY",
    "PNEUMONIA",
    "UNAVAILABLE",
    "DataError",
    "Finding",
    "ImportRefused",
    "PictureError",
    "Unavailable",
    "diagnose",
    "displayable",
    "evaluate",
    "heatmap_png",
    "import_model",
    "limits",
    "load",
    "measured",
    "model_card",
    "model_version",
    "models",
    "operating_points",
    "report_plots",
    "thumbnail_jpeg",
    "train",
    "without_metadata",
]


class ImportRefused(Exception):
    """A file that cannot become a model. `str()` says why."""


class Unavailable(Exception):
    """There is no classifier in this process. `str()` says why, and which command mends it."""


UNAVAILABLE = (
    "The classifier is not available on this server at the moment. Nothing was stored; please try again later."
)
NOT_A_CHEST_XRAY = "This does not look like a frontal chest X-ray, so it was not analysed."
HTTP_STATUS = {"unsupported_format": 415, "too_large": 413, "unreadable": 422}
"""How a page or the API answers to each code of PictureError."""

_classifier: ml_model.Classifier | None = None
_failure = "The classifier has not been loaded."


def load() -> None:
    """Open settings.MODEL_BUNDLE for this process. Raises Unavailable, and then `diagnose` does so too."""
    global _classifier, _failure
    _classifier = None
    try:
        opened = ml_model.Classifier(_served_folder())
    except ml_model.BundleError as error:
        _failure = str(error)
        raise Unavailable(_failure) from error
    if settings.OPERATING_POINT and settings.OPERATING_POINT not in opened.card.operating_points:
        _failure = (
            f"The setting OPERATING_POINT is {settings.OPERATING_POINT!r}; the model {opened.version} "
            f"knows {', '.join(opened.card.operating_points)}."
        )
        raise Unavailable(_failure)
    _classifier = opened


def _served_folder() -> Path:
    """The folder of the bundle to serve; settings.MODEL_BUNDLE is a path or a version. Raises BundleError."""
    if not settings.MODEL_BUNDLE:
        return bundle.current()
    named = bundle.TRAINED / settings.MODEL_BUNDLE
    return named if named.is_dir() else Path(settings.MODEL_BUNDLE)


@dataclass(frozen=True)
class Model:
    """A bundle at hand: its card, or what is wrong with it."""

    name: str
    served: bool
    card: bundle.ModelCard | None
    error: str = ""


def models() -> list[Model]:
    """Every bundle beside the one that ships, and the served one wherever it lies."""
    try:
        served = _served_folder()
    except ml_model.BundleError:
        served = None
    folders = {path.resolve() for path in bundle.TRAINED.iterdir() if path.is_dir() and not path.name.startswith(".")}
    if served:
        folders.add(served.resolve())
    found = []
    for folder in sorted(folders):
        is_served = served is not None and folder == served.resolve()
        try:
            found.append(Model(folder.name, is_served, bundle.read(folder)))
        except ml_model.BundleError as error:
            found.append(Model(folder.name, is_served, None, str(error)))
    return found


def classifier() -> ml_model.Classifier:
    """The process's classifier. Raises Unavailable."""
    if _classifier is None:
        raise Unavailable(_failure)
    return _classifier


def model_version() -> str:
    """Version of the model that answers; empty where none is loaded."""
    return _classifier.version if _classifier else ""


def model_card() -> bundle.ModelCard | None:
    """What is known of the model that answers; None where none is loaded."""
    return _classifier.card if _classifier else None


def report_plots() -> dict[str, Path]:
    """The plots in the report of the model that answers, by name; none where it was not measured."""
    folder = _classifier.folder / "report" if _classifier else None
    return {path.stem: path for path in sorted(folder.glob("*.svg"))} if folder else {}


def limits() -> images.Limits:
    """The limits on pictures, from the settings."""
    return images.Limits(megabytes=settings.MAX_UPLOAD_MB, megapixels=settings.MAX_MEGAPIXELS)


def operating_points() -> list[str]:
    """Names of the served model's operating points, the default first; none without a classifier."""
    if _classifier is None:
        return []
    default = settings.OPERATING_POINT or _classifier.card.default_operating_point
    return sorted(_classifier.card.operating_points, key=lambda name: name != default)


def measured(version: str, operating_point: str) -> dict[str, Any] | None:
    """What was measured of a model at an operating point.

    `on`, the name of the set of pictures, with `sensitivity` and `specificity`, each as
    `value`, `low` and `high` of the 95 % interval, 0..1. None where nobody has measured it.
    """
    metrics = _metrics(version)
    for name in ("test", "validation"):
        if figures := metrics.get(name, {}).get("operating_points", {}).get(operating_point):
            return {"on": name, "sensitivity": figures["sensitivity"], "specificity": figures["specificity"]}
    return None


def _metrics(version: str) -> dict[str, Any]:
    if _classifier and version == _classifier.version:
        return _classifier.card.metrics
    return _metrics_of_another(version)


@cache
def _metrics_of_another(version: str) -> dict[str, Any]:
    try:
        return bundle.read(bundle.TRAINED / version, verify=()).metrics
    except ml_model.BundleError:
        return {}


def diagnose(data: bytes, *, operating_point: str | None = None) -> Finding:
    """Classify one picture file; operating_point: one of operating_points(), the first of them if None.

    Raises PictureError for a bad file and Unavailable without a classifier.
    """
    opened = classifier()
    return opened.diagnose(data, limits=limits(), operating_point=operating_point or settings.OPERATING_POINT or None)


def heatmap_png(finding: Finding) -> bytes:
    """The finding's activation map as a transparent PNG to stretch over the X-ray."""
    return heatmap.render(finding.activation_map)


def thumbnail_jpeg(finding: Finding) -> bytes:
    """The X-ray, small, as JPEG: at most 256 pixels a side."""
    return images.thumbnail(finding.picture.grey)


def without_metadata(data: bytes) -> bytes:
    """A picture file that `diagnose` accepted, without what tells of people and places; the same pixels."""
    return metadata.strip(data)


def displayable(data: bytes) -> tuple[bytes, str]:
    """A stored picture file as a browser can show it, with its content type."""
    return images.displayable(data)


def train(
    data_dir: Path,
    *,
    root: Path | None = None,
    other_pictures: Path | None = None,
    other_chests: Path | None = None,
    verbose: int = 1,
    **options: Any,
) -> Path:
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
        other_pictures=other_pictures,
        other_chests=other_chests,
        progress=_progress("reading pictures"),
        verbose=verbose,
    )


def import_model(path: Path, *, root: Path | None = None, name: str | None = None, **options: Any) -> Path:
    """Turn a Keras .h5 file into a bundle, and return its folder.

    options: fields of ml_model.training.importing.Options. Takes seconds to import TensorFlow. Raises ImportRefused.
    """
    if not path.is_file():
        raise ImportRefused(f"There is no file {path}.")
    from ml_model.training import importing

    try:
        return importing.import_model(path, importing.Options(**options), root or bundle.TRAINED, name=name)
    except importing.ModelFileError as error:
        raise ImportRefused(str(error)) from error


def evaluate(folder: Path) -> tuple[dict[str, Any], Path]:
    """Measure the served network on labelled pictures and write its report.

    Gives the figures, as ml_model.evaluation.measuring.evaluate does, and the folder with each
    picture's probability and the worst errors. Raises DataError, Unavailable.
    """
    opened = classifier()
    dataset.labelled_files(folder)  # told at once, not after the seconds that plotting takes to import
    from ml_model.evaluation import measuring

    output = Path(settings.VAR_DIR) / "evaluation"
    return measuring.evaluate(opened, folder, output=output, progress=_progress("reading pictures")), output


def _progress(title: str) -> Callable[[int, int], None]:
    bar = tqdm(desc=title, unit=" pictures", disable=None, leave=False)

    def advance(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return advance
