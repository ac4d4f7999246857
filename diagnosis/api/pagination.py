"""Page after page of a list that grows and shrinks meanwhile."""

import datetime
from typing import Any

from django.core import signing
from django.db.models import Model, Q, QuerySet
from rest_framework import exceptions, pagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView


class Keyset(pagination.BasePagination):
    """Goes on behind the last row by that row's own values, never by counting rows.

    So nothing is shown twice or left out when rows come or go in between, and a thousand
    rows with the same time or probability are no obstacle: the key decides among equals.
    The query set must be ordered by one column that is never empty.
    """

    page_size = 25
    query_parameter = "cursor"

    def paginate_queryset(self, queryset: QuerySet, request: Request, view: APIView | None = None) -> list[Any]:
        self.url = request.build_absolute_uri()
        self.ordering = str((queryset.query.order_by or queryset.model._meta.ordering)[0])
        # A cursor is signed: whatever it holds was put there by _cursor, for the same list in the same order.
        self.signer = signing.Signer(salt=f"{queryset.model._meta.label} {self.ordering}")
        column = self.ordering.lstrip("-")
        backwards, descending = False, self.ordering.startswith("-")
        start = request.query_params.get(self.query_parameter)
        if start:
            backwards, value, key = self._read(start)
            beyond = "lt" if descending != backwards else "gt"
            queryset = queryset.filter(Q(**{f"{column}__{beyond}": value}) | Q(**{column: value, f"pk__{beyond}": key}))
        sign = "-" if descending != backwards else ""
        rows = list(queryset.order_by(f"{sign}{column}", f"{sign}pk")[: self.page_size + 1])
        more, rows = len(rows) > self.page_size, rows[: self.page_size]
        if backwards:
            rows.reverse()
        self.next = self._link(False, rows[-1]) if rows and (more or backwards) else None
        self.previous = self._link(True, rows[0]) if rows and (more if backwards else start) else None
        return rows

    def _link(self, backwards: bool, row: Model) -> str:
        value = getattr(row, self.ordering.lstrip("-"))
        # A time as text, which its column reads back. JSON keeps a float as it is.
        value = value.isoformat() if isinstance(value, datetime.datetime) else value
        cursor = self.signer.sign_object([backwards, value, str(row.pk)])
        return replace_query_param(self.url, self.query_parameter, cursor)

    def _read(self, cursor: str) -> list[Any]:
        try:
            return self.signer.unsign_object(cursor)
        except (signing.BadSignature, ValueError):
            raise exceptions.NotFound(
                "There is no such page. Take `cursor` as `next` or `previous` gave it, with the same `ordering`; "
                "or leave it out to begin at the first page."
            ) from None

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"next": self.next, "previous": self.previous, "results": data})

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": self.query_parameter,
                "in": "query",
                "required": False,
                "description": "Which page; `next` and `previous` hold the whole address.",
                "schema": {"type": "string"},
            }
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri", "description": "Empty where there is no such page."}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }
