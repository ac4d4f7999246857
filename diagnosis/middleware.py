"""What is refused before a request is read, and what is told when the machine fails."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from diagnosis.api import problems

# What a multipart body holds besides the files; other forms have no more.
_ENVELOPE = 1_000_000


def largest_body(path: str) -> float:
    """How many bytes the body of a request to this address may have."""
    return _files(path) * settings.MAX_UPLOAD_MB * 1_000_000 + _ENVELOPE


def _files(path: str) -> int:
    """How many pictures a request to this address may carry."""
    match path:
        case "/" | "/api/predictions/":
            return settings.MAX_FILES_PER_REQUEST
        case "/predict" | "/predict/":
            return 1
    return 0


def limit_request_size(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answer 413 to a body that announces more than the files it may carry, without receiving it, and 411 to one
    that does not tell its length, which Django would take for none."""

    def middleware(request: HttpRequest) -> HttpResponse:
        try:
            announced = int(request.META.get("CONTENT_LENGTH") or 0)
        except ValueError:
            announced = 0
        if "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower():
            return problems.length_required()
        if announced <= largest_body(request.path_info):
            return get_response(request)
        if problems.is_api(request):
            return problems.too_large()
        return render(request, "413.html", {"max_megabytes": settings.MAX_UPLOAD_MB}, status=413)

    return middleware


class FaultsOfTheMachine:
    """Answers 507 or 503 where a view fails since nothing can be stored; problems.server_error does so elsewhere."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        return problems.of_the_machine(request, error)
