"""What the site does while everything around it fails: `python benchmarks/torture.py`, or `make torture`.

Runs the production server on a disk of its own, a small tmpfs where that can be mounted. 32 clients post distinct
pictures, each under an Idempotency-Key, and send again what got no answer or one of a failing machine. Meanwhile
workers are killed, the server restarted, the disk filled and so on. Afterwards the database and the files are read
without the program, and every answer 200 must be there. Writes benchmarks/FAULTS.md. Linux alone.
"""

import argparse
import contextlib
import io
import os
import platform
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import requests
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.production import Site  # noqa: E402
from ml_model import phantom  # noqa: E402

CLIENTS = 32
BACK_WITHIN = 10.0  # seconds


class Skipped(Exception):
    """A cause that cannot be brought about here. `str()` says why."""


@dataclass
class Cause:
    """What was done, and what the clients saw of it. answers: by HTTP status; broken: connections without an answer."""

    name: str
    seconds: float = 0.0
    answers: Counter = field(default_factory=Counter)
    broken: int = 0
    back_after: float | None = None
    memory_mb: float = 0.0
    said: str = ""


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


class Load:
    """32 clients that never give up on a picture, and what they were told."""

    def __init__(self, site: Site, token: str):
        self.site, self.headers = site, {"Authorization": f"Bearer {token}"}
        self.cause = Cause("the first start")
        self.accepted: dict[str, tuple[str, str]] = {}
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.bases = [np.asarray(phantom.draw(480, 420, opacity=n % 2, seed=n)) for n in range(8)]
        self.threads = [threading.Thread(target=self._client, args=[n], daemon=True) for n in range(CLIENTS)]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Let each client end with an answer 200."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(120)

    def picture(self, chance: random.Random) -> bytes:
        """A phantom with a spot of its own."""
        pixels = chance.choice(self.bases).copy()
        x, y = chance.randrange(40, 400), chance.randrange(40, 360)
        pixels[y : y + 12, x : x + 12] = [[chance.randrange(256)] * 12 for _ in range(12)]
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=80)
        return file.getvalue()

    def _client(self, number: int) -> None:
        chance = random.Random(number)  # noqa: S311  # nosec B311
        session = requests.Session()
        while not self.stopping.is_set():
            key, picture = str(uuid.UUID(int=chance.getrandbits(128))), self.picture(chance)
            while not self.send(session, key, picture):
                time.sleep(0.1 + 0.2 * chance.random())

    def send(self, session: requests.Session, key: str, picture: bytes) -> bool:
        """Post one picture; whether the answer is final."""
        cause = self.cause
        try:
            answer = session.post(
                f"{self.site.address}/predict",
                files={"file": ("xray.jpg", picture)},
                headers={**self.headers, "Idempotency-Key": key},
                timeout=60,
            )
        except requests.RequestException:
            with self.lock:
                cause.broken += 1
            return False
        with self.lock:
            cause.answers[answer.status_code] += 1
            if answer.status_code == 200:
                told = answer.json()
                self.accepted[key] = (told["id"], told["sha256"])
            elif answer.status_code != 422 and not answer.text.strip().endswith(("}", ".")):
                cause.said = f"{answer.status_code} without a sentence"
        return answer.status_code < 500 and answer.status_code != 408

    def wait_for_answers(self, number: int = 1, patience: float = 120) -> float:
        """Seconds until so many further pictures were accepted."""
        start, goal = time.monotonic(), len(self.accepted) + number
        while len(self.accepted) < goal:
            if time.monotonic() - start > patience:
                raise RuntimeError(f"No picture was accepted for {patience} seconds during: {self.cause.name}")
            time.sleep(0.02)
        return time.monotonic() - start


# --- The causes: each does its harm for so many seconds, and has undone it when it returns --------------------------


def nothing(site: Site, load: Load, seconds: float) -> None:
    time.sleep(seconds)


def kill_workers(site: Site, load: Load, seconds: float) -> None:
    end, killed = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        time.sleep(random.uniform(0.2, 0.8))  # noqa: S311  # nosec B311
        if workers := site.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(workers), signal.SIGKILL)  # noqa: S311  # nosec B311
                killed += 1
    load.cause.said = f"{killed} workers killed"


def restart(site: Site, load: Load, seconds: float) -> None:
    """Stopped as systemd does it."""
    _stop_and_start(site, load, seconds, signal.SIGTERM)


def kill_server(site: Site, load: Load, seconds: float) -> None:
    """All its processes at once, as when the power goes."""
    _stop_and_start(site, load, seconds, signal.SIGKILL)


def _stop_and_start(site: Site, load: Load, seconds: float, how: int) -> None:
    end, times, longest = time.monotonic() + seconds, 0, 0.0
    while time.monotonic() < end:
        site.stop(how)
        site.start()
        longest = max(longest, load.wait_for_answers())
        load.wait_for_answers(CLIENTS)
        times += 1
    load.cause.said = f"{times} times; a picture was accepted at most {longest:.1f} s after the start"


