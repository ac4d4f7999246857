"""For staff: past predictions, who did what, and accounts. Nothing here alters what happened."""

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from diagnosis import access, services
from diagnosis.models import AuditEvent, Prediction


@admin.register(Prediction)
class PredictionAdmin(admin.ModelAdmin):
    list_display = ["small_xray", "file_name", "answer", "percent", "created", "model_version", "owner"]
    list_display_links = ["small_xray", "file_name"]
    list_filter = [
        "label",
        "status",
        "uncertain",
        "created",
        "model_version",
        ("upload__owner", admin.RelatedOnlyFieldListFilter),
    ]
    list_select_related = ["upload__owner"]
    list_per_page = 50
    search_fields = ["upload__original_name", "upload__sha256", "upload__owner__username", "=id"]
    search_help_text = _("File name, SHA-256, user name, or the identifier of a prediction")
    date_hierarchy = "created"
    ordering = ["-created", "-id"]
    fieldsets = [
        (None, {"fields": ["pictures", "answer", "percent", "certainty", "status", "inverted"]}),
        (_("Model"), {"fields": ["model_version", "operating_point", "threshold", "chest_xray_score", "duration"]}),
        (_("Upload"), {"fields": ["file_name", "owner", "pixels", "bytes", "sha256", "created", "id"]}),
    ]

    def get_readonly_fields(self, request: HttpRequest, obj: Prediction | None = None) -> list[str]:
        return [str(name) for _title, options in self.get_fieldsets(request, obj) for name in options["fields"]]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Prediction | None = None) -> bool:
        return False

    # Deleting takes the upload along: a picture without its prediction could not be reached.

    def delete_model(self, request: HttpRequest, obj: Prediction) -> None:
        services.delete([obj.upload], by=access.person_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Prediction]) -> None:
        doomed = [prediction.upload for prediction in queryset.select_related("upload")]
        services.delete(doomed, by=access.person_of(request))

    @admin.display(description=_("X-ray"))
    def small_xray(self, prediction: Prediction) -> SafeString:
        return format_html(
            '<img src="{}" width="64" height="64" loading="lazy" class="thumbnail" alt="">',
            reverse("diagnosis:thumbnail", args=[prediction.pk]),
        )

    @admin.display(description=_("X-ray and heatmap"))
    def pictures(self, prediction: Prediction) -> str:
        return render_to_string("admin/diagnosis/prediction/pictures.html", {"prediction": prediction})

    @admin.display(description=_("label"), ordering="label")
    def answer(self, prediction: Prediction) -> str:
        return str(prediction.get_label_display() or _("not analysed"))

    @admin.display(description=_("file name"), ordering="upload__original_name")
    def file_name(self, prediction: Prediction) -> str:
        return prediction.upload.original_name

    @admin.display(description=_("probability"), ordering="probability")
    def percent(self, prediction: Prediction) -> str:
        return "" if prediction.probability_percent is None else f"{prediction.probability_percent:.1f} %"

    @admin.display(description=_("owner"), ordering="upload__owner__username")
    def owner(self, prediction: Prediction) -> str:
        return str(prediction.upload.owner or _("visitor"))

    @admin.display(description=_("duration"))
    def duration(self, prediction: Prediction) -> str:
        return f"{prediction.milliseconds:.0f} ms"

    @admin.display(description=_("pixels"))
    def pixels(self, prediction: Prediction) -> str:
        return f"{prediction.upload.width} x {prediction.upload.height}"

    @admin.display(description=_("bytes"))
    def bytes(self, prediction: Prediction) -> int:
        return prediction.upload.size

    @admin.display(description="SHA-256")
    def sha256(self, prediction: Prediction) -> str:
        return prediction.upload.sha256


@admin.register(AuditEvent)
class AuditEventAdmin(admin.ModelAdmin):
    list_display = ["created", "actor", "action", "prediction", "detail"]
    list_display_links = None
    list_filter = ["action", "created"]
    list_per_page = 100
    search_fields = ["=actor", "=prediction"]
    search_help_text = _("A user's name, or the identifier of a prediction")
    date_hierarchy = "created"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AuditEvent | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AuditEvent | None = None) -> bool:
        return False


admin.site.unregister(get_user_model())


@admin.register(get_user_model())
class AccountAdmin(UserAdmin):
    """Accounts and their roles. What Django keeps beside roles is not offered: nothing here asks for it.

    Only a superuser makes superusers, or touches one: an administrator would otherwise be one at will.
    """

    list_display = ["username", "email", "role", "is_active", "last_login"]
    list_filter = ["groups", "is_active"]
    list_select_related = False
    fieldsets = [
        (None, {"fields": ["username", "password"]}),
        (_("Person"), {"fields": ["first_name", "last_name", "email"]}),
        (_("Role"), {"fields": ["groups", "is_active"]}),
        (_("Dates"), {"fields": ["last_login", "date_joined"]}),
    ]
    readonly_fields = ["last_login", "date_joined"]

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if obj and request.user.is_superuser:
            return [*fieldsets, (_("Everything"), {"fields": ["is_superuser"]})]
        return fieldsets

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        if obj and obj.is_superuser and not request.user.is_superuser:
            return False
        return super().has_change_permission(request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description=_("role"))
    def role(self, user: User) -> str:
        if user.is_superuser:
            return str(_("everything"))
        return ", ".join(group.name for group in user.groups.all())
