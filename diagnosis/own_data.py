"""All that the site keeps of one person, as a file for them to take along."""

import json
import shutil
import tempfile
import zipfile
from typing import IO

from django.contrib.auth.models import User
from django.db.models.fields.files import FieldFile

from diagnosis import access, audit


def everything_of(user: User) -> IO[bytes]:
    """A ZIP file with all that is of `user`, on disk while open.

    The pictures that they sent, as stored, heatmaps and predictions.json; and readings.json, the readings they wrote.
    A file that storage has lost is null there.
    """
    archive = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    told = []
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as content:  # pictures are compressed already
        predictions = access.own(access.Person(user=user)).order_by("created", "id").prefetch_related("reviews")
        for prediction in predictions.iterator(chunk_size=500):
            upload = prediction.upload
            names = {"picture": _put(content, f"pictures/{upload.pk}", upload.file)}
            if prediction.heatmap:
                names["heatmap"] = _put(content, f"heatmaps/{prediction.pk}", prediction.heatmap)
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
        written = user.reviews.order_by("id").values("prediction", "reading", "note", "blind", "created")
        content.writestr("readings.json", json.dumps(list(written), indent=2, ensure_ascii=False, default=str))
    audit.record_many(access.Person(user=user), audit.Action.EXPORTED, f"all that is theirs: {len(told)} predictions")
    archive.seek(0)
    return archive


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
