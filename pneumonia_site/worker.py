"""Gunicorn's threaded worker, hardened against slow clients.

Gunicorn's own gives a thread to a connection with its first byte and lets it read from there on without a time
limit, and it closes connections on its main thread, waiting for the client: a few dozen clients that send a byte
now and then (slowloris), or never hang up, stop it. Here the main thread collects requests while they arrive, a thread
gets one that is complete, and closing waits for nobody. nginx in front does the same; this is for a site without one.

Connections that stay open are shared evenly between the workers. Each tells the others how many it has, and one that
has more than another leaves a new connection to that one for a moment, and closes its own after the next answer.
"""

import contextlib
import math
import mmap
import re
import socket
import tempfile
import time
from collections import deque
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus
from selectors import EVENT_READ
from typing import Any
from urllib.parse import unquote

from gunicorn.errors import ConfigError
from gunicorn.http import get_parser
from gunicorn.util import split_request_uri
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

HEAD_SECONDS = 10
"""How long the first lines of a request, its head, may take."""
GRACE_SECONDS, BYTES_A_SECOND = 30, 20_000
"""How slow a body may be: at least so many bytes a second on average, once the grace is over."""
SEND_SECONDS = 30
"""How long a client may take nothing of an answer."""
LINGER_SECONDS = 2
"""How long what a client still sends is thrown away after the answer, so that it sees the answer and no reset."""
IN_MEMORY = 1_000_000
"""Bytes of a body that are kept in memory; the rest goes into a temporary file."""
LARGEST_HEAD = 65_536
PIECE = 65_536
"""Bytes that are received, or handed on, at a time."""
MOST_ANNOUNCED = 1_000_000_000
"""Bytes that all unfinished requests of a worker together may announce; else that goes which has most still to come."""
LEFT_SECONDS = 0.01
"""How long a new connection is left to a worker that has fewer, before it is taken all the same."""
SILENT_SECONDS = 1.5
"""After how long without a word a worker counts no more: it is dead, stuck or about to go. Each speaks every second."""

_SLOTS = 64  # for more workers than anyone has; two that shared one would only share connections less evenly
# When each worker last spoke, and how many connections it had then. Memory that the parent makes, and its children
# share; each writes into a slot of its own, and what others read of it may be outdated.
_said = memoryview(mmap.mmap(-1, _SLOTS * 2 * 8)).cast("d")

