"""The admin site, which roles open and not the flag `is_staff`."""

from django.contrib import admin
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from diagnosis import access


class RoleAdminSite(admin.AdminSite):
    """Lets in whoever may see all predictions; what they may do inside follows from their permissions."""

    site_header = site_title = "Pneumonia Site"
    index_title = _("Records")
    login_form = AuthenticationForm

    def has_permission(self, request: HttpRequest) -> bool:
        return access.person_of(request).may_see_all
