"""Failures of the machine (full disk, unwritable database or cache), and how requests are answered then."""

import errno
import sqlite3
from dataclasses import dataclass
from typing import Any

from django.db import InterfaceError, OperationalError, connections
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True)
class Fault:
    """The answer to a request that failed because of the machine: `code` for programs, `detail` for people."""

    status: int
    code: str
    detail: Any


FULL = Fault(507, "storage_full", _("The disk of this server is full, so nothing can be kept. Please try again later."))
NOT_WRITABLE = Fault(
    503, "storage_unavailable", _("This server cannot store anything at the moment. Please try again in a minute.")
)
BUSY = Fault(503, "busy", _("The database of this server is busy. Please try again in a minute."))
CANNOT_COUNT = Fault(
    503, "storage_unavailable", _("This server cannot count requests at the moment. Please try again in a minute.")
)
RETRY_AFTER = 10
"""Seconds after which it is worth another try."""

_OF_THE_SYSTEM = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    **dict.fromkeys([errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE], NOT_WRITABLE),
}
_OF_SQLITE = {
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_BUSY: BUSY,
    sqlite3.SQLITE_LOCKED: BUSY,
    **dict.fromkeys(
        [sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL], NOT_WRITABLE
    ),
}
# Of PostgreSQL, https://www.postgresql.org/docs/current/errcodes-appendix.html
_DISK_FULL, _READ_ONLY, _RESOURCES, _STOPPED, _CONNECTION = "53100", "25006", "53", "57", "08"


class CacheFailed(Exception):
    """The cache, in which requests are counted, does not answer or cannot be written."""

    def __str__(self) -> str:
        return f"the cache of CACHE_URL failed ({type(self.__cause__).__qualname__})"


def fault_of(error: BaseException) -> Fault | None:
    """The fault of the machine behind `error`; None for any other error."""
    if isinstance(error, (OperationalError, InterfaceError)):
        return _of_database(error.__cause__ or error)
    if isinstance(error, CacheFailed):
        return CANNOT_COUNT
    if isinstance(error, OSError):
        return _OF_THE_SYSTEM.get(error.errno or 0)
    return None


def let_go_of_database() -> None:
    """Close this thread's connections, so that the next request opens them anew: one that was opened while the
    database could only be read stays so."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


def _of_database(error: BaseException) -> Fault | None:
    if isinstance(error, sqlite3.Error):
        # The low byte is the kind; "no such table" is no fault of the machine.
        return _OF_SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    state = getattr(error, "sqlstate", None)
    if state == _DISK_FULL:
        return FULL
    if not state or state == _READ_ONLY or state.startswith((_RESOURCES, _STOPPED, _CONNECTION)):
        return NOT_WRITABLE  # without a state, there is no connection
    return None
