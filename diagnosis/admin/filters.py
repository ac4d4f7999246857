"""What the list of predictions can be narrowed down by, besides its own columns."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Exists, F, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from diagnosis import reviews
from diagnosis.models import Prediction, Review


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
