"""The history as a worklist: filter, sort, compare, export, delete.

The URL alone holds the state: filter, page, selection. Pages that
were opened from the list carry its query as `back`. Only deleting is a POST, from a page of its own.
"""

import datetime
import uuid
from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import F, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods, require_safe

from diagnosis import access, audit, export, paging, reviews, services
from diagnosis.models import Prediction, Review, Upload
from diagnosis.statistics import midnight

PAGE_SIZE = 50
MOST_TO_COMPARE = 4
MOST_TO_SELECT = 200

SORTS = {
    "newest": (gettext_lazy("Newest first"), "-created"),
    "oldest": (gettext_lazy("Oldest first"), "created"),
    "high": (gettext_lazy("Highest probability first"), "-probability"),
    "low": (gettext_lazy("Lowest probability first"), "probability"),
    "name": (gettext_lazy("File name"), "upload__original_name"),
}
_ANY = ("", gettext_lazy("Any"))
_A_DAY = datetime.timedelta(days=1)
# Far from either end of the calendar, where a day has no next one.
_DAYS = [MinValueValidator(datetime.date(1900, 1, 1)), MaxValueValidator(datetime.date(2999, 12, 31))]


def _day(label: Any) -> forms.DateField:
    return forms.DateField(
        label=label,
        required=False,
        validators=_DAYS,
        widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d"),
        error_messages={"invalid": gettext_lazy("Give a day such as 2026-11-24.")},
    )


def _choice(label: Any, choices: Any) -> forms.ChoiceField:
    refusal = gettext_lazy("There is no choice “%(value)s”. Choose one from the list.")
    return forms.ChoiceField(label=label, choices=choices, required=False, error_messages={"invalid_choice": refusal})


def _model_versions() -> list[tuple[str, Any]]:
    versions = Prediction.objects.order_by("model_version").values_list("model_version", flat=True).distinct()
    return [_ANY, *((version, version) for version in versions)]


class FilterForm(forms.Form):
    """What the worklist can be narrowed down and sorted by. Every field may be left out."""

    name = forms.CharField(
        label=gettext_lazy("File name contains"),
        required=False,
        max_length=255,
        widget=forms.TextInput({"type": "search"}),
    )
    label = _choice(
        gettext_lazy("Answer"),
        [
            _ANY,
            *Prediction.Label.choices,
            ("forced", gettext_lazy("Unreliable")),
            ("rejected", gettext_lazy("Not analysed")),
        ],
    )
    certainty = _choice(
        gettext_lazy("Certainty"),
        [_ANY, ("certain", gettext_lazy("Certain")), ("uncertain", gettext_lazy("Uncertain"))],
    )
    review = _choice(
        gettext_lazy("Reviewers"),
        [
            _ANY,
            ("none", gettext_lazy("Not read yet")),
            ("read", gettext_lazy("Read")),
            ("differs", gettext_lazy("Differs from the answer")),
            ("disputed", gettext_lazy("Disagree with each other")),
        ],
    )
    since = _day(gettext_lazy("From"))
    until = _day(gettext_lazy("Until"))
    model = _choice(gettext_lazy("Model version"), _model_versions)
    sort = _choice(gettext_lazy("Sort by"), [(key, title) for key, (title, _column) in SORTS.items()])

    def clean(self) -> dict[str, Any]:
        asked = super().clean() or {}
        since, until = asked.get("since"), asked.get("until")
        if since and until and since > until:
            self.add_error("until", _("The last day lies before the first."))
        return asked

    def narrow(self, predictions: QuerySet[Prediction], *, in_pages: bool = False) -> QuerySet[Prediction]:
        """Those of `predictions` that the form, which is valid, asks for, in its order.

        in_pages: ordered by probability, leave out what has none, since a page could not go on there.
        """
        asked = self.cleaned_data
        if asked["name"]:
            predictions = predictions.filter(upload__original_name__icontains=asked["name"])
        if asked["label"] in ("forced", "rejected"):
            predictions = predictions.filter(status=asked["label"])
        elif asked["label"]:
            predictions = predictions.filter(status=Prediction.Status.OK, label=asked["label"])
        if asked["certainty"]:
            predictions = predictions.filter(status=Prediction.Status.OK, uncertain=asked["certainty"] == "uncertain")
        if asked["review"] == "differs":
            predictions = reviews.differing(predictions)
        elif asked["review"]:
            predictions = reviews.in_state(predictions, asked["review"])
        if asked["since"]:
            predictions = predictions.filter(created__gte=midnight(asked["since"]))
        if asked["until"]:
            predictions = predictions.filter(created__lt=midnight(asked["until"] + _A_DAY))
        if asked["model"]:
            predictions = predictions.filter(model_version=asked["model"])
        column = SORTS[asked["sort"] or "newest"][1]
        if not self.sorts_by_probability:
            return predictions.order_by(column)
        if in_pages:
            return predictions.filter(probability__isnull=False).order_by(column)
        probability = F("probability")
        falling, rising = probability.desc(nulls_last=True), probability.asc(nulls_last=True)
        return predictions.order_by(falling if column.startswith("-") else rising)

    @property
    def chosen(self) -> dict[str, str]:
        """What was asked for, as it was written, without what is left open."""
        return {name: value for name in self.fields if (value := self[name].value())}

    @property
    def query(self) -> str:
        """The filter as the query of an address."""
        query = QueryDict(mutable=True)
        query.update(self.chosen)
        return query.urlencode()

    @property
    def narrows(self) -> bool:
        """Whether it was asked to leave anything out."""
        return bool(set(self.chosen) - {"sort"})

    @property
    def sorts_by_probability(self) -> bool:
        """Then a page leaves out what was not analysed."""
        return self["sort"].value() in ("high", "low")


