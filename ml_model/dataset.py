"""The public set on disk -> arrays, and a validation split by patient.

Layout: DATA_DIR/{train,test}/{NORMAL,PNEUMONIA}/picture files. Only this module
knows how the set names its files. Pictures that people have read since, as `export_reviewed`
writes them, come from a folder of their own: {NORMAL,PNEUMONIA}/picture files and MANIFEST.
"""

import csv
import hashlib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_model import bundle, images, preprocessing

CLASSES = ("NORMAL", "PNEUMONIA")
"""Folder names, in label order: the index is the label."""

MANIFEST = "manifest.csv"

_LEFT_BY_WINDOWS = ("thumbs.db", "desktop.ini")
"""Files that a folder gets from being looked at; those of other systems begin with a dot."""

_PATIENT = re.compile(r"(person|IM-)0*(\d+)|(?<!\d)(\d{8})_\d{3}(?!\d)")
_PUBLIC = (
    re.compile(r"(NORMAL2-)?IM-\d{4}-\d{4}(-\d{4})?\.jpe?g", re.IGNORECASE),
    re.compile(r"person\d+_(bacteria|virus)_\d+(_\d+)?\.jpe?g", re.IGNORECASE),
)
_PUBLIC_COUNTS = ([1341, 3875], [1349, 3883])
"""Pictures of each class in the train split of the public set, without and with the 16 of the Kaggle copy's `val`."""


class DataError(Exception):
    """The data folder is not as expected. `str()` says what to do."""


@dataclass(frozen=True)
class PictureSet:
    """Pictures ready for the network.

    pictures: uint8 (n, size, size, 1). labels: float32 (n,), 1 is pneumonia.
    patients: (n,) of str. files: the source of each row.
    """

    pictures: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    files: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def only(self, mask: np.ndarray) -> "PictureSet":
        """The rows where `mask` (bool, (n,)) is true."""
        return PictureSet(
            self.pictures[mask],
            self.labels[mask],
            self.patients[mask],
            tuple(f for f, keep in zip(self.files, mask, strict=True) if keep),
        )

    def joined(self, other: "PictureSet") -> "PictureSet":
        """These rows, and those of `other` after them."""
        return PictureSet(
            np.concatenate([self.pictures, other.pictures]),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.patients, other.patients]),
            self.files + other.files,
        )

    def counts(self) -> dict[str, int]:
        """Pictures per class, and patients."""
        return {
            "normal": int((self.labels == 0).sum()),
            "pneumonia": int((self.labels == 1).sum()),
            "patients": len(set(self.patients)),
        }


def patient_of(file_name: str) -> str:
    """Who a picture shows: `person23_virus_4.jpeg` and `person23_bacteria_1.jpeg` are one patient.

    `IM-0115-0001` and `NORMAL2-IM-0115-0001` are counted as one too: whether the two
    series share their numbering is not documented, and together they cannot leak. Numbers hold within a split only.
    `00001280_004` and `00001280_005`, as the NIH archive of adults names its pictures, are one.
    A name of another pattern is a patient of its own.
    """
    match = _PATIENT.search(file_name)
    return match[3] or f"{match[1]}{match[2]}" if match else file_name


def is_public_train_split(files: Iterable[tuple[Path, int]]) -> bool:
    """Whether labelled files are, by names and counts, those of the public set's train split."""
    names: list[list[str]] = [[], []]
    for path, label in files:
        names[int(label)].append(path.name)
    return [len(each) for each in names] in _PUBLIC_COUNTS and all(
        pattern.fullmatch(name) for pattern, each in zip(_PUBLIC, names, strict=True) for name in each
    )


def printable(name: str) -> str:
    """The name of a file or folder as text; what in it is no UTF-8, which Linux allows, becomes a question mark."""
    return name.encode("utf-8", "replace").decode("utf-8")


def labelled_files(folder: Path) -> list[tuple[Path, int]]:
    """Every picture file under `folder`/{NORMAL,PNEUMONIA} with its label, in the order of names. Raises DataError."""
    files = []
    for label, name in enumerate(CLASSES):
        found = _pictures_in(folder / name)
        if not found:
            parts = [str(folder / part) for part in ("train", "test") if (folder / part / name).is_dir()]
            helps = (
                f"Name a part of it, {' or '.join(parts)}."
                if parts
                else "The data folder must hold {train,test}/{NORMAL,PNEUMONIA}; "
                "docs/training.md tells where to get the public set."
            )
            raise DataError(f"No pictures in {folder / name}. {helps}")
        files += [(path, label) for path in found]
    return files


