"""Deletion by age: old uploads, and stored files without a row."""

import contextlib
import datetime
import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from django.core.files.storage import default_storage
from django.utils import timezone

from diagnosis import services
from diagnosis.models import Prediction, Upload


@dataclass(frozen=True)
class Purged:
    """How many uploads were, or would be, deleted, and how many files without a row."""

    uploads: int
    stray_files: int


def purge(older_than: datetime.timedelta, *, dry_run: bool = False) -> Purged:
    """Delete every upload sent longer ago than that, whoever sent it, and then files of that age without a row.

    Raises MostUnknown as `sweep` does.
    """
    before = timezone.now() - older_than
    old = Upload.objects.filter(created__lt=before).order_by("created")
    uploads = old.count()
    if not dry_run:
        while batch := list(old[: services.BATCH]):
            services.delete(batch, by="manage.py purge")
    return Purged(uploads, sweep(older_than, dry_run=dry_run))


IN_FLIGHT = datetime.timedelta(hours=1)
"""Longer than any request takes between writing its files and its rows."""


class MostUnknown(Exception):
    """More stored files are without a row than with one: this is probably the wrong database. `str()` is a sentence."""


def sweep(older_than: datetime.timedelta = IN_FLIGHT, *, dry_run: bool = False, even_most: bool = False) -> int:
    """Delete stored files of that age without a row, and return how many.

    They are what a process leaves that dies between writing files and rows, or between deleting rows and files.
    A younger one may belong to a request in flight, whose rows are about to come. Raises MostUnknown, and deletes
    nothing, where they are more than the others, unless `even_most`.
    """
    before = timezone.now() - older_than
    told, strays = 0, []
    for name, is_told in _stored_files():
        told += is_told
        if not is_told and _is_older(name, before):
            strays.append(name)
    if dry_run:
        return len(strays)
    if len(strays) > told and not even_most:
        raise MostUnknown(
            f"The database tells of {told} stored files, and not of {len(strays)} others, which are kept: "
            "DATABASE_URL, VAR_DIR or MEDIA_ROOT may name another place than before. If all are right, "
            "`manage.py sweep --even-most` deletes them."
        )
    services.delete_files(strays)
    return len(strays)


def _is_older(name: str, moment: datetime.datetime) -> bool:
    try:
        return default_storage.get_modified_time(name) <= moment
    except FileNotFoundError:  # deleted meanwhile
        return False


def _stored_files() -> Iterator[tuple[str, bool]]:
    """The name of each, and whether a row tells of it."""
    for model, fields in ((Upload, ("file", "thumbnail")), (Prediction, ("heatmap",))):
        folders = _folders(f"{model._meta.model_name}s", depth=2)
        while some := dict(itertools.islice(folders, services.BATCH)):
            # Files before rows: whoever commits in between has all of them told.
            files = [f"{folder}/{file}" for folder in some.values() for file in _listed(folder)[1]]
            rows = model.objects.filter(pk__in=some).values_list(*fields)
            told = {name for row in rows for name in row}
            yield from ((name, name in told) for name in files)


def _folders(root: str, depth: int) -> Iterator[tuple[uuid.UUID, str]]:
    """The folder of each row, by the row's key."""
    for name in _listed(root)[0]:
        if depth > 1:
            yield from _folders(f"{root}/{name}", depth - 1)
        else:
            with contextlib.suppress(ValueError):  # not a folder of ours
                yield uuid.UUID(name), f"{root}/{name}"


def _listed(folder: str) -> tuple[list[str], list[str]]:
    try:
        return default_storage.listdir(folder)
    except FileNotFoundError:
        return [], []
