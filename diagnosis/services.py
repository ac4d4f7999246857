"""What the application does. Pages, API, admin and commands only translate requests and call these functions."""

import contextlib
import functools
import hashlib
import logging
import uuid
from collections.abc import Callable, Iterable

from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage
from django.db import IntegrityError, OperationalError, transaction
from django.db.models import Model, QuerySet
from django.db.models.fields.files import FieldFile

from diagnosis import access, audit, faults, metrics
from diagnosis.inference import serving
from diagnosis.models import ApiToken, Prediction, Upload

logger = logging.getLogger(__name__)


class KeyReused(Exception):
    """The idempotency key came before, with another request. `str()` is a sentence for the sender."""

    code = "idempotency_key_reused"


class _AnsweredMeanwhile(Exception):
    """Another request for the same was quicker; `answer` is what it got."""

    def __init__(self, answer: Prediction):
        super().__init__()
        self.answer = answer


class NotStored(Exception):
    """The machine could not store a picture; nothing of it was stored. `fault` says why."""

    def __init__(self, fault: faults.Fault):
        super().__init__(fault.detail)
        self.fault, self.code = fault, fault.code


def _code_of(error: Exception) -> str:
    """The code, as in docs/api.md, of why a picture got no answer."""
    if fault := faults.fault_of(error):
        return fault.code
    if isinstance(error, FileNotFoundError):
        return "not_found"
    code = getattr(error, "code", None)
    return code if isinstance(code, str) else "server_error"


@metrics.counting_failures(_code_of)
def diagnose(
    *,
    file: File,
    name: str,
    sender: access.Person,
    operating_point: str | None = None,
    force: bool = False,
    idempotency_key: str = "",
    number: int = 0,
    request_digest: str = "",
) -> Prediction:
    """Analyse one picture and store picture, heatmap and answer: all of them or none.

    The picture is stored without its metadata, which may identify people and places.

    name: what the sender calls the file; kept as a label, never used as a path. force: give
    an answer even to what is no frontal chest X-ray. Without it such a picture is kept as
    `rejected`. idempotency_key: the same sender's second request under the same key gets the
    first one's prediction, and nothing is stored again. number, request_digest: which file of the
    request this is, counted from 0, and what digest_of_several says of them, where there may be
    several. Raises serving.PictureError for a bad file, serving.Unavailable without a
    classifier, KeyReused, and NotStored.
    """
    serving.limits().check_bytes(file.size)  # before reading it into memory
    data = file.read()
    sha256 = hashlib.sha256(data).hexdigest()
    if idempotency_key:
        request_digest = request_digest or _digest(sha256, operating_point, force)
    earlier_answer = functools.partial(answered, sender, idempotency_key, number, request_digest)
    if earlier := earlier_answer():
        return earlier

    picture = serving.read(data)
    finding = serving.diagnose(picture, operating_point=operating_point)
    upload = Upload(
        sha256=sha256,
        original_name=_readable(name),
        size=len(data),
        width=picture.width,
        height=picture.height,
        format=picture.format,
        owner=sender.user,
        visitor=sender.visitor,
        idempotency_key=_kept_key(idempotency_key, number),
        request_digest=request_digest,
    )
    prediction = _prediction(upload, finding, force=force)
    heatmap = _heatmap_file(prediction, finding)
    files = [
        (upload.file, f"xray.{serving.FORMATS[picture.format]}", serving.without_metadata(data)),
        (upload.thumbnail, "thumbnail.jpg", serving.thumbnail_jpeg(picture)),
        *heatmap,
    ]
    store = functools.partial(_store, files, [upload, prediction], by=sender, check=earlier_answer)
    try:
        store()
    except IntegrityError:
        # A request under the same key was quicker; the database keeps one of them.
        if earlier := earlier_answer():
            return earlier
        store()  # what that one kept is deleted already
    return prediction


def digest_of_several(files: Iterable[File], *, operating_point: str | None = None, force: bool = False) -> str:
    """The digest that distinguishes a request for several files, or for one where several may come, from any other."""
    digests = []
    for file in files:
        digest = hashlib.sha256()
        for chunk in file.chunks():
            digest.update(chunk)
        digests.append(digest.hexdigest())
        file.seek(0)
    return _digest(f"several {' '.join(digests)}", operating_point, force)


