"""The audit log: who looked at, made, reviewed, exported or deleted what. Nothing in it is ever changed or deleted."""

from collections.abc import Iterable

from django.db.models import Exists, OuterRef, Q

from diagnosis import access
from diagnosis.models import AuditEvent, Prediction

Action = AuditEvent.Action
RESULT = "result"
"""What `detail` begins with where somebody was shown the model's answer."""


def record(actor: object, action: AuditEvent.Action, predictions: Iterable[Prediction], detail: str = "") -> None:
    """One event for each of `predictions`.

    actor: an access.Person, or a command as "manage.py purge", which no user's name can be, since those hold no
    space. detail: what the columns do not say; no file name and nothing of a patient.
    """
    AuditEvent.objects.bulk_create(
        (
            AuditEvent(actor=str(actor), action=action, prediction=prediction.pk, detail=detail)
            for prediction in predictions
        ),
        batch_size=500,
    )


def record_many(actor: object, action: AuditEvent.Action, detail: str) -> None:
    """One event for many predictions at once, which `detail` tells: an export of a thousand rows, say."""
    AuditEvent.objects.create(actor=str(actor), action=action, detail=detail)


def record_heatmap(person: access.Person, prediction: Prediction) -> None:
    """Record that `person` was shown the heatmap, which gives the answer away, unless they know the answer already.

    Pages show it beside the answer, and browsers fetch it again and again: once is enough.
    """
    if not access.own(person).filter(pk=prediction.pk).exists() and not _was_told(person, Q(pk=prediction.pk)):
        record(person, Action.VIEWED, [prediction], detail=f"{RESULT}, heatmap")


def has_seen_the_answer(person: access.Person, prediction: Prediction) -> bool:
    """Whether `person` sent that very picture or asked for its analysis, or opened a result of it, on a page or by the
    API: any result of a file with the same SHA-256."""
    picture = prediction.upload.sha256
    if access.own_uploads(person).filter(sha256=picture).exists():  # also what they sent before they logged in
        return True
    return _was_told(person, Q(upload__sha256=picture))


def _was_told(person: access.Person, any_of: Q) -> bool:
    told = Q(action=Action.MADE) | Q(action=Action.VIEWED, detail__startswith=RESULT)
    events = AuditEvent.objects.filter(told, actor=str(person), prediction=OuterRef("pk"))
    return Prediction.objects.filter(any_of).filter(Exists(events)).exists()
