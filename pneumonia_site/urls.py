"""Every address of the site."""

from django.contrib import admin
from django.urls import include, path

admin.site.site_header = admin.site.site_title = "Pneumonia Site"
admin.site.index_title = "Records"

urlpatterns = [
    path("", include("diagnosis.web.urls")),
    path("", include("diagnosis.api.urls")),
    path("accounts/", include("django.contrib.auth.urls")),
    path("admin/", admin.site.urls),
]
