"""Predictions as the rows of a file: CSV, XLSX or JSON. The caller has checked who may have them."""

import re
from collections.abc import Mapping
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery
from django.utils import timezone
from import_export import fields, resources
from import_export.formats import base_formats
from import_export.widgets import BooleanWidget, NumberWidget, Widget

from diagnosis import access, audit
from diagnosis.models import Prediction, Review

# At the beginning of a cell, or where a program that takes semicolons or tabs for the borders of cells makes one begin.
# The last four are = + - @ as wide as Chinese characters, which some programs take for the narrow ones.
_FORMULA = re.compile(r'(?:^|[;\t]"?)(?=[=+\-@\t\r\uff1d\uff0b\uff0d\uff20])')


def rows(predictions: QuerySet[Any]) -> QuerySet[Any]:
    """`predictions` with what a row tells of the reading that holds; of a query set of reviews.with_reading."""
    latest = Review.objects.filter(prediction=OuterRef("pk")).order_by("-id")
    columns = {"reviewer": "reviewer__username", "read_at": "created", "blind": "blind", "note": "note"}
    return predictions.annotate(**{name: Subquery(latest.values(column)[:1]) for name, column in columns.items()})


def record(person: access.Person, *, count: int, title: str, filters: Mapping[str, str]) -> None:
    """Record that `person` exported `count` predictions, and by which filters.

    The log holds no file names, and so no words searched for in them. Empty exports are not recorded: strangers could
    fill the log with them, and nothing is ever removed from it.
    """
    if person == access.Person():
        return
    chosen = "&".join(f"{name}={'…' if name in SEARCHES else value}" for name, value in filters.items())
    audit.record_many(person, audit.Action.EXPORTED, f"{count} predictions as {title}; {chosen or 'all'}"[:255])


SEARCHES = {"name", "q"}
"""Filters by words of a file name, of the worklist and of the admin."""


def file_name(extension: str) -> str:
    return f"predictions-{timezone.localdate():%Y-%m-%d}.{extension}"


class _WithoutFormulas:
    """A text that a spreadsheet would take for a formula, a file name for instance, is written as text."""

    def export_data(self, dataset: Any, **options: Any) -> Any:
        rows = [[_FORMULA.sub(r"\g<0>'", cell) if isinstance(cell, str) else cell for cell in row] for row in dataset]
        return super().export_data(type(dataset)(*rows, headers=dataset.headers), **options)  # type: ignore[misc]


class CSV(_WithoutFormulas, base_formats.CSV):
    pass


class XLSX(_WithoutFormulas, base_formats.XLSX):
    pass


FORMATS = [CSV, XLSX, base_formats.JSON]


class _Time(Widget):
    def render(self, value: Any, obj: Any = None, **options: Any) -> str | None:
        return value.isoformat(timespec="seconds") if value else None


def _native(widget: type[Widget]) -> Widget:
    """A widget that leaves numbers numbers, where the format has them."""
    return widget(coerce_to_string=False)


class PredictionResource(resources.ModelResource):
    """One row a prediction, with the reading that holds; of a query set of `rows`."""

    file_name = fields.Field("upload__original_name", "file_name")
    sha256 = fields.Field("upload__sha256", "sha256")
    owner = fields.Field("upload__owner__username", "owner")
    created = fields.Field("created", "created", widget=_Time())
    probability = fields.Field("probability", "probability", widget=_native(NumberWidget))
    threshold = fields.Field("threshold", "threshold", widget=_native(NumberWidget))
    chest_xray_score = fields.Field("chest_xray_score", "chest_xray_score", widget=_native(NumberWidget))
    uncertain = fields.Field("uncertain", "uncertain", widget=_native(BooleanWidget))
    inverted = fields.Field("inverted", "inverted", widget=_native(BooleanWidget))
    hints = fields.Field(column_name="hints")
    reading = fields.Field("reading", "reading")
    reviewer = fields.Field("reviewer", "reviewer")
    read_at = fields.Field("read_at", "read_at", widget=_Time())
    blind = fields.Field("blind", "blind", widget=_native(BooleanWidget))
    note = fields.Field("note", "note")

    class Meta:
        model = Prediction
        fields = [
            "id",
            "file_name",
            "sha256",
            "owner",
            "created",
            "status",
            "label",
            "probability",
            "threshold",
            "operating_point",
            "uncertain",
            "chest_xray_score",
            "inverted",
            "hints",
            "model_version",
            "reading",
            "reviewer",
            "read_at",
            "blind",
            "note",
        ]
        export_order = fields

    def dehydrate_hints(self, prediction: Prediction) -> str:
        return " ".join(prediction.hints)