def _digest(files: str, operating_point: str | None, force: bool) -> str:
    return hashlib.sha256(f"{files} {operating_point} {force}".encode()).hexdigest()


def _kept_key(idempotency_key: str, number: int) -> str:
    """One for each file of a request, of which the first is the same with one file and with several.

    No client can send a key with a line break in it.
    """
    return f"{idempotency_key}\n{number}" if idempotency_key and number else idempotency_key


def answered(sender: access.Person, idempotency_key: str, number: int, request_digest: str) -> Prediction | None:
    """The answer that this file of this request already got; raises KeyReused if the key came with another request."""
    if not idempotency_key:
        return None
    keys = [_kept_key(idempotency_key, one) for one in range(settings.MAX_FILES_PER_REQUEST)]
    # Said twice, since an index holds the rows with a key alone, and is found only by the same words.
    uploads = access.own_uploads(sender).filter(idempotency_key__in=keys).exclude(idempotency_key="")
    earlier = {upload.idempotency_key: upload for upload in uploads}
    if any(upload.request_digest != request_digest for upload in earlier.values()):
        raise KeyReused("This Idempotency-Key was used for another request. Choose a new key for each.")
    upload = earlier.get(_kept_key(idempotency_key, number))
    return upload.predictions.order_by("created", "id").first() if upload else None


@metrics.counting_failures(_code_of)
def analyse_all_the_same(rejected: Prediction, *, by: access.Person) -> Prediction:
    """Analyse a rejected picture again, whatever it shows: a further prediction of the same upload, `forced`.

    Should the served model take it for a chest X-ray, the new prediction is an ordinary one. Asked again while the same
    model answers, it returns the same prediction. Raises serving.Unavailable without a classifier, NotStored, and
    FileNotFoundError where storage has lost it.
    """
    upload = rejected.upload
    known = serving.operating_points()
    operating_point = rejected.operating_point if rejected.operating_point in known else next(iter(known), None)
    answers = upload.predictions.exclude(status=Prediction.Status.REJECTED).filter(
        model_version=serving.model_version(), operating_point=operating_point
    )
    if earlier := answers.first():
        return earlier
    with upload.file.open() as file:
        picture = serving.read(file.read())
    finding = serving.diagnose(picture, operating_point=operating_point)
    prediction = _prediction(upload, finding, force=True)

    def check() -> None:
        sent = Upload.objects.select_for_update().filter(pk=upload.pk).first()
        if not sent:
            raise FileNotFoundError(f"{upload.pk} was deleted meanwhile.")
        prediction.owner_id, prediction.visitor = sent.owner_id, sent.visitor  # another's, if they logged in meanwhile
        prediction.save(update_fields=["owner", "visitor"])
        if earlier := answers.exclude(pk=prediction.pk).first():
            raise _AnsweredMeanwhile(earlier)

    try:
        _store(_heatmap_file(prediction, finding), [prediction], by=by, check=check)
    except _AnsweredMeanwhile as twin:
        return twin.answer
    return prediction


