"""The one door to ml_model: nothing else in this application imports it."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.conf import settings
from django.utils import formats
from django.utils.translation import gettext, gettext_lazy
from tqdm import tqdm

import ml_model
from diagnosis import metrics
from ml_model import bundle, dataset, heatmap, images, metadata
from ml_model.bundle import LABELS, NORMAL, PNEUMONIA
from ml_model.classifier import Finding
from ml_model.dataset import MANIFEST, DataError
from ml_model.evaluation import drift
from ml_model.evaluation.drift import DIFFERS, DIFFERS_MUCH, STABLE, TOO_FEW, Comparison, NoReference
from ml_model.images import FORMATS, PictureError

if TYPE_CHECKING:  # Pandas is slow to import, and serving does without
    from ml_model.evaluation.promotion import Promotion

logger = logging.getLogger(__name__)

__all__ = [
    "CLASS_FOLDERS",
    "DIFFERS",
    "DIFFERS_MUCH",
    "FEWEST_SCORES",
    "FORMATS",
    "HTTP_STATUS",
    "LABELS",
    "MANIFEST",
    "NORMAL",
    "NOT_A_CHEST_XRAY",
    "PNEUMONIA",
    "STABLE",
    "TOO_FEW",
    "UNAVAILABLE",
    "Comparison",
    "DataError",
    "Evaluation",
    "Finding",
    "ImportRefused",
    "Model",
    "NoReference",
    "PictureError",
    "PromotionRefused",
    "Unavailable",
    "compare_with_validation",
    "diagnose",
    "displayable",
    "evaluate",
    "heatmap_png",
    "import_model",
    "limits",
    "load",
    "measured",
    "measured_on",
    "model_card",
    "model_version",
    "models",
    "operating_points",
    "promote",
    "promote_back",
    "refusal",
    "report_plots",
    "share_ill_in_validation",
    "thumbnail_jpeg",
    "train",
    "validation_scores",
    "without_metadata",
]


class ImportRefused(Exception):
    """A file that cannot become a model. `str()` says why."""


class PromotionRefused(Exception):
    """A bundle that does not become the served one. `str()` says why."""


class Unavailable(Exception):
    """There is no classifier in this process. `str()` says why, and which command mends it."""

    code = "unavailable"


UNAVAILABLE = gettext_lazy(
    "The classifier is not available on this server at the moment. Nothing was stored; please try again later."
)
CLASS_FOLDERS = dict(zip(LABELS, dataset.CLASSES, strict=True))
"""Where training looks for the pictures of each label."""
NOT_A_CHEST_XRAY = gettext_lazy("This does not look like a frontal chest X-ray, so it was not analysed.")
FEWEST_SCORES = drift.FEWEST
MEASURED_ON = ("test", "validation")
"""Sets of pictures whose figures people are shown, the one that says most first."""
HTTP_STATUS = {"unsupported_format": 415, "too_large": 413, "unreadable": 422}
"""How a page or the API answers to each code of PictureError."""

LOOK_EVERY = 1.0
"""Seconds between two looks whether another bundle is to be served."""
_PATIENCE = 1.0  # seconds that the one request which notices waits for it; opening takes about a tenth

_classifier: ml_model.Classifier | None = None
_failure = "The classifier has not been loaded."
_opened: tuple | None = None  # what _bundle_to_serve said when _classifier was opened, or failed to
_next_look = 0.0
_exchanging = threading.Lock()


def load() -> None:
    """Open settings.MODEL_BUNDLE for this process. Raises Unavailable, and then `diagnose` does so too."""
    global _classifier, _failure, _opened
    _classifier = None
    _opened = _bundle_to_serve()
    try:
        _classifier = _open(_served_folder)
    except Unavailable as error:
        _failure = str(error)
        raise


def _open(folder: Callable[[], Path]) -> ml_model.Classifier:
    """The bundle in `folder()`, verified, and fit for the settings. Raises Unavailable."""
    try:
        opened = ml_model.Classifier(folder())
    except ml_model.BundleError as error:
        raise Unavailable(str(error)) from error
    if settings.OPERATING_POINT and settings.OPERATING_POINT not in opened.card.operating_points:
        raise Unavailable(
            f"The setting OPERATING_POINT is {settings.OPERATING_POINT!r}; the model {opened.version} "
            f"knows {', '.join(opened.card.operating_points)}."
        )
    return opened


def _root() -> Path:
    return Path(settings.MODELS_DIR)


def _served_folder() -> Path:
    """The folder of the bundle to serve. Raises BundleError."""
    return _folder_of(settings.MODEL_BUNDLE) if settings.MODEL_BUNDLE else bundle.current(_root())


def _folder_of(name: str) -> Path:
    """The folder of a bundle by its version, or by its path. Raises BundleError."""
    folder = next((folder for folder in _bundles() if folder.name == name), Path(name))
    if not folder.is_dir():
        raise ml_model.BundleError(
            f"There is no model {name!r} in {_root()}, nor a folder of that name. "
            "`python manage.py list_models` tells which there are, `python manage.py train_model DATA_DIR` makes one."
        )
    return folder


def _bundles() -> list[Path]:
    root = _root()
    found = root.iterdir() if root.is_dir() else []
    return sorted(path for path in found if path.is_dir() and not path.name.startswith("."))


def _bundle_to_serve() -> tuple | None:
    """What changes when another bundle, or the same with another card, is to be served; None where there is none."""
    try:
        folder = _served_folder()
        card = (folder / bundle.CARD_FILE).stat()
    except (ml_model.BundleError, OSError):
        return None
    return str(folder), card.st_mtime_ns, card.st_ino, card.st_size


def _serving() -> ml_model.Classifier | None:
    """The classifier that answers now, after a look whether it is still the one to serve.

    A look costs microseconds and happens once in LOOK_EVERY. Should there be another bundle,
    a thread opens it while requests go on with the one they have; only the request that
    noticed waits a moment, so that the first after a promotion is mostly answered by the new one.
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
    """Open the bundle to serve and let it answer from then on; should it fail, the old one goes on."""
    global _classifier, _failure, _opened
    before = _classifier.version if _classifier else None
    try:
        _classifier = _open(_served_folder)
        _metrics_of_another.cache_clear()
        logger.info("The model %s answers from now on, after %s.", _classifier.version, before or "none")
    except Unavailable as error:
        _failure = str(error)
        logger.critical("%s %s goes on answering.", error, before or "No model")
    finally:
        _opened = found  # so that a failure is told once, and tried again when something changes
        _exchanging.release()


@dataclass(frozen=True)
class Model:
    """A bundle at hand: its card, or what is wrong with it."""

    name: str
    served: bool
    card: bundle.ModelCard | None
    error: str = ""


def models() -> list[Model]:
    """Every bundle in settings.MODELS_DIR, and the served one wherever it lies."""
    try:
        served = _served_folder()
    except ml_model.BundleError:
        served = None
    folders = {path.resolve() for path in _bundles()}
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
    return {path.stem: path for path in sorted((serving.folder / "report" / name).glob("*.svg"))}


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
    metrics = _metrics(version)
    for name in MEASURED_ON:
        if figures := metrics.get(name, {}).get("operating_points", {}).get(operating_point):
            return {"on": name, "sensitivity": figures["sensitivity"], "specificity": figures["specificity"]}
    return None


def _metrics(version: str) -> dict[str, Any]:
    serving = _serving()
    if serving and version == serving.version:
        return serving.card.metrics
    return _metrics_of_another(version)


@cache
def _metrics_of_another(version: str) -> dict[str, Any]:
    try:
        return bundle.read(_root() / version, verify=()).metrics
    except ml_model.BundleError:
        return {}


def diagnose(data: bytes, *, operating_point: str | None = None) -> Finding:
    """Classify one picture file; operating_point: one of operating_points(), the first of them if None.

    The finding tells the one that decided: should another model have taken over since the
    caller asked, and not know the one it chose, the first decides. Raises PictureError for a
    bad file and Unavailable without a classifier.
    """
    opened = classifier()
    if operating_point not in opened.card.operating_points:
        operating_point = settings.OPERATING_POINT or None
    finding = opened.diagnose(data, limits=limits(), operating_point=operating_point)
    metrics.picture_read(finding.decode_milliseconds, finding.milliseconds)
    return finding


def heatmap_png(finding: Finding) -> bytes:
    """The finding's activation map as a transparent PNG to stretch over the X-ray."""
    return heatmap.render(finding.activation_map)


def thumbnail_jpeg(finding: Finding) -> bytes:
    """The X-ray, small, as JPEG: at most 256 pixels a side."""
    return images.thumbnail(finding.picture.grey)


def printable_jpeg(data: bytes) -> bytes:
    """A stored picture file, upright and grey, as a JPEG fine enough for a page: at most 1200 pixels a side."""
    return images.thumbnail(images.read(data, limits=images.NO_LIMITS, at_least=600).grey, side=1200)


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
    extra: Path | None = None,
    other_pictures: Path | None = None,
    other_chests: Path | None = None,
    teacher: str | None = None,
    verbose: int = 1,
    **options: Any,
) -> tuple[Path, bool]:
    """Train a network as ml_model.training.pipeline.train does; the new bundle's folder, and whether it is current.

    teacher: the bundle to learn from, as `evaluate` takes it. options: fields of
    ml_model.training.fitting.Settings. Takes seconds to import TensorFlow. Raises DataError, and Unavailable for
    the teacher.
    """
    root = root or _root()
    dataset.labelled_files(data_dir / "train")  # told at once, not after TensorFlow's seconds
    if extra:
        dataset.extra_files(extra, data_dir)
    for folder in filter(None, (other_pictures, other_chests)):
        dataset.some_picture(folder)
    opened = _open(lambda: _folder_of(teacher)) if teacher else None
    from ml_model.training import distillation, pipeline

    folder = pipeline.train(
        data_dir,
        replace(distillation.SETTINGS if opened else pipeline.Settings(), **options),
        work=Path(settings.VAR_DIR) / "training",
        root=root,
        extra=extra,
        other_pictures=other_pictures,
        other_chests=other_chests,
        teacher=opened,
        progress=_progress("reading pictures"),
        verbose=verbose,
    )
    try:
        return folder, folder == bundle.current(root)
    except ml_model.BundleError:
        return folder, False


