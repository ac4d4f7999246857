"""Keeps other users of the machine from the SQLite database, which holds sessions, names and who sent which picture."""

import contextlib
import os
import sqlite3
import stat
from pathlib import Path
from typing import Any


class OwnersAlone(sqlite3.Connection):
    """Makes the database readable by its owner alone; SQLite gives its journals the same mode.

    One that others can read already, from before, is closed to them. One that was opened to a group stays so.
    """

    def __init__(self, database: str | os.PathLike[str], *args: Any, **options: Any):
        if not str(database).startswith((":memory:", "file:")):
            self._close_to_others(os.fspath(database))
        super().__init__(database, *args, **options)

    @staticmethod
    def _close_to_others(database: str) -> None:
        # Where this fails, SQLite says what is wrong. A file that exists must not be opened here: to close it again
        # would release the locks of this process's other connections.
        with contextlib.suppress(OSError):
            os.close(os.open(database, os.O_CREAT | os.O_EXCL, 0o600))
        for path in (Path(f"{database}{suffix}") for suffix in ("", "-wal", "-shm")):
            with contextlib.suppress(OSError):
                if path.stat().st_mode & stat.S_IRWXO:
                    path.chmod(0o600)
