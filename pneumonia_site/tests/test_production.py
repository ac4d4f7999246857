"""The production server, as `make production` runs it: real gunicorn processes."""

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests
from django.conf import settings as django_settings
from gunicorn.config import Config

from benchmarks import torture
from benchmarks.production import Site
from pneumonia_site.worker import Connection

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


def serve(folder: Path, configuration: str = "pneumonia_site/gunicorn.py", **environment: str) -> Site:
    site = Site(folder, own_disk=False, ANONYMOUS_UPLOADS="True", WEB_CONCURRENCY="2", **environment)
    site.start(configuration)
    site.wait()
    return site


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    served = serve(tmp_path_factory.mktemp("site"))
    yield served
    served.close()


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


def test_nobody_else_of_the_machine_reads_the_database(site):
    def modes() -> set[int]:
        return {path.stat().st_mode & 0o777 for path in site.var.glob("db.sqlite3*")}

    assert modes() == {0o600}
    (site.var / "db.sqlite3").chmod(0o644)  # as earlier versions made it
    site.manage("sweep")
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


BEGINNINGS = {
    "the head comes slowly": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    "the body comes slowly": b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n\r\nhalf",
    "nothing comes": b"",
    "never hangs up": b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n",
    "begins the next request": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET /",
    "chunks come slowly": b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
}


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_slow_clients_do_not_keep_others_waiting(site, beginning):
    # Far more than there are threads; each would hold one up for seconds.
    clients = [socket.create_connection(("127.0.0.1", site.port), timeout=30) for _ in range(100)]
    try:
        for client in clients:
            client.sendall(beginning)
        for _ in range(4):
            assert requests.get(f"{site.address}/", timeout=30).status_code == 200
    finally:
        for client in clients:
            client.close()


def test_more_connections_than_there_is_room_for_do_not_keep_others_out(site):
    clients = []
    try:
        for _ in range(900):
            clients.append(socket.create_connection(("127.0.0.1", site.port), timeout=30))
            clients[-1].sendall(b"GET / HTTP/1.1\r\n")
        assert requests.get(f"{site.address}/", timeout=30).status_code == 200
    finally:
        for client in clients:
            client.close()


