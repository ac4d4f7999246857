"""What every page shows."""

from django.http import HttpRequest

from diagnosis import access, inference


def served_model(request: HttpRequest) -> dict[str, str]:
    """The version of the network that answers."""
    return {"model_version": inference.model_version()}


def person(request: HttpRequest) -> dict[str, access.Person]:
    """`person`: who looks at the page, and what they may do."""
    # An error page may be rendered before anybody knows who is asking.
    return {"person": access.person_of(request) if hasattr(request, "user") else access.Person()}
