"""Read-only records: readings and the audit log."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from diagnosis.admin import filters
from diagnosis.admin.lists import ListAdmin
from diagnosis.models import AuditEvent, Review
from diagnosis.templatetags import words


class RecordAdmin(ListAdmin):
    """Nothing here is added, changed or deleted by hand."""

    list_display_links = None
    list_per_page = 100

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Review)
class ReviewAdmin(RecordAdmin):
    list_display = ["created", "reviewer", "reading", "blind", "answer", "note", "picture"]
    list_select_related = ["reviewer", "prediction"]
    list_filter = ["reading", "blind", "reviewer", "prediction__model_version", ("created", filters.Created)]
    search_fields = ["reviewer__username", "note", "=prediction__id"]
    search_help_text = _("A reviewer's name, words of a note, or the identifier of a prediction")

    @admin.display(description=_("model's answer"), ordering="prediction__label")
    def answer(self, review: Review) -> str:
        return str(review.prediction.get_label_display())

    @admin.display(description=_("prediction"))
    def picture(self, review: Review) -> SafeString:
        address = reverse("admin:diagnosis_prediction_change", args=[review.prediction_id])
        return format_html('<a href="{}">{}</a>', address, str(review.prediction_id)[:8])


@admin.register(AuditEvent)
class AuditEventAdmin(RecordAdmin):
    list_display = ["created", "actor", "action", "prediction", "told"]
    list_filter = ["action", ("created", filters.Created)]
    search_fields = ["=actor", "=prediction"]
    search_help_text = _("A user's name, or the identifier of a prediction")

    @admin.display(description=_("detail"))
    def told(self, event: AuditEvent) -> str:
        return words.logged(event.detail)
