"""Rows of bulk.classify as text, and how a file of them is resumed after an interruption."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import BinaryIO

from diagnosis.bulk import Row, name_of

COLUMNS = [field.name for field in fields(Row)]
_MODEL = COLUMNS.index("model_version")


class NotResumed(Exception):
    """A file of answers that cannot be resumed. `str()` says why, and what to do; nothing was changed."""


@dataclass(frozen=True)
class Format:
    """How rows are written.

    head: before the first row; between: before each further one; tail: after the last. done: the
    complete rows in a file of this format, as (name of the picture file, version of the model, offset at which the
    row ends); None for a format that cannot be resumed. It raises ValueError for a file that was not written here.
    """

    head: str
    row: Callable[[Row], str]
    between: str = ""
    tail: str = ""
    done: Callable[[BinaryIO], Iterator[tuple[str, str, int]]] | None = None

    def text(self, rows: Iterable[Row], *, after: int = 0) -> Iterator[str]:
        """`rows` as text, head and tail included; after: how many are written already, head included."""
        if not after:
            yield self.head
        for row in rows:
            yield (self.between if after else "") + self.row(row)
            after += 1
        yield self.tail


def resume(output: Path, layout: Format, files: Iterator[Path], model: str) -> int:
    """Make `output` ready for further rows, and skip those of `files` that have a row in it; returns how many.

    The rows must match `files` by name and order, and have been written by `model`, the version that answers. A row
    that was cut off is removed from the file. Raises NotResumed, OSError.
    """
    if not output.exists() or output.stat().st_size == 0:
        return 0
    if layout.done is None:
        raise NotResumed(f"{output} exists, and only csv and json files can be resumed. Choose another --output.")
    count, end = 0, 0
    with output.open("r+b") as file:
        try:
            for name, version, end in layout.done(file):  # noqa: B007  the last one is used below
                path = next(files, None)
                if path is None or name_of(path) != name:
                    following = "there is no further file" if path is None else f"{name_of(path)} is"
                    raise NotResumed(
                        f"Row {count + 1} of {output} is for {name}, where {following} now: it was written for other "
                        "files, or files were added or removed. Choose another --output."
                    )
                if version not in ("", model):
                    raise NotResumed(
                        f"Row {count + 1} of {output} was written by the model {version}, and {model} answers now. "
                        f"Choose another --output, or set MODEL_BUNDLE={version}."
                    )
                count += 1
        except ValueError:
            raise NotResumed(
                f"{output} was not written by this command in this format, so it was left unchanged. "
                "Choose another --output."
            ) from None
        file.truncate(end)
    return count


def _csv_line(values: Iterable) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(values)  # quotes what holds either of the two
    return line.getvalue().removesuffix("\r\n") + "\n"


def _csv_row(row: Row) -> str:
    return _csv_line(asdict(row).values())


def _csv_done(file: BinaryIO) -> Iterator[tuple[str, str, int]]:
    head = _csv_line(COLUMNS).encode()
    first = file.readline()
    if first != head:
        if head.startswith(first):
            return
        raise ValueError
    end, at_end = len(head), False

    def lines() -> Iterator[str]:
        nonlocal end, at_end
        for line in file:
            if not line.endswith(b"\n"):
                break
            end += len(line)
            yield line.decode()
        at_end = True

    try:
        for values in csv.reader(lines(), strict=True):
            if len(values) != len(COLUMNS):
                raise ValueError
            yield values[0], values[_MODEL], end
    except csv.Error:
        if not at_end:
            raise ValueError from None
        return  # cut off inside quotation marks


def _json_row(row: Row) -> str:
    return "  " + json.dumps(asdict(row), ensure_ascii=False)


def _json_done(file: BinaryIO) -> Iterator[tuple[str, str, int]]:
    first = file.readline()
    if first != b"[\n":
        if b"[\n".startswith(first):
            return
        raise ValueError
    start = len(first)
    for line in file:
        text = line.rstrip(b",\n")
        if text.strip() not in (b"", b"]"):
            try:
                row = json.loads(text)
            except ValueError:
                if line.endswith(b"\n"):
                    raise
                return  # cut off
            if not isinstance(row, dict) or list(row) != COLUMNS:
                raise ValueError
            yield row["file"], row["model_version"], start + len(text)
        start += len(line)


def _table_row(row: Row) -> str:
    numbers = "" if row.probability is None else f"{row.probability:>11.4f} {row.threshold:>9.4f}"
    reason = f": {row.error}" if row.error else ""
    return f"{row.status:<8} {row.prediction:<10} {numbers:>21}  {row.file}{reason}\n"


FORMATS = {
    "table": Format(f"{'status':<8} {'prediction':<10} {'probability':>11} {'threshold':>9}  file\n", _table_row),
    "csv": Format(_csv_line(COLUMNS), _csv_row, done=_csv_done),
    "json": Format("[\n", _json_row, between=",\n", tail="\n]\n", done=_json_done),
}
