"""Past predictions: to find, to look at, to read anew, to export. Nothing here alters what happened."""

import functools
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import path, reverse
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from import_export.admin import ExportMixin
from import_export.forms import ExportForm

from diagnosis import access, audit, export, reviews, services
from diagnosis.admin import filters, reading
from diagnosis.admin.lists import UNANSWERABLE, ListAdmin
from diagnosis.models import Prediction, Review, Upload
from diagnosis.templatetags import figures

MOST_AT_ONCE = 500
"""Of readings: each picture is a field of the form that asks, and Django takes a thousand."""


@admin.register(Prediction)
class PredictionAdmin(ExportMixin, ListAdmin):
    list_display = [
        "small_xray",
        "file_name",
        "answer",
        "percent",
        "latest_reading",
        "when",
        "model_version",
        "owner",
    ]
    list_display_links = ["small_xray", "file_name"]
    list_filter = [
        filters.ReviewState,
        filters.Agreement,
        "label",
        "uncertain",
        "status",
        filters.Reviewer,
        "model_version",
        ("upload__owner", filters.Owner),
        ("created", filters.Created),
    ]
    list_select_related = ["upload__owner"]
    list_per_page = 50
    search_fields = ["upload__original_name", "upload__sha256", "upload__owner__username", "=id"]
    search_help_text = _("File name, SHA-256, user name, or the identifier of a prediction")
    ordering = ["-created", "-id"]
    actions = ["read_as_pneumonia", "read_as_normal", "read_as_unreadable"]
    import_export_change_list_template = "admin/diagnosis/prediction/list.html"
    resource_classes = [export.PredictionResource]
    export_formats = export.FORMATS
    export_form_class = ExportForm
    fieldsets = [
        (None, {"fields": ["pictures", "answer", "percent", "in_words", "status", "picture_hints", "readings"]}),
        (_("Model"), {"fields": ["model_version", "decided_at", "least", "score", "duration"]}),
        (_("Upload"), {"fields": ["file_name", "owner", "pixels", "size", "sha256", "created", "id"]}),
    ]

    def get_readonly_fields(self, request: HttpRequest, obj: Prediction | None = None) -> list[str]:
        return [str(name) for _title, options in self.get_fieldsets(request, obj) for name in options["fields"]]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Prediction | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return reviews.with_reading(super().get_queryset(request))

    def get_urls(self) -> list:
        def admin_page(address: str, view: Callable[..., HttpResponse], name: str) -> Any:
            @functools.wraps(view)
            def with_context(request: HttpRequest, **arguments: Any) -> HttpResponse:
                return view(request, {**self.admin_site.each_context(request), "opts": self.opts}, **arguments)

            return path(address, self.admin_site.admin_view(with_context), name=f"diagnosis_prediction_{name}")

        return [
            admin_page("review/", reading.next_one, "review_next"),
            admin_page("review/unskip", reading.unskip, "review_unskip"),
            admin_page("agreement/", reading.agreement_page, "agreement"),
            admin_page("<uuid:pk>/review/", reading.read, "review"),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        response = super().change_view(request, object_id, form_url, extra_context)
        if response.status_code == 200:
            audit.record(
                access.person_of(request),
                audit.Action.VIEWED,
                Prediction.objects.filter(pk=object_id),
                detail=audit.RESULT,
            )
        return response

    # Readings of several pictures at once. The list has shown the model's answers, so they are not blind.

    @admin.action(description=_("Read selected as pneumonia"), permissions=["review"])
    def read_as_pneumonia(self, request: HttpRequest, queryset: QuerySet[Prediction]) -> HttpResponse | None:
        return self._read_all(request, queryset, Review.Reading.PNEUMONIA)

    @admin.action(description=_("Read selected as normal"), permissions=["review"])
    def read_as_normal(self, request: HttpRequest, queryset: QuerySet[Prediction]) -> HttpResponse | None:
        return self._read_all(request, queryset, Review.Reading.NORMAL)

    @admin.action(description=_("Read selected as unreadable"), permissions=["review"])
    def read_as_unreadable(self, request: HttpRequest, queryset: QuerySet[Prediction]) -> HttpResponse | None:
        return self._read_all(request, queryset, Review.Reading.UNREADABLE)

    def has_review_permission(self, request: HttpRequest) -> bool:
        return access.person_of(request).may_review

    def _read_all(
        self, request: HttpRequest, queryset: QuerySet[Prediction], kind: Review.Reading
    ) -> HttpResponse | None:
        """Ask first, as deletion does, since no reading is ever taken back; `post` says that the answer was yes."""
        answered = queryset.exclude(status=Prediction.Status.REJECTED)
        count, left = answered.count(), queryset.filter(status=Prediction.Status.REJECTED).count()
        if count > MOST_AT_ONCE:
            refused = _("At most %(most)d pictures are read at once, and you chose %(count)d.")
            self.message_user(request, refused % {"most": MOST_AT_ONCE, "count": count}, messages.ERROR)
            return None
        analysed = list(answered)
        if count and "post" not in request.POST:
            context = {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": ngettext("Record %(count)d reading for good?", "Record %(count)d readings for good?", count)
                % {"count": count},
                "kind": kind.label,
                "action": request.POST["action"],
                "analysed": analysed,
                "left": left,
                "held": reviews.that_hold()
                .filter(prediction__in=analysed)
                .select_related("prediction__upload", "reviewer"),
            }
            return render(request, "admin/diagnosis/prediction/read_selected.html", context)
        for prediction in analysed:
            try:
                reviews.record(prediction, by=access.person_of(request), reading=kind)
            except Prediction.DoesNotExist:  # deleted meanwhile
                count -= 1
        if count:
            said = ngettext("%(count)d reading recorded: %(kind)s.", "%(count)d readings recorded: %(kind)s.", count)
            self.message_user(request, said % {"count": count, "kind": kind.label}, messages.SUCCESS)
        elif left:
            said = ngettext(
                "%(count)d picture was not analysed, so it cannot be read against an answer.",
                "%(count)d pictures were not analysed, so they cannot be read against an answer.",
                left,
            )
            self.message_user(request, said % {"count": left}, messages.WARNING)
        return None

    # Exactly the rows that the list shows under its filters, with what only the file tells.

    def export_action(self, request: HttpRequest) -> HttpResponse:
        try:
            return super().export_action(request)
        except IncorrectLookupParameters:  # as the list does
            return redirect(reverse("admin:diagnosis_prediction_changelist") + f"?{ERROR_FLAG}=1")

    def get_export_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_export_queryset(request)
        try:
            rows.exists()
        except UNANSWERABLE as error:
            raise IncorrectLookupParameters from error
        return export.rows(rows)

    def get_export_data(self, file_format: Any, request: HttpRequest, queryset: QuerySet[Any], **options: Any) -> Any:
        data = super().get_export_data(file_format, request, queryset, **options)
        export.record(
            access.person_of(request),
            count=queryset.count(),
            title=file_format.get_title(),
            filters=request.GET.dict(),
        )
        return data

    def get_export_filename(self, request: HttpRequest, queryset: QuerySet[Any], file_format: Any) -> str:
        return export.file_name(file_format.get_extension())

    # Deleting takes the upload along: a picture without its prediction could not be reached.

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[list, dict[str, int], set[str], list]:
        """What the page that asks for confirmation lists: the uploads, with all their predictions and readings."""
        doomed = Upload.objects.filter(pk__in={prediction.upload_id for prediction in objs})
        listed, counts, lacking, protected = super().get_deleted_objects(doomed, request)
        # Nobody deletes a reading by itself, and it goes together with its upload.
        return listed, counts, lacking - {Review._meta.verbose_name}, protected

    def log_deletions(self, request: HttpRequest, queryset: Any) -> list:
        """Nothing: Django would keep the sender's file name for ever. The audit log tells who deleted what."""
        return []

    def delete_model(self, request: HttpRequest, obj: Prediction) -> None:
        services.delete([obj.upload], by=access.person_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Prediction]) -> None:
        doomed = [prediction.upload for prediction in queryset.select_related("upload")]
        services.delete(doomed, by=access.person_of(request))

    @admin.display(description=_("X-ray"))
    def small_xray(self, prediction: Prediction) -> SafeString:
        return format_html(
            '<img src="{}" width="64" height="64" loading="lazy" class="thumbnail" alt="{}">',
            reverse("diagnosis:thumbnail", args=[prediction.pk]),
            _("X-ray %(name)s") % {"name": prediction.upload.original_name},
        )

    @admin.display(description=_("X-ray and heatmap"))
    def pictures(self, prediction: Prediction) -> str:
        return render_to_string("admin/diagnosis/prediction/pictures.html", {"prediction": prediction})

    @admin.display(description=_("answer"), ordering="label")
    def answer(self, prediction: Prediction) -> str:
        return prediction.answer or str(_("not analysed"))

    @admin.display(description=_("reading"), ordering="reading")
    def latest_reading(self, prediction: Any) -> str:
        return str(Review.Reading(prediction.reading).label) if prediction.reading else ""

    @admin.display(description=_("hints"))
    def picture_hints(self, prediction: Prediction) -> str:
        return " ".join(str(hint.label) for hint in prediction.hints)

    @admin.display(description=_("readings"))
    def readings(self, prediction: Prediction) -> str:
        return render_to_string(
            "admin/diagnosis/prediction/readings.html",
            {"prediction": prediction, "reviews": prediction.reviews.select_related("reviewer")},
        )

    @admin.display(description=_("file name"), ordering="upload__original_name")
    def file_name(self, prediction: Prediction) -> SafeString:
        return format_html("<bdi>{}</bdi>", prediction.upload.original_name)

    @admin.display(description=_("probability"), ordering="probability")
    def percent(self, prediction: Prediction) -> str:
        if prediction.probability is None:
            return ""
        figure = figures.probability(prediction.probability)
        return _("%(figure)s, uncertain") % {"figure": figure} if prediction.uncertain else figure

    @admin.display(description=_("certainty"))
    def in_words(self, prediction: Prediction) -> str:
        return prediction.certainty

    @admin.display(description=_("operating point"))
    def decided_at(self, prediction: Prediction) -> str:
        return prediction.decided_at.title

    @admin.display(description=_("threshold"))
    def least(self, prediction: Prediction) -> str:
        return figures.percent(prediction.threshold)

    @admin.display(description=_("chest X-ray score"))
    def score(self, prediction: Prediction) -> str:
        return "" if prediction.chest_xray_score is None else figures.probability(prediction.chest_xray_score)

    @admin.display(description=_("created"), ordering="created")
    def when(self, prediction: Prediction) -> str:
        return formats.date_format(timezone.localtime(prediction.created), "DATETIME_FORMAT")

    @admin.display(description=_("owner"), ordering="upload__owner__username")
    def owner(self, prediction: Prediction) -> str:
        return str(prediction.upload.owner or _("visitor"))

    @admin.display(description=_("duration"))
    def duration(self, prediction: Prediction) -> str:
        return figures.milliseconds(prediction.milliseconds)

    @admin.display(description=_("pixels"))
    def pixels(self, prediction: Prediction) -> SafeString:
        return format_html('<bdi dir="ltr">{} x {}</bdi>', prediction.upload.width, prediction.upload.height)

    @admin.display(description=_("size"))
    def size(self, prediction: Prediction) -> str:
        return figures.file_size(prediction.upload.size)

    @admin.display(description="SHA-256")
    def sha256(self, prediction: Prediction) -> str:
        return prediction.upload.sha256
