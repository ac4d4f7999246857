"""The dashboard: what became of the pictures, in figures and charts that need no script."""

import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from diagnosis import access, drift, statistics
from diagnosis.agreement import share
from diagnosis.inference import serving
from diagnosis.templatetags import figures
from diagnosis.web import charts

LINE = 20
"""Pixels from one name above a chart to the next, so that names of near thresholds do not meet."""
PERIODS = {
    "day": (gettext_lazy("Days"), gettext_lazy("The last %(count)d days")),
    "week": (gettext_lazy("Weeks"), gettext_lazy("The last %(count)d weeks")),
    "month": (gettext_lazy("Months"), gettext_lazy("The last %(count)d months")),
}


@require_safe
def dashboard(request: HttpRequest) -> HttpResponse:
    """What happened to the predictions this person may see; `?by=` day, week or month."""
    person = access.person_of(request)
    asked = request.GET.get("by", "day")
    period = asked if asked in PERIODS else "day"
    found = statistics.dashboard(person, period)
    context: dict[str, Any] = {
        "found": found,
        "period": period,
        "periods": [(key, title) for key, (title, _span) in PERIODS.items()],
        "span": PERIODS[period][1] % {"count": statistics.PERIODS[period]},
        "no_such_period": "" if asked == period else asked,
        "since": found.intervals[0][0],
    }
    if found.total.predictions:
        context |= _content(found, period)
        context["drift"] = drift.drift_for(person)
    else:
        context["has_older"] = access.visible_to(person).exists()
    return render(request, "diagnosis/dashboard.html", context, status=200 if asked == period else 400)


def _content(found: statistics.Dashboard, period: str) -> dict[str, Any]:
    rows = [(_said(day, period), counts, _share(counts)) for day, counts in found.intervals]
    return {
        "share": _share(found.total),
        "uncertain_share": _of(found.total.uncertain, found.total.analysed),
        "rejected_share": _of(found.total.rejected, found.total.predictions),
        "rows": rows,
        "over_time": _over_time(rows),
        "pneumonia": _pneumonia(rows),
        "probabilities": _probabilities(found),
        "bins": [
            (_bin(place), counts.get(serving.NORMAL, 0), counts.get(serving.PNEUMONIA, 0))
            for place, counts in enumerate(found.histogram)
        ],
        "other_versions": {
            version: count for version, count in found.total.by_model_version.items() if version != found.model_version
        },
    }


def _said(day: datetime.date, period: str) -> str:
    return formats.date_format(day, "M Y" if period == "month" else "j M")


def _share(counts: statistics.Counts) -> dict[str, float] | None:
    """How many of the analysed pictures were called pneumonia, with its 95 % interval."""
    return share(counts.pneumonia, counts.analysed) if counts.analysed else None


def _of(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _over_time(rows: list[tuple[str, statistics.Counts, Any]]) -> charts.Chart:
    columns, levels = charts.columns(
        [
            (
                _("%(when)s: %(normal)d normal, %(pneumonia)d pneumonia, %(rejected)d not analysed")
                % {"when": said, "normal": at.normal, "pneumonia": at.pneumonia, "rejected": at.rejected},
                [("normal", at.normal), ("pneumonia", at.pneumonia), ("rejected", at.rejected)],
            )
            for said, at, _share in rows
        ]
    )
    return charts.Chart(levels, charts.ticks([said for said, *_rest in rows]), columns)


def _pneumonia(rows: list[tuple[str, Any, dict[str, float] | None]]) -> charts.Chart:
    points = []
    for place, (said, _counts, figure) in enumerate(rows):
        if figure:
            value, low, high = (100 - 100 * figure[end] for end in ("value", "low", "high"))
            words = f"{said}: {figures.interval(figure)}"
            points.append(charts.Point(charts.middle(place, len(rows)), value, low, high, words))
    levels = [charts.Mark(100 - level, figures.whole_percent(level / 100)) for level in (0, 50, 100)]
    return charts.Chart(levels, charts.ticks([said for said, *_rest in rows]), points=points)


def _bin(place: int) -> str:
    low, high = (figures.whole_percent(edge / statistics.BINS) for edge in (place, place + 1))
    return _("%(low)s to %(high)s") % {"low": low, "high": high}


def _probabilities(found: statistics.Dashboard) -> charts.Chart:
    rows = []
    for place, counts in enumerate(found.histogram):
        normal, pneumonia = (counts.get(label, 0) for label in (serving.NORMAL, serving.PNEUMONIA))
        said = _("%(when)s: %(normal)d normal, %(pneumonia)d pneumonia")
        rows.append(
            (
                said % {"when": _bin(place), "normal": normal, "pneumonia": pneumonia},
                [("normal", normal), ("pneumonia", pneumonia)],
            )
        )
    columns, levels = charts.columns(rows)
    quarters = [charts.Mark(at, figures.whole_percent(at / 100)) for at in (0, 25, 50, 75, 100)]
    lines = [
        charts.Mark(100 * point.threshold, f"{point.title} {figures.percent(point.threshold)}", rise=LINE * (place + 1))
        for place, point in enumerate(reversed(found.operating_points))
    ]
    return charts.Chart(levels, quarters, columns, lines=lines)
