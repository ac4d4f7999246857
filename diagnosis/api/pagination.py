"""Pagination of the API's lists, by paging.py."""

from typing import Any

from django.db.models import QuerySet
from rest_framework import exceptions, pagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from diagnosis import paging


class Keyset(pagination.BasePagination):
    """Pages by cursor, with the whole addresses of the next and the previous one."""

    page_size = 25
    query_parameter = "cursor"

    def paginate_queryset(self, queryset: QuerySet, request: Request, view: APIView | None = None) -> list[Any]:
        try:
            page = paging.page(queryset, size=self.page_size, cursor=request.query_params.get(self.query_parameter))
        except paging.NoSuchPage:
            raise exceptions.NotFound(
                "There is no such page. Take `cursor` as `next` or `previous` gave it, with the same `ordering`; "
                "or leave it out to begin at the first page."
            ) from None
        url = request.build_absolute_uri()
        self.next, self.previous = (
            replace_query_param(url, self.query_parameter, cursor) if cursor else None
            for cursor in (page.next, page.previous)
        )
        return page.rows

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"next": self.next, "previous": self.previous, "results": data})

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": self.query_parameter,
                "in": "query",
                "required": False,
                "description": "Which page. Follow the URLs in `next` and `previous`, which contain it.",
                "schema": {"type": "string"},
            }
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri", "description": "Null if there is no such page."}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }
