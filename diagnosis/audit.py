"""Keep who looked at, made, reviewed, exported or deleted what. Nothing here is ever changed or deleted."""

from collections.abc import Iterable

from diagnosis.models import AuditEvent, Prediction

Action = AuditEvent.Action
RESULT = "result"
"""What `detail` begins with where somebody was shown the model's answer."""


def record(actor: object, action: AuditEvent.Action, predictions: Iterable[Prediction], detail: str = "") -> None:
    """One event for each of `predictions`.

    actor: an access.Person, or the name of a command. detail: what the columns do not say; no file name and
    nothing of a patient.
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


def has_seen_the_answer(actor: object, prediction: Prediction) -> bool:
    """Whether `actor` opened the prediction's result before, on a page or by the API."""
    seen = AuditEvent.objects.filter(action=Action.VIEWED, prediction=prediction.pk, detail__startswith=RESULT)
    return seen.filter(actor=str(actor)).exists()
