"""Start-up of the web application."""

import logging
import sys

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _

logger = logging.getLogger(__name__)


class DiagnosisConfig(AppConfig):
    """Opens the classifier once per process."""

    name = "diagnosis"
    verbose_name = _("Diagnosis")

    def ready(self) -> None:
        from diagnosis import checks, roles
        from diagnosis.inference import serving

        if sys.argv[1:2] in (["check"], ["runserver"]):
            checks.register()
        post_migrate.connect(roles.ensure, sender=self)

        try:
            serving.load()
        except serving.Unavailable as error:
            # Not fatal here: `train_model` must be able to start and fix it. The system check stops
            # `runserver`, and a process past the checks answers 503 with this sentence.
            logger.critical("%s", error)


class AdminSiteConfig(AdminConfig):
    """The admin, entered by role; see admin_site.py."""

    default_site = "diagnosis.admin_site.RoleAdminSite"
