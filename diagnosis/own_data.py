"""All that the site stores about one person, as a file to download."""

import io
import json
import shutil
import uuid
import zipfile
from collections.abc import Iterator
from typing import Any

from django.contrib.auth.models import User
from django.db.models.fields.files import FieldFile

from diagnosis import access, audit
from diagnosis.models import Prediction


def everything_of(user: User) -> Iterator[bytes]:
    """A ZIP file with everything of `user`, in chunks that are made as they are read.

    The pictures that they sent, as stored, heatmaps and predictions.json; and readings.json, the readings they wrote.
    A file that storage has lost is null there.
    """
    person = access.Person(user=user)
    keys = list(access.own(person).order_by("created", "id").values_list("pk", flat=True))
    audit.record_many(person, audit.Action.EXPORTED, f"all that is theirs: {len(keys)} predictions")
    return _archive(user, keys)


class _Written(io.RawIOBase):
    """A file to write to, which keeps what was written until it is taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def take(self) -> bytes:
        taken, self._pieces = b"".join(self._pieces), []
        return taken


def _archive(user: User, keys: list[uuid.UUID]) -> Iterator[bytes]:
    written, told = _Written(), []
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as content:  # pictures are compressed already
        for prediction in _each(access.Person(user=user), keys):
            upload = prediction.upload
            names = {"picture": _put(content, f"pictures/{upload.pk}", upload.file)}
            if prediction.heatmap:
                names["heatmap"] = _put(content, f"heatmaps/{prediction.pk}", prediction.heatmap)
            yield written.take()
            told.append(
                {
                    "id": str(prediction.pk),
                    "file_name": upload.original_name,
                    "sha256": upload.sha256,
                    "created": prediction.created.isoformat(),
                    "status": prediction.status,
                    "prediction": prediction.label or None,
                    "probability": prediction.probability,
                    "threshold": prediction.threshold,
                    "operating_point": prediction.operating_point,
                    "thresholds": prediction.thresholds,
                    "hints": [hint.value for hint in prediction.hints],
                    "model_version": prediction.model_version,
                    "readings": [
                        {"reading": review.reading, "note": review.note, "created": review.created.isoformat()}
                        for review in prediction.reviews.all()
                    ],
                    **names,
                }
            )
        content.writestr("predictions.json", json.dumps(told, indent=2, ensure_ascii=False))
        readings = user.reviews.order_by("id").values("prediction", "reading", "note", "blind", "created")
        content.writestr("readings.json", json.dumps(list(readings), indent=2, ensure_ascii=False, default=str))
    yield written.take()


def _each(person: access.Person, keys: list[uuid.UUID]) -> Iterator[Prediction]:
    """The predictions that are there still, some at a time: SQLite would keep all that others write meanwhile in its
    journal for a query that waits for a slow line."""
    for start in range(0, len(keys), 500):
        some = access.own(person).filter(pk__in=keys[start : start + 500])
        yield from list(some.order_by("created", "id").prefetch_related("reviews"))


def _put(archive: zipfile.ZipFile, stem: str, file: FieldFile) -> str | None:
    """Copy a stored file into the archive, unless it is there, and return its name there; None where it is lost."""
    name = f"{stem}.{str(file.name).rpartition('.')[2]}"
    try:
        archive.getinfo(name)
    except KeyError:
        try:
            source = file.open("rb")
        except FileNotFoundError:
            return None
        with source, archive.open(name, "w") as target:
            shutil.copyfileobj(source, target)
    return name
