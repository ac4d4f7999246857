"""System checks: they report what would keep the site from working before it serves.

By `check`, `runserver` and the production server. Other commands go on: retention, sessions and backups need no model,
and a folder made by whoever calls them could be closed to the site.
"""

import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import checks

from diagnosis.inference import serving


def register() -> None:
    """Register the checks, so that Django's commands run them."""
    checks.register(model_bundle_is_readable)
    checks.register(media_is_writable)


def model_bundle_is_readable(**kwargs: Any) -> list[checks.CheckMessage]:
    """diagnosis.E001: the classifier of this process could not be opened."""
    try:
        serving.classifier()
    except serving.Unavailable as error:
        return [checks.Error(str(error), id="diagnosis.E001")]
    return []


def media_is_writable(**kwargs: Any) -> list[checks.CheckMessage]:
    """diagnosis.E002: uploads could not be stored."""
    try:
        Path(settings.MEDIA_ROOT).mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.MEDIA_ROOT):
            return []
    except OSError as error:
        return [
            checks.Error(
                f"X-rays cannot be stored in {settings.MEDIA_ROOT}: {error.strerror}.",
                hint="Make the folder writable for this user, or set MEDIA_ROOT to another one.",
                id="diagnosis.E002",
            )
        ]
