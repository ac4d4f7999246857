"""Errors of the API in one shape: RFC 9457 problem details, with a short `code` for programs."""

import math
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, JsonResponse
from rest_framework import exceptions
from rest_framework.views import set_rollback

from diagnosis import inference, services
from diagnosis.models import Prediction

CONTENT_TYPE = "application/problem+json"


class NoFile(exceptions.APIException):
    status_code = 400
    default_code = "no_file"
    default_detail = "Send the X-ray as form-data under the key `file`."


class NotAChestXray(exceptions.APIException):
    """The gate refused the picture; `prediction` is the row that keeps it."""

    status_code = 422
    default_code = "not_a_chest_xray"
    default_detail = f"{inference.NOT_A_CHEST_XRAY} Send it with `force=true` to have it analysed all the same."

    def __init__(self, prediction: Prediction):
        super().__init__()
        self.prediction = prediction


OF_A_FILE = (inference.PictureError, inference.Unavailable, NotAChestXray, services.KeyReused)
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
    """Whether the address belongs to the API, and errors should be problem details."""
    return request.path.startswith("/api/") or request.path.rstrip("/") == "/predict"


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None, **more: Any) -> JsonResponse:
    """A response that says what went wrong, to a program (`code`) and to a person (`detail`); more: further members."""
    body = _body(status, code, detail, **more)
    return JsonResponse(body, status=status, content_type=CONTENT_TYPE, headers=headers)


def nothing_here(request: HttpRequest) -> JsonResponse:
    """404 for an address of the API that there is not."""
    return problem(404, "not_found", "There is no such address; /api/docs/ lists those there are.")


def _body(status: int, code: str, detail: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        **more,
    }


def too_large() -> JsonResponse:
    """413 for a body that was not even read."""
    return problem(413, "too_large", f"The request is too large: a file may have up to {settings.MAX_UPLOAD_MB:g} MB.")


def members(error: Exception) -> dict[str, Any]:
    """One of OF_A_FILE as the members of a problem. Raises TypeError for any other."""
    match error:
        case inference.PictureError():
            return _body(inference.HTTP_STATUS[error.code], error.code, str(error))
        case inference.Unavailable():
            return _body(503, "unavailable", inference.UNAVAILABLE)
        case services.KeyReused():
            return _body(422, "idempotency_key_reused", str(error))
        case NotAChestXray(prediction=kept):
            return _body(
                error.status_code,
                error.default_code,
                error.default_detail,
                id=str(kept.pk),
                url=kept.get_absolute_url(),
                chest_xray_score=kept.chest_xray_score,
            )
    raise TypeError(type(error))


def as_problem(error: Exception, context: dict[str, Any]) -> JsonResponse | None:
    """Django REST framework's exception handler. None lets Django treat an unforeseen error."""
    set_rollback()
    match error:
        case _ if isinstance(error, OF_A_FILE):
            body = members(error)
            return JsonResponse(body, status=body["status"], content_type=CONTENT_TYPE)
        case exceptions.ValidationError(detail=dict() as fields):
            sentences = (f"`{name}`: {' '.join(map(str, said))}" for name, said in fields.items())
            return problem(400, "invalid", " ".join(sentences))
        case Http404():
            return problem(404, "not_found", "There is nothing here that you may see.")
        case PermissionDenied():
            return problem(403, "permission_denied", "You may not do this.")
        case SuspiciousOperation():
            return problem(400, "bad_request", "The request could not be understood.")
        case exceptions.APIException():
            return _of_framework(error)
    return None


def _of_framework(error: exceptions.APIException) -> JsonResponse:
    headers = {}
    if isinstance(error, exceptions.Throttled):
        headers["Retry-After"] = str(math.ceil(getattr(error, "wait", None) or 1))
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    codes = error.get_codes()
    code = codes if isinstance(codes, str) else "invalid"
    if isinstance(error, exceptions.UnsupportedMediaType):
        return problem(415, "unsupported_media_type", f"{error.detail} {NoFile.default_detail}")
    detail = error.detail if isinstance(error.detail, str) else "; ".join(str(part) for part in error.detail)
    return problem(error.status_code, code, str(detail), headers)
