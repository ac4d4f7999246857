"""The API's errors as RFC 9457 problem details, with a short `code` for programs."""

import logging
import math
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import resolve
from django.utils import formats, translation
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.views import set_rollback

from diagnosis import faults, logs, pictures, services
from diagnosis.api.parsers import MultiPartParser
from diagnosis.api.schema import CONTENT_TYPE
from diagnosis.inference import serving
from diagnosis.models import Prediction
from diagnosis.web import preferences

logger = logging.getLogger(__name__)


class NoFile(exceptions.APIException):
    status_code = 400
    default_code = "no_file"
    default_detail = gettext_lazy("Send the X-ray as form-data under the key `file`.")


class NotAChestXray(exceptions.APIException):
    """The gate refused the picture; `prediction` is the row that keeps it."""

    status_code = 422
    default_code = "not_a_chest_xray"
    default_detail = format_lazy(
        "{} {}", serving.NOT_A_CHEST_XRAY, gettext_lazy("Send it with `force=true` to have it analysed anyway.")
    )

    def __init__(self, prediction: Prediction):
        super().__init__()
        self.prediction = prediction


class NotAnalysed(exceptions.APIException):
    """A reading of a picture that the gate refused."""

    status_code = 409
    default_code = "not_analysed"
    default_detail = gettext_lazy(
        "The model gave no answer to this picture, so there is nothing to compare a reading with."
    )


class AnotherVersion(exceptions.APIException):
    """`If-Match` does not name the current picture."""

    status_code = 412
    default_code = "precondition_failed"
    default_detail = (
        "The picture is not the one that `If-Match` names. Ask without it, or with the `ETag` of an answer."
    )


OF_A_FILE = (
    exceptions.Throttled,
    serving.PictureError,
    serving.Unavailable,
    NotAChestXray,
    services.NotStored,
)
"""What goes wrong with one file of several."""

LONGEST_KEY = 200


def idempotency_key(request: HttpRequest) -> str:
    """The request's Idempotency-Key; empty without one. Raises ValidationError for one that cannot be kept."""
    key = request.headers.get("Idempotency-Key", "")
    if len(key) > LONGEST_KEY or not key.isascii() or not key.isprintable():
        raise exceptions.ValidationError(
            {"Idempotency-Key": f"At most {LONGEST_KEY} printable ASCII characters, a UUID for instance."}
        )
    return key


def check_number(files: int) -> None:
    """Raises ValidationError for more files than one request may carry."""
    if files > settings.MAX_FILES_PER_REQUEST:
        raise exceptions.ValidationError(
            {"file": f"You sent {files} files; at most {settings.MAX_FILES_PER_REQUEST} can be sent at once."}
        )


def is_api(request: HttpRequest) -> bool:
    """Whether the path belongs to the API, so that errors should be problem details."""
    return request.path.startswith(("/api/", "/predict/")) or request.path == "/predict"


def problem(status: int, code: str, detail: Any, headers: dict[str, str] | None = None, **more: Any) -> JsonResponse:
    """A response that says what went wrong, to a program (`code`) and to a person (`detail`); more: further members.

    `detail` is written in the language that Accept-Language asks for, as far as it is translated, and else in English.
    """
    body = _body(status, code, detail, **more)
    return JsonResponse(body, status=status, content_type=CONTENT_TYPE, headers=headers)


@csrf_exempt  # whose refusal would be a page
def nothing_here(request: HttpRequest) -> JsonResponse:
    """404 for an unknown path of the API."""
    if not request.path.endswith("/") and resolve(f"{request.path_info}/").func is not nothing_here:
        return problem(404, "not_found", _("This address ends with a slash."))
    return problem(404, "not_found", _("There is no such endpoint; /api/docs/ lists all of them."))