def extra_files(folder: Path, data_dir: Path) -> tuple[list[tuple[Path, int]], int]:
    """The pictures under `folder`/{NORMAL,PNEUMONIA} that `data_dir` does not hold, with labels; and how many it does.

    So nothing of the test split or of validation is learned from. A picture is known by the
    SHA-256 of its file, or by that of the file as it was sent, which the manifest tells: what the
    site keeps has lost its metadata. One class may be empty. Raises DataError.
    """
    found = [(path, label) for label, name in enumerate(CLASSES) for path in _pictures_in(folder / name)]
    if not found:
        raise DataError(f"No pictures in {folder}. It must hold {{NORMAL,PNEUMONIA}}, as export_reviewed writes them.")
    try:
        known = {bundle.sha256(path) for path in data_dir.glob("*/*/*") if path.is_file()}
        sent = _manifest(folder / MANIFEST)
        kept = [
            (path, label)
            for path, label in found
            if not {bundle.sha256(path), sent.get(path.relative_to(folder).as_posix())} & known
        ]
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error
    return kept, len(found) - len(kept)


def _manifest(path: Path) -> dict[str, str]:
    """SHA-256 as sent by file name; nothing where there is no manifest. Raises DataError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row["file"]: row["sha256"] for row in csv.DictReader(file)}
    except FileNotFoundError:
        return {}
    except (KeyError, csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not what export_reviewed writes. Export the reviewed pictures again.") from error


def some_picture(folder: Path) -> None:
    """Raises DataError unless there is a readable picture in `folder` or below."""
    for path in sorted(folder.rglob("*")):
        try:
            if path.is_file():
                preprocessing.from_bytes(path.read_bytes(), 32)
                return
        except (images.PictureError, OSError):
            continue
    raise DataError(f"There are no pictures in {folder}.")


def _pictures_in(folder: Path) -> list[Path]:
    """All files in `folder`, but for hidden ones. Raises DataError where something else would be left out unsaid."""
    try:
        found = sorted(
            path
            for path in folder.iterdir()
            if not path.name.startswith(".") and path.name.lower() not in _LEFT_BY_WINDOWS
        )
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}.") from error
    for path in found:
        if not path.is_file():
            what = "a folder" if path.is_dir() else "a link that leads nowhere" if path.is_symlink() else "no file"
            raise DataError(f"{path} is {what}. Pictures must lie in {folder} itself: move or remove it.")
    return found


def load(folder: Path, size: int, *, progress: Callable[[int, int], None] | None = None) -> PictureSet:
    """Every picture under `folder`/{NORMAL,PNEUMONIA}, in the order of its name.

    progress: called with (done, total). Raises DataError.
    """
    files = labelled_files(folder)
    return _load(files, size, [patient_of(path.name) for path, _ in files], progress)


def load_extra(files: list[tuple[Path, int]], size: int) -> PictureSet:
    """The pictures `files`, see extra_files, each of a patient of its own. Raises DataError."""
    return _load(files, size, [f"extra {path.name}" for path, _ in files])


def _load(
    files: list[tuple[Path, int]],
    size: int,
    patients: list[str],
    progress: Callable[[int, int], None] | None = None,
) -> PictureSet:
    pictures = np.empty((len(files), size, size, 1), np.uint8)
    for index, (path, _) in enumerate(files):
        try:
            pictures[index] = preprocessing.from_bytes(path.read_bytes(), size)
        except (images.PictureError, OSError) as error:
            raise DataError(f"{path}: {error}") from error
        if progress:
            progress(index + 1, len(files))
    return PictureSet(
        pictures,
        np.array([label for _, label in files], np.float32),
        np.array(patients, str),
        tuple(path for path, _ in files),
    )


def who_stays_together(pictures: PictureSet) -> np.ndarray:
    """(n,) of str: the patient of each picture, or one name for all patients of whom the very same picture is there.

    Otherwise copies under another name would be both learned from and validated on. The name is that of the first
    patient, so adding a copy may move other pictures.
    """
    others: dict[str, str] = {}

    def one_of(patient: str) -> str:
        while patient in others:
            patient = others[patient]
        return patient

    first: dict[bytes, str] = {}
    for picture, patient in zip(pictures.pictures, pictures.patients.tolist(), strict=True):
        same = first.setdefault(hashlib.sha256(picture.tobytes()).digest(), patient)
        if one_of(same) != one_of(patient):
            others[one_of(patient)] = one_of(same)
    return np.array([one_of(patient) for patient in pictures.patients.tolist()])


def in_validation(patients: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Bool (n,): which pictures belong to validation.

    A hash of the patient decides. So all pictures of a patient are on one side, and adding pictures moves no other
    patient.
    """

    def drawn(patient: str) -> bool:
        digest = hashlib.sha256(os.fsencode(f"{seed}:{patient}")).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < share

    verdict = {patient: drawn(patient) for patient in set(patients.tolist())}
    return np.array([verdict[patient] for patient in patients.tolist()])
