"""What every page shows."""

from django.http import HttpRequest

from diagnosis import inference


def served_model(request: HttpRequest) -> dict[str, str]:
    """The version of the network that answers."""
    return {"model_version": inference.model_version()}
