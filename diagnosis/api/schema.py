"""What the OpenAPI description says of every address beside its own answer: the errors."""

from typing import Any

from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers

from diagnosis.api import problems


class Problem(serializers.Serializer):
    """RFC 9457 problem details. `detail` is a sentence for people, `code` a word for programs."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField()
    detail = serializers.CharField()


class Schema(AutoSchema):
    """Adds the problem answers, which no view has to name."""

    def get_response_serializers(self) -> Any:
        own: Any = super().get_response_serializers()
        if not isinstance(own, dict):
            status = {"POST": "201", "DELETE": "204"}.get(self.method, "200")
            own = {status: own}
        return {**own, ("default", problems.CONTENT_TYPE): Problem}
