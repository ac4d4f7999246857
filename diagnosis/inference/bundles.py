"""The installed models: listing them, which one is to be served, and opening one."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from django.conf import settings

from ml_model import BundleError, Classifier, bundle


class Unavailable(Exception):
    """No model can answer. `str()` says why, and which command fixes it."""

    code = "unavailable"


@dataclass(frozen=True)
class Model:
    """An installed bundle: its card, or what is wrong with it."""

    name: str
    served: bool
    card: bundle.ModelCard | None
    error: str = ""


def models() -> list[Model]:
    """Every bundle in settings.MODELS_DIR, and the served one wherever it lies."""
    try:
        served = served_folder().resolve()
    except Unavailable:
        served = None
    at_hand = {path.resolve() for path in folders()}
    if served:
        at_hand.add(served)
    files = (bundle.CARD_FILE, bundle.SERVING_FILE)
    return [
        Model(folder.name, folder == served, *_read(folder, *(stamp(folder / name) for name in files)))
        for folder in sorted(at_hand)
    ]


@lru_cache(maxsize=100)
def _read(folder: Path, *stamps: tuple | None) -> tuple[bundle.ModelCard | None, str]:
    """Its card, or what is wrong with it; stamps: of its files, which are verified once as long as they stay."""
    try:
        return bundle.read(folder), ""
    except BundleError as error:
        return None, str(error)


def stamp(file: Path) -> tuple | None:
    """What changes when the file does; None where there is none."""
    try:
        told = file.stat()
    except OSError:
        return None
    return told.st_mtime_ns, told.st_ino, told.st_size


def root() -> Path:
    """Where bundles lie, from the settings."""
    return Path(settings.MODELS_DIR)


def folders() -> list[Path]:
    """The folder of every bundle in settings.MODELS_DIR."""
    found = root().iterdir() if root().is_dir() else []
    return sorted(path for path in found if path.is_dir() and not path.name.startswith("."))


def folder_of(name: str) -> Path:
    """The folder of a bundle by its version, or by its path. Raises Unavailable."""
    folder = next((folder for folder in folders() if folder.name == name), Path(name))
    if not folder.is_dir():
        raise Unavailable(
            f"There is no model {name!r} in {root()}, nor a folder of that name. "
            "`python manage.py list_models` tells which there are, `python manage.py train_model DATA_DIR` makes one."
        )
    return folder


def served_folder() -> Path:
    """The folder of the bundle to serve. Raises Unavailable."""
    if settings.MODEL_BUNDLE:
        return folder_of(settings.MODEL_BUNDLE)
    try:
        return bundle.current(root())
    except BundleError as error:
        raise Unavailable(str(error)) from error


def opened(folder: Path) -> Classifier:
    """The bundle in `folder`, verified, and fit for the settings. Raises Unavailable."""
    try:
        classifier = Classifier(folder)
    except BundleError as error:
        raise Unavailable(str(error)) from error
    if settings.OPERATING_POINT and settings.OPERATING_POINT not in classifier.card.operating_points:
        raise Unavailable(
            f"The setting OPERATING_POINT is {settings.OPERATING_POINT!r}; the model {classifier.version} "
            f"knows {', '.join(classifier.card.operating_points)}."
        )
    return classifier
