"""Query parameters and fields. Unknown ones are refused, because a misspelt one would silently be ignored."""

from collections.abc import Collection, Mapping
from typing import Any

from django.http import QueryDict
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.views import APIView

EVERYWHERE = {"format"}
"""Parameters of every address: Django REST framework's own way to ask for JSON."""
OF_BROWSERS = {"csrfmiddlewaretoken", "_charset_"}
"""Fields that pages and browsers add to a form."""


def check(given: QueryDict, known: Collection[str], kind: str = "parameter", *, several: Collection[str] = ()) -> None:
    """Raises ValidationError for what is not `known`, and for what came twice; several: may come more than once."""
    for name in sorted(given):
        if name not in known:
            raise unknown(name, known, kind)
        if name not in several and len(given.getlist(name)) > 1:
            raise exceptions.ValidationError({name: "This came more than once."})


def unknown(name: str, known: Collection[str], kind: str) -> exceptions.ValidationError:
    """The refusal of an unknown parameter or field."""
    choices = ", ".join(sorted(set(known) - EVERYWHERE - OF_BROWSERS))
    said = f"There is no such {kind}. Choose from {choices}." if choices else f"There is no such {kind} here."
    return exceptions.ValidationError({name[:100]: said})


class KnownParameters(APIView):
    # A view whose address takes no parameters; those of a list are for its filters to look at. A docstring would stand
    # in the OpenAPI description of each.

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if not (getattr(self, "action", None) == "list" and getattr(self, "filter_backends", None)):
            self.check_address(request)

    def check_address(self, request: Request) -> None:
        check(request.query_params, EVERYWHERE)


class KnownFields(serializers.Serializer):
    """Refuses unknown fields of a JSON body."""

    def to_internal_value(self, data: Any) -> Any:
        known = [name for name, field in self.fields.items() if not field.read_only]
        if isinstance(data, Mapping) and (others := sorted(set(data) - set(known))):
            raise unknown(others[0], known, "field")
        return super().to_internal_value(data)
