"""What the application does. Pages, API, admin and commands translate and call."""

import hashlib
import logging
from collections.abc import Iterable

from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Model, QuerySet
from django.db.models.fields.files import FieldFile

from diagnosis import access, inference
from diagnosis.models import Prediction, Upload

logger = logging.getLogger(__name__)


def diagnose(
    *, file: File, name: str, sender: access.Person, operating_point: str | None = None, force: bool = False
) -> Prediction:
    """Analyse one picture and keep picture, heatmap and answer, all of them or none.

    The picture is kept without its metadata, which may tell of people and places.

    name: what the sender calls the file; kept as a label, never used as a path. force: give
    an answer even to what is no frontal chest X-ray. Without it such a picture is kept as
    `rejected`. Raises inference.PictureError for a bad file and inference.Unavailable
    without a classifier.
    """
    inference.limits().check_bytes(file.size)  # before reading it into memory
    data = file.read()
    finding = inference.diagnose(data, operating_point=operating_point)
    picture = finding.picture

    upload = Upload(
        sha256=hashlib.sha256(data).hexdigest(),
        original_name=_readable(name),
        size=len(data),
        width=picture.width,
        height=picture.height,
        format=picture.format,
        owner=sender.user,
        visitor=sender.visitor,
    )
    prediction = _prediction(upload, finding, force=force)
    files = [
        (upload.file, f"xray.{inference.FORMATS[picture.format]}", inference.without_metadata(data)),
        (upload.thumbnail, "thumbnail.jpg", inference.thumbnail_jpeg(finding)),
        *_heatmap_file(prediction, finding),
    ]
    _store(files, [upload, prediction])
    return prediction


def analyse_all_the_same(rejected: Prediction) -> Prediction:
    """Analyse a rejected picture again, whatever it shows: a further prediction of the same upload, `forced`.

    Should the served model take it for a chest X-ray, the new prediction is an ordinary one.
    Raises inference.Unavailable without a classifier.
    """
    upload = rejected.upload
    with upload.file.open() as file:
        finding = inference.diagnose(file.read(), operating_point=_still_known(rejected.operating_point))
    prediction = _prediction(upload, finding, force=True)
    _store(_heatmap_file(prediction, finding), [prediction])
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
        chest_xray_score=finding.chest_xray_score,
        inverted=finding.inverted,
        model_version=finding.model_version,
        milliseconds=finding.milliseconds,
    )


def _heatmap_file(prediction: Prediction, finding: inference.Finding) -> list[tuple[FieldFile, str, bytes]]:
    return [] if prediction.is_rejected else [(prediction.heatmap, "heatmap.png", inference.heatmap_png(finding))]


def _store(files: list[tuple[FieldFile, str, bytes]], rows: list[Model]) -> None:
    """Write `files` and insert `rows`; a failure leaves none of them."""
    try:
        for field, file_name, content in files:
            field.save(file_name, ContentFile(content), save=False)
        with transaction.atomic():
            for row in rows:
                row.save(force_insert=True)
    except BaseException:
        _delete_files(field.name for field, _, _ in files)
        raise


def earlier_results(prediction: Prediction) -> QuerySet[Prediction]:
    """What the same sender was told of the very same picture before, newest first."""
    upload = prediction.upload
    sender = access.Person(user=upload.owner, visitor=upload.visitor)
    told = access.own(sender).exclude(status=Prediction.Status.REJECTED)
    return told.filter(upload__sha256=upload.sha256, created__lt=prediction.created)


def delete(uploads: Iterable[Upload]) -> int:
    """Delete uploads with their predictions, pictures and heatmaps; returns how many uploads.

    The rows go first, in one transaction: should the process die in between, a file
    without a row is left, which nobody can reach, and never a row without its file.
    """
    keys = [upload.pk for upload in uploads]
    with transaction.atomic():
        doomed = Upload.objects.filter(pk__in=keys)
        files = [name for names in doomed.values_list("file", "thumbnail") for name in names]
        files += Prediction.objects.filter(upload__in=doomed).values_list("heatmap", flat=True)
        doomed.delete()
        transaction.on_commit(lambda: _delete_files(files))
    return len(keys)


def _delete_files(names: Iterable[str | None]) -> None:
    for name in names:
        try:
            if name:
                default_storage.delete(name)
        except OSError:
            logger.exception("A file of a deleted record could not be removed from storage")


def _readable(name: str) -> str:
    """A file name fit to show and to store: one line, without folders, at most 255 characters."""
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(character for character in name if character.isprintable()).strip()
    return name[-255:] or "unnamed"
