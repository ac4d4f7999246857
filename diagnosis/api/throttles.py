"""Rate limits of pages and API: users by name, anybody else by address. The rates are settings."""

import ipaddress
import math
from typing import TYPE_CHECKING

from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle, SimpleRateThrottle

from diagnosis import faults

if TYPE_CHECKING:  # which imports this module, by its name in the settings
    from rest_framework.views import APIView


def address_of(request: HttpRequest) -> str:
    """The client's IP address, from the connection or as reported by the outermost of NUM_PROXIES trusted proxies.

    What a client writes into X-Forwarded-For itself is ignored. For IPv6 it is the first address of the /64 network,
    all of which belongs to one client.
    """
    told = BaseThrottle().get_ident(request) or ""  # type: ignore[arg-type]
    try:
        address = ipaddress.ip_address(told)
    except ValueError:
        return told
    if isinstance(address, ipaddress.IPv4Address):
        return told
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), 64), strict=False).network_address)


class Throttle(SimpleRateThrottle):
    """A rate limit, counted in the cache. Raises CacheFailed."""

    def get_ident(self, request: HttpRequest) -> str:
        return address_of(request)

    def allow_request(self, request: Request, view: "APIView") -> bool:
        try:
            return super().allow_request(request, view)
        except Exception as error:  # each cache has errors of its own
            raise faults.CacheFailed from error

    def wait(self) -> float | None:
        """Seconds until the next request may be answered: at most as many as are counted, also after a clock that
        was ahead was put back."""
        seconds = super().wait()
        return None if seconds is None else min(seconds, float(self.duration))  # type: ignore[attr-defined]  # set as it is made

    def seconds_to_wait(self, request: HttpRequest) -> int:
        """Count a request to a page; returns 0 if it may be answered, otherwise the seconds to wait."""
        if self.allow_request(request, None):  # type: ignore[arg-type]  # whose user and address are all that counts
            return 0
        return math.ceil(self.wait() or 1)


class CallerThrottle(Throttle):
    """Requests of any kind; API_THROTTLE."""

    scope = "api"

    def get_cache_key(self, request: Request, view: "APIView") -> str:
        ident = f"user-{request.user.pk}" if request.user.is_authenticated else self.get_ident(request)
        return self.cache_format % {"scope": self.scope, "ident": ident}


class PredictThrottle(CallerThrottle):
    """Analyses, by the API and by pages together; PREDICT_THROTTLE."""

    scope = "predict"


class AccountThrottle(Throttle):
    """Accounts made, and letters asked for, from one address; ACCOUNT_THROTTLE."""

    scope = "account"

    def get_cache_key(self, request: Request, view: "APIView") -> str:
        return self.cache_format % {"scope": self.scope, "ident": self.get_ident(request)}
