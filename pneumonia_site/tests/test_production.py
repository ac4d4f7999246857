"""The production server, as `make production` runs it: real gunicorn processes."""

import os
import re
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from django.conf import settings as django_settings

from benchmarks import torture
from benchmarks.production import Site
from pneumonia_site.tests.conftest import exchange

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="looks into processes through /proc")

WITHOUT_PRELOAD = """
from pathlib import Path
exec(compile(Path("pneumonia_site/gunicorn.py").read_text(), str(Path("pneumonia_site/gunicorn.py").resolve()), "exec"))
preload_app = False
import pneumonia_site.worker
pneumonia_site.worker.HEAD_SECONDS = 2
def on_starting(server):  # nor anything else of the site in the parent
    pass
"""

SLOW_TO_BOOT = """
import time
from pathlib import Path
path = Path("pneumonia_site/gunicorn.py").resolve()
exec(compile(path.read_text(), str(path), "exec"))
ours = post_fork
def post_fork(server, worker):
    time.sleep(3)
    ours(server, worker)
"""


def post_many(site: Site, xray: bytes, number: int) -> list[int]:
    def post(_: int) -> int:
        return requests.post(f"{site.address}/predict", files={"file": ("xray.jpg", xray)}, timeout=60).status_code

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(post, range(number)))


def assert_workers_serve_with_litert_alone(site: Site) -> None:
    workers = site.workers()
    assert len(workers) == 2
    for pid in workers:
        mapped = Path(f"/proc/{pid}/maps").read_text()
        assert "/tensorflow/" not in mapped
        assert re.search(r"r--s .*pneumonia_cnn\.tflite", mapped), "the network's file is mapped, and so shared"


def test_several_workers_answer_with_preloading(site, xray):
    assert post_many(site, xray(), 24) == [200] * 24
    assert_workers_serve_with_litert_alone(site)


def test_several_workers_answer_without_preloading(tmp_path, xray):
    (tmp_path / "configuration.py").write_text(
        WITHOUT_PRELOAD.replace(
            "pneumonia_site/gunicorn.py", str(django_settings.BASE_DIR / "pneumonia_site" / "gunicorn.py")
        )
    )
    served = Site(tmp_path, own_disk=False, ANONYMOUS_UPLOADS="True", WEB_CONCURRENCY="2")
    try:
        served.manage("migrate", "--verbosity", "0")
        served.start(str(tmp_path / "configuration.py"))
        served.wait()
        assert post_many(served, xray(), 16) == [200] * 16
        assert_workers_serve_with_litert_alone(served)
        answer = exchange(served, b"GET / HTTP/1.1\r\nX-Slow: ")
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout")
        assert answer.endswith(b"please try again.\n")
    finally:
        served.close()


def test_a_bare_start_says_what_is_not_set(site):
    said = site.log.read_text()
    assert "ALLOWED_HOSTS is not set, so this machine alone is served" in said
    assert requests.get(site.address, headers={"Host": "xray.example.org"}, timeout=30).status_code == 400


@pytest.mark.parametrize("address", ["/healthz", "/model/", "/api/models/"])
def test_whoever_asks_for_the_head_alone_gets_it_and_no_warning_is_logged(site, address):
    said = len(site.log.read_text())
    answer = requests.head(f"{site.address}{address}", timeout=30)
    assert (answer.status_code, answer.content) == (200, b"")
    assert "WARNING" not in site.log.read_text()[said:]


@pytest.mark.parametrize("said", ["=base64", "=hex", "=undefined", "=idna", "*=utf-8''base64", "*=nonsense''utf-8"])
def test_no_charset_that_a_request_names_keeps_it_from_an_answer(site, said):
    headers = {"Content-Type": f"text/plain; charset{said}"}
    assert requests.get(f"{site.address}/model/?a=b", headers=headers, timeout=30).status_code == 200
    for body, status in {b"": 400, b"x": 415}.items():
        answer = requests.post(f"{site.address}/predict?a=b", body, headers=headers, timeout=30)
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")


def test_nobody_else_of_the_machine_reads_the_database(site):
    def modes() -> set[int]:
        return {path.stat().st_mode & 0o777 for path in site.var.glob("db.sqlite3*")}

    assert modes() == {0o600}
    (site.var / "db.sqlite3").chmod(0o644)  # as earlier versions made it
    site.manage("migrate", "--check")  # like every command that reads the database
    assert modes() == {0o600}


