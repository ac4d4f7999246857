"""Every address of the site."""

from django.contrib import admin
from django.urls import include, path

from diagnosis.api import problems

urlpatterns = [
    path("", include("diagnosis.web.urls")),
    path("", include("diagnosis.api.urls")),
    path("accounts/", include("diagnosis.web.account_urls")),
    path("admin/", admin.site.urls),
]

handler400, handler403 = problems.bad_request, problems.permission_denied
handler404, handler500 = problems.page_not_found, problems.server_error
