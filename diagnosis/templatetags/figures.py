"""How pages write figures."""

from django import template
from django.utils import formats
from django.utils.translation import gettext as _

register = template.Library()


@register.filter
def percent(share: float) -> str:
    """A share, 0..1, with one decimal: `97.4 %`."""
    return f"{formats.number_format(round(100 * share, 1), 1)}\N{NO-BREAK SPACE}%"


def probability(share: float) -> str:
    """A probability as `percent`; rounding must not claim a certainty of 0 or 100 %."""
    if share >= 0.9995:
        return _("over %s") % percent(0.999)
    return _("under %s") % percent(0.001) if share < 0.0005 else percent(share)


@register.filter
def of_hundred(share: float) -> int:
    """A share, 0..1, as so many of a hundred."""
    return round(100 * share)


@register.filter
def interval(figure: dict[str, float]) -> str:
    """A figure with the ends of its 95 % interval: `97.4 % (95.5 to 98.9)`."""
    low, high = (formats.number_format(round(100 * figure[end], 1), 1) for end in ("low", "high"))
    return _between(percent(figure["value"]), low, high)


@register.filter
def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign: `-1.3`."""
    return (
        formats.number_format(round(100 * share, 1), 1)
        if share < 0
        else f"+{formats.number_format(round(100 * share, 1), 1)}"
    )


@register.filter
def area(figure: dict[str, float]) -> str:
    """A figure that is no share, with the ends of its interval: `0.973 (0.957 to 0.985)`."""
    # Django's own number_format cuts digits off instead of rounding.
    value, low, high = (formats.number_format(round(figure[end], 3), 3) for end in ("value", "low", "high"))
    return _between(value, low, high)


def _between(value: str, low: str, high: str) -> str:
    return _("%(value)s (%(low)s to %(high)s)") % {"value": value, "low": low, "high": high}
