"""Start-up of the web application."""

import logging

from django.apps import AppConfig

logger = logging.getLogger(__name__)


class DiagnosisConfig(AppConfig):
    """Opens the classifier once per process."""

    name = "diagnosis"

    def ready(self) -> None:
        from diagnosis import checks, inference  # noqa: F401  checks register themselves

        try:
            inference.load()
        except inference.Unavailable as error:
            # Not fatal here: `train_model` must be able to start and mend it. The system check
            # stops the server, and a process past the checks answers 503 with this sentence.
            logger.critical("%s", error)
