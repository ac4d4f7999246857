"""What is done to a tortured site: each does its harm for so many seconds, and has undone it when it returns."""

import contextlib
import io
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections import Counter

import requests
from PIL import Image

from benchmarks.clients import CLIENTS, Load, codes
from benchmarks.production import Site
from ml_model import phantom


class Skipped(Exception):
    """A cause that cannot be brought about here. `str()` says why."""


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
    end, answers = time.monotonic() + seconds, Counter()
    body = bytes(200_000_000)
    while time.monotonic() < end:
        with contextlib.suppress(requests.RequestException):
            answer = requests.post(f"{site.address}/predict", data=body, headers=load.headers, timeout=60)
            answers[answer.status_code] += 1
        with contextlib.suppress(requests.RequestException):
            answer = requests.post(f"{site.address}/predict", data=iter([b"x"] * 9), headers=load.headers, timeout=60)
            answers[answer.status_code] += 1
    load.cause.said = "200 MB and chunked: " + codes(answers)


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
    end, answers = time.monotonic() + seconds, Counter()

    def send(content: bytes) -> None:
        while time.monotonic() < end:
            with contextlib.suppress(requests.RequestException):
                answer = requests.post(
                    f"{site.address}/predict", files={"file": content}, headers=load.headers, timeout=60
                )
                answers[answer.status_code] += 1

    threads = [threading.Thread(target=send, args=[content]) for content in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.cause.said = f"{side} x {side} pixels in {len(files)} formats: {codes(answers)}"
    load.cause.answers[500] += answers[500]
