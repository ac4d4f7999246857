"""Keyset pagination: pages of a list that grows and shrinks meanwhile, for pages and API alike."""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.core import signing
from django.db.models import Model, Q, QuerySet


class NoSuchPage(ValueError):
    """The cursor does not belong to this list in this order."""


@dataclass(frozen=True)
class Page:
    """Some rows of a list, and the cursors that lead to the pages around; None where there is no such page."""

    rows: list[Any]
    previous: str | None
    next: str | None

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def page(queryset: QuerySet, *, size: int, cursor: str | None = None) -> Page:
    """The page at `cursor`, or the first one. Raises NoSuchPage.

    It continues after the last row by that row's own values, never by counting rows. So nothing is repeated or skipped
    when rows come or go in between, a thousand rows with the same time or probability are no obstacle, the key deciding
    among equals, and the last page costs no more than the first. The query set must be ordered by one column that is
    never empty.
    """
    ordering, column, descending = _order(queryset)
    # A cursor is signed: whatever it holds was put there by `link`, for the same list in the same order.
    signer = signing.Signer(salt=f"{queryset.model._meta.label} {ordering}")

    def link(backwards: bool, row: Model) -> str:
        value = _value(row, column)
        # A time as text, which its column reads back. JSON keeps a float as it is.
        value = value.isoformat() if isinstance(value, datetime.datetime) else value
        return signer.sign_object([backwards, value, str(row.pk)])

    backwards = False
    if cursor:
        try:
            backwards, value, key = signer.unsign_object(cursor)
        except (signing.BadSignature, ValueError):
            raise NoSuchPage from None
        queryset = _beyond(queryset, column, value, key, descending=descending != backwards)
    sign = "-" if descending != backwards else ""
    rows = list(queryset.order_by(f"{sign}{column}", f"{sign}pk")[: size + 1])
    more, rows = len(rows) > size, rows[:size]
    if backwards:
        rows.reverse()
    return Page(
        rows,
        previous=link(True, rows[0]) if rows and (more if backwards else cursor) else None,
        next=link(False, rows[-1]) if rows and (more or backwards) else None,
    )


def neighbours(queryset: QuerySet, row: Model) -> tuple[Any | None, Any | None]:
    """The keys of the rows before and behind `row` in the order of `page`; None where there is none.

    `row` itself need not be in the list, or no longer: its values tell where it would stand.
    """
    _ordering, column, descending = _order(queryset)
    value = _value(row, column)
    if value is None:
        return None, None
    before, behind = (
        _beyond(queryset, column, value, row.pk, descending=falling).values_list("pk", flat=True).first()
        for falling in (not descending, descending)
    )
    return before, behind


def _order(queryset: QuerySet) -> tuple[str, str, bool]:
    """The column that a list is ordered by: as the query set has it, its name, and whether it falls."""
    ordering = str((queryset.query.order_by or queryset.model._meta.ordering)[0])
    return ordering, ordering.lstrip("-"), ordering.startswith("-")


def _value(row: Model, column: str) -> Any:
    value: Any = row
    for name in column.split("__"):
        value = getattr(value, name)
    return value


def _beyond(queryset: QuerySet, column: str, value: Any, key: Any, *, descending: bool) -> QuerySet:
    """What follows the row with that value and key, the nearest first."""
    beyond, sign = ("lt", "-") if descending else ("gt", "")
    # The first condition says nothing new. It lets the database enter its index at that value.
    return queryset.filter(
        Q(**{f"{column}__{beyond}e": value}), Q(**{f"{column}__{beyond}": value}) | Q(**{f"pk__{beyond}": key})
    ).order_by(f"{sign}{column}", f"{sign}pk")