def import_model(path: Path, *, root: Path | None = None, name: str | None = None, **options: Any) -> Path:
    """Turn a Keras .h5 file into a bundle, and return its folder.

    options: fields of ml_model.training.importing.Options. Takes seconds to import TensorFlow. Raises ImportRefused.
    """
    if not path.is_file():
        raise ImportRefused(f"There is no file {path}.")
    from ml_model.training import importing

    try:
        return importing.import_model(path, importing.Options(**options), root or _root(), name=name)
    except importing.ModelFileError as error:
        raise ImportRefused(str(error)) from error


@dataclass(frozen=True)
class Evaluation:
    """How a model did.

    figures: as ml_model.evaluation.measuring.evaluate gives them. output: the folder with each
    picture's probability by file name, and the worst errors.
    """

    version: str
    figures: dict[str, Any]
    output: Path


def evaluate(folder: Path, *, model: str | None = None) -> Evaluation:
    """Measure a model, a version or a path, or else the served one, on labelled pictures and write its report.

    Raises DataError, Unavailable.
    """
    opened = _open(lambda: _folder_of(model)) if model else classifier()
    dataset.labelled_files(folder)  # told at once, not after the seconds that plotting takes to import
    from ml_model.evaluation import measuring

    output = Path(settings.VAR_DIR) / "evaluation"
    figures = measuring.evaluate(opened, folder, output=output, progress=_progress("reading pictures"))
    return Evaluation(opened.version, figures, output)


def validation_scores(data_dir: Path, *, model: str | None = None) -> tuple[Path, int]:
    """Write what a model, a version or a path, or else the served one, says of its validation pictures into its report.

    data_dir: the folder it was trained from. Returns the file, and how many pictures it tells of. Raises
    DataError, Unavailable.
    """
    opened = _open(lambda: _folder_of(model)) if model else classifier()
    reference = drift.measure(opened, data_dir, progress=_progress("reading pictures"))
    return drift.write(opened.folder, reference), len(reference.probabilities)


def compare_with_validation(
    probabilities: Sequence[float], chest_xray_scores: Sequence[float]
) -> tuple[Comparison, Comparison | None]:
    """How far scores of the model that answers lie from those of validation; None for the gate where there is none.

    Raises NoReference, Unavailable.
    """
    serving = classifier()
    try:
        reference = drift.read(serving.folder)
    except ml_model.BundleError as error:  # it went on answering when its folder was removed or harmed
        raise NoReference(drift.MISSING, serving.version) from error
    gate = reference.chest_xray_scores
    return (
        drift.compare(reference.probabilities, np.array(probabilities, float)),
        None if gate is None else drift.compare(gate, np.array(chest_xray_scores, float)),
    )


def share_ill_in_validation() -> float | None:
    """How many of its validation pictures show pneumonia, 0..1; None where the card does not tell."""
    card = model_card()
    counted = card.data.get("validation") if card else None
    return counted["pneumonia"] / (counted["normal"] + counted["pneumonia"]) if counted else None


def promote(version: str) -> "Promotion":
    """Make a bundle in settings.MODELS_DIR the served one if it opens and is not worse on the test split.

    Running servers take it up by themselves. Raises PromotionRefused.
    """
    from ml_model.evaluation import promotion

    root = _root()
    if version not in [folder.name for folder in _bundles()]:
        raise PromotionRefused(f"There is no model {version!r} in {root}; list_models tells which there are.")
    return _promoted(lambda: promotion.promote(_open(lambda: root / version), root))


def promote_back() -> "Promotion":
    """Serve again the bundle that was served before; called again, the one before that. Raises PromotionRefused."""
    from ml_model.evaluation import promotion

    root = _root()
    return _promoted(lambda: promotion.go_back(_open(lambda: promotion.earlier(root)), root))


def _promoted(change: Callable[[], "Promotion"]) -> "Promotion":
    from ml_model.evaluation import promotion

    try:
        return change()
    except (promotion.Refused, Unavailable) as error:
        raise PromotionRefused(str(error)) from error


def _progress(title: str) -> Callable[[int, int], None]:
    bar = tqdm(desc=title, unit=" pictures", disable=None, leave=False)

    def advance(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return advance
