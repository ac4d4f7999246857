"""What `GET /api/predictions/` can be narrowed down and ordered by."""

import django_filters
from django.db.models import QuerySet
from rest_framework import filters
from rest_framework.request import Request
from rest_framework.views import APIView

from diagnosis.models import Prediction, Review


class PredictionFilter(django_filters.FilterSet):
    prediction = django_filters.ChoiceFilter(field_name="label", choices=Prediction.Label.choices)
    status = django_filters.ChoiceFilter(choices=Prediction.Status.choices)
    uncertain = django_filters.BooleanFilter()
    model_version = django_filters.CharFilter()
    operating_point = django_filters.CharFilter()
    sha256 = django_filters.CharFilter(field_name="upload__sha256")
    created_after = django_filters.IsoDateTimeFilter(field_name="created", lookup_expr="gte")
    created_before = django_filters.IsoDateTimeFilter(field_name="created", lookup_expr="lt")

    class Meta:
        model = Prediction
        fields: list[str] = []


class ReviewFilter(django_filters.FilterSet):
    prediction = django_filters.UUIDFilter(field_name="prediction_id")
    reading = django_filters.ChoiceFilter(choices=Review.Reading.choices)
    reviewer = django_filters.CharFilter(field_name="reviewer__username")
    created_after = django_filters.IsoDateTimeFilter(field_name="created", lookup_expr="gte")
    created_before = django_filters.IsoDateTimeFilter(field_name="created", lookup_expr="lt")

    class Meta:
        model = Review
        fields: list[str] = []


class Ordering(filters.OrderingFilter):
    """`ordering`, one of created, -created, probability, -probability.

    By probability, what has none (rejected pictures) is left out: a page could not go on from there.
    """

    def filter_queryset(self, request: Request, queryset: QuerySet, view: APIView) -> QuerySet:
        by = self.get_ordering(request, queryset, view)
        if by and by[0].lstrip("-") == "probability":
            queryset = queryset.filter(probability__isnull=False)
        return super().filter_queryset(request, queryset, view)