def or_page(status: int, code: str, detail: Any, page: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A handler of Django's for errors outside of any view: a problem for the API, `page` for everybody else."""

    def handler(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        # The error may have come before the middleware that sets the language.
        with translation.override(translation.get_language_from_request(request)):
            return problem(status, code, detail) if is_api(request) else page(request, *args, **kwargs)

    return handler


def _server_error_page(request: HttpRequest) -> HttpResponse:
    """Rendered without the usual context, since the database may be what is broken."""
    return HttpResponse(render_to_string("500.html", _bare_context(request)), status=500)


def _another_host_page(request: HttpRequest, exception: Exception) -> HttpResponse:
    context = {"detail": ANOTHER_HOST, **_bare_context(request)}
    return HttpResponse(render_to_string("400.html", context), status=400)


def _bare_context(request: HttpRequest) -> dict[str, str]:
    """The context of a page rendered when anything may fail, with the request id to find it in the log."""
    return {"theme": preferences.theme_of(request), "request_id": logs.request_id()}


BAD_REQUEST = gettext_lazy("The request was refused: it has too many fields or files, or a field that is too long.")
NOT_ALLOWED = gettext_lazy("You may not do this.")
NOT_FOUND = gettext_lazy("There is nothing here that you may see.")
ANOTHER_HOST = gettext_lazy(
    "This host name is not one of this site's. Whoever runs the site lists its host names in the setting ALLOWED_HOSTS."
)
FILE_MISSING = "The file of this picture is missing on the server, whose administrator may have it in a backup."
_bad_request = or_page(400, "bad_request", gettext_lazy("The request could not be understood."), defaults.bad_request)
_another_host = or_page(
    400,
    "bad_request",
    ANOTHER_HOST,
    _another_host_page,
)
permission_denied = or_page(403, "permission_denied", NOT_ALLOWED, defaults.permission_denied)
page_not_found = or_page(404, "not_found", NOT_FOUND, defaults.page_not_found)
_server_error = or_page(
    500,
    "server_error",
    gettext_lazy("Something went wrong on this server; the error has been logged. Try again in a minute."),
    _server_error_page,
)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler for what it finds suspicious."""
    handler = _another_host if isinstance(exception, DisallowedHost) else _bad_request
    return handler(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler for what nothing else handled, in views and in middleware, which writes sessions."""
    error = sys.exc_info()[1]
    return (error and of_the_machine(request, error)) or _server_error(request)


def of_the_machine(request: HttpRequest, error: BaseException) -> HttpResponse | None:
    """507 or 503 with a sentence where the machine failed, for programs and people alike; None for other errors."""
    fault = error.fault if isinstance(error, services.NotStored) else faults.fault_of(error)
    if fault is None:
        return None
    logger.error("A request was not answered: %s", error)
    faults.let_go_of_database()

    def page(request: HttpRequest) -> HttpResponse:
        return render(None, "unavailable.html", {"fault": fault, **_bare_context(request)}, status=fault.status)

    response = or_page(fault.status, fault.code, fault.detail, page)(request)
    response.headers["Retry-After"] = str(faults.RETRY_AFTER)
    return response


def _body(status: int, code: str, detail: Any, **more: Any) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": str(detail),
        "request_id": logs.request_id(),
        **more,
    }


def too_large() -> JsonResponse:
    """413 for a body that was not even read."""
    said = _("The request is too large: a file may have up to %(most)s MB.")
    most = formats.number_format(f"{settings.MAX_UPLOAD_MB:g}")
    return problem(413, "too_large", said % {"most": most})


def _of_the_body(request: HttpRequest, status: int, code: str, detail: str) -> HttpResponse:
    """The refusal of a body that was not read: a problem for the API, otherwise a page."""
    if is_api(request):
        return problem(status, code, detail)
    return render(request, "400.html", {"status": status, "detail": detail}, status=status)


def length_required(request: HttpRequest) -> HttpResponse:
    """411 for a body in chunks, whose length nobody knows before its end."""
    sentence = _("Send the request with its `Content-Length`, and not in chunks.")
    return _of_the_body(request, 411, "length_required", sentence)


def encoded(request: HttpRequest) -> HttpResponse:
    """415 for a compressed body, whose size nobody knows before it is unpacked."""
    sentence = _("Send the request uncompressed, without `Content-Encoding`; picture files are compressed already.")
    return _of_the_body(request, 415, "unsupported_media_type", sentence)


def of_another_charset(request: HttpRequest) -> HttpResponse:
    """415 for a body that says to be written in another charset than it is read by."""
    sentence = _("Send the request in UTF-8, and leave `charset` out of its `Content-Type`.")
    return _of_the_body(request, 415, "unsupported_media_type", sentence)


def members(error: Exception) -> dict[str, Any]:
    """One of OF_A_FILE as the members of a problem. Raises TypeError for any other."""
    match error:
        case serving.PictureError():
            return _body(serving.HTTP_STATUS[error.code], error.code, serving.refusal(error))
        case serving.Unavailable():
            return _body(503, "unavailable", serving.UNAVAILABLE)
        case services.NotStored(fault=fault):
            return _body(fault.status, fault.code, fault.detail)
        case NotAChestXray(prediction=kept):
            return _body(
                error.status_code,
                error.default_code,
                error.default_detail,
                id=str(kept.pk),
                url=kept.get_absolute_url(),
                chest_xray_score=kept.chest_xray_score,
            )
        case exceptions.Throttled():
            return _body(error.status_code, error.default_code, error.detail)
    raise TypeError(type(error))


def retry_after(error: Exception) -> dict[str, str]:
    """The header that tells when another try may do better; none where nobody knows."""
    match error:
        case services.NotStored():
            return {"Retry-After": str(faults.RETRY_AFTER)}
        case exceptions.Throttled():
            return {"Retry-After": str(math.ceil(getattr(error, "wait", None) or 1))}
    return {}


def as_problem(error: Exception, context: dict[str, Any]) -> JsonResponse | None:
    """Django REST framework's exception handler. None lets Django treat an unforeseen error."""
    set_rollback()
    match error:
        case _ if isinstance(error, OF_A_FILE):
            body = members(error)
            return JsonResponse(body, status=body["status"], content_type=CONTENT_TYPE, headers=retry_after(error))
        case services.KeyReused():
            return problem(422, error.code, str(error))
        case exceptions.ValidationError(detail=dict() as fields):
            sentences = (
                " ".join(_flat(said) if name == "non_field_errors" else [f"`{name}`:", *_flat(said)])
                for name, said in fields.items()
            )
            return problem(400, "invalid", " ".join(sentences))
        case pictures.FileMissing():
            return problem(404, "not_found", FILE_MISSING)
        case Http404():
            return problem(404, "not_found", NOT_FOUND)
        case PermissionDenied():
            return problem(403, "permission_denied", NOT_ALLOWED)
        case SuspiciousOperation():
            return problem(400, "bad_request", BAD_REQUEST)
        case exceptions.ParseError():
            return problem(400, "parse_error", f"{_('The body could not be read.')} {_sentence(error.detail)}")
        case exceptions.UnsupportedMediaType():
            takes_files = MultiPartParser in context["view"].parser_classes
            how = NoFile.default_detail if takes_files else _("Send JSON, with `Content-Type: application/json`.")
            return problem(415, "unsupported_media_type", f"{error.detail} {how}")
        case exceptions.NotAuthenticated():
            error.detail = exceptions.ErrorDetail(
                _("Visitors may not do this here: log in with `Authorization: Bearer` and a token of your account."),
                error.default_code,
            )
            return _of_framework(error)
        case exceptions.APIException():
            return _of_framework(error)
    return None


def _flat(said: Any) -> list[str]:
    """The sentences in the nested lists and dicts of Django REST framework."""
    if isinstance(said, dict):
        said = list(said.values())
    return [sentence for part in said for sentence in _flat(part)] if isinstance(said, list) else [_sentence(said)]


def _sentence(said: object) -> str:
    text = str(said)
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _of_framework(error: exceptions.APIException) -> JsonResponse:
    headers = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    codes = error.get_codes()
    code = codes if isinstance(codes, str) else "invalid"
    return problem(error.status_code, code, " ".join(_flat(error.detail)), headers)