@require_safe
def history(request: HttpRequest) -> HttpResponse:
    """The predictions this person may see, newest first; the address narrows them down and sorts them."""
    person = access.person_of(request)
    form = FilterForm(request.GET, label_suffix="")
    context: dict[str, Any] = {
        "form": form,
        "here": _query(request.GET),
        "most_to_compare": MOST_TO_COMPARE,
        "page": paging.Page([], None, None),
    }
    status = 200
    if form.is_valid():
        predictions = form.narrow(access.visible_to(person), in_pages=True)
        try:
            found = paging.page(predictions, size=PAGE_SIZE, cursor=request.GET.get("cursor"))
        except paging.NoSuchPage:
            context["no_such_page"], status = True, 404
        else:
            if request.GET.get("cursor") and not found.rows:
                return redirect(_history(form.query))  # the last rows of the list were deleted
            # Readings are looked up for the rows of the page alone, whatever the order.
            keys = [prediction.pk for prediction in found]
            reading = dict(reviews.with_reading(Prediction.objects.filter(pk__in=keys)).values_list("pk", "reading"))
            picked = set(request.GET.getlist("pick"))
            for prediction in found:
                prediction.reading = _reading(reading.get(prediction.pk))
                prediction.picked = str(prediction.pk) in picked
            context["page"] = found
    else:
        status = 400
    return render(request, "diagnosis/history.html", context, status=status)


def _reading(value: str | None) -> Review.Reading | None:
    return Review.Reading(value) if value else None


def _query(asked: QueryDict, picks: Sequence[Any] = ()) -> str:
    """Of what was asked for, what tells of the list: filter and page, and which rows are ticked."""
    query = QueryDict(FilterForm(asked).query, mutable=True)
    query.setlist("cursor", asked.getlist("cursor"))
    query.setlist("pick", [str(pick) for pick in picks])
    return query.urlencode()


def _back(request: HttpRequest, picks: Sequence[Any] = ()) -> str:
    """The query of the list that the person came from; picks: what they ticked there, where `back` does not tell."""
    asked = request.POST if request.method == "POST" else request.GET
    listed = QueryDict(asked.get("back", ""))
    return _query(listed, picks or listed.getlist("pick"))


def _history(query: str) -> str:
    return reverse("diagnosis:history") + (f"?{query}" if query else "")


def carried(request: HttpRequest) -> str:
    """What the address of another page of the same result ends with, so that the way back to the list is not lost."""
    return f"?{urlencode({'back': _back(request)})}" if "back" in request.GET else ""


def way(request: HttpRequest, prediction: Prediction) -> dict[str, str]:
    """From a result: the address back to the list, and, opened from there, of the results before and behind it."""
    query = _back(request)
    addresses = {"back": _history(query), "carried": carried(request)}
    form = FilterForm(QueryDict(query))
    if "back" in request.GET and form.is_valid():
        listed = form.narrow(access.visible_to(access.person_of(request)), in_pages=True)
        for name, key in zip(("previous_url", "next_url"), paging.neighbours(listed, prediction), strict=True):
            if key:
                addresses[name] = f"{reverse('diagnosis:prediction', args=[key])}?{urlencode({'back': query})}"
    return addresses


def _selected(request: HttpRequest) -> list[uuid.UUID]:
    """The keys of the rows that are ticked, each once; what is no key at all is nobody's prediction."""
    asked = request.POST if request.method == "POST" else request.GET
    try:
        return list(dict.fromkeys(map(uuid.UUID, asked.getlist("pick"))))
    except ValueError:
        raise Http404 from None


def _select_other(request: HttpRequest, sentence: str, picks: Sequence[Any] = ()) -> HttpResponse:
    messages.warning(request, sentence)
    return redirect(_history(_back(request, picks)))


def _nothing_selected(request: HttpRequest) -> HttpResponse:
    return _select_other(request, _("Tick at least one picture first."))


