"""The pages where a reviewer reads one X-ray after the other, and sees how far readers and model agree."""

import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from diagnosis import access, agreement, audit, reviews
from diagnosis.models import Prediction, Review

_SKIPPED, _LAST, _NOTES = "review_skipped", "review_last", "review_notes"
_MOST_SKIPPED, _MOST_NOTES = 500, 50


class ReadingForm(forms.ModelForm):
    class Meta:
        model = Review
        fields = ["reading", "note"]


def _reviewer(request: HttpRequest) -> access.Person:
    person = access.person_of(request)
    if not person.may_review:
        raise PermissionDenied
    return person


def _skipped(request: HttpRequest) -> list[str]:
    """The keys of what was skipped; some of it may have been read since, or deleted."""
    return request.session.get(_SKIPPED, [])


def _counted(count: int) -> str:
    return f"{reviews.MOST_COUNTED}+" if count > reviews.MOST_COUNTED else str(count)


def _keep_note(request: HttpRequest, pk: uuid.UUID, note: str) -> None:
    """For when the same person comes back to the picture; an empty one takes away what was kept."""
    notes = {key: kept for key, kept in request.session.get(_NOTES, {}).items() if key != str(pk)}
    if note.strip():
        notes[str(pk)] = note[:2000]
    request.session[_NOTES] = dict(list(notes.items())[-_MOST_NOTES:])


def _last(request: HttpRequest, person: access.Person) -> str | None:
    """The key of what was read last; None where nothing was, or it was deleted since."""
    last = request.session.get(_LAST)
    return last if last and access.visible_to(person).filter(pk=last).exists() else None


@require_safe
def next_one(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """To the prediction whose reading would help most, or a page that says that there is none left."""
    person = _reviewer(request)
    if found := reviews.most_helpful(person, skipped=_skipped(request)):
        return redirect("admin:diagnosis_prediction_review", found.pk)
    skipped = sum(these.filter(pk__in=_skipped(request)).count() for these in reviews.waiting(person))
    context |= {"title": _("Nothing left to read"), "skipped": skipped}
    return render(request, "admin/diagnosis/prediction/review_done.html", context)


@require_POST
def unskip(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Put what was skipped back into the queue."""
    request.session.pop(_SKIPPED, None)
    return redirect("admin:diagnosis_prediction_review_next")


def _leave(request: HttpRequest, pk: uuid.UUID, last: str | None) -> HttpResponse:
    """Go on without a reading, or back to what was read last. What was noted so far waits at the picture."""
    note = request.POST.get("note", "")
    _keep_note(request, pk, note)
    if note.strip():
        messages.info(request, _("Your note on the picture that you left is kept until you come back to it."))
    if "back" in request.POST:
        return redirect("admin:diagnosis_prediction_review", last or pk)
    skipped = [*(key for key in _skipped(request) if key != str(pk)), str(pk)]
    request.session[_SKIPPED] = skipped[-_MOST_SKIPPED:]
    return redirect("admin:diagnosis_prediction_review_next")


def _deleted(request: HttpRequest) -> HttpResponse:
    """The queue goes on."""
    messages.warning(request, _("The picture was deleted before you had read it: nothing was recorded."))
    return redirect("admin:diagnosis_prediction_review_next")


@require_http_methods(["GET", "HEAD", "POST"])
def read(request: HttpRequest, context: dict[str, Any], pk: uuid.UUID) -> HttpResponse:
    """Read one X-ray. The model's answer, its heatmap, the file's name and other readings show when asked for.

    The form's buttons tell what to do: `reading` records and goes on to the next, `show` shows
    what is hidden and keeps the note, `skip` goes on without a reading, `back` to what was read last.
    """
    person = _reviewer(request)
    prediction = access.visible_to(person).exclude(status=Prediction.Status.REJECTED).filter(pk=pk).first()
    if prediction is None and request.method == "POST":
        return _deleted(request)
    if prediction is None:
        raise Http404
    last = _last(request, person)
    if last == str(pk):
        last = None  # it is open already
    if "skip" in request.POST or "back" in request.POST:
        return _leave(request, pk, last)
    shown = "shown" in request.POST or "show" in request.POST
    recording = request.method == "POST" and "show" not in request.POST
    note = request.POST.get("note", request.session.get(_NOTES, {}).get(str(pk), ""))
    form = ReadingForm(request.POST) if recording else ReadingForm(initial={"note": note})
    if form.is_valid():
        try:
            reviews.record(
                prediction,
                by=person,
                reading=form.cleaned_data["reading"],
                note=form.cleaned_data["note"],
                blind=not shown,
            )
        except Prediction.DoesNotExist:
            return _deleted(request)
        request.session[_LAST] = str(pk)
        _keep_note(request, pk, "")
        said = _("Recorded: %(reading)s.") % {"reading": Review.Reading(form.cleaned_data["reading"]).label}
        messages.success(request, said)
        return redirect("admin:diagnosis_prediction_review_next")
    if shown:
        audit.record(person, audit.Action.VIEWED, [prediction], detail=f"{audit.RESULT}, while reviewing")
    own = prediction.reviews.filter(reviewer=person.user).first()
    unread, second = map(_counted, reviews.count_waiting(person, skipped=_skipped(request)))
    context |= {
        "title": _("Read an X-ray"),
        "prediction": prediction,
        "form": form,
        "readings": Review.Reading.choices,
        "shown": shown,
        "blind": not shown,
        "own": own,
        "own_of_another": None if own else reviews.of_another_sending(prediction, person),
        "others": prediction.reviews.exclude(reviewer=person.user).select_related("reviewer") if shown else [],
        "unread": unread,
        "second": second,
        "last": last,
        "is_nav_sidebar_enabled": False,  # the room is for the picture
    }
    return render(request, "admin/diagnosis/prediction/review.html", context, status=400 if recording else 200)


@require_safe
def agreement_page(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Model against reviewers, and reviewers against each other, by blind readings alone or, with `?readings=all`, all.

    `?model_version=` narrows it down.
    """
    predictions = access.visible_to(access.person_of(request))
    versions = predictions.order_by("model_version").values_list("model_version", flat=True).distinct()
    version = request.GET.get("model_version", "")
    if version in versions:
        predictions = predictions.filter(model_version=version)
    else:
        version = ""
    blind = request.GET.get("readings") != "all"
    context |= {
        "title": _("Agreement"),
        "report": agreement.report(predictions, blind=blind),
        "blind": blind,
        "versions": versions,
        "model_version": version,
    }
    return render(request, "admin/diagnosis/prediction/agreement.html", context)
