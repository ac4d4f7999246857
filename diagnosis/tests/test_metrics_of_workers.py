"""Metrics under the server of production: several workers, one answer."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from django.conf import settings as django_settings

TOKEN = "of-a-scraper"


COMMAND = [sys.executable, "-m", "gunicorn", "--config", "pneumonia_site/gunicorn.py"]


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if name not in ("ALLOWED_HOSTS", "DATABASE_URL", "HTTPS")}
    told = {
        "VAR_DIR": str(tmp_path),
        "BIND": f"127.0.0.1:{port}",
        "WEB_CONCURRENCY": "2",
        "METRICS_TOKEN": TOKEN,
        "SECRET_KEY": TOKEN * 9,
        "ANONYMOUS_UPLOADS": "True",
    }
    return {**kept, **told}


@pytest.fixture
def server(tmp_path, environment) -> Iterator[tuple[str, subprocess.Popen]]:
    """gunicorn as `make production` runs it, with two workers; its address and its process."""
    pytest.importorskip("gunicorn")
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        COMMAND, cwd=django_settings.BASE_DIR, env=environment, stdout=log, stderr=subprocess.STDOUT
    )
    address = f"http://{environment['BIND']}"
    try:
        eventually(
            lambda: requests.get(f"{address}/readyz", timeout=5).status_code == 200, (tmp_path / "log").read_text
        )
        yield address, process
    finally:
        process.terminate()
        process.wait(60)
        log.close()


def eventually(happened: Callable[[], bool], told: Callable[[], str] = str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(requests.RequestException):
            if happened():
                return
        time.sleep(0.2)
    raise AssertionError(f"It did not happen within a minute. {told()}")


def figure(address: str, name: str) -> float:
    answer = requests.get(f"{address}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
    assert answer.status_code == 200
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", answer.text, re.MULTILINE))


def workers(process: subprocess.Popen) -> list[int]:
    found = subprocess.run(
        ["pgrep", "-P", str(process.pid), "-f", "gunicorn"], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in found.stdout.split()]


@pytest.mark.skipif(not shutil.which("pgrep") or not Path("/dev/shm").is_dir(), reason="needs pgrep and /dev/shm")
def test_another_start_at_the_same_address_is_refused_and_harms_nothing(server, environment):
    address, process = server
    requests.get(f"{address}/model/", timeout=30)
    counted = figure(address, "pneumonia_site_http_requests_total")
    another = subprocess.run(
        COMMAND,
        cwd=django_settings.BASE_DIR,
        env={**environment, "SECRET_KEY": "short"},
        capture_output=True,
        text=True,
    )
    assert another.returncode == 1
    assert "SECRET_KEY is short" in another.stderr
    assert re.search(r"Connection in use: \('127\.0\.0\.1', \d+\)", another.stderr)
    assert figure(address, "pneumonia_site_http_requests_total") > counted > 0
    for pid in workers(process):  # those that take their place count too
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: figure(address, "pneumonia_site_http_requests_total") > counted)


@pytest.mark.skipif(not shutil.which("pgrep") or not Path("/dev/shm").is_dir(), reason="needs pgrep and /dev/shm")
def test_every_worker_counts_and_none_is_lost_with_it(server, xray, tmp_path):
    address, process = server
    for _ in range(6):  # each on a connection of its own, so that both workers get some
        answer = requests.post(f"{address}/predict", files={"file": ("Jane Doe.jpg", xray(size=(96, 80)))}, timeout=30)
        assert answer.status_code == 200
    assert {figure(address, "pneumonia_site_predictions_total") for _ in range(8)} == {6}
    first = workers(process)
    assert len(first) == 2
    for pid in first:
        os.kill(pid, signal.SIGKILL)
    eventually(
        lambda: not set(first) & set(workers(process)) and figure(address, "pneumonia_site_decode_seconds_count") == 6
    )
    assert figure(address, "pneumonia_site_predictions_total") == 6
    host, port = address.removeprefix("http://").split(":")
    for bad in (b"GET /history/?name=Jane Doe HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nJane Doe: x\r\n\r\n"):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(bad)
            assert b" 400 " in connection.recv(100)
    (folder,) = (
        path
        for path in Path("/dev/shm").glob("pneumonia-site-metrics-*")
        if (path / f"histogram_{process.pid}.db").exists()
    )
    of_the_first = {f"{kind}_{pid}.db" for kind in ("counter", "histogram") for pid in first}
    eventually(lambda: not of_the_first & {path.name for path in folder.glob("*.db")})
    assert {"counter_gone.db", "histogram_gone.db"} <= {path.name for path in folder.glob("*.db")}
    said = (tmp_path / "log").read_text()
    assert "Jane" not in said
    process.terminate()
    process.wait(60)
    assert not folder.exists(), "and the memory is given back"
    assert '"logger": "gunicorn.error", "message": "Invalid request from' in said
    assert "was sent" in said, "and of a killed worker it is told"
