"""How often a caller may ask: a user by name, anybody else by address. The rates are settings."""

from typing import TYPE_CHECKING

from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle, SimpleRateThrottle

if TYPE_CHECKING:  # which imports this module, by its name in the settings
    from rest_framework.views import APIView


def address_of(request: HttpRequest) -> str:
    """The caller's address: as the network tells it, or as the last of NUM_PROXIES trusted proxies told it.

    What a caller writes into X-Forwarded-For stands before that, and counts for nothing.
    """
    return BaseThrottle().get_ident(request) or ""  # type: ignore[arg-type]


class CallerThrottle(SimpleRateThrottle):
    """Requests of any kind; API_THROTTLE."""

    scope = "api"

    def get_cache_key(self, request: Request, view: "APIView") -> str:
        ident = f"user-{request.user.pk}" if request.user.is_authenticated else self.get_ident(request)
        return self.cache_format % {"scope": self.scope, "ident": ident}


class PredictThrottle(CallerThrottle):
    """Analyses; PREDICT_THROTTLE."""

    scope = "predict"


class AccountThrottle(SimpleRateThrottle):
    """Accounts made, and letters asked for, from one address; ACCOUNT_THROTTLE."""

    scope = "account"

    def get_cache_key(self, request: Request, view: "APIView") -> str:
        return self.cache_format % {"scope": self.scope, "ident": self.get_ident(request)}
