"""The page for requests beyond the rate limit."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from diagnosis.templatetags import figures


def too_often(request: HttpRequest, seconds: int, **context: object) -> HttpResponse:
    """429; seconds: until it is worth another try. context: what the page says beside that."""
    response = render(request, "429.html", {"wait": figures.duration(seconds), **context}, status=429)
    response.headers["Retry-After"] = str(seconds)
    return response
