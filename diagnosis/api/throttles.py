"""How often a caller may ask: a user by name, anybody else by address. The rates are settings."""

from typing import TYPE_CHECKING

from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

if TYPE_CHECKING:  # which imports this module, by its name in the settings
    from rest_framework.views import APIView


class CallerThrottle(SimpleRateThrottle):
    """Requests of any kind; API_THROTTLE."""

    scope = "api"

    def get_cache_key(self, request: Request, view: "APIView") -> str:
        ident = f"user-{request.user.pk}" if request.user.is_authenticated else self.get_ident(request)
        return self.cache_format % {"scope": self.scope, "ident": ident}


class PredictThrottle(CallerThrottle):
    """Analyses; PREDICT_THROTTLE."""

    scope = "predict"
