"""A prediction's pictures as HTTP answers, for pages and API alike. Whether the caller may see them is asked before."""

from collections.abc import Callable

from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response, patch_cache_control

from diagnosis import inference
from diagnosis.models import Prediction


def xray(request: HttpRequest, prediction: Prediction) -> HttpResponseBase:
    """The X-ray at full size, in a format that browsers show."""

    def answer() -> HttpResponseBase:
        with prediction.upload.file.open() as file:
            content, content_type = inference.displayable(file.read())
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
    """304 where the caller has it already. A file never changes, and only this person's browser may keep it."""
    not_modified = get_conditional_response(request, etag=etag)
    response = not_modified if not_modified is not None else answer()
    response.headers["ETag"] = etag
    patch_cache_control(response, private=True, max_age=3600, immutable=True)
    return response
