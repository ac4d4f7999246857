"""A prediction's pictures as HTTP responses, for pages and API alike. The caller has checked who may see them."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response, patch_cache_control, patch_vary_headers

from diagnosis.inference import serving
from diagnosis.models import Prediction

logger = logging.getLogger(__name__)


class FileMissing(Http404):
    """The row is there, and its file is not in storage."""


@contextmanager
def from_storage(key: object) -> Iterator[None]:
    """Raises FileMissing where a file is not in storage; key: tells the log whose."""
    try:
        yield
    except FileNotFoundError as error:
        logger.error("A file is missing in storage, that of %s", key)
        raise FileMissing from error


def xray(request: HttpRequest, prediction: Prediction) -> HttpResponseBase:
    """The X-ray at full size, in a format that browsers show."""

    def answer() -> HttpResponseBase:
        with prediction.upload.file.open() as file:
            content, content_type = serving.displayable(file.read())
        return HttpResponse(content, content_type=content_type)

    return _kept_by_browser(request, f'"{prediction.upload_id}-xray"', answer)


def thumbnail(request: HttpRequest, prediction: Prediction) -> HttpResponseBase:
    """The X-ray, small, as JPEG."""
    return _kept_by_browser(
        request,
        f'"{prediction.upload_id}-thumbnail"',
        lambda: FileResponse(prediction.upload.thumbnail.open(), content_type="image/jpeg"),
    )


def heatmap(request: HttpRequest, prediction: Prediction) -> HttpResponseBase:
    """The heatmap of a prediction that is not rejected: a transparent PNG to stretch over the X-ray."""
    return _kept_by_browser(
        request,
        f'"{prediction.pk}-heatmap"',
        lambda: FileResponse(prediction.heatmap.open(), content_type="image/png"),
    )


def _kept_by_browser(request: HttpRequest, etag: str, answer: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """304 if the caller has the current file already, 412 if they ask for another one.

    A file never changes, and only this person's browser may keep it: for them alone, should others use it too.
    Raises FileMissing.
    """
    # To be passed over where a picture has no date (RFC 9110, 13.1.4), and Django takes it for one that has changed.
    request.META.pop("HTTP_IF_UNMODIFIED_SINCE", None)
    conditional = get_conditional_response(request, etag=etag)
    if conditional is not None and conditional.status_code == 412:
        return conditional
    with from_storage(etag):
        response = conditional if conditional is not None else answer()
    response.headers["ETag"] = etag
    patch_cache_control(response, private=True, max_age=3600, immutable=True)
    patch_vary_headers(response, ["Authorization", "Cookie"])
    return response
