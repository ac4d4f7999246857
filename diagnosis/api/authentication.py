"""How a program says who it is."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from knox.auth import TokenAuthentication
from rest_framework import exceptions


class BearerAuthentication(TokenAuthentication):
    """`Authorization: Bearer <token>`, with a token that its user made on the account page or by the API."""

    def authenticate_credentials(self, token: bytes) -> Any:
        try:
            token.decode("ascii")
        except UnicodeDecodeError:
            raise exceptions.AuthenticationFailed from None
        return super().authenticate_credentials(token)


class BearerScheme(OpenApiAuthenticationExtension):
    """The same, as OpenAPI tells it."""

    target_class = BearerAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}
