"""Connections to the production server: slow, many, shared between workers, and with what is no request."""

import contextlib
import http.client
import os
import re
import signal
import socket
import time
from pathlib import Path

import psutil
import pytest
import requests
from gunicorn.config import Config

from benchmarks.production import Site
from pneumonia_site.tests.conftest import exchange
from pneumonia_site.worker import Connection

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="looks into processes through /proc")

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