def _too_many(request: HttpRequest) -> HttpResponse:
    said = _(
        "At most %(most)d pictures can be selected at once. To get more, export everything that matches the filter."
    )
    return _select_other(request, said % {"most": MOST_TO_SELECT})


@require_safe
def compare(request: HttpRequest) -> HttpResponse:
    """Two to four results side by side, in the order in which they are named."""
    keys = _selected(request)
    if not 2 <= len(keys) <= MOST_TO_COMPARE:
        said = ngettext(
            "Tick 2 to %(most)d pictures to compare them; %(count)d is ticked.",
            "Tick 2 to %(most)d pictures to compare them; %(count)d are ticked.",
            len(keys),
        )
        return _select_other(request, said % {"most": MOST_TO_COMPARE, "count": len(keys)}, keys)
    person = access.person_of(request)
    found = {
        prediction.pk: prediction for prediction in reviews.with_reading(access.visible_to(person)).filter(pk__in=keys)
    }
    if len(found) < len(keys):
        raise Http404
    chosen = [found[key] for key in keys]
    audit.record(person, audit.Action.VIEWED, chosen, detail=f"{audit.RESULT}, compared")
    for prediction in chosen:
        prediction.reading = _reading(prediction.reading)
    query = _back(request, keys)
    return render(
        request, "diagnosis/compare.html", {"predictions": chosen, "back": _history(query), "back_query": query}
    )


@require_safe
def export_csv(request: HttpRequest) -> HttpResponse:
    """The ticked rows as CSV, or, where the address says nothing of rows, all that the filter leaves."""
    person = access.person_of(request)
    predictions = access.visible_to(person)
    if request.GET.get("rows") == "selected":
        keys = _selected(request)
        if not keys:
            return _nothing_selected(request)
        if len(keys) > MOST_TO_SELECT:
            return _too_many(request)
        predictions, filters = predictions.filter(pk__in=keys).order_by("-created", "-id"), {"rows": "selected"}
    else:
        form = FilterForm(request.GET)
        if not form.is_valid():
            return redirect(_history(form.query))
        predictions, filters = form.narrow(predictions), form.chosen
    data = export.PredictionResource().export(export.rows(reviews.with_reading(predictions)))
    export.record(person, count=len(data), title="csv", filters=filters)
    file_format = export.CSV()
    response = HttpResponse(file_format.export_data(data), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{export.file_name("csv")}"'
    response.headers["Cache-Control"] = "private, no-store"
    return response


@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest) -> HttpResponse:
    """A page that says what deleting the selected rows removes; a POST then deletes it."""
    keys = _selected(request)
    if not keys:
        return _nothing_selected(request)
    if len(keys) > MOST_TO_SELECT:
        return _too_many(request)
    person = access.person_of(request)
    chosen = access.visible_to(person).filter(pk__in=keys)
    doomed = access.deletable_by(person).filter(predictions__in=chosen).distinct()
    if request.method == "POST":
        count = services.delete(list(doomed), by=person)
        if not count:  # a second click, or another tab, was quicker
            return _select_other(request, _("Nothing was deleted: the selection no longer exists, or is not yours."))
        said = ngettext(
            "%(count)d picture was deleted, with everything made from it.",
            "%(count)d pictures were deleted, with everything made from them.",
            count,
        )
        messages.success(request, said % {"count": count})
        return redirect(_history(_back(request)))
    visible = list(chosen)
    if not visible:
        raise Http404
    uploads = list(doomed)
    going = Prediction.objects.filter(upload__in=uploads)
    context = {
        "uploads": uploads,
        "predictions": [prediction for prediction in visible if prediction.upload in uploads],
        "staying": [prediction for prediction in visible if prediction.upload not in uploads],
        "counts": _what_goes(uploads, going),
        "not_selected": going.exclude(pk__in=keys).count(),
        "back": _history(_back(request, keys)),
        "back_query": _back(request),
    }
    return render(request, "diagnosis/delete.html", context)


def _what_goes(uploads: list[Upload], going: QuerySet[Prediction]) -> list[str]:
    """What the confirmation lists, in words."""
    pictures, predictions = len(uploads), going.count()
    readings = Review.objects.filter(prediction__in=going).count()
    heatmaps = going.exclude(heatmap="").count()
    counted = [
        (
            pictures,
            ngettext("%(count)d picture, with its thumbnail", "%(count)d pictures, each with its thumbnail", pictures),
        ),
        (predictions, ngettext("%(count)d prediction", "%(count)d predictions", predictions)),
        (heatmaps, ngettext("%(count)d heatmap", "%(count)d heatmaps", heatmaps)),
        (readings, ngettext("%(count)d reading by a reviewer", "%(count)d readings by reviewers", readings)),
    ]
    return [said % {"count": count} for count, said in counted]
