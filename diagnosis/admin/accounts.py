"""Accounts and their roles."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.contrib.auth.models import User
from django.db.models import ManyToManyField, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from diagnosis.admin.lists import ListAdmin
from diagnosis.templatetags import words
from diagnosis.web.accounts import NewNameForm

admin.site.unregister(get_user_model())


class Role(admin.RelatedFieldListFilter):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.title = _("role")

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(key, words.named(str(name))) for key, name in super().field_choices(field, request, model_admin)]


class Roles(forms.ModelMultipleChoiceField):
    def label_from_instance(self, obj: Any) -> str:
        return words.named(obj.name)

    def clean(self, value: Any) -> Any:
        try:
            return super().clean(value)
        except OverflowError:  # a number beyond all columns
            said = self.error_messages["invalid_choice"]
            raise forms.ValidationError(said, code="invalid_choice", params={"value": ", ".join(value)}) from None


class AddForm(NewNameForm, AdminUserCreationForm):
    pass


@admin.register(get_user_model())
class AccountAdmin(ListAdmin, UserAdmin):
    """Accounts and their roles. What Django keeps beside roles is not offered: nothing here asks for it.

    Only a superuser makes superusers, or touches one: an administrator would otherwise be one at will.
    """

    list_display = ["username", "email", "role", "is_active", "last_login"]
    list_filter = [("groups", Role), "is_active"]
    list_select_related = False
    fieldsets = [
        (None, {"fields": ["username", "password"]}),
        (_("Person"), {"fields": ["first_name", "last_name", "email"]}),
        (_("Role"), {"fields": ["groups", "is_active"]}),
        (_("Dates"), {"fields": ["last_login", "date_joined"]}),
    ]
    readonly_fields = ["last_login", "date_joined"]
    add_form = AddForm
    formfield_overrides = {ManyToManyField: {"form_class": Roles}}

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if obj and request.user.is_superuser:
            return [*fieldsets, (_("Everything"), {"fields": ["is_superuser"]})]
        return fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        # The audit log knows people by their names, and so does what tells whether a reading was blind.
        return [*super().get_readonly_fields(request, obj), *(["username"] if obj else [])]

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        if obj and obj.is_superuser and not request.user.is_superuser:
            return False
        return super().has_change_permission(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[list, dict[str, int], set[str], list]:
        """An account with pictures or readings stays because of them, and not since nobody may delete a reading."""
        listed, counts, lacking, protected = super().get_deleted_objects(objs, request)
        return listed, counts, set() if protected else lacking, protected

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description=_("role"))
    def role(self, user: User) -> str:
        if user.is_superuser:
            return str(_("everything"))
        return ", ".join(words.named(group.name) for group in user.groups.all())