_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,15})[ \t]*\r$", re.IGNORECASE | re.MULTILINE)
_EXPECT = re.compile(rb"^expect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE | re.MULTILINE)


class Connection(TConn):
    """A client's connection and what has arrived of its next request.

    `recv` gives that request to gunicorn's parser and nothing beyond; what the parser makes of it decides, and
    how far it reaches is found out here only to know when it is complete.
    """

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.parser: Any = None
        self.surplus = b""  # of the request after this one
        self.begin()

    def begin(self) -> None:
        """Wait for a request."""
        self.started = time.monotonic()
        self.head = bytearray()
        self.head_is_whole = False
        self.length = self.arrived = 0  # bytes of the body, as announced and as received
        self.body: tempfile.SpooledTemporaryFile | None = None
        self.complete = False
        self.spent = False  # the parser asked for more than there is: where a next request begins is unknown

    def take(self, data: bytes) -> None:
        """Add what has arrived. Raises OSError where a body cannot be kept."""
        if not self.head_is_whole:
            seen = max(0, len(self.head) - 3)
            self.head += data
            end = self.head.find(b"\r\n\r\n", seen) + 4
            if end < 4:
                return
            data = bytes(self.head[end:])
            del self.head[end:]
            self._read_head()
        rest = self.length - self.arrived
        if data[:rest]:
            if self.body is None:
                self.body = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115  closed by `forget`
            self.body.write(data[:rest])
            self.arrived += len(data[:rest])
        self.surplus += data[rest:]
        if self.arrived == self.length:
            self.complete = True
            if self.body:
                self.body.seek(0)

    def _read_head(self) -> None:
        from diagnosis.middleware import largest_body  # once Django is set up

        self.head_is_whole = True
        length = int(found[1]) if (found := _LENGTH.search(self.head)) else 0
        target = self.head.split(b" ", 2)[1] if self.head.count(b" ") > 1 else b""
        try:
            path = unquote(split_request_uri(target.decode("latin-1")).path)
        except ValueError:
            path = ""  # the parser refuses it
        self.head, waits = bytearray(_EXPECT.sub(b"", self.head)), bool(_EXPECT.search(self.head))
        if length > largest_body(path):
            return  # the application refuses it, and need not have it
        self.length = length
        if waits and length:
            with contextlib.suppress(OSError):
                self.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def is_too_slow(self, now: float) -> bool:
        """Whether the client has used up its patience."""
        allowed = GRACE_SECONDS + self.arrived / BYTES_A_SECOND if self.head_is_whole else HEAD_SECONDS
        return now - self.started > allowed

    def recv(self, size: int) -> bytes:
        """The next bytes of the request, at most `size`; none at its end.

        Of a body the parser asks for all that is left, and copies whatever is left of that at each of the
        application's readings. Django reads as much at a time as it gets here, so nothing is left.
        """
        size = min(size, PIECE)
        if self.head:
            data = bytes(self.head[:size])
            del self.head[:size]
        else:
            data = self.body.read(size) if self.body else b""
        self.spent |= not data
        return data

    def init(self) -> None:
        """Called in the thread that answers."""
        self.sock.settimeout(SEND_SECONDS)
        if self.parser is None:
            self.parser = get_parser(self.cfg, self, self.client)

    def forget(self) -> None:
        """Let go of the request."""
        if self.body:
            with contextlib.suppress(OSError):  # a full disk, which the last bytes do not fit on
                self.body.close()
            self.body = None

    def close(self, graceful: bool = False) -> None:
        """Close at once; the worker has waited already where that is due."""
        self.forget()
        self.sock.close()


class BufferedThreadWorker(ThreadWorker):
    """Accepts any number of connections; where there are too many, those go that have been idle or slow for longest."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.closing: deque[Connection] = deque()
        self.left: socket.socket | None = None  # whose new connection is left to another worker, until then
        self.left_until = 0.0

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Raises ConfigError for what this worker does not do."""
        if cfg.is_ssl:
            raise ConfigError("This worker speaks no TLS: let nginx or another proxy do so, see docs/deploy.md.")

    # --- A connection comes, and its request arrives --------------------------------------

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Do what is due, but for connections that were let go of by what was done just before."""
        now, slot = time.monotonic(), 2 * (self.age % _SLOTS)
        _said[slot], _said[slot + 1] = now if self.alive else 0.0, self.nr_conns
        if self.left:
            self.set_accept_enabled(False)  # gunicorn's loop enables it again
            timeout = min(timeout, max(0.0, self.left_until - now))
        for key, _ in self.poller.select(timeout):
            if self.poller.get_map().get(key.fd) is key:
                key.data(key.fileobj)
        if self.left and time.monotonic() >= self.left_until:
            listener, self.left = self.left, None
            self._take_in(listener)

    def _fewest(self) -> float:
        """The number of connections of that worker which has the fewest, as far as is known."""
        heard = time.monotonic() - SILENT_SECONDS
        return min((_said[slot + 1] for slot in range(0, 2 * _SLOTS, 2) if _said[slot] > heard), default=math.inf)

    def accept(self, listener: socket.socket) -> None:
        """Take a new connection in, or leave it to a worker that has fewer."""
        if self.nr_conns > self._fewest():
            self.left, self.left_until = listener, time.monotonic() + LEFT_SECONDS
        else:
            self._take_in(listener)

    def _take_in(self, listener: socket.socket) -> None:
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # no more file descriptors, say
            self.log.warning("A connection was not accepted: %s", error)
            self._make_room()
            return
        self.nr_conns += 1
        if self.nr_conns >= self.worker_connections:
            self._make_room()
        self._await_request(Connection(self.cfg, client, address, listener.getsockname()))

    def _make_room(self) -> None:
        places = [place for place in (self.closing, self.keepalived_conns, self.pending_conns) if place]
        if places:
            place = min(places, key=lambda place: place[0].started)
            self._drop(place[0], place)

    def _await_request(self, conn: Connection) -> None:
        conn.sock.setblocking(False)
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def on_client_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """A further request comes on a connection."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        conn.begin()
        self._await_request(conn)

    def on_pending_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """More of a request has come."""
        try:
            data = client.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(conn, self.pending_conns)
            return
        self._take(conn, data)

    def _take(self, conn: Connection, data: bytes) -> None:
        try:
            conn.take(data)
        except OSError as error:
            self.log.error("A request could not be kept while it arrived: %s", error)
            self._refuse(conn, 507, "The disk of this server is full. Nothing was stored; please try again later.")
            return
        if conn.complete:
            self.poller.unregister(conn.sock)
            self.pending_conns.remove(conn)
            self.enqueue_req(conn)
        elif not conn.head_is_whole and len(conn.head) > LARGEST_HEAD:
            self._refuse(conn, 431, "The request's head is too long. Delete the cookies of this site and try again.")
        elif conn.length > IN_MEMORY and sum(each.length for each in self.pending_conns) > MOST_ANNOUNCED:
            most = max(self.pending_conns, key=lambda each: each.length - each.arrived)
            self._refuse(most, 503, "Too much is being sent to this server. Nothing was stored; please try again soon.")

    def murder_pending(self) -> None:
        """Give up requests that arrive too slowly, and connections that a worker about to stop waits for in vain."""
        now = time.monotonic()
        for conn in list(self.pending_conns):
            if conn.is_too_slow(now):
                self._refuse(conn, 408, "The request came too slowly. Nothing was stored; please try again.")
            elif not self.alive and not conn.head and now - conn.started > STOP_KEEPALIVE_LINGER:
                self._drop(conn, self.pending_conns)
        while self.closing and now - self.closing[0].started > LINGER_SECONDS:
            self._drop(self.closing[0], self.closing)

    # --- It is answered --------------------------------------------------------------------

    def handle(self, conn: Connection) -> bool:
        """Answer a request, in a thread; whether the connection may carry another one."""
        conn.data_ready = True
        # Of more connections than this gunicorn keeps none open, and tells the client so.
        uneven = self.nr_conns > self._fewest() + 1
        self.max_keepalived = 0 if uneven else self.worker_connections - self.cfg.threads
        try:
            return bool(super().handle(conn)) and not conn.spent
        finally:
            conn.forget()

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        """Whether the connection can carry another request. What the application left of a body lies here already, and
        is passed over; gunicorn would do so for 64 KB, and hang up on a client that was told otherwise."""
        while keepalive and conn.parser.mesg.body.read(PIECE):
            pass
        return bool(super()._keepalive_after(conn, keepalive))

    def finish_request(self, conn: Connection, future: Future) -> None:
        """What follows an answer, on the main thread."""
        if future.cancelled() or future.exception() or not future.result():
            self._linger(conn)
        elif conn.surplus:
            data, conn.surplus = conn.surplus, b""
            conn.begin()
            self._await_request(conn)
            self._take(conn, data)
        else:
            conn.sock.setblocking(False)
            conn.started = time.monotonic()
            conn.set_timeout()
            if not self.alive:
                conn.timeout = min(conn.timeout, time.monotonic() + STOP_KEEPALIVE_LINGER)
            self.keepalived_conns.append(conn)
            self.poller.register(conn.sock, EVENT_READ, partial(self.on_client_socket_readable, conn))

    def _refuse(self, conn: Connection, status: int, sentence: str) -> None:
        self.poller.unregister(conn.sock)
        self.pending_conns.remove(conn)
        body = sentence.encode() + b"\n"
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nRetry-After: 10\r\nConnection: close\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            conn.sock.send(head.encode() + body)
        self._linger(conn)

    # --- It goes ----------------------------------------------------------------------------

    def _linger(self, conn: Connection) -> None:
        conn.started = time.monotonic()
        self.closing.append(conn)
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, EVENT_READ, partial(self._throw_away, conn))
        except OSError:
            self._drop(conn, self.closing)

    def _throw_away(self, conn: Connection, client: socket.socket) -> None:
        try:
            more = client.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        if not more:
            self._drop(conn, self.closing)

    def _drop(self, conn: Connection, waiting: deque) -> None:
        with contextlib.suppress(KeyError, ValueError, OSError):  # not registered
            self.poller.unregister(conn.sock)
        waiting.remove(conn)
        self.nr_conns -= 1
        conn.close()
