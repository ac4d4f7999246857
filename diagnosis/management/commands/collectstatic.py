"""Django's `collectstatic`, which says in a sentence what it may not write."""

from django.contrib.staticfiles.management.commands import collectstatic

from diagnosis.management import base


class Command(base.Command, collectstatic.Command):
    """The same as Django's, but for how it fails."""
