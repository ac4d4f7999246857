"""What the application does. Pages, API, admin and commands translate and call."""

import contextlib
import datetime
import hashlib
import json
import logging
import shutil
import tempfile
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from django.contrib.auth.models import User
from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction
from django.db.models import Model, QuerySet
from django.db.models.fields.files import FieldFile
from django.utils import timezone

from diagnosis import access, audit, inference
from diagnosis.models import Prediction, Upload

logger = logging.getLogger(__name__)


class KeyReused(Exception):
    """The idempotency key came before, with another request. `str()` is a sentence for the sender."""


def diagnose(
    *,
    file: File,
    name: str,
    sender: access.Person,
    operating_point: str | None = None,
    force: bool = False,
    idempotency_key: str = "",
) -> Prediction:
    """Analyse one picture and keep picture, heatmap and answer, all of them or none.

    The picture is kept without its metadata, which may tell of people and places.

    name: what the sender calls the file; kept as a label, never used as a path. force: give
    an answer even to what is no frontal chest X-ray. Without it such a picture is kept as
    `rejected`. idempotency_key: the same sender's second request under the same key gets the
    first one's prediction, and nothing is stored again. Raises inference.PictureError for a bad
    file, inference.Unavailable without a classifier and KeyReused.
    """
    inference.limits().check_bytes(file.size)  # before reading it into memory
    data = file.read()
    sha256 = hashlib.sha256(data).hexdigest()
    request_digest = ""
    if idempotency_key:
        request_digest = hashlib.sha256(f"{sha256} {operating_point} {force}".encode()).hexdigest()
        if answered := _answered(sender, idempotency_key, request_digest):
            return answered

    finding = inference.diagnose(data, operating_point=operating_point)
    picture = finding.picture
    upload = Upload(
        sha256=sha256,
        original_name=_readable(name),
        size=len(data),
        width=picture.width,
        height=picture.height,
        format=picture.format,
        owner=sender.user,
        visitor=sender.visitor,
        idempotency_key=idempotency_key,
        request_digest=request_digest,
    )
    prediction = _prediction(upload, finding, force=force)
    files = [
        (upload.file, f"xray.{inference.FORMATS[picture.format]}", inference.without_metadata(data)),
        (upload.thumbnail, "thumbnail.jpg", inference.thumbnail_jpeg(finding)),
        *_heatmap_file(prediction, finding),
    ]
    try:
        _store(files, [upload, prediction], by=sender)
    except IntegrityError:
        # A request under the same key was quicker; the database keeps one of them.
        if idempotency_key and (answered := _answered(sender, idempotency_key, request_digest)):
            return answered
        raise
    return prediction


def _answered(sender: access.Person, idempotency_key: str, request_digest: str) -> Prediction | None:
    upload = access.own_uploads(sender).filter(idempotency_key=idempotency_key).first()
    if upload is None:
        return None
    if upload.request_digest != request_digest:
        raise KeyReused("This Idempotency-Key was used for another request. Choose a new key for each.")
    return upload.predictions.order_by("created", "id").first()


def analyse_all_the_same(rejected: Prediction, *, by: access.Person) -> Prediction:
    """Analyse a rejected picture again, whatever it shows: a further prediction of the same upload, `forced`.

    Should the served model take it for a chest X-ray, the new prediction is an ordinary one.
    Raises inference.Unavailable without a classifier.
    """
    upload = rejected.upload
    with upload.file.open() as file:
        finding = inference.diagnose(file.read(), operating_point=_still_known(rejected.operating_point))
    prediction = _prediction(upload, finding, force=True)
    _store(_heatmap_file(prediction, finding), [prediction], by=by)
    return prediction


def _still_known(operating_point: str) -> str | None:
    return operating_point if operating_point in inference.operating_points() else None


def _prediction(upload: Upload, finding: inference.Finding, *, force: bool) -> Prediction:
    if finding.accepted:
        status = Prediction.Status.OK
    else:
        status = Prediction.Status.FORCED if force else Prediction.Status.REJECTED
    answered = status != Prediction.Status.REJECTED
    return Prediction(
        upload=upload,
        status=status,
        label=finding.label if answered else "",
        probability=finding.probability if answered else None,
        threshold=finding.threshold,
        uncertain=answered and finding.uncertain,
        operating_point=finding.operating_point,
        thresholds=finding.thresholds,
        chest_xray_score=finding.chest_xray_score,
        inverted=finding.inverted,
        quality=list(finding.hints),
        model_version=finding.model_version,
        milliseconds=finding.milliseconds,
    )


def _heatmap_file(prediction: Prediction, finding: inference.Finding) -> list[tuple[FieldFile, str, bytes]]:
    return [] if prediction.is_rejected else [(prediction.heatmap, "heatmap.png", inference.heatmap_png(finding))]


