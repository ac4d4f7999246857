"""What the site does while everything around it fails: `python benchmarks/torture.py`, or `make torture`.

Runs the production server on a disk of its own, a small tmpfs where that can be mounted. 32 clients post distinct
pictures, each under an Idempotency-Key, and send again what got no answer or one of a failing machine. Meanwhile
workers are killed, the server restarted, the disk filled and so on. Afterwards the database and the files are read
without the program, and every answer 200 must be there. Writes benchmarks/FAULTS.md. Linux alone.
"""

import argparse
import contextlib
import os
import platform
import sqlite3
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import harms  # noqa: E402
from benchmarks.clients import CLIENTS, Cause, Load, codes  # noqa: E402
from benchmarks.production import Site  # noqa: E402

BACK_WITHIN = 10.0  # seconds


@dataclass
class Report:
    """How it ended; `lost` counts everything that should not be."""

    causes: list[Cause]
    accepted: int
    lost: dict[str, int]
    swept: int
    memory_mb: float
    server_errors: list[str]

    @property
    def answers(self) -> Counter:
        return sum((cause.answers for cause in self.causes), Counter())


@dataclass(frozen=True)
class Plan:
    name: str
    do: Callable[[Site, Load, float], None]
    seconds: float
    seconds_in_short: float


PLAN = [
    Plan("nothing", harms.nothing, 15, 1),
    Plan("workers killed with -9", harms.kill_workers, 45, 3),
    Plan("server stopped and started", harms.restart, 20, 0),
    Plan("server killed as a whole", harms.kill_server, 20, 1),
    Plan("graceful reloads", harms.reload, 15, 2.5),
    Plan("disk full", harms.full_disk, 30, 3),
    Plan("database read-only", harms.read_only_database, 20, 4),
    Plan("database locked by another program", harms.locked_database, 25, 0),
    Plan("half requests and slowloris", harms.slow_clients, 40, 2),
    Plan("bodies of 200 MB", harms.huge_bodies, 15, 1),
    Plan("pictures dear to decode", harms.dear_pictures, 25, 1),
    Plan("nothing again", harms.nothing, 10, 1),
]


def run(folder: Path, *, short: bool = False, tell: Callable[[str], None] = print) -> Report:
    """Do it all in `folder`."""
    site = Site(folder)
    try:
        load = Load(site, site.account())
        site.start()
        causes = [load.cause]
        load.start()
        load.cause.back_after = load.cause.seconds = load.wait_for_answers()
        load.wait_for_answers(CLIENTS)
        for plan in PLAN:
            seconds = plan.seconds_in_short if short else plan.seconds
            if not seconds:
                continue
            cause = load.cause = Cause(plan.name)
            causes.append(cause)
            start = time.monotonic()
            try:
                plan.do(site, load, seconds)
                cause.back_after = load.wait_for_answers()
            except harms.Skipped as reason:
                cause.said = f"skipped: {reason}"
            cause.seconds = time.monotonic() - start
            cause.memory_mb = site.memory_mb()
            tell(
                f"{cause.name}: {cause.seconds:.0f} s, {codes(cause.answers)}, {cause.broken} broken, "
                f"{cause.memory_mb:.0f} MB in {len(site.workers())} workers. {cause.said}"
            )
        load.stop()
        time.sleep(1)
        memory = site.memory_mb()
        site.stop()
        swept = int(site.manage("sweep", "--older-than", "0").split()[1])
        lost = check(site.var, load.accepted)
        errors = [line for line in site.log.read_text().splitlines() if '"status": 500' in line]
        return Report(causes, len(load.accepted), lost, swept, memory, errors)
    finally:
        site.close()


