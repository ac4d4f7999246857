"""Backup and restore: all rows and pictures of the site in one file. For SQLite.

A backup is a ZIP file: `database.sqlite3`, `media/` with the files that its rows tell of, and `backup.json`.
"""

import contextlib
import datetime
import hashlib
import json
import os
import re
import secrets
import shutil
import sqlite3
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db import connection, connections
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from diagnosis.models import Upload

FORMAT = 1
_DATABASE, _MEDIA, _CONTENTS = "database.sqlite3", "media/", "backup.json"
_LARGEST_CONTENTS = 10_000
_FOLDERS = ("uploads", "predictions")


class Refused(Exception):
    """Nothing was written or replaced. `str()` says why, and what to do."""


@dataclass(frozen=True)
class Backup:
    """What a backup holds. made: ISO 8601. deleted: uploads that went while it was made, and are not in it."""

    made: str
    uploads: int
    predictions: int
    files: int
    deleted: int = 0


def _database() -> Path:
    """Where the rows lie. Raises Refused where that is no file."""
    if connection.vendor != "sqlite":
        raise Refused(
            f"The rows are kept by {connection.display_name}: copy them with its own tool (pg_dump for PostgreSQL), "
            f"and after that the folder {settings.MEDIA_ROOT}. In this order every row has its file."
        )
    return Path(connection.settings_dict["NAME"])


def write(target: Path) -> Backup:
    """Write a backup while the site runs on. Raises Refused.

    The rows are copied first, as of one moment, and then the files that they tell of. A row whose upload is
    deleted meanwhile is taken out again: so no row lacks its file, and there is no file without a row.
    """
    source = _database()
    if target.exists():
        raise Refused(f"{target} exists. Name another file.")
    if not target.parent.is_dir():
        raise Refused(f"There is no folder {target.parent}.")
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with _folder_beside(target) as folder, part.open("xb") as file:
            part.chmod(0o600)  # it holds people's X-rays
            copy = folder / _DATABASE
            with _opened(source) as rows, _opened(copy) as copied:
                rows.backup(copied)
                copied.execute("PRAGMA journal_mode=DELETE")
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                with _opened(copy) as copied:
                    made = _put_files(archive, copied)
                archive.write(copy, _DATABASE, zipfile.ZIP_DEFLATED)
                archive.writestr(
                    _CONTENTS,
                    json.dumps({"format": FORMAT, "sha256": _sha256(copy), **vars(made)}, indent=2),
                )
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, target)  # never over a file that came meanwhile
        except FileExistsError:
            raise
        except OSError:  # a disk that knows no links, such as a memory stick or a network share
            part.rename(target)
    except FileExistsError:
        raise Refused(f"{target} exists. Name another file.") from None
    finally:
        part.unlink(missing_ok=True)
    return made


def _put_files(archive: zipfile.ZipFile, copied: sqlite3.Connection) -> Backup:
    """Add the files that the copied rows tell of, and take out the rows of uploads deleted meanwhile."""
    files, gone = 0, []
    for key, names in _files_by_upload(copied):
        with contextlib.ExitStack() as stack:
            try:
                opened = {name: stack.enter_context(default_storage.open(name)) for name in names}
            except FileNotFoundError as error:
                if Upload.objects.filter(pk=key).exists():
                    raise Refused(
                        f"The file {error.filename} is missing, though its record is there. Bring it back from an "
                        "earlier backup, or delete the record."
                    ) from None
                gone.append((key,))
                continue
            for name, source in opened.items():  # which stay readable, though they be deleted now
                with archive.open(_MEDIA + name, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target, 1 << 20)
            files += len(opened)
    with copied:
        for statement in (
            "DELETE FROM diagnosis_review WHERE prediction_id IN "
            "(SELECT id FROM diagnosis_prediction WHERE upload_id = ?)",
            "DELETE FROM diagnosis_prediction WHERE upload_id = ?",
            "DELETE FROM diagnosis_upload WHERE id = ?",
        ):
            copied.executemany(statement, gone)
    return Backup(
        made=timezone.now().isoformat(timespec="seconds"),
        uploads=copied.execute("SELECT count(*) FROM diagnosis_upload").fetchone()[0],
        predictions=copied.execute("SELECT count(*) FROM diagnosis_prediction").fetchone()[0],
        files=files,
        deleted=len(gone),
    )


def _files_by_upload(rows: sqlite3.Connection) -> Iterator[tuple[str, list[str]]]:
    """The names of the files that the rows of a database tell of, by the upload's key."""
    uploads = rows.execute("SELECT id, file, thumbnail FROM diagnosis_upload ORDER BY id")
    for key, *names in uploads:
        heatmaps = rows.execute("SELECT heatmap FROM diagnosis_prediction WHERE upload_id = ? AND heatmap != ''", [key])
        yield key, names + [name for (name,) in heatmaps]


