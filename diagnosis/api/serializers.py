"""Rows -> JSON."""

from django.urls import reverse
from rest_framework import serializers

from diagnosis.models import Prediction


class PredictionSerializer(serializers.ModelSerializer):
    """A prediction as the API shows it; docs in README."""

    prediction = serializers.CharField(source="label")
    url = serializers.SerializerMethodField()
    heatmap_url = serializers.SerializerMethodField()
    xray_url = serializers.SerializerMethodField()
    file_name = serializers.CharField(source="upload.original_name")
    sha256 = serializers.CharField(source="upload.sha256")

    class Meta:
        model = Prediction
        fields = [
            "prediction",
            "probability",
            "operating_point",
            "threshold",
            "model_version",
            "id",
            "created",
            "url",
            "heatmap_url",
            "xray_url",
            "file_name",
            "sha256",
        ]

    def get_url(self, prediction: Prediction) -> str:
        return reverse("diagnosis:prediction", args=[prediction.pk])

    def get_heatmap_url(self, prediction: Prediction) -> str:
        return reverse("diagnosis:heatmap", args=[prediction.pk])

    def get_xray_url(self, prediction: Prediction) -> str:
        return reverse("diagnosis:xray", args=[prediction.pk])
