"""Filters and ordering of `GET /api/predictions/`. Invalid values are refused."""

import datetime
from typing import Any

import django_filters
from django import forms
from django.core.validators import RegexValidator
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import extend_schema_field
from rest_framework import exceptions, filters
from rest_framework.request import Request

from diagnosis.api import parameters
from diagnosis.models import Prediction, Review


class TrueOrFalse(forms.Field):
    """Django's own fields take anything else for "unknown" or for true."""

    def to_python(self, value: Any) -> bool | None:
        if value in self.empty_values:
            return None
        try:
            return {"true": True, "false": False}[str(value).lower()]
        except KeyError:
            raise forms.ValidationError("Give true or false.") from None


class BooleanFilter(django_filters.BooleanFilter):
    field_class = TrueOrFalse


# Any filter may be there and empty, which the descriptions of the next two have to tell by themselves.
SHA256 = "^[0-9a-f]{64}$"


@extend_schema_field({"type": "string", "pattern": "^([0-9a-f]{64})?$"})
class Sha256Filter(django_filters.CharFilter):
    def __init__(self, **options: Any):
        refusal = "Give the 64 digits of a SHA-256 in hexadecimal, in small letters."
        super().__init__(validators=[RegexValidator(SHA256, refusal)], **options)


class Time(django_filters.fields.IsoDateTimeField):
    """In UTC, as the database keeps it: the first and the last day of the calendar may have no such time."""

    def to_python(self, value: Any) -> datetime.datetime | None:
        time = super().to_python(value)
        try:
            return time and time.astimezone(datetime.UTC)
        except OverflowError:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid") from None


@extend_schema_field({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "maxLength": 0}]})
class TimeFilter(django_filters.IsoDateTimeFilter):
    """ISO 8601, with the site's time zone where none is given."""

    field_class = Time

    def __init__(self, **options: Any):
        refusal = "Give a date and time such as 2026-11-24T12:00:00Z."
        super().__init__(error_messages={"invalid": refusal}, **options)


@extend_schema_field({"anyOf": [{"type": "string", "format": "uuid"}, {"type": "string", "maxLength": 0}]})
class KeyFilter(django_filters.UUIDFilter):
    """The identifier of a row."""


class ChoiceFilter(django_filters.ChoiceFilter):
    """One of the names in `choices`."""

    def __init__(self, choices: list[tuple[str, Any]], **options: Any):
        refusal = f"Choose from {', '.join(name for name, _ in choices)}."
        super().__init__(choices=choices, error_messages={"invalid_choice": refusal}, **options)


class PredictionFilter(django_filters.FilterSet):
    prediction = ChoiceFilter(field_name="label", choices=Prediction.Label.choices)
    status = ChoiceFilter(choices=Prediction.Status.choices)
    uncertain = BooleanFilter()
    model_version = django_filters.CharFilter()
    operating_point = django_filters.CharFilter()
    sha256 = Sha256Filter(method="of_picture")
    created_after = TimeFilter(field_name="created", lookup_expr="gte")
    created_before = TimeFilter(field_name="created", lookup_expr="lt")

    class Meta:
        model = Prediction
        fields: list[str] = []

    def of_picture(self, predictions: QuerySet[Prediction], name: str, sha256: str) -> QuerySet[Prediction]:
        """By keys: SQLite sees how few they are, where it would walk all that somebody sent to find one picture."""
        of_all = Prediction.objects.filter(upload__sha256=sha256).order_by()
        return predictions.filter(pk__in=list(of_all.values_list("pk", flat=True)))


class ReviewFilter(django_filters.FilterSet):
    prediction = KeyFilter(field_name="prediction_id")
    reading = ChoiceFilter(choices=Review.Reading.choices)
    reviewer = django_filters.CharFilter(field_name="reviewer__username")
    created_after = TimeFilter(field_name="created", lookup_expr="gte")
    created_before = TimeFilter(field_name="created", lookup_expr="lt")

    class Meta:
        model = Review
        fields: list[str] = []


class KnownFiltersBackend(DjangoFilterBackend):
    """Filters, and refuses unknown and repeated parameters, which would silently be ignored."""

    def filter_queryset(self, request: Request, queryset: QuerySet, view: Any) -> QuerySet:
        known = {"ordering", "cursor", *parameters.EVERYWHERE, *self.get_filterset_class(view, queryset).base_filters}
        if Search in view.filter_backends:
            known.add(Search.search_param)
        parameters.check(request.query_params, known)
        return super().filter_queryset(request, queryset, view)


class Search(filters.SearchFilter):
    """`search`: every word must occur. So many words that a query of the database cannot hold them are refused."""

    most_words = 20

    def get_search_terms(self, request: Request) -> list[str]:
        try:
            terms = super().get_search_terms(request)
        except exceptions.ValidationError as error:  # a null character, say
            raise exceptions.ValidationError({self.search_param: error.detail}) from None
        if len(terms) > self.most_words:
            raise exceptions.ValidationError({self.search_param: self.too_many_words()})
        return terms

    @classmethod
    def too_many_words(cls) -> str:
        return _("Search for at most %(most)d words at once.") % {"most": cls.most_words}

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        (parameter,) = super().get_schema_operation_parameters(view)
        return [{**parameter, "description": f"At most {self.most_words} words, each in the file name or SHA-256."}]


class Ordering(filters.OrderingFilter):
    """`ordering`, one of the view's `ordering_fields`, upward or, with a minus before it, downward.

    Rows that have no such value (the probability of a rejected picture) are left out: a page could not go on there.
    """

    def get_ordering(self, request: Request, queryset: QuerySet, view: Any) -> list[str]:
        by = request.query_params.get(self.ordering_param) or view.ordering[0]
        choices = self._choices(view)
        if by not in choices:
            raise exceptions.ValidationError({self.ordering_param: f"Choose one of {', '.join(choices)}."})
        return [by]

    def filter_queryset(self, request: Request, queryset: QuerySet, view: Any) -> QuerySet:
        (by,) = self.get_ordering(request, queryset, view)
        return queryset.filter(**{f"{by.lstrip('-')}__isnull": False}).order_by(by)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        (parameter,) = super().get_schema_operation_parameters(view)
        return [{**parameter, "schema": {"type": "string", "enum": self._choices(view)}}]

    def _choices(self, view: Any) -> list[str]:
        return [sign + name for name in view.ordering_fields for sign in ("", "-")]
