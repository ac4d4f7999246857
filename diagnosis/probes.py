"""What load balancers and Prometheus ask: is the process up, can it serve, how is it doing?

Answered before hosts, sessions and people are looked at (see middleware.py): a load balancer calls a server by its
number, over plain HTTP. Nothing here is throttled or writes, but for one word into the cache, and no answer tells a
path, an address or a secret.
"""

import functools
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.core.cache import cache
from django.db import Error
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare

from diagnosis import metrics
from diagnosis.inference import serving
from diagnosis.models import Upload

logger = logging.getLogger(__name__)

_OK = "ok"
_HEADERS = {"Cache-Control": "no-store"}


def _asked_alone(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """`view` for GET and HEAD, and a sentence for whoever sends something."""

    @functools.wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        if request.method in ("GET", "HEAD"):
            return view(request)
        headers = {**_HEADERS, "Allow": "GET, HEAD"}
        return HttpResponse("Ask this with GET.\n", status=405, content_type="text/plain", headers=headers)

    return answer


@_asked_alone
def healthz(request: HttpRequest) -> HttpResponse:
    """200 as long as the process answers at all."""
    return HttpResponse("ok\n", content_type="text/plain", headers=_HEADERS)


@_asked_alone
def readyz(request: HttpRequest) -> HttpResponse:
    """200 if this process can analyse a picture and keep it; 503 and what is wrong otherwise."""
    found = {"database": _database(), "storage": _storage(), "cache": _cache(), "model": _model()}
    ready = all(said == _OK for said in found.values())
    return JsonResponse({"ready": ready, **found}, status=200 if ready else 503, headers=_HEADERS)


@_asked_alone
def metrics_page(request: HttpRequest) -> HttpResponse:
    """Figures for Prometheus, to whoever has METRICS_TOKEN; without that setting there is no such address."""
    if not settings.METRICS_TOKEN:
        said = "There is nothing here. Set METRICS_TOKEN to have metrics served.\n"
        return HttpResponse(said, status=404, content_type="text/plain", headers=_HEADERS)
    if not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}"):
        said = "Send the header `Authorization: Bearer` with the token of METRICS_TOKEN.\n"
        challenge = {**_HEADERS, "WWW-Authenticate": "Bearer"}
        return HttpResponse(said, status=401, content_type="text/plain", headers=challenge)
    text, content_type = metrics.exposition(request.headers.get("Accept", ""))
    return HttpResponse(text, content_type=content_type, headers=_HEADERS)


PROBES: dict[str, Callable[[HttpRequest], HttpResponse]] = {
    "/healthz": healthz,
    "/readyz": readyz,
    "/metrics": metrics_page,
}


def _database() -> str:
    try:
        Upload.objects.exists()
    except Error:
        logger.exception("The database cannot be read")
        return "The database does not answer, or `manage.py migrate` has not been run. The log tells more."
    return _OK


def _storage() -> str:
    """Asks the file system, and writes nothing."""
    root = Path(settings.MEDIA_ROOT).absolute()
    try:
        folder = next(path for path in (root, *root.parents) if path.exists())  # the first upload makes it
        writable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
        free = shutil.disk_usage(folder).free
    except OSError:
        logger.exception("The storage of pictures cannot be looked at")
        return "The storage of pictures does not answer. The log tells more."
    if not writable:
        return "The storage of pictures cannot be written."
    if free < settings.MAX_UPLOAD_MB * 1_000_000:
        return "The storage of pictures has no room for one more of the largest."
    return _OK


def _cache() -> str:
    """Writes, since one that can be read alone counts nothing."""
    try:
        cache.set("readyz", _OK, timeout=60)
    except Exception:  # each cache has errors of its own
        logger.exception("The cache cannot be written")
        return "The cache does not answer or cannot be written, so the API is closed. The log tells more."
    return _OK


def _model() -> str:
    try:
        serving.classifier()
    except serving.Unavailable:  # its sentence, which tells a path, was logged when opening failed
        return "No trained model could be opened. The log tells which command mends it."
    return _OK
