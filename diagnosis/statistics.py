"""Counts of what a person may see, for the dashboard and for the API.

The database counts: a page costs as many queries for ten predictions as for a million.
"""

import datetime
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Case, Count, IntegerField, QuerySet, Value, When
from django.utils import timezone

from diagnosis import access, agreement
from diagnosis.inference import serving
from diagnosis.models import OperatingPoint, Prediction

PERIODS = {"day": 30, "week": 26, "month": 24}
"""How far back the counts of each day, week or month go, in as many of them."""
BINS = 20
"""Of the histogram of probabilities, of the same width."""


@dataclass(frozen=True)
class Counts:
    """How many predictions there are. by_...: value -> predictions.

    Answers to pictures that the gate refused are unreliable, and count neither in `by_label` nor as `uncertain`.
    """

    predictions: int
    uncertain: int
    by_label: dict[str, int]
    by_status: dict[str, int]
    by_model_version: dict[str, int]

    @property
    def pneumonia(self) -> int:
        return self.by_label.get(serving.PNEUMONIA, 0)

    @property
    def normal(self) -> int:
        return self.by_label.get(serving.NORMAL, 0)

    @property
    def rejected(self) -> int:
        return self.by_status.get(Prediction.Status.REJECTED, 0)

    @property
    def forced(self) -> int:
        return self.by_status.get(Prediction.Status.FORCED, 0)

    @property
    def analysed(self) -> int:
        return self.pneumonia + self.normal


@dataclass(frozen=True)
class Statistics(Counts):
    """by_day: the last 30 days that had any, as ISO dates."""

    uploads: int
    by_day: dict[str, int]


@dataclass(frozen=True)
class Dashboard:
    """What happened in a period.

    intervals: the first day of each day, week or month with its counts, the oldest first. histogram: counts
    of answers by label in each of BINS equal parts of 0..1. operating_points, model_version: of the newest
    answer. agreement: of the model with reviewers, without the alpha.
    """

    intervals: list[tuple[datetime.date, Counts]]
    total: Counts
    histogram: list[dict[str, int]]
    operating_points: list[OperatingPoint]
    model_version: str
    agreement: agreement.Agreement


def statistics(person: access.Person) -> Statistics:
    """Count all that `person` may see."""
    predictions = access.visible_to(person).order_by()
    days = {str(day): counts.predictions for day, counts in over_time(predictions, "day") if counts.predictions}
    return Statistics(
        **vars(_counts(_grouped(predictions))),
        uploads=predictions.values("upload").distinct().count(),
        by_day=days,
    )


def dashboard(person: access.Person, period: str) -> Dashboard:
    """What happened to the predictions that `person` may see, by a key of PERIODS."""
    visible = access.visible_to(person)
    intervals = over_time(visible, period)
    recent = visible.filter(created__gte=midnight(intervals[0][0]))
    latest = max((day for day, counts in intervals if counts.analysed), default=None)
    newest = _newest(visible.filter(created__gte=midnight(latest))) if latest else None
    return Dashboard(
        intervals=intervals,
        total=_sum(counts for _day, counts in intervals),
        histogram=_histogram(recent),
        operating_points=newest.operating_points if newest else [],
        model_version=newest.model_version if newest else "",
        agreement=agreement.with_reviewers(recent),
    )


def _newest(predictions: QuerySet[Prediction]) -> Prediction | None:
    answered = predictions.exclude(status=Prediction.Status.REJECTED).select_related(None).order_by("-created", "-id")
    return answered.only("model_version", "operating_point", "threshold", "thresholds").first()


def over_time(predictions: QuerySet[Prediction], period: str) -> list[tuple[datetime.date, Counts]]:
    """The counts of each day, week or month, up to today, by its first day, the oldest first; also of empty ones."""
    days = _first_days(period, timezone.localdate())
    recent = predictions.filter(created__gte=midnight(days[0]))
    groups: dict[int, list] = {place: [] for place in range(len(days))}
    for *group, place, count in _grouped(recent, _place("created", [midnight(day) for day in days[1:]])):
        groups[place].append((*group, count))
    return [(day, _counts(groups[place])) for place, day in enumerate(days)]


def midnight(day: datetime.date) -> datetime.datetime:
    """When `day` begins where the site is."""
    return timezone.make_aware(datetime.datetime.combine(day, datetime.time()))


def _first_days(period: str, today: datetime.date) -> list[datetime.date]:
    """Of the last days, weeks (which begin on Monday) or months, the current one last."""
    if period == "month":
        months = range(today.year * 12 + today.month - PERIODS[period], today.year * 12 + today.month)
        return [datetime.date(month // 12, month % 12 + 1, 1) for month in months]
    step = datetime.timedelta(days=7 if period == "week" else 1)
    last = today - datetime.timedelta(days=today.weekday()) if period == "week" else today
    return [last - step * back for back in reversed(range(PERIODS[period]))]


def _place(column: str, edges: Sequence[Any], first: int = 0) -> Case | Value:
    """Between which of `edges` a value lies: `first` below the first, and so on, found by halving.

    Comparisons run inside every database and know the site's time zone; on SQLite, Django's own
    truncation of dates calls Python for each row.
    """
    if not edges:
        return Value(first)
    middle = len(edges) // 2
    below, above = _place(column, edges[:middle], first), _place(column, edges[middle + 1 :], first + middle + 1)
    return Case(When(**{f"{column}__lt": edges[middle]}, then=below), default=above, output_field=IntegerField())


def _grouped(predictions: QuerySet[Prediction], place: Case | Value | None = None) -> Iterable[tuple]:
    """Status, label, certainty, model version, `place` where there is one, and how many have them all."""
    rows = predictions.order_by()
    columns = ["status", "label", "uncertain", "model_version"]
    if place is not None:
        rows, columns = rows.annotate(place=place), [*columns, "place"]
    return rows.values_list(*columns).annotate(Count("pk"))


def _counts(rows: Iterable[tuple]) -> Counts:
    by_label: Counter[str] = Counter()
    by_status: Counter[str] = Counter()
    by_model_version: Counter[str] = Counter()
    unsure = 0
    for status, label, uncertain, version, count in rows:
        by_status[status] += count
        by_model_version[version] += count
        if status == Prediction.Status.FORCED:
            continue
        if label:
            by_label[label] += count
        if uncertain:
            unsure += count
    return Counts(
        by_status.total(), unsure, *(dict(sorted(by.items())) for by in (by_label, by_status, by_model_version))
    )


def _sum(parts: Iterable[Counts]) -> Counts:
    parts = list(parts)
    by_label, by_status, by_model_version = (
        dict(sorted(sum((Counter(getattr(part, by)) for part in parts), Counter()).items()))
        for by in ("by_label", "by_status", "by_model_version")
    )
    predictions, uncertain = (sum(getattr(part, name) for part in parts) for name in ("predictions", "uncertain"))
    return Counts(predictions, uncertain, by_label, by_status, by_model_version)


def _histogram(predictions: QuerySet[Prediction]) -> list[dict[str, int]]:
    bins: list[dict[str, int]] = [{} for _ in range(BINS)]
    place = _place("probability", [edge / BINS for edge in range(1, BINS)])
    answered = predictions.filter(status=Prediction.Status.OK).order_by().annotate(place=place)
    for bin_, label, count in answered.values_list("place", "label").annotate(Count("pk")):
        bins[bin_][label] = count
    return bins
