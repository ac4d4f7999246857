"""Every address of the site."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("diagnosis.web.urls")),
    path("", include("diagnosis.api.urls")),
    path("accounts/", include("diagnosis.web.account_urls")),
    path("admin/", admin.site.urls),
]