def reload(site: Site, load: Load, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        site.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
        time.sleep(2.5)


def full_disk(site: Site, load: Load, seconds: float) -> None:
    if not site.is_disk:
        raise Skipped("a small disk cannot be mounted here (needs root)")
    filler = site.var / "filler"
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end:  # again and again: what fails frees room
            with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
                while True:
                    file.write(bytes(1 << 16))
            with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
                while True:
                    file.write(bytes(512))
            time.sleep(0.05)
    finally:
        filler.unlink()


def read_only_database(site: Site, load: Load, seconds: float) -> None:
    """The server opens it anew, as it does by and by."""
    database = site.var / "db.sqlite3"
    if os.geteuid() == 0:  # to whom permissions mean nothing
        harm, undo = ["chattr", "+i", str(database)], ["chattr", "-i", str(database)]
    else:
        harm, undo = ["chmod", "a-w", str(database)], ["chmod", "u+w", str(database)]
    if not shutil.which(harm[0]) or subprocess.run(harm, capture_output=True, check=False).returncode:
        raise Skipped("the file system of the database knows no files that cannot be changed")
    try:
        site.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
        time.sleep(seconds)
    finally:
        subprocess.run(undo, check=True)


def locked_database(site: Site, load: Load, seconds: float) -> None:
    with contextlib.closing(sqlite3.connect(site.var / "db.sqlite3", isolation_level=None, timeout=60)) as database:
        database.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        database.execute("ROLLBACK")


def slow_clients(site: Site, load: Load, seconds: float) -> None:
    beginnings = [
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\nhalf",
        b"",
        b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n",  # and never hangs up
    ]
    end, opened, clients = time.monotonic() + seconds, 0, []
    while time.monotonic() < end:
        for _ in range(25):
            with contextlib.suppress(OSError):
                client = socket.create_connection(("127.0.0.1", site.port), timeout=1)
                client.sendall(beginnings[opened % len(beginnings)])
                clients.append(client)
                opened += 1
        for client in clients[-900:]:
            with contextlib.suppress(OSError):
                client.send(b"x", socket.MSG_DONTWAIT)
        for client in clients[:-900]:
            client.close()
        del clients[:-900]
        time.sleep(0.2)
    for client in clients:
        client.close()
    load.cause.said = f"{opened} slow or half requests, 900 at a time"


def huge_bodies(site: Site, load: Load, seconds: float) -> None:
    end, codes = time.monotonic() + seconds, Counter()
    body = bytes(200_000_000)
    while time.monotonic() < end:
        with contextlib.suppress(requests.RequestException):
            answer = requests.post(f"{site.address}/predict", data=body, headers=load.headers, timeout=60)
            codes[answer.status_code] += 1
        with contextlib.suppress(requests.RequestException):
            answer = requests.post(f"{site.address}/predict", data=iter([b"x"] * 9), headers=load.headers, timeout=60)
            codes[answer.status_code] += 1
    load.cause.said = "200 MB and chunked: " + _codes(codes)


def dear_pictures(site: Site, load: Load, seconds: float) -> None:
    """As many pixels as are allowed, in the formats that take longest."""
    side = 7700
    picture = phantom.draw(770, 770).resize((side, side), Image.Resampling.NEAREST)
    files = []
    for name, options in (
        ("JPEG", {"quality": 50, "progressive": True}),
        ("PNG", {"compress_level": 1}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ):
        file = io.BytesIO()
        picture.save(file, name, **options)
        files.append(file.getvalue())
    end, codes = time.monotonic() + seconds, Counter()

    def send(content: bytes) -> None:
        while time.monotonic() < end:
            with contextlib.suppress(requests.RequestException):
                answer = requests.post(
                    f"{site.address}/predict", files={"file": content}, headers=load.headers, timeout=60
                )
                codes[answer.status_code] += 1

    threads = [threading.Thread(target=send, args=[content]) for content in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.cause.said = f"{side} x {side} pixels in {len(files)} formats: {_codes(codes)}"
    load.cause.answers[500] += codes[500]


@dataclass(frozen=True)
class Plan:
    name: str
    do: Callable[[Site, Load, float], None]
    seconds: float
    seconds_in_short: float


PLAN = [
    Plan("nothing", nothing, 15, 1),
    Plan("workers killed with -9", kill_workers, 45, 3),
    Plan("server stopped and started", restart, 20, 0),
    Plan("server killed as a whole", kill_server, 20, 1),
    Plan("graceful reloads", reload, 15, 2.5),
    Plan("disk full", full_disk, 30, 3),
    Plan("database read-only", read_only_database, 20, 4),
    Plan("database locked by another program", locked_database, 25, 0),
    Plan("half requests and slowloris", slow_clients, 40, 2),
    Plan("bodies of 200 MB", huge_bodies, 15, 1),
    Plan("pictures dear to decode", dear_pictures, 25, 1),
    Plan("nothing again", nothing, 10, 1),
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
            except Skipped as reason:
                cause.said = f"skipped: {reason}"
            cause.seconds = time.monotonic() - start
            cause.memory_mb = site.memory_mb()
            tell(
                f"{cause.name}: {cause.seconds:.0f} s, {_codes(cause.answers)}, {cause.broken} broken, "
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


def _codes(answers: Counter) -> str:
    return ", ".join(f"{number} x {code}" for code, number in sorted(answers.items()) if number) or "no answers"


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
            f"| {cause.name} | {cause.seconds:.0f} | {_codes(cause.answers)} | {cause.broken} | {back} "
            f"| {cause.memory_mb:.0f} MB | {cause.said} |"
        )
    total = sum(report.answers.values()) + sum(cause.broken for cause in report.causes)
    lines += [
        "",
        f"- Requests: {total}. Answers by code: {_codes(report.answers)}. Pictures accepted: {report.accepted}.",
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
