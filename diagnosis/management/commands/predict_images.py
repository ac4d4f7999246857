"""`manage.py predict_images PATH…`"""

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from diagnosis import inference


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


class Command(BaseCommand):
    help = "Classify picture files, and all files in folders; nothing is stored. A bad file is a row with its error."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "paths", nargs="+", type=Path, metavar="PATH", help="a file, or a folder with its subfolders"
        )
        parser.add_argument("--format", choices=list(FORMATS), default="table")
        parser.add_argument("--output", type=Path, metavar="FILE", help="write there instead of to the terminal")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            inference.classifier()
        except inference.Unavailable as error:
            raise CommandError(str(error)) from error
        files = list(_files(options["paths"]))
        # The bar goes to stderr and shows only on a terminal, so output can be piped.
        rows = map(_classify, tqdm(files, unit=" pictures", disable=None, leave=False))
        output: Path | None = options["output"]
        self.stdout.ending = ""  # lines come complete
        try:
            with output.open("w", newline="") if output else nullcontext(self.stdout) as target:
                for text in FORMATS[options["format"]](rows):
                    target.write(text)
        except BrokenPipeError:
            sys.stderr.close()  # the reader has gone, as with `| head`
        except OSError as error:
            raise CommandError(f"{output} cannot be written: {error.strerror}") from error


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        else:
            yield path


def _classify(path: Path) -> Row:
    try:
        inference.limits().check_bytes(path.stat().st_size)
        finding = inference.diagnose(path.read_bytes())
    except inference.PictureError as error:
        return Row(str(path), "error", error=str(error))
    except OSError as error:
        return Row(str(path), "error", error=f"The file cannot be read: {error.strerror}")
    score = None if finding.chest_xray_score is None else round(finding.chest_xray_score, 4)
    if not finding.accepted:
        return Row(
            str(path),
            "rejected",
            model_version=finding.model_version,
            chest_xray_score=score,
            error=str(inference.NOT_A_CHEST_XRAY),
        )
    return Row(
        str(path),
        "ok",
        finding.label,
        round(finding.probability, 4),
        round(finding.threshold, 4),
        finding.model_version,
        score,
    )


def _csv(rows: Iterable[Row]) -> Iterator[str]:
    line = io.StringIO()
    writer = csv.DictWriter(line, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        yield line.getvalue()
        line.seek(0)
        line.truncate()
        writer.writerow(asdict(row))
    yield line.getvalue()


def _json(rows: Iterable[Row]) -> Iterator[str]:
    before = "[\n  "
    for row in rows:
        yield before + json.dumps(asdict(row), ensure_ascii=False)
        before = ",\n  "
    yield "\n]\n" if before.startswith(",") else "[]\n"


def _table(rows: Iterable[Row]) -> Iterator[str]:
    yield f"{'status':<8} {'prediction':<10} {'probability':>11} {'threshold':>9}  file\n"
    for row in rows:
        numbers = "" if row.probability is None else f"{row.probability:>11.4f} {row.threshold:>9.4f}"
        reason = f": {row.error}" if row.error else ""
        yield f"{row.status:<8} {row.prediction:<10} {numbers:>21}  {row.file}{reason}\n"


FORMATS = {"table": _table, "csv": _csv, "json": _json}
