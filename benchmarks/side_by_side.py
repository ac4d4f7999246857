"""The site under its production server beside the yardstick and the limit: `make bench`.

One after another, in rounds, so that what else the machine does meets all alike; told are medians over the
rounds. The site does everything: it asks for a token, counts for the throttle, and stores picture, thumbnail,
heatmap and rows. wrk posts real forms, each with another picture.
"""

import argparse
import os
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess  # nosec B404
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import limit
import psutil
import repository
import requests
from production import Site

from ml_model import bundle

CONNECTIONS = (1, 8, 32)


class Load(NamedTuple):
    """What wrk saw: answers a second, median and 99th percentile in milliseconds."""

    rate: float
    median: float
    p99: float


class Server(NamedTuple):
    """A running server and what it took to start."""

    process: psutil.Process
    url: str
    seconds_to_first_answer: float


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def running(command: list, port: int, env: dict[str, str], picture: bytes, bearer: str = "") -> Iterator[Server]:
    """The server that `command` starts, from its first answer on."""
    url = f"http://127.0.0.1:{port}"
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    env = {**os.environ, **env}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # it would have every start compile the program anew
    with tempfile.TemporaryFile() as log:
        started = time.perf_counter()
        process = subprocess.Popen(  # nosec B603
            [str(part) for part in command], cwd=repository.ROOT, env=env, stdout=log, stderr=log
        )
        try:
            while True:
                try:
                    answer = requests.post(f"{url}/predict", headers=headers, files={"file": picture}, timeout=60)
                    break
                except requests.ConnectionError:
                    if process.poll() is not None or time.perf_counter() - started > 120:
                        log.seek(0)
                        raise SystemExit(f"{command[:2]} does not start:\n{log.read().decode()[-2000:]}") from None
                    time.sleep(0.01)
            took = time.perf_counter() - started
            if answer.status_code != 200:
                raise SystemExit(f"{command[:2]} answers {answer.status_code}: {answer.text[:500]}")
            yield Server(psutil.Process(process.pid), url, took)
        finally:
            below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
            psutil.wait_procs(below, timeout=40)  # what was started beside the serving uses the folder, too


def load(url: str, connections: int, seconds: int, picture: Path, bearer: str = "") -> Load:
    """Let wrk post for `seconds`. Any answer but 200 ends the benchmark."""
    script = repository.ROOT / "benchmarks" / "post.lua"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", script, url, "--", picture]
    output = subprocess.run(  # nosec B603
        [*map(str, command), *filter(None, [bearer])], capture_output=True, text=True, check=True
    ).stdout
    answers, other, failed, took, median, p99 = map(float, output.rpartition("RESULT")[2].split())
    if other or failed:
        raise SystemExit(f"{url} at {connections}: {other:.0f} answers other than 200, {failed:.0f} failed.\n{output}")
    return Load(answers / took, median, p99)


class Memory(threading.Thread):
    """Watches the megabytes (PSS) of a process and all below it; its peak, and that of the largest below it."""

    def __init__(self, process: psutil.Process):
        super().__init__(daemon=True)
        self.process, self.whole, self.largest, self.stopped = process, 0.0, 0.0, threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(1):
            below = [megabytes(child) for child in self.process.children(recursive=True)]
            self.whole = max(self.whole, megabytes(self.process) + sum(below))
            self.largest = max([self.largest, *below])

    def __enter__(self) -> "Memory":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopped.set()
        self.join()


def megabytes(process: psutil.Process) -> float:
    try:
        return process.memory_full_info().pss / 1e6
    except psutil.NoSuchProcess:
        return 0.0