def test_what_is_kept_is_looked_after_without_a_model_and_the_check_tells_of_it(site, monkeypatch, tmp_path):
    monkeypatch.setitem(site.environment, "MODEL_BUNDLE", "2026.99")
    assert "Would delete" in site.manage("purge", "--older-than", "30", "--dry-run")
    assert "holds" in site.manage("backup", str(tmp_path / "backup.zip"))
    site.manage("clearsessions")
    with pytest.raises(RuntimeError, match=r"diagnosis\.E001"):
        site.manage("check")


@pytest.mark.parametrize("other", ["X-Forwarded-Ssl: on", "X-Forwarded-Protocol: ssl", "X-Forwarded-Proto: https"])
def test_no_caller_says_how_requests_came(site, other):
    head = f"GET /healthz HTTP/1.0\r\nHost: localhost\r\nX-Forwarded-Proto: http\r\n{other}\r\n\r\n"
    assert b" 200 OK" in exchange(site, head.encode())


def test_a_worker_that_is_killed_is_replaced(site, xray):
    killed = site.workers()
    for pid in killed:
        subprocess.run(["kill", "-9", str(pid)], check=True)
    site.wait()
    assert post_many(site, xray(), 4) == [200] * 4
    assert not set(killed) & set(site.workers())


def test_a_site_whose_counts_were_cleared_away_serves_on(site, xray):
    assert post_many(site, xray(), 4) == [200] * 4
    mapped = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in site.workers())
    shutil.rmtree(re.search(r" (/\S+)/counter_\d+\.db", mapped)[1])
    for pid in site.workers():
        os.kill(pid, signal.SIGKILL)
    site.wait()
    assert post_many(site, xray(), 4) == [200] * 4


def test_a_reload_loses_no_request(site, xray):
    before = site.workers()
    site.process.send_signal(signal.SIGHUP)
    assert post_many(site, xray(), 24) == [200] * 24
    deadline = time.monotonic() + 60
    while set(before) & set(site.workers()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not set(before) & set(site.workers())
    assert len(site.workers()) == 2
    assert b" 400 " in exchange(site, b"GET / HTTP/1.1\r\nJane Doe: x\r\n\r\n")
    assert "Invalid request from" in site.log.read_text()
    assert "Jane" not in site.log.read_text(), "the log is as careful as before"


def test_a_stop_reaches_workers_that_are_still_booting(tmp_path):
    configuration = tmp_path / "configuration.py"
    configuration.write_text(SLOW_TO_BOOT)
    served = Site(tmp_path, own_disk=False, WEB_CONCURRENCY="2")
    try:
        served.start(str(configuration))
        deadline = time.monotonic() + 60
        while served.log.read_text().count("Booting worker") < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        served.process.terminate()
        assert served.process.wait(20) == 0, "not after the 30 s that requests in flight would have"
        assert "SIGKILL" not in served.log.read_text()
    finally:
        served.close()


@pytest.fixture
def collected():
    if not (django_settings.STATIC_ROOT / "staticfiles.json").exists():
        pytest.skip("needs the collected files: make static")


def test_style_sheets_and_scripts_are_compressed_and_kept(site, collected):
    page = requests.get(site.address, timeout=30).text
    for name in re.findall(r'(?:href|src)="(/static/[^"#]+)', page):
        assert re.search(r"\.[0-9a-f]{12}\.\w+$", name), name
        answer = requests.get(site.address + name, timeout=30)
        assert answer.status_code == 200, name
        assert "immutable" in answer.headers["Cache-Control"]
        if name.endswith((".css", ".js")):
            assert answer.headers["Content-Encoding"] == "gzip"


def test_scripts_import_each_other_under_names_that_tell_their_content(site, collected):
    script = re.search(r'src="(/static/js/upload/page\.\w+\.js)"', requests.get(site.address, timeout=30).text)[1]
    imported = re.findall(r'from "\./([^"]+)"', requests.get(site.address + script, timeout=30).text)
    assert len(imported) > 3
    for name in imported:
        assert re.fullmatch(r"\w+\.[0-9a-f]{12}\.js", name)
        assert requests.get(f"{site.address}/static/js/upload/{name}", timeout=30).status_code == 200


def test_nothing_is_lost_while_everything_fails(tmp_path):
    report = torture.run(tmp_path, short=True)
    assert report.accepted > torture.CLIENTS
    assert sum(report.lost.values()) == 0, report.lost
    assert report.answers[500] == 0
    assert not report.server_errors
    assert not [cause.said for cause in report.causes if "without a sentence" in cause.said]
