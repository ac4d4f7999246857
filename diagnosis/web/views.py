"""The pages. Each translates a request, asks access.py and services.py, and renders."""

import functools
import uuid
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_http_methods, require_safe

from diagnosis import access, audit, pictures, report, services
from diagnosis.api.throttles import CallerThrottle, PredictThrottle
from diagnosis.inference import serving
from diagnosis.models import OPERATING_POINTS, Prediction, Upload
from diagnosis.templatetags import figures
from diagnosis.web import preferences, refusals, worklist
from diagnosis.web.forms import UploadForm

RECENT = 6
MOST_EARLIER = 10


@require_http_methods(["GET", "HEAD", "POST"])
def upload(request: HttpRequest) -> HttpResponse:
    """The first page: a form for one or many pictures. One good picture leads to its result, several to the history."""
    if request.method != "POST":
        return _upload_page(request, UploadForm(), [])
    if not access.person_of(request).may_upload:
        return _refused(request)
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        return _upload_page(request, form, [], status=400)
    sender = access.sender_of(request)
    operating_point = form.cleaned_data["operating_point"] or None
    done, failures, retry_after = [], [], 0
    for file in form.cleaned_data["file"]:
        if seconds := PredictThrottle().seconds_to_wait(request):
            retry_after = seconds
            failures.append({"name": file.name, "message": _too_often(seconds), "status": 429})
            continue
        try:
            found = services.diagnose(file=file, name=file.name or "", sender=sender, operating_point=operating_point)
        except serving.PictureError as error:
            failures.append(
                {"name": file.name, "message": serving.refusal(error), "status": serving.HTTP_STATUS[error.code]}
            )
        except serving.Unavailable:
            failures.append({"name": file.name, "message": serving.UNAVAILABLE, "status": 503})
        except services.NotStored as error:
            failures.append({"name": file.name, "message": str(error), "status": error.fault.status})
        else:
            if found.is_rejected:
                message = serving.NOT_A_CHEST_XRAY
                failures.append({"name": file.name, "message": message, "status": 422, "rejected": found})
            else:
                done.append(found)
    if failures:
        if done:
            said = ngettext("%(count)d picture was analysed.", "%(count)d pictures were analysed.", len(done)) % {
                "count": len(done)
            }
            messages.success(request, said)
        status = 200 if done else failures[0]["status"]
        response = _upload_page(request, UploadForm(), failures, status=status, retry_after=retry_after)
    else:
        response = redirect(done[0] if len(done) == 1 else "diagnosis:history")
    if operating_point in serving.operating_points():
        preferences.remember_operating_point(response, operating_point)
    return response


