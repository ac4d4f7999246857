"""Readings by people: what to read next, recording a reading, and which reading holds."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.utils.translation import gettext_lazy as _

from diagnosis import access, audit
from diagnosis.models import Prediction, Review

Reading = Review.Reading


def record(prediction: Prediction, *, by: access.Person, reading: str, note: str = "", blind: bool = False) -> Review:
    """Add a reading, which supersedes the earlier ones; the prediction stays as it is.

    reading: one of Reading. blind: the reader says they had not looked at the model's answer; kept as
    that only where nothing tells otherwise.
    Raises PermissionDenied for somebody who may not review, ValueError for a picture that was not analysed, and
    Prediction.DoesNotExist where it was deleted meanwhile.
    """
    if by.user is None or not by.may_review:
        raise PermissionDenied
    if prediction.is_rejected:
        raise ValueError("The model gave no answer to this picture, so there is nothing to compare a reading with.")
    blind = blind and not audit.has_seen_the_answer(by, prediction)
    with transaction.atomic():
        Prediction.objects.select_for_update().get(pk=prediction.pk)  # from here on nobody deletes it
        review = Review.objects.create(
            prediction=prediction, reviewer=by.user, reading=Reading(reading), note=note.strip(), blind=blind
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
    """Those of `predictions` whose reading that holds is another than the model's answer; no unreadable ones."""
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


def queue(reviewer: access.Person) -> QuerySet[Prediction]:
    """What `reviewer` has not read yet, in the order of how much a reading would help.

    Those that nobody has read come first; among them the uncertain ones, then those whose
    picture another version of the model answered differently, then the newest. What others have
    read follows in the same order: a second reading tells how far readers agree.
    """
    other_answer = Prediction.objects.filter(
        ~Q(model_version=OuterRef("model_version")),
        ~Q(label=OuterRef("label")),
        ~Q(status=Prediction.Status.REJECTED),
        upload__sha256=OuterRef("upload__sha256"),
    )
    readings = Review.objects.filter(prediction=OuterRef("pk"))
    return (
        access.visible_to(reviewer)
        .exclude(status=Prediction.Status.REJECTED)
        .filter(~Exists(readings.filter(reviewer=reviewer.user)))
        .annotate(read_by_others=Exists(readings), versions_disagree=Exists(other_answer))
        .order_by("read_by_others", F("uncertain").desc(), F("versions_disagree").desc(), "-created", "-id")
    )
