"""Any number of picture files -> one row each, in order, on all cores and in constant memory. Nothing is stored."""

import os
import stat
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from diagnosis.inference import serving


@dataclass(frozen=True)
class Row:
    """The outcome for one file; empty where it does not apply.

    status: ok; rejected, by the gate; or error, of the file.
    """

    file: str
    status: str
    prediction: str = ""
    probability: float | None = None
    threshold: float | None = None
    model_version: str = ""
    chest_xray_score: float | None = None
    error: str = ""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def files(paths: Iterable[Path], *, leave_out: Path | None = None) -> Iterator[Path]:
    """The files that `paths` name: each as it is, a folder with all below it in the order of names.

    What begins with a dot is left out, and what is neither file nor folder. Links to folders are
    not followed, so that no circle is walked. Only the names of the folders on the way are held.
    leave_out: a file in one of the folders that is none of them, such as the one that rows are written to.
    """
    out = leave_out and leave_out.resolve()
    for path in paths:
        if _is_folder(path):
            yield from (file for file in _below(path) if not out or file.name != out.name or file.resolve() != out)
        else:
            yield path


def _below(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
    except OSError:
        yield folder  # which gets a row that says why
        return
    for name, is_folder in entries:
        path = folder / name
        if name.startswith("."):
            continue
        if is_folder:
            yield from _below(path)
        elif _is_file(path):
            yield path


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False  # a row says why it cannot be read


def _is_file(path: Path) -> bool:
    try:
        return path.is_file() or (path.is_symlink() and not path.is_dir())
    except OSError:
        return True  # the same


def name_of(path: Path) -> str:
    """How a row calls a file: its path, with \\x.. for what is no text."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


AHEAD = 64
"""Files for each worker that may be done, or wait, while the row of a slower one before them is awaited."""


def classify(paths: Iterable[Path], *, jobs: int) -> Generator[Row, None, None]:
    """A row for each of `paths`, in their order, on `jobs` threads; nothing a file is or holds raises.

    Decoding and the network leave Python's lock, so that threads use all cores, each with an interpreter
    of its own over one model. Raises serving.Unavailable without a classifier.
    """
    serving.classifier()
    remaining = iter(paths)
    with ThreadPoolExecutor(jobs, "classify") as workers:
        try:
            waiting: deque[Future[Row]] = deque()
            waiting.extend(workers.submit(_row, path) for path in islice(remaining, jobs * AHEAD))
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(workers.submit(_row, path) for path in islice(remaining, 1))
        finally:
            workers.shutdown(wait=False, cancel_futures=True)


def _row(path: Path) -> Row:
    name = name_of(path)
    try:
        about = path.stat()
        if stat.S_ISDIR(about.st_mode):
            os.scandir(path).close()  # raises what kept its files from being found
        if not stat.S_ISREG(about.st_mode):
            return Row(name, "error", error="This is no file of bytes, and was not opened.")
        serving.limits().check_bytes(about.st_size)
        finding = serving.diagnose(serving.read(path.read_bytes()))
    except serving.PictureError as error:
        return Row(name, "error", error=str(error))
    except OSError as error:
        return Row(name, "error", error=f"The file cannot be read: {error.strerror}")
    except MemoryError:
        return Row(name, "error", error="There is not enough memory for this picture.")
    score = None if finding.chest_xray_score is None else round(finding.chest_xray_score, 4)
    if not finding.accepted:
        return Row(
            name,
            "rejected",
            model_version=finding.model_version,
            chest_xray_score=score,
            error=str(serving.NOT_A_CHEST_XRAY),
        )
    return Row(
        name,
        "ok",
        finding.label,
        round(finding.probability, 4),
        round(finding.threshold, 4),
        finding.model_version,
        score,
    )
