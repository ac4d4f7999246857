"""What happens to a request around its view: ids, counting, early answers and refusals, failures of the machine."""

import contextlib
import logging
import time
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.middleware import SessionMiddleware
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from diagnosis import access, logs, metrics
from diagnosis.api import problems
from diagnosis.probes import PROBES
from diagnosis.web import accounts

logger = logging.getLogger(__name__)

Handler = Callable[[HttpRequest], HttpResponse]


def tell_of_requests(get_response: Handler) -> Handler:
    """Give each request an id, which its answer carries as X-Request-ID; log it in one line, and count it.

    The line names the view and not the URL, which may contain search words and password-reset keys.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        start = time.perf_counter()
        with logs.answering(request.headers.get("X-Request-ID", "")) as request_id:
            request.request_id = request_id  # type: ignore[attr-defined]
            response = get_response(request)
            seconds = time.perf_counter() - start
            response.headers["X-Request-ID"] = request_id
            view, status = _view(request), response.status_code
            metrics.request_answered(view, request.method, status, seconds)
            if status >= 400 or view not in _QUIET:
                told = {"method": request.method, "view": view, "status": status, "milliseconds": round(seconds * 1000)}
                level = logging.WARNING if status >= 500 else logging.INFO
                logger.log(level, "%(method)s %(view)s: %(status)d in %(milliseconds)d ms", told, extra=told)
        return response

    return middleware


# Requested all the time, and of no interest as long as all is well.
_QUIET = {"static", *(path.strip("/") for path in PROBES)}


def _view(request: HttpRequest) -> str:
    """The URL's name, of which there are few; "none" for an unknown URL."""
    if request.path_info in PROBES:
        return request.path_info.strip("/")
    if request.resolver_match:
        return request.resolver_match.view_name
    return "static" if request.path_info.startswith(settings.STATIC_URL) else "none"


def answer_probes(get_response: Handler) -> Handler:
    """Answer load balancers and Prometheus, whatever host they name, over HTTP or HTTPS."""

    def middleware(request: HttpRequest) -> HttpResponse:
        return PROBES.get(request.path_info, get_response)(request)

    return middleware


def keep_answers_private(get_response: Handler) -> Handler:
    """Unless a response sets its own caching rules, let only the person's own browser cache it, and not even that
    within a session.

    Pages and API answers show one person's pictures, and a browser would show cached ones to whoever presses Back after
    that person has logged out. What scripts keep in it goes when they log out.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        at_most = "no-store" if settings.SESSION_COOKIE_NAME in request.COOKIES else "no-cache"
        response.headers.setdefault("Cache-Control", f"private, {at_most}")
        if getattr(request, "logged_out", False):
            response.headers["Clear-Site-Data"] = '"storage"'
        return response

    return middleware


# Bytes of a multipart body besides the files; also the limit for other forms.
_ENVELOPE = 1_000_000


def largest_body(path: str) -> float:
    """The largest body, in bytes, of a request to this path."""
    return _files(path) * settings.MAX_UPLOAD_MB * 1_000_000 + _ENVELOPE


def _files(path: str) -> int:
    """How many pictures a request to this path may carry."""
    match path:
        case "/" | "/api/predictions/":
            return settings.MAX_FILES_PER_REQUEST
        case "/predict" | "/predict/":
            return 1
    return 0


# The last is what Java's HttpClient says of any form with a file; what else such a form holds is ASCII.
_CHARSETS = {"utf-8", "utf8", "us-ascii", "iso-8859-1"}


def limit_request_size(get_response: Handler) -> Handler:
    """Answer 413 to a body that announces more than the files it may carry, without receiving it, 411 to one that
    does not tell its length, which Django would take for none, and 415 to one that is compressed as a whole, or in
    another charset than UTF-8."""

    def middleware(request: HttpRequest) -> HttpResponse:
        try:
            announced = int(request.META.get("CONTENT_LENGTH") or 0)
        except ValueError:
            announced = 0
        if "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower():
            return problems.length_required(request)
        if announced and request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            return problems.encoded(request)
        if announced and (request.content_params or {}).get("charset", "utf-8").lower() not in _CHARSETS:
            return problems.of_another_charset(request)
        if announced <= largest_body(request.path_info):
            return get_response(request)
        if problems.is_api(request):
            return problems.too_large()
        return render(request, "413.html", {"max_megabytes": settings.MAX_UPLOAD_MB}, status=413)

    return middleware


class Sessions(SessionMiddleware):
    """Gives the answer also where somebody logged in or out from the same browser while it was made, which ends the
    session that they had: Django would say 400 of a picture that is analysed and kept."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        try:
            return super().process_response(request, response)
        except SessionInterrupted:
            return response


def take_along_what_was_in_flight(get_response: Handler) -> Handler:
    """Give users what the browser's visitor was still sending while they logged in, whose rows came afterwards."""

    def middleware(request: HttpRequest) -> HttpResponse:
        visitor = access.visitor_before(request)
        if visitor.visitor and isinstance(request.user, User):
            with contextlib.suppress(DatabaseError):  # retried by a later request
                accounts.adopt(request, visitor, request.user)
        elif not request.session.modified:
            # This look at the session must not mark public responses as private.
            request.session.accessed = False
        return get_response(request)

    return middleware


def explain_wrong_method(get_response: Handler) -> Handler:
    """Give 405 a page, where Django sends an empty one: somebody opened an address that only receives forms."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if response.status_code != 405 or response.content or problems.is_api(request):
            return response
        page = render(request, "405.html", status=405)
        page.headers["Allow"] = response.headers["Allow"]
        return page

    return middleware


class FaultsOfTheMachine:
    """Answers 507 or 503 when a view fails because nothing can be stored; problems.server_error does so elsewhere."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        return problems.of_the_machine(request, error)