def _store(files: list[tuple[FieldFile, str, bytes]], rows: list[Model], *, by: access.Person) -> None:
    """Write `files` and insert `rows`; a failure leaves none of them."""
    try:
        for field, file_name, content in files:
            field.save(file_name, ContentFile(content), save=False)
        with transaction.atomic():
            for row in rows:
                row.save(force_insert=True)
            audit.record(by, audit.Action.MADE, [row for row in rows if isinstance(row, Prediction)])
    except BaseException:
        _delete_files(field.name for field, _, _ in files)
        raise


def earlier_results(prediction: Prediction) -> QuerySet[Prediction]:
    """What the same sender was told of the very same picture before, newest first."""
    upload = prediction.upload
    sender = access.Person(user=upload.owner, visitor=upload.visitor)
    told = access.own(sender).exclude(status=Prediction.Status.REJECTED)
    return told.filter(upload__sha256=upload.sha256, created__lt=prediction.created)


def adopt(visitor: access.Person, user: User) -> int:
    """Give `user` what they sent from the same browser before they logged in; returns how many uploads."""
    uploads = access.own_uploads(visitor)
    with transaction.atomic():
        # A key may be in use on both sides; it has done its work.
        return uploads.update(owner=user, visitor=None, idempotency_key="", request_digest="")


def everything_of(user: User) -> IO[bytes]:
    """A ZIP file with all that is of `user`, on disk while open.

    The pictures that they sent, as stored, heatmaps and predictions.json; and readings.json, the readings they wrote.
    """
    archive = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    told = []
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as content:  # pictures are compressed already
        predictions = access.own(access.Person(user=user)).order_by("created", "id").prefetch_related("reviews")
        for prediction in predictions.iterator(chunk_size=BATCH):
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


def _put(archive: zipfile.ZipFile, stem: str, file: FieldFile) -> str:
    """Copy a stored file into the archive, unless it is there, and return its name there."""
    name = f"{stem}.{str(file.name).rpartition('.')[2]}"
    try:
        archive.getinfo(name)
    except KeyError:
        with file.open("rb") as source, archive.open(name, "w") as target:
            shutil.copyfileobj(source, target)
    return name


def delete(uploads: Iterable[Upload], *, by: access.Person | str) -> int:
    """Delete uploads with their predictions, pictures and heatmaps; returns how many uploads.

    by: who deletes, or the name of a command. The rows go first, in one transaction: should
    the process die in between, a file without a row is left, which nobody can reach and
    `purge` finds, and never a row without its file.
    """
    keys = [upload.pk for upload in uploads]
    with transaction.atomic():
        doomed = Upload.objects.filter(pk__in=keys)
        files = [name for names in doomed.values_list("file", "thumbnail") for name in names]
        predictions = list(Prediction.objects.filter(upload__in=doomed))
        files += [prediction.heatmap.name for prediction in predictions]
        audit.record(by, audit.Action.DELETED, predictions)
        doomed.delete()
        transaction.on_commit(lambda: _delete_files(files))
    return len(keys)


@dataclass(frozen=True)
class Purged:
    """How many uploads were, or would be, deleted, and how many files that no row tells of."""

    uploads: int
    stray_files: int


def purge(older_than: datetime.timedelta, *, dry_run: bool = False) -> Purged:
    """Delete every upload sent longer ago than that, whoever sent it, and files as old that no row tells of."""
    before = timezone.now() - older_than
    old = Upload.objects.filter(created__lt=before).order_by("created")
    uploads = old.count()
    if not dry_run:
        while batch := list(old[:BATCH]):
            delete(batch, by="purge")
    strays = [name for name in _stray_files() if default_storage.get_modified_time(name) < before]
    if not dry_run:
        _delete_files(strays)
    return Purged(uploads, len(strays))


BATCH = 500


def _stray_files() -> Iterator[str]:
    """Stored files that no row tells of: what a crash between writing files and rows leaves."""
    for model, fields in ((Upload, ("file", "thumbnail")), (Prediction, ("heatmap",))):
        for folder in _folders(f"{model._meta.model_name}s", depth=2):
            try:
                key = uuid.UUID(folder.rpartition("/")[2])
            except ValueError:
                continue  # not a folder of ours
            row = model.objects.filter(pk=key).values_list(*fields).first()
            yield from (
                name for file in default_storage.listdir(folder)[1] if (name := f"{folder}/{file}") not in (row or ())
            )


def _folders(root: str, depth: int) -> Iterator[str]:
    if depth == 0:
        yield root
    elif default_storage.exists(root):
        for name in default_storage.listdir(root)[0]:
            yield from _folders(f"{root}/{name}", depth - 1)


def _delete_files(names: Iterable[str | None]) -> None:
    folders = set()
    for name in filter(None, names):
        folders.add(name.rpartition("/")[0])
        try:
            default_storage.delete(name)
        except OSError:
            logger.exception("A file of a deleted record could not be removed from storage")
    for folder in folders:
        with contextlib.suppress(OSError):  # not empty
            default_storage.delete(folder)


def _readable(name: str) -> str:
    """A file name fit to show and to store: one line, without folders, at most 255 characters."""
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(character for character in name if character.isprintable()).strip()
    return name[-255:] or "unnamed"