def test_a_connection_that_goes_while_it_sends_harms_no_other(site):
    before, clients = site.workers(), []
    worker, *others = before
    try:
        for pid in others:
            os.kill(pid, signal.SIGSTOP)  # so that one worker gets all
        for beginning in [b"GET /"] * 399 + [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"]:
            clients.append(socket.create_connection(("127.0.0.1", site.port), timeout=30))
            clients[-1].sendall(beginning)
        assert b"200 OK" in clients[-1].recv(65_536)  # all of them are taken in
        os.kill(worker, signal.SIGSTOP)
        for _ in range(20):  # room is made for these by letting the first ones go, which send at the same moment
            clients.append(socket.create_connection(("127.0.0.1", site.port), timeout=30))
        for client in clients[:20]:
            client.sendall(b"model/")
        os.kill(worker, signal.SIGCONT)
        assert b"200 OK" in exchange(site, b"GET /healthz HTTP/1.0\r\n\r\n")
    finally:
        for pid in site.workers():
            os.kill(pid, signal.SIGCONT)
        for client in clients:
            client.close()
    assert site.workers() == before


def shares(site: Site) -> list[int]:
    """How many connections each worker has."""
    found = []
    for pid in site.workers():
        with contextlib.suppress(psutil.Error):  # it is gone
            sockets = psutil.Process(pid).net_connections("tcp")
            ours = [each for each in sockets if each.laddr.port == site.port]
            found.append(sum(each.status == psutil.CONN_ESTABLISHED for each in ours))
    return sorted(found)


def test_connections_that_stay_open_are_shared_evenly(site):
    clients = [http.client.HTTPConnection("127.0.0.1", site.port, timeout=30) for _ in range(8)]

    def shares_without(*gone: int) -> list[int]:
        """What becomes of the shares while all clients ask on and on."""
        deadline = time.monotonic() + 30
        while (set(gone) & set(site.workers()) or shares(site) != [4, 4]) and time.monotonic() < deadline:
            for client in clients:
                try:
                    client.request("GET", "/healthz")
                    client.getresponse().read()
                except (OSError, http.client.HTTPException):  # its worker was killed
                    client.close()  # the next request opens it again
        return shares(site)

    with contextlib.ExitStack() as stack:
        for client in clients:
            stack.callback(client.close)
        assert shares_without() == [4, 4]
        killed, *_ = site.workers()
        os.kill(killed, signal.SIGKILL)
        assert shares_without(killed) == [4, 4]
        ended, *_ = site.workers()
        os.kill(ended, signal.SIGTERM)  # it ends as one does that has answered its `max_requests`
        assert shares_without(ended) == [4, 4]
        replaced = site.workers()
        site.process.send_signal(signal.SIGHUP)
        assert shares_without(*replaced) == [4, 4]


def test_nobody_waits_for_a_worker_that_is_stuck(site):
    with contextlib.ExitStack() as stack:
        stuck = site.workers()[0]
        os.kill(stuck, signal.SIGSTOP)
        stack.callback(os.kill, stuck, signal.SIGCONT)
        begun = time.monotonic()
        for _ in range(20):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", site.port), timeout=30))
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200 OK" in client.recv(65_536)
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("target", [b"//[", b"http://[", b"//a]/", b"*", b"\xff", b"http://[::1"])
def test_an_address_that_is_none_harms_nobody_else(site, target):
    before = site.workers()
    answer = exchange(site, b"GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n" % target)
    assert re.match(rb"HTTP/1\.\d 4\d\d ", answer)
    assert site.workers() == before


def test_bodies_that_are_announced_and_do_not_come_keep_no_upload_out(site):
    clients = []
    try:
        for _ in range(8):
            clients.append(socket.create_connection(("127.0.0.1", site.port), timeout=30))
            clients[-1].sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 498000000\r\n\r\n")
        for _ in range(4):
            answer = requests.post(f"{site.address}/predict", files={"file": bytes(8_000_000)}, timeout=30)
            assert answer.status_code == 415
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("name", [b"/history", b"/elsewhere"])
def test_no_header_moves_the_site(site, name):
    answer = exchange(site, b"GET /history/ HTTP/1.0\r\nHost: localhost\r\nSCRIPT_NAME: %s\r\n\r\n" % name)
    assert b" 200 OK" in answer
    assert b'href="/history/"' in answer


def exchange(site: Site, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as client:
        client.sendall(request)
        answer = b""
        while more := client.recv(65_536):
            answer += more
    return answer


def test_requests_that_follow_one_another_at_once_are_all_answered(site):
    one = b"GET /model/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /model/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert exchange(site, one + one + last).count(b"HTTP/1.1 200 OK") == 3


def test_a_connection_goes_on_after_a_body_that_nobody_read(site):
    with requests.Session() as session:
        for _ in range(10):
            refused = session.post(f"{site.address}/api/tokens/", data=b"x" * 500_000, timeout=30)
            assert refused.status_code in (401, 415)
            assert session.get(f"{site.address}/healthz", timeout=30).status_code == 200


def test_what_follows_a_body_that_was_not_read_is_no_request(site):
    body = b"GET /model/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
    large = b"POST /accounts/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000000\r\n\r\n"
    assert exchange(site, large + body).count(b"HTTP/1.1") == 1
    chunked = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = exchange(site, chunked + body)
    assert answer.count(b"HTTP/1.1") == 1
    assert b" 411 " in answer
    assert b"Content-Length" in answer


def test_a_body_that_waits_to_be_asked_for_is_asked_for_once(site, xray):
    boundary = b"x" * 20
    body = (
        b"--"
        + boundary
        + b'\r\nContent-Disposition: form-data; name="file"; filename="x.jpg"\r\n\r\n'
        + xray()
        + b"\r\n--"
        + boundary
        + b"--\r\n"
    )
    head = (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n"
        b"Content-Type: multipart/form-data; boundary=" + boundary + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as client:
        client.sendall(head)
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "head",
    [b"X-Long: " + b"x" * 9000, b"\r\n".join(b"X-%d: 1" % n for n in range(60)), b"X: " + b"x" * 100_000],
    ids=["long", "many", "endless"],
)
def test_heads_have_limits(site, head):
    answer = exchange(site, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n")
    assert re.match(rb"HTTP/1\.1 4\d\d ", answer)


def test_a_head_without_end_is_answered(site):
    answer = exchange(site, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 12_000)
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_a_body_that_a_full_disk_did_not_take_is_let_go_of():
    ours, theirs = socket.socketpair()
    connection = Connection(Config(), ours, ("127.0.0.1", 1), ("127.0.0.1", 2))
    with Path("/dev/full").open("w+b") as connection.body, theirs:
        connection.body.write(b"the last bytes, which wait in memory")
        connection.close()
        assert theirs.recv(1) == b""


def test_a_body_too_large_is_answered_and_not_received(site):
    answer = requests.post(f"{site.address}/predict", data=bytes(200_000_000), timeout=60)
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"


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
