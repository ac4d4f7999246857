"""Authentication of programs (tokens) and of pages' scripts (sessions)."""

from typing import Any

from django.utils import timezone
from drf_spectacular import authentication as schemes
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from knox.auth import TokenAuthentication
from rest_framework import authentication, exceptions
from rest_framework.request import Request

from diagnosis.models import ApiToken


class BearerAuthentication(TokenAuthentication):
    """`Authorization: Bearer <token>`, with a token that its user made on the account page or by the API."""

    def authenticate(self, request: Request) -> Any:
        said = request.headers.get("Authorization")
        if said is not None and [word.lower() for word in said.split()[:-1]] != ["bearer"]:
            # Treated as a visitor, the program would not learn why it finds nothing.
            raise exceptions.AuthenticationFailed("Log in with `Authorization: Bearer` and a token of your account.")
        return super().authenticate(request)

    def authenticate_credentials(self, token: bytes) -> Any:
        refusal = exceptions.AuthenticationFailed(
            "The token is wrong, over or revoked, or its account is closed. Make a new one on your account's page."
        )
        try:
            token.decode("ascii")
            return super().authenticate_credentials(token)
        except (UnicodeDecodeError, exceptions.AuthenticationFailed):
            raise refusal from None

    def _cleanup_token(self, auth_token: ApiToken) -> bool:
        """Whether the token has expired. Its row stays, and the account page says so, until the user makes another one;
        knox would delete it, and query for the user's other tokens at each request."""
        return auth_token.expiry is not None and auth_token.expiry < timezone.now()


class BearerScheme(OpenApiAuthenticationExtension):
    """The same, as OpenAPI tells it."""

    target_class = BearerAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


class SessionAuthentication(authentication.SessionAuthentication):
    """A browser's session; requests that change something need the CSRF token."""

    def enforce_csrf(self, request: Request) -> None:
        try:
            super().enforce_csrf(request)
        except exceptions.PermissionDenied as error:
            _word, _, reason = str(error.detail).partition(": ")
            how = "Send the cookie `csrftoken` as the header `X-CSRFToken`, too; programs log in with a token instead."
            raise exceptions.PermissionDenied(f"{reason} {how}", code="csrf_failed") from None


class SessionScheme(schemes.SessionScheme):
    """The same, as OpenAPI tells it."""

    target_class = SessionAuthentication  # type: ignore[assignment]
