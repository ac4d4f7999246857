"""What is refused before a request is read, and how refusals are told."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from diagnosis.api import problems

# What a multipart body holds besides the files; other forms have no more.
_ENVELOPE = 1_000_000


def _files(path: str) -> int:
    """How many pictures a request to this address may carry."""
    match path:
        case "/" | "/api/predictions/":
            return settings.MAX_FILES_PER_REQUEST
        case "/predict" | "/predict/":
            return 1
    return 0


def limit_request_size(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answer 413 to a body that announces more than the files it may carry, without receiving it."""

    def middleware(request: HttpRequest) -> HttpResponse:
        try:
            announced = int(request.META.get("CONTENT_LENGTH") or 0)
        except ValueError:
            announced = 0
        if announced <= _files(request.path_info) * settings.MAX_UPLOAD_MB * 1_000_000 + _ENVELOPE:
            return get_response(request)
        if problems.is_api(request):
            return problems.too_large()
        return render(request, "413.html", {"max_megabytes": settings.MAX_UPLOAD_MB}, status=413)

    return middleware


def explain_wrong_method(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Give 405 a page, where Django sends nothing: somebody opened an address that a form is sent to."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if response.status_code != 405 or response.content or problems.is_api(request):
            return response
        page = render(request, "405.html", status=405)
        page.headers["Allow"] = response.headers["Allow"]
        return page

    return middleware
