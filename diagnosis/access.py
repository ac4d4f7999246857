"""Who may see what. Every page, API view and file view asks here, so that there is one answer."""

import uuid
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import QuerySet
from django.http import HttpRequest

from diagnosis.models import Prediction, Upload

_SESSION_KEY = "visitor"


@dataclass(frozen=True)
class Person:
    """Somebody who sends or looks: a user, or an anonymous visitor known by their session, or neither yet."""

    user: User | None = None
    visitor: uuid.UUID | None = None

    def __str__(self) -> str:
        if self.user:
            return self.user.get_username()
        return f"visitor {self.visitor}" if self.visitor else "nobody"

    @property
    def may_see_all(self) -> bool:
        return self.user is not None and self.user.is_active and self.user.is_staff


def person_of(request: HttpRequest) -> Person:
    """Who made the request."""
    if request.user.is_authenticated:
        return Person(user=request.user)
    try:
        return Person(visitor=uuid.UUID(request.session.get(_SESSION_KEY)))
    except (TypeError, ValueError, AttributeError):
        return Person()


def sender_of(request: HttpRequest) -> Person:
    """Who made the request, and is about to send something: a new visitor gets a key in the session.

    The key is not the session's own, which would let a reader of the database take the session over.
    """
    person = person_of(request)
    if person.user or person.visitor:
        return person
    request.session[_SESSION_KEY] = str(uuid.uuid4())
    return person_of(request)


def may_upload(user: User | AnonymousUser) -> bool:
    """Whether `user` may have pictures analysed."""
    return user.is_authenticated or settings.ANONYMOUS_UPLOADS


def visible_to(person: Person) -> QuerySet[Prediction]:
    """The predictions `person` may see: staff all, a user and a visitor their own, anybody else none."""
    predictions = Prediction.objects.select_related("upload", "upload__owner")
    if person.may_see_all:
        return predictions
    return predictions.filter(upload__in=_own_uploads(person))


def own(person: Person) -> QuerySet[Prediction]:
    """The predictions `person` asked for, also where they may see more."""
    return Prediction.objects.select_related("upload", "upload__owner").filter(upload__in=_own_uploads(person))


def _own_uploads(person: Person) -> QuerySet[Upload]:
    if person.user:
        return Upload.objects.filter(owner=person.user)
    if person.visitor:
        return Upload.objects.filter(visitor=person.visitor)
    return Upload.objects.none()
