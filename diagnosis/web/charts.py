"""Layout of charts, in per cent of width and height; templates draw them as SVG."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

GAP = 0.2
"""Of a column's place is left free, so that columns are told apart."""


@dataclass(frozen=True)
class Part:
    """A stretch of a column; y counts from the top."""

    kind: str
    y: float
    height: float


@dataclass(frozen=True)
class Column:
    x: float
    width: float
    parts: list[Part]
    said: str


@dataclass(frozen=True)
class Point:
    """A figure and its interval; y counts from the top."""

    x: float
    y: float
    low: float
    high: float
    said: str


@dataclass(frozen=True)
class Mark:
    """A line or a label somewhere along an axis; rise: pixels that its name stands above the chart."""

    at: float
    text: str
    rise: int = 0


@dataclass(frozen=True)
class Chart:
    """levels: lines across, with what they stand for. ticks: words below. lines: upright, over the columns."""

    levels: list[Mark]
    ticks: list[Mark]
    columns: list[Column] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    lines: list[Mark] = field(default_factory=list)


def columns(rows: Sequence[tuple[str, list[tuple[str, int]]]]) -> tuple[list[Column], list[Mark]]:
    """Columns of stacked counts, with the levels behind them.

    rows: what is said of a column, and its parts from the bottom up, as (kind, count).
    """
    top = _round_up(max(sum(count for _kind, count in parts) for _said, parts in rows))
    step = 100 / len(rows)
    drawn = []
    for place, (said, parts) in enumerate(rows):
        below, stack = 0, []
        for kind, count in parts:
            if count:
                stack.append(Part(kind, 100 - 100 * (below + count) / top, 100 * count / top))
            below += count
        drawn.append(Column(step * (place + GAP / 2), step * (1 - GAP), stack, said))
    return drawn, [Mark(100 - 100 * level / top, str(level)) for level in (0, top // 2, top)]


def middle(place: int, count: int) -> float:
    """The middle of one of `count` columns."""
    return 100 * (place + 0.5) / count


def ticks(labels: Sequence[str], most: int = 3) -> list[Mark]:
    """At most so many of the columns' labels, evenly apart, the last among them."""
    step = math.ceil(len(labels) / most)
    return [Mark(middle(place, len(labels)), labels[place]) for place in _from_last(len(labels), step)]


def _from_last(count: int, step: int) -> Iterable[int]:
    return reversed(range(count - 1, -1, -step))


def _round_up(count: int) -> int:
    """The next even number of the form 2, 4, 10, 20, 40, 100, ..., for an axis that ends above every column."""
    if count <= 2:
        return 2
    scale = 10 ** (len(str(count - 1)) - 1)
    return next(factor * scale for factor in (1, 2, 4, 6, 8, 10) if factor * scale >= count and factor * scale % 2 == 0)
