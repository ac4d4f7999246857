"""Readings by people: what to read next, recording a reading, and which reading counts."""

import datetime
from collections.abc import Collection
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, QuerySet, Subquery
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from diagnosis import access, audit
from diagnosis.models import Prediction, Review

Reading = Review.Reading
SECOND_CLICK = datetime.timedelta(seconds=10)
"""Within it, what the same person says anew of a picture, word for word, is the reading that is there."""


def record(prediction: Prediction, *, by: access.Person, reading: str, note: str = "", blind: bool = False) -> Review:
    """Add a reading, which supersedes the earlier ones; the prediction stays as it is.

    The latest reading is returned, and nothing added, where it is of the same person, says the same and is no older
    than SECOND_CLICK.

    reading: one of Reading. blind: the reader says they had not looked at the model's answer; kept as
    that only where nothing tells otherwise.
    Raises PermissionDenied for somebody who may not review, ValueError for a picture that was not analysed, and
    Prediction.DoesNotExist where it was deleted meanwhile.
    """
    if by.user is None or not by.may_review:
        raise PermissionDenied
    if prediction.is_rejected:
        raise ValueError("The model gave no answer to this picture, so there is nothing to compare a reading with.")
    note = note.strip()
    with transaction.atomic():
        Prediction.objects.select_for_update().get(pk=prediction.pk)  # from here on nobody deletes it
        latest = prediction.reviews.filter(created__gt=timezone.now() - SECOND_CLICK).first()
        blind = blind and not audit.has_seen_the_answer(by, prediction)
        if latest and (latest.reviewer, latest.reading, latest.note, latest.blind) == (by.user, reading, note, blind):
            return latest
        review = Review.objects.create(
            prediction=prediction, reviewer=by.user, reading=Reading(reading), note=note, blind=blind
        )
        audit.record(by, audit.Action.REVIEWED, [prediction], detail=reading)
    return review


def with_reading(predictions: QuerySet[Prediction]) -> QuerySet[Any]:
    """`predictions` with `reading`, the one that holds, which is the latest; None where nobody has read it."""
    latest = Review.objects.filter(prediction=OuterRef("pk")).order_by("-id")
    return predictions.annotate(reading=Subquery(latest.values("reading")[:1]))


def that_hold(*, blind: bool = False) -> QuerySet[Review]:
    """The latest reading of each prediction that has any.

    blind: the latest of the blind ones, whatever was read afterwards with the model's answer in view.
    """
    return _latest(blind, prediction=OuterRef("prediction"))


def latest_of_each_reviewer(*, blind: bool = False) -> QuerySet[Review]:
    """The readings that their own writers have not superseded; blind: of the blind ones alone."""
    return _latest(blind, prediction=OuterRef("prediction"), reviewer=OuterRef("reviewer"))


def _latest(blind: bool, **same: OuterRef) -> QuerySet[Review]:
    readings = Review.objects.filter(blind=True) if blind else Review.objects.all()
    return readings.filter(~Exists(readings.filter(**same, id__gt=OuterRef("id"))))


def disputed(predictions: QuerySet[Prediction]) -> QuerySet[Prediction]:
    """Those of `predictions` that reviewers read differently."""
    several = (
        latest_of_each_reviewer()
        .order_by()
        .values("prediction")
        .annotate(kinds=Count("reading", distinct=True))
        .filter(kinds__gt=1)
    )
    return predictions.filter(pk__in=several.values("prediction"))


def differing(predictions: QuerySet[Prediction]) -> QuerySet[Prediction]:
    """Those of `predictions` whose current reading differs from the model's answer; without unreadable ones."""
    reading = that_hold().filter(prediction=OuterRef("pk"), reading__in=Prediction.Label.values)
    return predictions.filter(Exists(reading.exclude(reading=OuterRef("label"))))


STATES = {"none": _("not read yet"), "read": _("read"), "disputed": _("reviewers disagree")}


def in_state(predictions: QuerySet[Prediction], state: str) -> QuerySet[Prediction]:
    """Those of `predictions` in one of STATES. What was not analysed cannot be read, so it does not wait for it."""
    if state == "disputed":
        return disputed(predictions)
    is_read = Exists(Review.objects.filter(prediction=OuterRef("pk")))
    if state == "read":
        return predictions.filter(is_read)
    return predictions.filter(~is_read).exclude(status=Prediction.Status.REJECTED)


def of_another_sending(prediction: Prediction, reviewer: access.Person) -> Review | None:
    """The latest reading by `reviewer` of the very same file, sent another time."""
    others = Prediction.objects.filter(upload__sha256=prediction.upload.sha256).exclude(pk=prediction.pk)
    return Review.objects.filter(reviewer=reviewer.user, prediction__in=others).first()


MOST_COUNTED = 1000
"""Of what waits: a count goes no further, since to count is to walk."""
MOST_COMPARED = 1000
"""How many of the newest that wait are compared with what other versions of the model answered."""


def waiting(reviewer: access.Person, *, skipped: Collection[str] = ()) -> list[QuerySet[Prediction]]:
    """What nobody has read, and what others have and `reviewer` has not, the newest first; skipped: keys to leave out.

    The first row of either is found by an index, which passes over no more than what was read.
    """
    visible = access.visible_to(reviewer).exclude(pk__in=skipped)
    own = Review.objects.filter(prediction=OuterRef("pk"), reviewer=reviewer.user)
    return [in_state(visible, "none"), in_state(visible, "read").filter(~Exists(own))]


def most_helpful(reviewer: access.Person, *, skipped: Collection[str] = ()) -> Prediction | None:
    """What `reviewer` has not read yet and a reading would help most; None where nothing waits.

    What nobody has read comes first; among that the uncertain, then those whose picture versions of the model answered
    differently, then the newest. What others have read follows in the same order: a second reading tells how far
    readers agree. The database is asked rank by rank, because sorting by rank would read every row for each reading.
    """
    for these in waiting(reviewer, skipped=skipped):
        if found := these.filter(uncertain=True).first() or _answered_differently(these) or these.first():
            return found
    return None


def _answered_differently(these: QuerySet[Prediction]) -> Prediction | None:
    """The newest whose picture versions of the model answered differently, if it is one of the MOST_COMPARED newest."""
    newest = list(these.values_list("pk", "upload__sha256")[:MOST_COMPARED])
    answers = Prediction.objects.exclude(status=Prediction.Status.REJECTED).order_by().values("upload__sha256")
    differing = set(
        answers.filter(upload__sha256__in={picture for _key, picture in newest})
        .annotate(versions=Count("model_version", distinct=True), labels=Count("label", distinct=True))
        .filter(versions__gt=1, labels__gt=1)
        .values_list("upload__sha256", flat=True)
    )
    found = next((key for key, picture in newest if picture in differing), None)
    return these.filter(pk=found).first() if found else None


def count_waiting(reviewer: access.Person, *, skipped: Collection[str] = ()) -> list[int]:
    """How many nobody has read, and how many wait for a second reading by `reviewer`; each MOST_COUNTED + 1 at most."""
    unread, _second = waiting(reviewer, skipped=skipped)
    own = Review.objects.filter(prediction=OuterRef("prediction"), reviewer=reviewer.user)
    # From the readings, which are few where few of all pictures were read.
    visible = access.visible_to(reviewer).filter(pk=OuterRef("prediction"))
    read = Review.objects.filter(Exists(visible)).exclude(prediction__in=skipped)
    second = read.filter(~Exists(own)).order_by("prediction").values("prediction").distinct()
    return [rows[: MOST_COUNTED + 1].count() for rows in (unread, second)]
