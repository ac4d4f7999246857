"""Form fields -> values, and rows -> JSON."""

import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from diagnosis.api.parameters import KnownFields
from diagnosis.api.schema import Problem
from diagnosis.inference import bundles, serving
from diagnosis.models import ApiToken, Hint, Prediction, Review

NOTICE = "For education and research. Not for clinical use without validation."


@extend_schema_field({"type": "string", "enum": ["true", "false", "1", "0", "yes", "no", "on", "off"]})
class Flag(serializers.BooleanField):
    """A form field is text, so these are all that it may be."""


class PredictOptions(serializers.Serializer):
    """Options for the analysis."""

    operating_point = serializers.ChoiceField(choices=[], required=False)
    force = Flag(required=False, help_text="True analyses even what does not look like a frontal chest X-ray.")

    def get_fields(self) -> dict[str, serializers.Field]:
        fields = super().get_fields()
        if not (names := serving.operating_points()):  # No model is served, which is what the answer will be.
            return {**fields, "operating_point": serializers.CharField(required=False)}
        message = f"There is no operating point \u201c{{input}}\u201d; choose from {', '.join(names)}."
        fields["operating_point"] = serializers.ChoiceField(
            choices=names, required=False, error_messages={"invalid_choice": message}
        )
        return fields


class OneFile(PredictOptions):
    """One picture, and options for its analysis."""

    # This and the next are for the description alone: services.py judges files.

    file = serializers.FileField(help_text="The X-ray: JPEG, PNG, TIFF, BMP or WebP.")


class ManyFiles(PredictOptions):
    """Pictures, and options for their analysis."""

    def get_fields(self) -> dict[str, serializers.Field]:
        files = serializers.ListField(
            child=serializers.FileField(), min_length=1, max_length=settings.MAX_FILES_PER_REQUEST
        )
        return {**super().get_fields(), "file": files}


class FigureSerializer(serializers.Serializer):
    """A share of pictures, 0 to 1, and its 95 % interval."""

    value = serializers.FloatField()
    low = serializers.FloatField()
    high = serializers.FloatField()


class MeasuredSerializer(serializers.Serializer):
    on = serializers.CharField(help_text="Which pictures it was measured on: test or validation.")
    sensitivity = FigureSerializer()
    specificity = FigureSerializer()


class HintSerializer(serializers.Serializer):
    """What may be wrong with a picture."""

    code = serializers.ChoiceField(choices=[(code, code) for code in Hint.values], source="value")
    text = serializers.CharField(source="label")


