"""The pages. Each translates a request, asks access.py and services.py, and renders."""

import uuid

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_GET, require_http_methods

from diagnosis import access, inference, services
from diagnosis.models import Prediction, Upload
from diagnosis.web.forms import UploadForm

PAGE_SIZE = 20
RECENT = 6


@require_http_methods(["GET", "HEAD", "POST"])
def upload(request: HttpRequest) -> HttpResponse:
    """The first page: a form for one or many pictures. One good picture leads to its result, several to the history."""
    if request.method != "POST":
        return _upload_page(request, UploadForm(), [])
    if not access.may_upload(request.user):
        return _upload_page(request, UploadForm(), [], status=403)
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        return _upload_page(request, form, [], status=400)
    sender = access.sender_of(request)
    done, failures = [], []
    for file in form.cleaned_data["file"]:
        try:
            done.append(services.diagnose(file=file, name=file.name or "", sender=sender))
        except inference.PictureError as error:
            failures.append({"name": file.name, "message": str(error), "status": inference.HTTP_STATUS[error.code]})
        except inference.Unavailable:
            failures.append({"name": file.name, "message": inference.UNAVAILABLE, "status": 503})
    if failures:
        if done:
            said = ngettext("%d picture was analysed.", "%d pictures were analysed.", len(done)) % len(done)
            messages.success(request, said)
        return _upload_page(request, UploadForm(), failures, status=200 if done else failures[0]["status"])
    return redirect("diagnosis:prediction", done[0].pk) if len(done) == 1 else redirect("diagnosis:history")


def _upload_page(request: HttpRequest, form: UploadForm, failures: list[dict], status: int = 200) -> HttpResponse:
    formats = Upload.Format.labels
    context = {
        "form": form,
        "failures": failures,
        "uploads_allowed": access.may_upload(request.user),
        "max_megabytes": settings.MAX_UPLOAD_MB,
        "accept": ",".join(f"image/{name.lower()}" for name in Upload.Format.values),
        "formats": _("%(list)s or %(last)s") % {"list": ", ".join(formats[:-1]), "last": formats[-1]},
        "recent": access.own(access.person_of(request))[:RECENT],
    }
    return render(request, "diagnosis/upload.html", context, status=status)


@require_GET
def history(request: HttpRequest) -> HttpResponse:
    """The predictions this person may see, newest first, `?label=` filters."""
    predictions = access.visible_to(access.person_of(request))
    label = request.GET.get("label", "")
    if label in inference.LABELS:
        predictions = predictions.filter(label=label)
    else:
        label = ""
    context = {
        "page": Paginator(predictions, PAGE_SIZE).get_page(request.GET.get("page")),
        "label": label,
        "labels": inference.LABELS,
        "query": f"label={label}" if label else "",
    }
    return render(request, "diagnosis/history.html", context)


def _visible(request: HttpRequest, pk: uuid.UUID) -> Prediction:
    """The prediction, or 404: whoever may not see it does not learn that it exists."""
    return get_object_or_404(access.visible_to(access.person_of(request)), pk=pk)


@require_GET
def prediction(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """One result."""
    found = _visible(request, pk)
    context = {"prediction": found, "earlier": services.earlier_results(found)}
    return render(request, "diagnosis/prediction.html", context)


# A result's files never change, and only this person's browser may keep them.
_kept_by_browser = cache_control(private=True, max_age=3600, immutable=True)


@require_GET
@_kept_by_browser
def xray(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """The X-ray at full size, in a format that browsers show."""
    with _visible(request, pk).upload.file.open() as file:
        content, content_type = inference.displayable(file.read())
    return HttpResponse(content, content_type=content_type)


@require_GET
@_kept_by_browser
def heatmap(request: HttpRequest, pk: uuid.UUID) -> HttpResponseBase:
    """The heatmap, a transparent picture to stretch over the X-ray."""
    return FileResponse(_visible(request, pk).heatmap.open(), content_type="image/png")


@require_GET
@_kept_by_browser
def thumbnail(request: HttpRequest, pk: uuid.UUID) -> HttpResponseBase:
    """The X-ray, small."""
    return FileResponse(_visible(request, pk).upload.thumbnail.open(), content_type="image/jpeg")
