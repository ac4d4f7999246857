"""How API tokens are made."""

from typing import Any

from django.utils import timezone
from knox.models import AuthTokenManager


class ApiTokenManager(AuthTokenManager):
    """Deletes those of a user that are over when that user gets another one."""

    def create(self, user: Any, **kwargs: Any) -> tuple[Any, str]:
        """A new token, and its secret."""
        self.filter(user=user, expiry__lt=timezone.now()).delete()
        return super().create(user, **kwargs)