class PredictionSerializer(serializers.ModelSerializer):
    """What one version of the model answered to one picture."""

    prediction = serializers.SerializerMethodField()
    measured = serializers.SerializerMethodField(
        help_text="How often this model is right at this operating point; null if nobody has measured it."
    )
    thresholds = serializers.SerializerMethodField(
        help_text="The threshold of each operating point. Between the lowest and the highest, an answer is uncertain."
    )
    hints = HintSerializer(many=True, read_only=True, help_text="What may be wrong with the picture.")
    reliable = serializers.SerializerMethodField()
    url = serializers.CharField(source="get_absolute_url", read_only=True)
    heatmap_url = serializers.SerializerMethodField()
    xray_url = serializers.SerializerMethodField()
    file_name = serializers.CharField(source="upload.original_name", read_only=True)
    sha256 = serializers.CharField(source="upload.sha256", read_only=True)
    notice = serializers.SerializerMethodField()

    class Meta:
        model = Prediction
        fields = [
            "prediction",
            "probability",
            "operating_point",
            "threshold",
            "thresholds",
            "uncertain",
            "measured",
            "status",
            "reliable",
            "chest_xray_score",
            "inverted",
            "hints",
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
        read_only_fields = fields

    @extend_schema_field({"type": ["string", "null"], "enum": [*serving.LABELS, None]})
    def get_prediction(self, prediction: Prediction) -> str | None:
        return prediction.label or None

    @extend_schema_field(MeasuredSerializer(allow_null=True))
    def get_measured(self, prediction: Prediction) -> dict[str, Any] | None:
        return prediction.measured

    @extend_schema_field(serializers.DictField(child=serializers.FloatField()))
    def get_thresholds(self, prediction: Prediction) -> dict[str, float]:
        return {point.name: point.threshold for point in prediction.operating_points}

    def get_reliable(self, prediction: Prediction) -> bool:
        return prediction.status == Prediction.Status.OK

    def get_heatmap_url(self, prediction: Prediction) -> str | None:
        return None if prediction.is_rejected else reverse("diagnosis:heatmap", args=[prediction.pk])

    def get_xray_url(self, prediction: Prediction) -> str:
        return reverse("diagnosis:xray", args=[prediction.pk])

    def get_notice(self, prediction: Prediction) -> str:
        return NOTICE


def as_json(prediction: Prediction) -> dict[str, Any]:
    """One prediction, as PredictionSerializer tells it.

    One serializer is shared: it keeps no state of an answer, and making one takes two milliseconds.
    """
    return _SERIALIZER.to_representation(prediction)


_SERIALIZER = PredictionSerializer()


class Answer(serializers.Serializer):
    """The outcome for one file: a prediction or a problem; the other one is null."""

    file_name = serializers.CharField()
    prediction = PredictionSerializer(allow_null=True)
    problem = Problem(allow_null=True)


class ManyAnswers(serializers.Serializer):
    """One result per file, in the order of the files."""

    results = Answer(many=True)


class Text(serializers.CharField):
    """Takes text alone; Django REST framework's own turns a number into text."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class ReviewSerializer(KnownFields, serializers.ModelSerializer):
    """A person's reading of a prediction's picture. The latest one supersedes the others."""

    prediction = serializers.UUIDField(source="prediction_id")
    note = Text(max_length=2000, required=False, allow_blank=True)
    reviewer = serializers.CharField(source="reviewer.username", read_only=True)

    class Meta:
        model = Review
        fields = ["id", "prediction", "reading", "note", "blind", "reviewer", "created"]
        read_only_fields = ["created"]
        extra_kwargs = {
            "reading": {
                "error_messages": {
                    "invalid_choice": f"There is no reading \u201c{{input}}\u201d; "
                    f"choose from {', '.join(Review.Reading.values)}."
                }
            }
        }


class TokenSerializer(KnownFields, serializers.ModelSerializer):
    """A token without its secret. `id` is the first 15 characters of the secret."""

    id = serializers.CharField(source="token_key", read_only=True)
    name = Text(max_length=80, help_text="What the token is for.")
    days = serializers.IntegerField(min_value=1, max_value=3650, default=90, write_only=True)

    class Meta:
        model = ApiToken
        fields = ["id", "name", "days", "created", "expiry"]
        read_only_fields = ["created", "expiry"]

    def create(self, validated_data: dict[str, Any]) -> Any:
        term, maker = datetime.timedelta(days=validated_data["days"]), validated_data["maker"]
        token, secret = ApiToken.objects.create(validated_data["user"], expiry=term, name=validated_data["name"])
        if maker and maker.expiry and maker.expiry < token.expiry:
            # A stolen token must not live on in one that it made.
            token.expiry = maker.expiry
            token.save(update_fields=["expiry"])
        return token, secret


class TokenMade(TokenSerializer):
    """A new token with its secret, `token`, which is not shown again."""

    token = serializers.CharField()

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]


class OperatingPointSerializer(serializers.Serializer):
    threshold = serializers.FloatField()


class ModelSerializer(serializers.Serializer):
    """A model bundle. `error` is empty unless it cannot be served."""

    version = serializers.CharField(source="name")
    served = serializers.BooleanField()
    error = serializers.SerializerMethodField()
    created = serializers.DateTimeField(source="card.created", default=None, allow_null=True)
    operating_points = serializers.DictField(
        source="card.operating_points", child=OperatingPointSerializer(), default=None, allow_null=True
    )
    intended_use = serializers.CharField(source="card.intended_use", default=None, allow_null=True)

    def get_error(self, model: bundles.Model) -> str:
        # The error names paths on the server, and anybody may ask.
        return "This bundle cannot be served; on the server, `manage.py list_models` tells why." if model.error else ""


class StatisticsSerializer(serializers.Serializer):
    """Counts. `by_label` and `uncertain` leave out what is not `reliable`; `by_day` covers the last 30 days."""

    predictions = serializers.IntegerField()
    uploads = serializers.IntegerField()
    uncertain = serializers.IntegerField()
    by_label = serializers.DictField(child=serializers.IntegerField())
    by_status = serializers.DictField(child=serializers.IntegerField())
    by_model_version = serializers.DictField(child=serializers.IntegerField())
    by_day = serializers.DictField(child=serializers.IntegerField())
