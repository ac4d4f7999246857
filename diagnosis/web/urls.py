"""Addresses of the pages and of the files behind them."""

from django.urls import path

from diagnosis.web import dashboard, preferences, views, worklist

app_name = "diagnosis"
urlpatterns = [
    path("", views.upload, name="upload"),
    path("dashboard/", dashboard.dashboard, name="dashboard"),
    path("model/", views.model, name="model"),
    path("model/<slug:name>.svg", views.plot, name="plot"),
    path("history/", worklist.history, name="history"),
    path("history/compare/", worklist.compare, name="compare"),
    path("history/export.csv", worklist.export_csv, name="export"),
    path("history/delete/", worklist.delete, name="delete"),
    path("predictions/<uuid:pk>/", views.prediction, name="prediction"),
    path("predictions/<uuid:pk>/report/", views.report_page, name="report"),
    path("predictions/<uuid:pk>/report.pdf", views.report_pdf, name="report_pdf"),
    path("predictions/<uuid:pk>/all-the-same", views.analyse_all_the_same, name="all_the_same"),
    path("predictions/<uuid:pk>/xray", views.xray, name="xray"),
    path("predictions/<uuid:pk>/heatmap.png", views.heatmap, name="heatmap"),
    path("predictions/<uuid:pk>/thumbnail.jpg", views.thumbnail, name="thumbnail"),
    path("preferences/theme", preferences.choose_theme, name="theme"),
    path("preferences/language", preferences.choose_language, name="language"),
    path("words/<slug:language>.js", preferences.words, name="words"),
]
