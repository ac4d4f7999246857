"""The roles of accounts, kept as groups: an administrator gives them in the admin."""

from typing import Any

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission, User

UPLOADER, REVIEWER, ADMINISTRATOR = "uploader", "reviewer", "administrator"

_UPLOADER = {"diagnosis": ["add_upload"]}
_REVIEWER = {"diagnosis": [*_UPLOADER["diagnosis"], "view_upload", "view_prediction", "view_review", "add_review"]}
PERMISSIONS: dict[str, dict[str, list[str]]] = {
    UPLOADER: _UPLOADER,
    REVIEWER: _REVIEWER,
    ADMINISTRATOR: {
        "diagnosis": [*_REVIEWER["diagnosis"], "delete_upload", "delete_prediction", "view_auditevent"],
        "auth": ["view_user", "add_user", "change_user"],
    },
}
"""What each role may do, by application. Which rules rest on it is said in access.py."""


def give(user: User, role: str) -> None:
    """Give `user` a role beside those they have."""
    user.groups.add(Group.objects.get(name=role))


def ensure(**kwargs: Any) -> None:
    """Make the groups, and give them the permissions that they lack; a receiver of `post_migrate`."""
    for application in ("diagnosis", "auth"):
        create_permissions(apps.get_app_config(application), verbosity=0)
    for role, permissions in PERMISSIONS.items():
        group, _ = Group.objects.get_or_create(name=role)
        for application, names in permissions.items():
            group.permissions.add(*Permission.objects.filter(content_type__app_label=application, codename__in=names))
