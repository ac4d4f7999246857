"""The workshop: making, measuring and choosing networks, for commands.

TensorFlow and pandas take seconds to import, so each function imports them after the checks that can refuse at once.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from tqdm import tqdm

from diagnosis.inference import bundles, serving
from diagnosis.inference.bundles import Unavailable
from ml_model import BundleError, Classifier, bundle, dataset
from ml_model.bundle import LABELS
from ml_model.evaluation import drift

if TYPE_CHECKING:  # it brings pandas
    from ml_model.evaluation.promotion import Promotion

MANIFEST = dataset.MANIFEST
CLASS_FOLDERS = dict(zip(LABELS, dataset.CLASSES, strict=True))
"""Where training looks for the pictures of each label."""
DataError = dataset.DataError


class ImportRefused(Exception):
    """A file that cannot become a model. `str()` says why."""


class PromotionRefused(Exception):
    """A bundle that does not become the served one. `str()` says why."""


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
    ml_model.training.fitting.Settings. Takes seconds to import TensorFlow. Raises DataError, Unavailable for
    the teacher, and OSError at once where checkpoints or the bundle cannot be written.
    """
    root = root or bundles.root()
    dataset.labelled_files(data_dir / "train")  # told at once, not after TensorFlow's seconds
    if extra:
        dataset.extra_files(extra, data_dir)
    for folder in filter(None, (other_pictures, other_chests)):
        dataset.some_picture(folder)
    opened = _teacher(teacher) if teacher else None
    work = Path(settings.VAR_DIR) / "training"
    for folder in (work, root):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(folder)) from error
    from ml_model.training import distillation, pipeline

    folder = pipeline.train(
        data_dir,
        replace(distillation.SETTINGS if opened else pipeline.Settings(), **options),
        work=work,
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
    except BundleError:
        return folder, False


def _teacher(name: str) -> Classifier:
    """A bundle to learn from, whose network as trained is whole too. Raises Unavailable."""
    opened = bundles.opened(bundles.folder_of(name))
    try:
        bundle.read(opened.folder, verify=(bundle.KERAS_FILE,))
    except BundleError as error:
        raise Unavailable(str(error)) from error
    return opened


def import_model(path: Path, *, root: Path | None = None, name: str | None = None, **options: Any) -> Path:
    """Turn a Keras .h5 file into a bundle, and return its folder.

    options: fields of ml_model.training.importing.Options. Takes seconds to import TensorFlow. Raises ImportRefused.
    """
    if not path.is_file():
        raise ImportRefused(f"There is no file {path}.")
    from ml_model.training import importing

    try:
        return importing.import_model(path, importing.Options(**options), root or bundles.root(), name=name)
    except importing.ModelFileError as error:
        raise ImportRefused(str(error)) from error


@dataclass(frozen=True)
class Evaluation:
    """How a model did.

    operating_point: at which it was measured under shifts. gated: whether it has a gate. figures: as
    ml_model.evaluation.measuring.evaluate gives them. output: the folder with each picture's probability by file name,
    and the worst errors.
    """

    version: str
    operating_point: str
    gated: bool
    figures: dict[str, Any]
    output: Path


def evaluate(folder: Path, *, model: str | None = None) -> Evaluation:
    """Measure a model, a version or a path, or else the served one, on labelled pictures and write its report.

    Raises DataError, Unavailable.
    """
    opened = bundles.opened(bundles.folder_of(model)) if model else serving.classifier()
    dataset.labelled_files(folder)  # told at once, not after the seconds that plotting takes to import
    from ml_model.evaluation import measuring

    output = Path(settings.VAR_DIR) / "evaluation"
    figures = measuring.evaluate(opened, folder, output=output, progress=_progress("reading pictures"))
    card = opened.card
    return Evaluation(opened.version, card.default_operating_point, card.gate is not None, figures, output)


def validation_scores(data_dir: Path, *, model: str | None = None) -> tuple[Path, int]:
    """Write what a model, a version or a path, or else the served one, says of its validation pictures into its report.

    data_dir: the folder it was trained from. Returns the file, and how many pictures it tells of. Raises
    DataError, Unavailable.
    """
    opened = bundles.opened(bundles.folder_of(model)) if model else serving.classifier()
    reference = drift.measure(opened, data_dir, progress=_progress("reading pictures"))
    return drift.write(opened.folder, reference), len(reference.probabilities)


def promote(version: str) -> "Promotion":
    """Make a bundle in settings.MODELS_DIR the served one if it opens and is not worse on the test split.

    Running servers take it up by themselves. Raises PromotionRefused.
    """
    from ml_model.evaluation import promotion

    root = bundles.root()
    if version not in [folder.name for folder in bundles.folders()]:
        raise PromotionRefused(f"There is no model {version!r} in {root}; list_models tells which there are.")
    return _promoted(lambda: promotion.promote(bundles.opened(root / version), root))


def promote_back() -> "Promotion":
    """Serve again the bundle that was served before; called again, the one before that. Raises PromotionRefused."""
    from ml_model.evaluation import promotion

    root = bundles.root()
    return _promoted(lambda: promotion.go_back(bundles.opened(promotion.earlier(root)), root))


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