def check_stored(var: Path, at_least: int) -> None:
    """Every answer must have its row and its files."""
    with sqlite3.connect(var / "db.sqlite3") as database:
        (rows,) = database.execute("select count(*) from diagnosis_prediction where heatmap != ''").fetchone()
    files = [sum(1 for _ in (var / "media").rglob(name)) for name in ("xray.jpg", "thumbnail.jpg", "heatmap.png")]
    if rows < at_least or files != [rows] * 3:
        raise SystemExit(f"{at_least} answers, {rows} rows, {files} files")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8, help="of each load; by default %(default)s")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is needed: apt-get install wrk")
    picture, what = repository.full_size_jpeg()
    about = repository.machine("gunicorn", "Flask", "tensorflow", "keras", "ai-edge-litert", "pillow", "Django")
    figures: defaultdict[str, list[float]] = defaultdict(list)

    scratch = repository.ROOT / "var"
    scratch.mkdir(exist_ok=True)
    # Deleted when all is measured: a file system looks for a place longer while many files were deleted just before.
    with tempfile.TemporaryDirectory(dir=scratch, prefix="bench-") as everything:
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            folder = Path(everything, str(number))
            folder.mkdir()
            path = folder / "xray.jpg"
            path.write_bytes(picture)
            for name in ("yardstick", "site"):
                # Before each of them, since the speed of a shared machine changes within a round.
                passes = limit.loop([picture], options.seconds / 2)
                figures["limit median"].append(1000 * statistics.median(each.whole for each in passes))
                figures["limit one core"].append(len(passes) / (options.seconds / 2))
                figures["limit all cores"].append(limit.on_all_cores([picture], options.seconds / 2))
                if name == "site":
                    site = Site(folder, own_disk=False, LOG_LEVEL="WARNING")
                    port, env, bearer = site.port, site.environment, site.account()
                    command = [sys.executable, "-m", "pneumonia_site"]
                else:
                    port, env, bearer = free_port(), {"TF_CPP_MIN_LOG_LEVEL": "2", "KERAS_BACKEND": "tensorflow"}, ""
                    model = bundle.current() / bundle.KERAS_FILE
                    command = [sys.executable, "benchmarks/yardstick.py", model, port]
                with running(command, port, env, picture, bearer) as server:
                    figures[f"{name} start"].append(server.seconds_to_first_answer)
                    load(server.url, 8, 3, path, bearer)  # until every thread is warm
                    answers = 0.0
                    for connections in CONNECTIONS:
                        with Memory(server.process) as memory:
                            seen = load(server.url, connections, options.seconds, path, bearer)
                        if not seen.rate:
                            raise SystemExit(f"No answer in {options.seconds} s: the machine is too busy to measure.")
                        for figure, value in seen._asdict().items():
                            figures[f"{name} {figure} {connections}"].append(value)
                        answers += seen.rate * options.seconds
                    figures[f"{name} memory"].append(memory.whole)
                    figures[f"{name} worker"].append(memory.largest or memory.whole)
                if name == "site":
                    check_stored(site.var, int(answers))
    tell({name: statistics.median(values) for name, values in figures.items()}, about, what, options)


def tell(figure: dict[str, float], about: str, what: str, options: argparse.Namespace) -> None:
    """Write the report."""
    rows = []
    for connections in CONNECTIONS:
        ours, theirs = (f"{name} {{}} {connections}".format for name in ("site", "yardstick"))
        for title, key, unit in (
            ("answers a second", "rate", ""),
            ("median", "median", " ms"),
            ("99th percentile", "p99", " ms"),
        ):
            site, yardstick = figure[ours(key)], figure[theirs(key)]
            ratio = site / yardstick if key == "rate" else yardstick / site
            rows.append(
                [f"{title}, {connections} at a time", f"{yardstick:.1f}{unit}", f"{site:.1f}{unit}", f"{ratio:.1f}"]
            )
    for title, key, unit in (
        ("memory of all processes (PSS)", "memory", "MB"),
        ("start to first answer", "start", "s"),
    ):
        site, yardstick = figure[f"site {key}"], figure[f"yardstick {key}"]
        rows.append(
            [
                title,
                f"{yardstick:.{1 if unit == 's' else 0}f} {unit}",
                f"{site:.{1 if unit == 's' else 0}f} {unit}",
                f"{yardstick / site:.1f}",
            ]
        )
    gain = figure["site rate 8"] / figure["yardstick rate 8"]
    slower = figure["site median 1"] / figure["limit median"]
    targets = [
        ("answers a second at 8, in yardsticks", f"{gain:.1f}", "8 or more", gain >= 8),
        ("median of one connection, in limits", f"{slower:.2f}", "at most 2.5", slower <= 2.5),
        ("start to first answer", f"{figure['site start']:.1f} s", "within 3 s", figure["site start"] <= 3),
        ("largest worker", f"{figure['site worker']:.0f} MB", "at most 250 MB", figure["site worker"] <= 250),
    ]
    share = figure["site rate 8"] / figure["limit all cores"]
    repository.report(
        "Serving side by side",
        f"`make bench`: {what}; {options.rounds} rounds, {options.seconds:g} s for each load, medians. {about}\n\n"
        + repository.table(["", "yardstick", "site", "times better"], rows)
        + f"\nThe limit, decoding and one pass of the network alone: {figure['limit median']:.1f} ms "
        f"({figure['limit one core']:.0f} a second) on one core, {figure['limit all cores']:.0f} a second on all. "
        f"At 8 connections the site gives {100 * share:.0f} % of that. All answers were 200, and each has its row "
        "and files.\n\n"
        + repository.table(
            ["target", "measured", "asked for", ""], [[*row, "met" if met else "missed"] for *row, met in targets]
        ),
    )


if __name__ == "__main__":
    main()