def read(source: Path, *, replace: bool = False) -> Backup:
    """Put a backup in the place of what there is. Raises Refused, and then nothing has changed.

    The backup is unpacked beside the present files and verified in full: checksums, the database itself, and that
    each of its rows has its files. Only then it takes their place, by renaming; what was there is kept in folders
    whose names begin with `.before-`. The site must not run. replace: also where there is something already.
    """
    database, media = _database(), Path(settings.MEDIA_ROOT)
    connections.close_all()
    there = [database] * database.exists() + [media / name for name in _FOLDERS if (media / name).exists()]
    if there and not replace:
        raise Refused(f"There are data already: {there[0]}. With --force the backup takes their place.")
    for folder in (database.parent, media):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        new = stack.enter_context(_folder_beside(database))
        new_media = stack.enter_context(_folder_beside(media / _FOLDERS[0]))
        made = _unpack(source, new / _DATABASE, new_media)
        _be_alone(database)
        # Whatever fails from here on, the disk, a migration: all goes back to where it was.
        undo = stack.enter_context(contextlib.ExitStack())
        stamp = f".before-{datetime.datetime.now():%Y-%m-%d-%H%M%S}-{secrets.token_hex(2)}"
        for name in _FOLDERS:
            _exchange(new_media / name, media / name, media / stamp, undo)
        for suffix in ("-wal", "-shm", "-journal"):  # of a damaged one; beside another database they would harm it
            _exchange(new / suffix, database.with_name(database.name + suffix), database.parent / stamp, undo)
        _exchange(new / _DATABASE, database, database.parent / stamp, undo)
        undo.callback(connections.close_all)
        call_command("migrate", verbosity=0)
        undo.pop_all()
    return made


def _exchange(new: Path, place: Path, old: Path, undo: contextlib.ExitStack) -> None:
    if place.exists():
        if not old.exists():
            old.mkdir(mode=0o700)
            undo.callback(old.rmdir)
        place.rename(old / place.name)
        undo.callback((old / place.name).rename, place)
    if new.exists():
        new.rename(place)
        undo.callback(place.rename, new)


def _be_alone(database: Path) -> None:
    """Fold the write-ahead log into the database. Raises Refused while somebody else has it open."""
    if not database.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=5)) as present:
            present.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise Refused("The database is in use. Stop the site first, and start it again afterwards.") from None
        raise Refused(f"The present database cannot be put aside: {error}.") from error
    except sqlite3.DatabaseError:
        pass  # damaged: a reason to restore


def _unpack(source: Path, copy: Path, media: Path) -> Backup:
    """Unpack a backup and verify it. Raises Refused."""
    try:
        with zipfile.ZipFile(source) as archive:
            if archive.getinfo(_CONTENTS).file_size > _LARGEST_CONTENTS:
                raise ValueError(f"its {_CONTENTS} is too large")
            contents = dict(json.loads(archive.read(_CONTENTS)))
            if contents.pop("format") != FORMAT:
                raise Refused(f"{source} was written by another version of this program.")
            sha256 = contents.pop("sha256")
            made = Backup(**contents)
            _extract(archive, _DATABASE, copy)
            if _sha256(copy) != sha256:
                raise Refused(f"The database in {source} is damaged (its SHA-256 differs). Take an earlier backup.")
            _verify(copy, source)
            with _opened(copy) as copied:
                for _, names in _files_by_upload(copied):
                    for name in names:
                        _extract(archive, _MEDIA + name, _inside(media, name))
    except FileNotFoundError:
        raise Refused(f"There is no file {source}.") from None
    except KeyError as error:
        raise Refused(f"{source} is no whole backup: {error.args[0]}") from error
    except (zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, TypeError, EOFError) as error:
        raise Refused(f"{source} is no backup, or is damaged: {error}. Take an earlier one.") from error
    return made


def _inside(folder: Path, name: str) -> Path:
    """The path of a stored file. Raises ValueError for a name that leads elsewhere."""
    if name.partition("/")[0] not in _FOLDERS or ".." in Path(name).parts:
        raise ValueError(f"a file is called {name}")
    return folder / name


def _extract(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    """Unpack one file; zipfile verifies its checksum."""
    for folder in (*reversed(path.parent.parents), path.parent):  # `parents=True` would make all but the last open
        folder.mkdir(mode=0o700, exist_ok=True)
    with archive.open(name) as source, path.open("xb") as target:
        path.chmod(0o600)
        shutil.copyfileobj(source, target, 1 << 20)


def _verify(copy: Path, source: Path) -> None:
    """Raises Refused unless the database is sound and this program knows all its migrations."""
    with _opened(copy) as database:
        try:
            sound = database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            sound = sound and not database.execute("PRAGMA foreign_key_check").fetchone()
            applied = set(database.execute("SELECT app, name FROM django_migrations"))
        except sqlite3.DatabaseError as error:
            raise Refused(f"The database in {source} cannot be read: {error}. Take an earlier backup.") from error
    if not sound:
        raise Refused(f"The database in {source} is damaged. Take an earlier backup.")
    known = MigrationLoader(None).disk_migrations or {}
    installed = {app for app, _ in known}
    if unknown := sorted(f"{app}.{name}" for app, name in applied if app in installed and (app, name) not in known):
        raise Refused(f"{source} is of a newer version of this program, which knows {unknown[0]}. Update it first.")


@contextlib.contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """A folder on the same disk, for renaming out of it; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=".backup-", dir=path.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    """A database through a connection of its own, since Django's models know the site's alone."""
    with contextlib.closing(sqlite3.connect(database, timeout=20)) as connected:
        connected.execute("PRAGMA foreign_keys=ON")
        # A constraint uses it, and Django brings it.
        connected.create_function("REGEXP", 2, lambda pattern, text: re.search(pattern, text) is not None)
        yield connected


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
