"""Content negotiation."""

from typing import Any

from django.http import Http404
from rest_framework import exceptions
from rest_framework.negotiation import DefaultContentNegotiation


class WhatThereIs(DefaultContentNegotiation):
    """The format the caller asks for if it exists, otherwise the one there is: a picture's URL gives a picture.

    RFC 9110 allows this for `Accept`, and a program fares better with JSON, problems included, than with a 406.
    """

    def select_renderer(self, request: Any, renderers: Any, format_suffix: str | None = None) -> Any:
        try:
            return super().select_renderer(request, renderers, format_suffix)
        except (exceptions.NotAcceptable, Http404):
            return renderers[0], renderers[0].media_type
