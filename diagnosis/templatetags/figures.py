"""How pages write figures."""

import math
from dataclasses import dataclass
from typing import Any

from django import template
from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from diagnosis.models import Prediction

register = template.Library()


@register.filter
def percent(share: float) -> str:
    """A share, 0..1, with one decimal: `97.4 %`."""
    return f"{formats.number_format(round(100 * share, 1), 1)}\N{NO-BREAK SPACE}%"


def whole_percent(share: float) -> str:
    """A share, 0..1, without decimals: `97 %`."""
    return f"{round(100 * share)}\N{NO-BREAK SPACE}%"


@register.filter
def probability(share: float) -> str:
    """A probability as `percent`; rounding must not claim a certainty of 0 or 100 %."""
    if share >= 0.9995:
        return _("over %s") % percent(0.999)
    return _("under %s") % percent(0.001) if share < 0.0005 else percent(share)


@register.filter
def isolated(words: str) -> str:
    """Words in a drawing that runs from left to right in every language: they run as their own language does."""
    return f"\N{FIRST STRONG ISOLATE}{words}\N{POP DIRECTIONAL ISOLATE}"


@register.filter
def of_hundred(share: float) -> int:
    """A share, 0..1, as so many of a hundred; rounding must not claim none or all."""
    return round(100 * share) if share in (0, 1) else min(max(round(100 * share), 1), 99)


@register.filter
def interval(figure: dict[str, float]) -> str:
    """A figure with the ends of its 95 % interval: `97.4 % (95.5 to 98.9)`."""
    low, high = (formats.number_format(round(100 * figure[end], 1), 1) for end in ("low", "high"))
    return _between(percent(figure["value"]), low, high)


@register.filter
def how_measured(measured: dict[str, Any] | None) -> str:
    """On which pictures the figures of `serving.measured` were measured, or that they were not."""
    if measured is None:
        return _("Nobody has measured how often this model is right at this operating point.")
    if measured["on"] == "test":
        return _(
            # Translators: no format. xgettext:no-python-format
            "Measured on the test pictures of the public set, children of 1 to 5 years; in brackets the 95 % interval. "
            "For other people it may be wrong more often."
        )
    return _(
        # Translators: no format. xgettext:no-python-format
        "Measured on validation pictures, where it looks better than elsewhere; in brackets the 95 % interval."
    )


@register.simple_tag
def heatmap_legend() -> str:
    """What the colours of a heatmap say, and that there may be none."""
    return _(
        "Bright areas raised the probability of pneumonia most; where nothing is coloured, no single place raised it "
        "much. The colours show where the network looked, not where disease is."
    )


@register.filter
def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign: `-1.3`."""
    sign = "" if share < 0 else "+"
    return f"{sign}{formats.number_format(round(100 * share, 1), 1)}"


@register.filter
def area(figure: dict[str, float]) -> str:
    """A figure that is no share, with the ends of its interval: `0.973 (0.957 to 0.985)`."""
    # Django's own number_format cuts digits off instead of rounding.
    value, low, high = (formats.number_format(round(figure[end], 3), 3) for end in ("value", "low", "high"))
    return _between(value, low, high)


def _between(value: str, low: str, high: str) -> str:
    return _("%(value)s (%(low)s to %(high)s)") % {"value": value, "low": low, "high": high}


@register.filter
def file_size(size: int) -> str:
    """So many bytes, as static/js/words.js writes them too: `443 kB`, `1.4 MB`."""
    value, unit = (size / 1e6, _("MB")) if size >= 999_500 else (size / 1e3, _("kB"))
    value = int(max(value, 0.1) * 10 + 0.5) / 10 if 0 < value < 10 else int(value + 0.5)  # halves up, as scripts do
    return f"{formats.number_format(value, 0 if value == int(value) else 1)}\N{NO-BREAK SPACE}{unit}"


@register.filter
def milliseconds(value: float) -> str:
    """A duration: `7 ms`."""
    unit = _("ms")
    return f"{value:.0f}\N{NO-BREAK SPACE}{unit}"


def duration(seconds: int) -> str:
    """How long to wait: in whole seconds, from two minutes on in minutes, rounded up."""
    if seconds < 120:
        return ngettext("%(count)d second", "%(count)d seconds", seconds) % {"count": seconds}
    minutes = math.ceil(seconds / 60)
    return ngettext("%(count)d minute", "%(count)d minutes", minutes) % {"count": minutes}


@dataclass(frozen=True)
class Zone:
    """A stretch of the scale with one meaning: where it begins and how wide it is, in per cent, and what that is."""

    kind: str
    start: float
    width: float
    range: str
    meaning: str
    here: bool


@register.inclusion_tag("diagnosis/includes/scale.html")
def scale(prediction: Prediction) -> dict[str, Any]:
    """The scale from 0 to 100 % with the thresholds of the model that answered, and where this picture lies."""
    points = prediction.operating_points
    at, low, high = prediction.probability or 0.0, points[0].threshold, points[-1].threshold
    several = low < high
    zones = [
        Zone(
            "normal",
            0,
            100 * low,
            _("under %s") % percent(low),
            _("Normal at every operating point") if several else _("Normal"),
            at < low,
        ),
        Zone(
            "uncertain",
            100 * low,
            100 * (high - low),
            _("%(low)s to %(high)s") % {"low": percent(low), "high": percent(high)},
            _("Uncertain: the operating points disagree"),
            low <= at < high,
        ),
        Zone(
            "pneumonia",
            100 * high,
            100 * (1 - high),
            _("from %s upward") % percent(high),
            _("Pneumonia at every operating point") if several else _("Pneumonia"),
            at >= high,
        ),
    ]
    row, track = 20, 20 * len(points) + 2
    return {
        "prediction": prediction,
        "zones": [zone for zone in zones if several or zone.kind != "uncertain"],
        "points": [
            {
                "at": 100 * point.threshold,
                "y": row * number,
                "height": track + 22 - row * number,
                "point": point,
                "name": f"{point.title} {percent(point.threshold)}",
            }
            for number, point in enumerate(points)
        ],
        "track": track,
        "marker": track + 20,
        "height": track + 38,
        "said": "; ".join(f"{point.title} {percent(point.threshold)}" for point in points),
    }