@require_http_methods(["GET", "HEAD", "POST"])
def analyse_all_the_same(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Analyse a picture that the gate refused, because the person asks for it.

    Whoever comes back to a refusal of that, by the choice of a language for example, is led to the result.
    """
    found = _visible(request, pk)
    if request.method != "POST":
        return redirect(found)
    if not access.person_of(request).may_upload:
        return _refused(request)
    if not found.is_rejected:
        return redirect(found)
    failure: dict[str, Any] = {"name": found.upload.original_name}
    if seconds := PredictThrottle().seconds_to_wait(request):
        failure["message"] = _too_often(seconds)
        return _upload_page(request, UploadForm(), [failure], status=429, retry_after=seconds)
    try:
        with pictures.from_storage(found.pk):
            return redirect(services.analyse_all_the_same(found, by=access.person_of(request)))
    except serving.Unavailable:
        failure["message"] = serving.UNAVAILABLE
        return _upload_page(request, UploadForm(), [failure], status=503)


def _refused(request: HttpRequest) -> HttpResponse:
    if not request.user.is_authenticated:
        return redirect_to_login(reverse("diagnosis:upload"))
    return _upload_page(request, UploadForm(), [], status=403)


def _too_often(seconds: int) -> str:
    said = _("Too many pictures in too short a time: this one was not analysed. Try again in %(wait)s.")
    return said % {"wait": figures.duration(seconds)}


EXTENSIONS = sorted({*serving.FORMATS.values(), "jpeg", "tiff"})
"""How names of pictures end, as far as a browser can tell before it sends them."""


def _upload_page(
    request: HttpRequest, form: UploadForm, failures: list[dict], status: int = 200, retry_after: int = 0
) -> HttpResponse:
    formats = Upload.Format.labels
    context = {
        "form": form,
        "failures": failures,
        "uploads_allowed": access.person_of(request).may_upload,
        "max_megabytes": settings.MAX_UPLOAD_MB,
        "accept": ",".join(f"image/{name.lower()}" for name in Upload.Format.values),
        "extensions": ",".join(EXTENSIONS),
        "formats": _("%(list)s or %(last)s") % {"list": ", ".join(formats[:-1]), "last": formats[-1]},
        "operating_points": _operating_points(),
        "operating_point": preferences.operating_point_of(request),
        "learned_from_children": (card := serving.model_card()) is not None and card.of_the_public_set,
        "recent": access.own(access.person_of(request))[:RECENT],
    }
    response = render(request, "diagnosis/upload.html", context, status=status)
    if retry_after:
        response.headers["Retry-After"] = str(retry_after)
    return response


WHAT_FOR = {
    "balanced": gettext_lazy("Misses and false alarms weigh the same."),
    "screening": gettext_lazy("Misses less pneumonia, at the price of more false alarms."),
}


def _operating_points() -> list[dict]:
    version = serving.model_version()
    points = []
    for name in serving.operating_points():
        title, text = OPERATING_POINTS.get(name, name), WHAT_FOR.get(name, "")
        points.append({"name": name, "title": title, "text": text, "measured": serving.measured(version, name)})
    return points


PLOTS = {
    "roc_curve": gettext_lazy("Sensitivity against false alarms at every threshold"),
    "precision_recall_curve": gettext_lazy("Precision against recall at every threshold"),
    "confusion_matrix_balanced": gettext_lazy("Answers at the operating point Balanced"),
    "confusion_matrix_screening": gettext_lazy("Answers at the operating point Screening"),
    "reliability_diagram": gettext_lazy("Stated probability against the share that has pneumonia"),
    "score_histogram": gettext_lazy("Probabilities given to normal and to pneumonia"),
    "shifts": gettext_lazy("Accuracy when pictures are spoiled"),
    "class_distribution": gettext_lazy("Pictures of each class for training, validation and measuring"),
    "training_history": gettext_lazy("Loss of each epoch of training"),
}


@require_safe
def model(request: HttpRequest) -> HttpResponse:
    """What is known of the model that answers: use, data, figures, limits. Anybody may read it."""
    card = serving.model_card()
    available = serving.report_plots()
    context: dict[str, Any] = {
        "card": card,
        "measured_on": serving.measured_on(card) if card else "",
        "plots": [
            (name, PLOTS.get(name, name.replace("_", " ")))
            for name in dict.fromkeys([*PLOTS, *available])
            if name in available
        ],
    }
    if card and card.gate:
        context["refused"] = [
            {"name": kind.replace("_", " "), "files": at["files held out"], "whole": at["whole kind held out"]}
            for kind, at in card.gate.measured["refused"].items()
        ]
    if card and context["measured_on"]:
        figures = context["figures"] = card.metrics[context["measured_on"]]
        if point := figures["operating_points"].get(card.default_operating_point):
            clean = point["accuracy"]["value"]
            context["shifts"] = [
                {"name": name, **at, "change": at["accuracy"] - clean} for name, at in figures.get("shifts", {}).items()
            ]
    return render(request, "diagnosis/model.html", context, status=200 if card else 503)


@require_safe
@cache_control(public=True, max_age=3600)
def plot(request: HttpRequest, name: str) -> HttpResponseBase:
    """A plot of the served model's report."""
    path = serving.report_plots().get(name)
    if path is None:
        raise Http404
    return FileResponse(path.open("rb"), content_type="image/svg+xml")


def _visible(request: HttpRequest, pk: uuid.UUID) -> Prediction:
    """The prediction, or 404: whoever may not see it does not learn that it exists."""
    return get_object_or_404(access.visible_to(access.person_of(request)), pk=pk)


@require_safe
def prediction(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """One result."""
    found = _visible(request, pk)
    audit.record(access.person_of(request), audit.Action.VIEWED, [found], detail=audit.RESULT)
    review = found.reviews.first()
    agrees = review is None or review.reading == found.label
    earlier = services.earlier_results(found)
    context = {
        "prediction": found,
        "earlier": earlier[:MOST_EARLIER],
        "further": max(0, earlier.count() - MOST_EARLIER),
        "review": review,
        "agrees": agrees,
        "stands": not found.is_forced and agrees,
        **worklist.way(request, found),
    }
    return render(request, "diagnosis/prediction.html", context)


@require_safe
def report_page(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """One result on a page to print."""
    found = _visible(request, pk)
    audit.record(access.person_of(request), audit.Action.VIEWED, [found], detail=f"{audit.RESULT}, report")
    context = {"prediction": found, "report": report.report(found), "carried": worklist.carried(request)}
    return render(request, "diagnosis/report.html", context)


def _counted(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """As the API counts its requests, since a large picture takes seconds to decode."""

    @functools.wraps(view)
    def counting(request: HttpRequest, pk: uuid.UUID) -> HttpResponseBase:
        if seconds := CallerThrottle().seconds_to_wait(request):
            return refusals.too_often(request, seconds)
        return view(request, pk)

    return counting


@require_safe
@_counted
def report_pdf(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """One result as a PDF of one page."""
    found = _visible(request, pk)
    with pictures.from_storage(found.pk):
        content = report.pdf(found)
    audit.record(access.person_of(request), audit.Action.VIEWED, [found], detail=f"{audit.RESULT}, PDF")
    response = HttpResponse(content, content_type="application/pdf")
    # Named by its key: what the sender calls the file may tell who it shows.
    response.headers["Content-Disposition"] = f'attachment; filename="report-{found.pk}.pdf"'
    response.headers["Cache-Control"] = "private, no-store"
    return response


@require_safe
@_counted
def xray(request: HttpRequest, pk: uuid.UUID) -> HttpResponseBase:
    """The X-ray at full size, in a format that browsers show."""
    found = _visible(request, pk)
    audit.record(access.person_of(request), audit.Action.VIEWED, [found], detail="picture")
    return pictures.xray(request, found)


@require_safe
def heatmap(request: HttpRequest, pk: uuid.UUID) -> HttpResponseBase:
    """The heatmap, a transparent picture to stretch over the X-ray; a rejected picture has none."""
    found = _visible(request, pk)
    if found.is_rejected:
        raise Http404
    audit.record_heatmap(access.person_of(request), found)
    return pictures.heatmap(request, found)


@require_safe
def thumbnail(request: HttpRequest, pk: uuid.UUID) -> HttpResponseBase:
    """The X-ray, small."""
    return pictures.thumbnail(request, _visible(request, pk))
