"""Form fields -> values, and rows -> JSON."""

from django.urls import reverse
from rest_framework import serializers

from diagnosis import inference
from diagnosis.models import Prediction

NOTICE = "For education and research. Not for clinical use without validation."


class PredictOptions(serializers.Serializer):
    """What may go with the file in `POST /predict`."""

    operating_point = serializers.ChoiceField(choices=[], required=False)
    force = serializers.BooleanField(required=False, default=False)

    def get_fields(self) -> dict[str, serializers.Field]:
        fields = super().get_fields()
        names = inference.operating_points()
        message = f"There is no operating point \u201c{{input}}\u201d; choose from {', '.join(names)}."
        fields["operating_point"] = serializers.ChoiceField(
            choices=names, required=False, error_messages={"invalid_choice": message}
        )
        return fields


class PredictionSerializer(serializers.ModelSerializer):
    """A prediction as the API shows it; docs in README."""

    prediction = serializers.SerializerMethodField()
    measured = serializers.JSONField()
    reliable = serializers.SerializerMethodField()
    url = serializers.CharField(source="get_absolute_url")
    heatmap_url = serializers.SerializerMethodField()
    xray_url = serializers.SerializerMethodField()
    file_name = serializers.CharField(source="upload.original_name")
    sha256 = serializers.CharField(source="upload.sha256")
    notice = serializers.SerializerMethodField()

    class Meta:
        model = Prediction
        fields = [
            "prediction",
            "probability",
            "operating_point",
            "threshold",
            "uncertain",
            "measured",
            "status",
            "reliable",
            "chest_xray_score",
            "inverted",
            "model_version",
            "id",
            "created",
            "url",
            "heatmap_url",
            "xray_url",
            "file_name",
            "sha256",
            "notice",
        ]

    def get_prediction(self, prediction: Prediction) -> str | None:
        return prediction.label or None

    def get_reliable(self, prediction: Prediction) -> bool:
        return prediction.status == Prediction.Status.OK

    def get_heatmap_url(self, prediction: Prediction) -> str | None:
        return None if prediction.is_rejected else reverse("diagnosis:heatmap", args=[prediction.pk])

    def get_xray_url(self, prediction: Prediction) -> str:
        return reverse("diagnosis:xray", args=[prediction.pk])

    def get_notice(self, prediction: Prediction) -> str:
        return NOTICE
