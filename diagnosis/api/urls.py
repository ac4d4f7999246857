"""Addresses of the API. `/predict` takes both endings: a redirect would lose the posted file."""

from django.urls import include, path
from rest_framework.routers import SimpleRouter

from diagnosis.api.views import PredictionViewSet

app_name = "api"
router = SimpleRouter()
router.register("predictions", PredictionViewSet, basename="prediction")
predict = PredictionViewSet.as_view({"post": "create"})

urlpatterns = [
    path("predict", predict, name="predict"),
    path("predict/", predict),
    path("api/", include(router.urls)),
]
