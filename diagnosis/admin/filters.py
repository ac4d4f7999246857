"""What the list of predictions can be narrowed down by, besides its own columns; and lists of records by date."""

import datetime
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils import formats, timezone
from django.utils.translation import gettext_lazy as _

from diagnosis import reviews
from diagnosis.models import Prediction, Review, Upload
from diagnosis.statistics import midnight


class ReviewState(admin.SimpleListFilter):
    title = _("review")
    parameter_name = "review"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return list(reviews.STATES.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Prediction]) -> QuerySet[Prediction]:
        state = self.value()
        return reviews.in_state(queryset, state) if state in reviews.STATES else queryset


class Agreement(admin.SimpleListFilter):
    """Of the model with the reading that holds."""

    title = _("model and reading")
    parameter_name = "agreement"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("agree", _("agree")), ("differ", _("differ")), ("unreadable", _("read as unreadable"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "agree":
                return queryset.filter(reading=F("label"))
            case "differ":
                return reviews.differing(queryset)
            case "unreadable":
                return queryset.filter(reading=Review.Reading.UNREADABLE)
        return queryset


class Reviewer(admin.SimpleListFilter):
    title = _("reviewer")
    parameter_name = "reviewer"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        wrote = Exists(Review.objects.filter(reviewer=OuterRef("pk")))
        users = get_user_model().objects.filter(wrote).order_by("username")
        return [(str(user.pk), user.get_username()) for user in users]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Prediction]) -> QuerySet[Prediction]:
        chosen = self.value()
        if chosen is None or chosen not in dict(self.lookup_choices):
            return queryset
        return queryset.filter(Exists(Review.objects.filter(prediction=OuterRef("pk"), reviewer__pk=chosen)))


class Owner(admin.RelatedFieldListFilter):
    """Who sent pictures, asked of the accounts; RelatedOnlyFieldListFilter asks each prediction for its owner."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        sent = Exists(Upload.objects.filter(owner=OuterRef("pk")))
        return field.get_choices(include_blank=False, limit_choices_to=Q(sent), ordering=["username"])


MOST_MONTHS = 60
"""Of the links of a filter; a clock that was wrong once may have left a row of 1970."""


class Created(admin.DateFieldListFilter):
    """Today, the past week, and the months from the newest row to the oldest.

    `date_hierarchy` would call Python for each row on SQLite to find out which years and months there are.
    """

    def __init__(self, field: Any, request: HttpRequest, params: Any, model: Any, *rest: Any, **options: Any) -> None:
        super().__init__(field, request, params, model, *rest, **options)
        any_date, today, week, *_this_month_and_year = self.links
        newest, oldest = model.objects.first(), model.objects.last()  # as these models are ordered
        months = self._months(newest.created, oldest.created) if newest and oldest else ()
        self.links = (any_date, today, week, *itertools.islice(months, MOST_MONTHS))

    def _months(self, newest: datetime.datetime, oldest: datetime.datetime) -> Iterator[tuple[str, dict[str, Any]]]:
        month = timezone.localdate(newest).replace(day=1)
        while month >= timezone.localdate(oldest).replace(day=1):
            following = (month + datetime.timedelta(days=31)).replace(day=1)
            title = formats.date_format(month, "YEAR_MONTH_FORMAT")
            yield title, {self.lookup_kwarg_since: midnight(month), self.lookup_kwarg_until: midnight(following)}
            month = (month - datetime.timedelta(days=1)).replace(day=1)
