"""How a worker collects a request, piece by piece."""

import itertools
import socket
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumonia_site import worker

ADDRESS = ("127.0.0.1", 1)
HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300\r\n\r\n"
BODY = bytes(range(256)) + b"\r\n\r\n" * 11
NEXT = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def pair():
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def read(conn: worker.Connection) -> bytes:
    pieces = []
    while piece := conn.recv(50):
        pieces.append(piece)
    return b"".join(pieces)


@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, len(HEAD + BODY + NEXT)), max_size=30))
def test_a_request_is_the_same_in_whatever_pieces_it_comes(pair, cuts):
    conn, whole = worker.Connection(None, pair[0], ADDRESS, ADDRESS), HEAD + BODY + NEXT
    edges = [0, *sorted(cuts), len(whole)]
    received = b""
    for start, end in itertools.pairwise(edges):
        if conn.complete:
            break
        conn.take(whole[start:end])
        received = whole[:end]
    assert conn.complete
    assert not conn.spent
    assert read(conn) == HEAD + BODY
    assert conn.surplus == received[len(HEAD + BODY) :]
    assert conn.spent, "whoever reads on finds nothing of the next request"


def test_a_large_body_is_kept_on_disk_and_let_go(pair):
    length = 3 * worker.IN_MEMORY
    conn = worker.Connection(None, pair[0], ADDRESS, ADDRESS)
    conn.take(b"POST / HTTP/1.1\r\ncontent-length:%d\r\n\r\n" % length)
    for _ in range(3):
        assert not conn.complete
        conn.take(bytes(worker.IN_MEMORY))
    assert conn.complete
    assert isinstance(conn.body, tempfile.SpooledTemporaryFile)
    assert len(read(conn)) > length
    conn.forget()
    assert conn.body is None


@pytest.mark.parametrize("target", [b"/predict", b"http://localhost/predict", b"/%70redict?x=1"])
def test_what_is_too_large_is_passed_on_without_its_body(pair, target):
    conn = worker.Connection(None, pair[0], ADDRESS, ADDRESS)
    conn.take(b"POST " + target + b" HTTP/1.1\r\nContent-Length: 20000000\r\n\r\n")
    assert not conn.complete, "one picture may be as large"
    conn = worker.Connection(None, pair[0], ADDRESS, ADDRESS)
    conn.take(b"POST " + target + b" HTTP/1.1\r\nContent-Length: 200000000\r\n\r\n")
    assert conn.complete


def test_patience_ends(pair):
    conn = worker.Connection(None, pair[0], ADDRESS, ADDRESS)
    conn.take(b"POST /predict HTTP/1.1\r\n")
    assert not conn.is_too_slow(conn.started + worker.HEAD_SECONDS)
    assert conn.is_too_slow(conn.started + worker.HEAD_SECONDS + 1)
    conn.take(b"Content-Length: 20000000\r\n\r\n" + bytes(1_000_000))
    allowed = worker.GRACE_SECONDS + 1_000_000 / worker.BYTES_A_SECOND
    assert not conn.is_too_slow(conn.started + allowed - 1)
    assert conn.is_too_slow(conn.started + allowed + 1)


@pytest.mark.parametrize("head", [b"\r\n\r\n", b"x\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n"])
def test_what_is_no_request_is_left_to_the_parser(pair, head):
    conn = worker.Connection(None, pair[0], ADDRESS, ADDRESS)
    conn.take(head)
    assert conn.complete
    assert read(conn) == head
