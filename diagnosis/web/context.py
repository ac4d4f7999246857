"""What every page shows."""

from typing import Any

from django.http import HttpRequest

from diagnosis import access
from diagnosis.inference import serving
from diagnosis.web import preferences


def served_model(request: HttpRequest) -> dict[str, str]:
    """The version of the network that answers."""
    return {"model_version": serving.model_version()}


def person(request: HttpRequest) -> dict[str, Any]:
    """Who looks, and so what is offered; nobody where an error comes before that is known."""
    return {"person": access.person_of(request) if hasattr(request, "user") else access.Person()}


def theme(request: HttpRequest) -> dict[str, str]:
    """Dark or light."""
    return {"theme": preferences.theme_of(request)}