def _prediction(upload: Upload, finding: serving.Finding, *, force: bool) -> Prediction:
    if finding.accepted:
        status = Prediction.Status.OK
    else:
        status = Prediction.Status.FORCED if force else Prediction.Status.REJECTED
    answered = status != Prediction.Status.REJECTED
    return Prediction(
        upload=upload,
        owner_id=upload.owner_id,
        visitor=upload.visitor,
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


def _heatmap_file(prediction: Prediction, finding: serving.Finding) -> list[tuple[FieldFile, str, bytes]]:
    return [] if prediction.is_rejected else [(prediction.heatmap, "heatmap.png", serving.heatmap_png(finding))]


def _store(
    files: list[tuple[FieldFile, str, bytes]],
    rows: list[Model],
    *,
    by: access.Person,
    check: Callable[[], object] = lambda: None,
) -> None:
    """Write `files` and insert `rows`; a failure leaves none of them. Raises NotStored where the machine failed.

    check: raises if the rows must not be stored. It is called inside their transaction, beside which SQLite lets no
    other begin.
    """
    # Also those that a full disk lets begin and not end, whose field never learns its name.
    names = [field.field.generate_filename(field.instance, file_name) for field, file_name, _ in files]
    committing = False
    try:
        for field, file_name, content in files:
            field.save(file_name, ContentFile(content), save=False)
        with transaction.atomic():
            for row in rows:
                row.save(force_insert=True)
            check()
            audit.record(by, audit.Action.MADE, made := [row for row in rows if isinstance(row, Prediction)])
            committing = True
    except BaseException as error:
        fault = faults.fault_of(error)
        # A database that is lost while it commits may have kept the rows: retention.sweep finds out later.
        if not (committing and isinstance(error, OperationalError)) or fault == faults.FULL:
            delete_files(names)
        if fault:
            logger.error("A picture was not stored: %s", error)
            faults.let_go_of_database()
            raise NotStored(fault) from error
        raise
    for prediction in made:
        metrics.prediction_stored(prediction.label, prediction.status, prediction.model_version)


def earlier_results(prediction: Prediction) -> QuerySet[Prediction]:
    """Earlier results of the very same picture, sent another time by the same sender, newest first."""
    upload = prediction.upload
    own = access.own_uploads(access.Person(user=upload.owner, visitor=upload.visitor))
    sent = own.filter(sha256=upload.sha256).exclude(pk=upload.pk)
    # By the few uploads: joined, SQLite would walk all that somebody sent, the newest first.
    told = Prediction.objects.filter(upload__in=sent, created__lt=prediction.created).select_related("upload")
    return told.exclude(status=Prediction.Status.REJECTED)


def adopt(visitor: access.Person, user: User) -> int:
    """Give `user` what they sent from the same browser before they logged in; returns how many uploads."""
    uploads = access.own_uploads(visitor)
    if not uploads.exists():  # which spares others the wait for a writer
        return 0
    with transaction.atomic():
        # A key may be in use on both sides; it has done its work.
        count = uploads.update(owner=user, visitor=None, idempotency_key="", request_digest="")
        # Not those of a row that came in between, which a later log-in or request takes along.
        Prediction.objects.filter(visitor=visitor.visitor, upload__owner=user).update(owner=user, visitor=None)
    return count


BATCH = 500
"""Uploads that are taken in hand at a time: others wait who write, and memory does not grow with their number."""


def delete(uploads: Iterable[Upload], *, by: access.Person | str) -> int:
    """Delete uploads with their predictions, pictures and heatmaps; returns how many uploads.

    by: who deletes, or the name of a command; see audit.record. The rows go first, BATCH of them at a time: should
    the process die in between, a file without a row is left, which nobody can reach and
    retention.sweep finds, and never a row without its file.
    """
    keys = [upload.pk for upload in uploads]
    return sum(_delete(keys[start : start + BATCH], by=by) for start in range(0, len(keys), BATCH))


def _delete(keys: list[uuid.UUID], *, by: access.Person | str) -> int:
    with transaction.atomic():
        doomed = Upload.objects.filter(pk__in=keys)
        # Locked, so that of two deletions one is counted and kept in the log, and no reading comes in between.
        uploads = list(doomed.select_for_update())
        files = [name for upload in uploads for name in (upload.file.name, upload.thumbnail.name)]
        predictions = list(Prediction.objects.select_for_update().filter(upload__in=keys))
        files += [prediction.heatmap.name for prediction in predictions]
        audit.record(by, audit.Action.DELETED, predictions)
        doomed.delete()
        transaction.on_commit(lambda: delete_files(files))
    return len(uploads)


def close_account(user: User) -> None:
    """Delete all that `user` sent, revoke their tokens, and let nobody log in to the account again.

    The account itself stays, deactivated and without an address: readings and the audit log know it by its name,
    which nobody else may take. The pictures go first: should that fail, the user can still log in and try again.
    """
    person = access.Person(user=user)
    delete(access.own_uploads(person).only("pk"), by=person)
    ApiToken.objects.filter(user=user).delete()
    user.is_active, user.email, user.first_name, user.last_name = False, "", "", ""
    user.set_unusable_password()
    user.save(update_fields=["is_active", "email", "first_name", "last_name", "password"])


def delete_files(names: Iterable[str | None]) -> None:
    """Delete stored files, those that are there, and the folders that this empties."""
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
