"""Addresses of the pages and of the files behind them."""

from django.urls import path

from diagnosis.web import views

app_name = "diagnosis"
urlpatterns = [
    path("", views.upload, name="upload"),
    path("model/", views.model, name="model"),
    path("model/<slug:name>.svg", views.plot, name="plot"),
    path("history/", views.history, name="history"),
    path("predictions/<uuid:pk>/", views.prediction, name="prediction"),
    path("predictions/<uuid:pk>/all-the-same", views.analyse_all_the_same, name="all_the_same"),
    path("predictions/<uuid:pk>/xray", views.xray, name="xray"),
    path("predictions/<uuid:pk>/heatmap.png", views.heatmap, name="heatmap"),
    path("predictions/<uuid:pk>/thumbnail.jpg", views.thumbnail, name="thumbnail"),
]
