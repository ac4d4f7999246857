"""Addresses of the API. `/predict` takes both endings: a redirect would lose the posted file."""

from django.urls import converters, include, path, re_path, register_converter
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.routers import SimpleRouter

from diagnosis.api import problems
from diagnosis.api.views import ModelsView, PredictionViewSet, ReviewViewSet, SchemaView, StatisticsView, TokenViewSet


class Key(converters.UUIDConverter):
    """A UUID, in letters of either case: some programs and databases write them large."""

    regex = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"


register_converter(Key, "key")

app_name = "api"
router = SimpleRouter(use_regex_path=False)
router.register("predictions", PredictionViewSet, basename="prediction")
router.register("reviews", ReviewViewSet, basename="review")
tokens = SimpleRouter()
tokens.register("tokens", TokenViewSet, basename="token")
predict = PredictionViewSet.as_view({"post": "predict"})
predict_with_slash = PredictionViewSet.as_view({"post": "predict"}, schema=None)

urlpatterns = [
    path("predict", predict, name="predict"),
    path("predict/", predict_with_slash, name="predict_with_slash"),
    path("api/", include(router.urls)),
    path("api/", include(tokens.urls)),
    path("api/models/", ModelsView.as_view(), name="models"),
    path("api/statistics/", StatisticsView.as_view(), name="statistics"),
    path("api/schema/", SchemaView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="api:schema"), name="docs"),
    re_path("^(?:api|predict)/", problems.nothing_here, name="nothing_here"),
]
