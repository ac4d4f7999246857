"""What the OpenAPI description adds to every endpoint: the errors, and who needs to log in."""

from typing import Any

from drf_spectacular.openapi import AutoSchema
from rest_framework import permissions, serializers

CONTENT_TYPE = "application/problem+json"


class Problem(serializers.Serializer):
    """RFC 9457 problem details. `detail` is a sentence for people, `code` a word for programs.

    `request_id` identifies the request in the server's log.
    """

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField()
    detail = serializers.CharField()
    request_id = serializers.CharField()
    id = serializers.UUIDField(required=False, help_text="Only with `not_a_chest_xray`: the stored prediction.")
    url = serializers.CharField(required=False, help_text="Only with `not_a_chest_xray`: the page of the prediction.")
    chest_xray_score = serializers.FloatField(
        required=False, help_text="Only with `not_a_chest_xray`: its score, 0 to 1."
    )


class Schema(AutoSchema):
    """Tells that a visitor may ask where a view does not insist on a user: with fewer answers, or with a refusal."""

    def get_auth(self) -> list[dict[str, Any]]:
        ways = super().get_auth()
        insists = any(isinstance(permission, permissions.IsAuthenticated) for permission in self.view.get_permissions())
        return ways if insists or {} in ways else [*ways, {}]


def add_problems(result: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Let every operation tell that it may answer with a problem; a hook of drf-spectacular."""
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    for methods in result["paths"].values():
        for operation in methods.values():
            operation["responses"]["default"] = {
                "description": "An error.",
                "content": {CONTENT_TYPE: problem},
            }
    return result


def tell_of_known_fields(result: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Let every body that is asked for tell that other fields are refused; a hook of drf-spectacular."""
    for name, schema in result["components"]["schemas"].items():
        if name.endswith("Request"):
            schema["additionalProperties"] = False
    return result
