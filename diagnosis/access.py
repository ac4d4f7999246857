"""Who may see what. Every page, API view and file view asks here, so that there is one answer."""

import datetime
import uuid
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from diagnosis import roles
from diagnosis.models import Prediction, Upload

_SESSION_KEY = "visitor"
_LAST_SENT = "visitor_last_sent"
_BEFORE = "visitor_before"
TAKEN_ALONG = datetime.timedelta(minutes=10)
"""After a log-in: longer than a picture takes from its arrival to its row."""


@dataclass(frozen=True)
class Person:
    """Somebody who sends or looks: a user, or an anonymous visitor known by their session, or neither yet.

    What a user may do beyond their own records follows from the permissions of their role; see roles.py.
    """

    user: User | None = None
    visitor: uuid.UUID | None = None

    def __str__(self) -> str:
        if self.user:
            return self.user.get_username()
        return f"visitor {self.visitor}" if self.visitor else "nobody"

    def _may(self, permission: str) -> bool:
        return self.user is not None and roles.may(self.user, permission)  # never so for a deactivated user

    @property
    def may_upload(self) -> bool:
        """Have pictures analysed."""
        return settings.ANONYMOUS_UPLOADS or self._may("diagnosis.add_upload")

    @property
    def may_see_all(self) -> bool:
        """See everybody's predictions, pictures and figures, and work in the admin."""
        return self._may("diagnosis.view_prediction")

    @property
    def may_review(self) -> bool:
        """Record readings of what they may see."""
        return self._may("diagnosis.add_review")

    @property
    def may_delete_all(self) -> bool:
        """Delete everybody's uploads."""
        return self._may("diagnosis.delete_upload")


def person_of(request: HttpRequest) -> Person:
    """Who made the request."""
    if request.user.is_authenticated:
        return Person(user=request.user)
    return visitor_of(request)


def visitor_of(request: HttpRequest) -> Person:
    """The visitor of this browser's session."""
    return _visitor(request.session.get(_SESSION_KEY))


def _visitor(key: str | None) -> Person:
    try:
        return Person(visitor=uuid.UUID(key))
    except (TypeError, ValueError, AttributeError):
        return Person()


def sender_of(request: HttpRequest) -> Person:
    """The sender of a request; a new visitor gets a key in the session.

    The key is not the session's own, which would let a reader of the database take the session over.
    """
    person = person_of(request)
    if person.user:
        return person
    # Writing to a session extends it. Once a day is enough, and costs the other requests nothing.
    today = timezone.localdate().isoformat()
    if request.session.get(_LAST_SENT) != today:
        request.session[_LAST_SENT] = today
    if person.visitor:
        return person
    request.session[_SESSION_KEY] = str(uuid.uuid4())
    return person_of(request)


def forget_visitor(request: HttpRequest) -> None:
    """The browser's visitor has become a user; `visitor_before` still tells of them for a while."""
    if key := request.session.pop(_SESSION_KEY, None):
        request.session[_BEFORE] = [key, timezone.now().timestamp()]


def visitor_before(request: HttpRequest) -> Person:
    """Who the browser's visitor was before the log-in, where that was within TAKEN_ALONG: rows may have come since."""
    key, until = request.session.get(_BEFORE, (None, 0))
    if key and timezone.now().timestamp() - until >= TAKEN_ALONG.total_seconds():
        del request.session[_BEFORE]
        return Person()
    return _visitor(key)


def visible_to(person: Person) -> QuerySet[Prediction]:
    """The predictions `person` may see: reviewers all, a user and a visitor their own, anybody else none."""
    predictions = Prediction.objects.select_related("upload", "upload__owner")
    if person.may_see_all:
        return predictions
    return predictions.filter(_sent_by(person))


def own(person: Person) -> QuerySet[Prediction]:
    """The predictions `person` asked for, also where they may see more."""
    return Prediction.objects.select_related("upload", "upload__owner").filter(_sent_by(person))


def deletable_by(person: Person) -> QuerySet[Upload]:
    """The uploads `person` may delete: administrators all, anybody else their own."""
    return Upload.objects.all() if person.may_delete_all else own_uploads(person)


def own_uploads(person: Person) -> QuerySet[Upload]:
    """The uploads that `person` sent."""
    return Upload.objects.filter(_sent_by(person))


def _sent_by(person: Person) -> Q:
    """A condition on uploads and predictions: `person` sent the upload, or asked for its analysis."""
    if person.user:
        return Q(owner=person.user)
    if person.visitor:
        return Q(visitor=person.visitor)
    return Q(pk__in=[])