def check(var: Path, accepted: dict[str, tuple[str, str]]) -> dict[str, int]:
    """Read database and files without the program, and count what should not be."""
    media = var / "media"
    with contextlib.closing(sqlite3.connect(var / "db.sqlite3")) as rows:
        uploads = {
            key: (pk, sha256, [file, thumbnail])
            for pk, key, sha256, file, thumbnail in rows.execute(
                "SELECT id, idempotency_key, sha256, file, thumbnail FROM diagnosis_upload ORDER BY created"
            )
        }
        number = rows.execute("SELECT count(*) FROM diagnosis_upload WHERE idempotency_key != ''").fetchone()[0]
        named = len({key for key in uploads if key})
        predictions: dict[str, list[tuple[str, str]]] = {}
        for pk, upload, heatmap in rows.execute("SELECT id, upload_id, heatmap FROM diagnosis_prediction"):
            predictions.setdefault(upload, []).append((pk, heatmap))
        files = [name for _, file, thumbnail in _files(rows) for name in (file, thumbnail)]
    lost: Counter = Counter()
    for key, (told, sha256) in accepted.items():
        if key not in uploads or uploads[key][1] != sha256:
            lost["answers 200 that are not in the database"] += 1
            continue
        made = predictions.get(uploads[key][0], [])
        lost["keys without exactly one prediction"] += len(made) != 1
        lost["answers 200 whose prediction is another"] += uuid.UUID(told).hex not in [pk for pk, _ in made]
    files += [heatmap for made in predictions.values() for _, heatmap in made if heatmap]
    lost["keys with more than one upload"] = number - named
    lost["rows without their file"] = sum(not _is_picture(media / name) for name in files)
    there = {str(path.relative_to(media)) for path in media.rglob("*") if path.is_file()}
    lost["files without a row"] = len(there - set(files))
    with contextlib.closing(sqlite3.connect(var / "db.sqlite3")) as rows:
        rows.create_function("REGEXP", 2, lambda *_: True)
        lost["damage to the database"] = int(rows.execute("PRAGMA integrity_check").fetchone() != ("ok",))
    return dict(lost)


def _files(rows: sqlite3.Connection) -> Iterator[tuple[str, str, str]]:
    return rows.execute("SELECT id, file, thumbnail FROM diagnosis_upload")


def _is_picture(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            picture.load() if path.stat().st_size < 1_000_000 else picture.verify()
    except (OSError, SyntaxError):
        return False
    return True


def write(report: Report, path: Path) -> None:
    """The report as Markdown."""
    lines = [
        "# Faults",
        "",
        f"Written by `make torture` on {platform.system()} with {os.cpu_count()} CPU cores and Python "
        f"{platform.python_version()}: the production server under {CLIENTS} clients that post distinct pictures under "
        "Idempotency-Keys, and send again what got no answer or one of a failing machine. 422 is a picture that the "
        "gate refuses, which is kept too. An answer counts for the cause during which its request was "
        "sent, so the last requests of a cause may meet the next one.",
        "",
        "| cause | seconds | answers by code | broken or refused | first 200 after its end | memory (PSS) | |",
        "|---|---|---|---|---|---|---|",
    ]
    for cause in report.causes:
        back = "" if cause.back_after is None else f"{cause.back_after:.1f} s"
        lines.append(
            f"| {cause.name} | {cause.seconds:.0f} | {codes(cause.answers)} | {cause.broken} | {back} "
            f"| {cause.memory_mb:.0f} MB | {cause.said} |"
        )
    total = sum(report.answers.values()) + sum(cause.broken for cause in report.causes)
    lines += [
        "",
        f"- Requests: {total}. Answers by code: {codes(report.answers)}. Pictures accepted: {report.accepted}.",
        f"- **Lost: {sum(report.lost.values())}** ("
        + ", ".join(f"{name}: {number}" for name, number in report.lost.items())
        + ").",
        f"- Files that killed processes left without a row, and `sweep` removed: {report.swept}.",
        f"- Memory of all processes (PSS): {report.memory_mb:.0f} MB at the end.",
        f"- Errors 500 in the server's log: {len(report.server_errors)}.",
    ]
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="each cause for a few seconds")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "FAULTS.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        report = run(Path(folder), short=options.short)
    write(report, options.output)
    print(options.output.read_text())
    slow = [cause.name for cause in report.causes if (cause.back_after or 0) > BACK_WITHIN]
    if sum(report.lost.values()) or report.answers[500] or report.server_errors or slow:
        sys.exit(f"Lost: {report.lost}. Errors 500: {report.answers[500]}. Back too late after: {slow}")


if __name__ == "__main__":
    main()
