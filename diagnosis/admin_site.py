"""The admin site, opened by roles and not by the flag `is_staff`."""

from django.contrib import admin
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.contenttypes.views import shortcut
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import URLPattern, URLResolver, path
from django.utils.translation import gettext_lazy as _

from diagnosis import access


class RoleAdminSite(admin.AdminSite):
    """Lets in whoever may see all predictions; what they may do inside follows from their permissions."""

    site_header = site_title = "Pneumonia Site"
    index_title = _("Records")
    login_form = AuthenticationForm

    def has_permission(self, request: HttpRequest) -> bool:
        return access.person_of(request).may_see_all

    def get_urls(self) -> list[URLResolver | URLPattern]:
        """Django's, but for an object's page on the site where its key is none, which is an error there."""
        view_on_site = self.admin_view(_view_on_site)
        return [
            path("r/<path:content_type_id>/<path:object_id>/", view_on_site, name="view_on_site"),
            *super().get_urls(),
        ]


def _view_on_site(request: HttpRequest, content_type_id: str, object_id: str) -> HttpResponseBase:
    try:
        return shortcut(request, content_type_id, object_id)
    except ValidationError as error:  # no UUID
        raise Http404 from error
