"""The roles of accounts, kept as groups: an administrator gives them in the admin."""

from typing import Any

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission, User
from django.db import connection

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
    """Give `user` a role beside those they have. Its group is created again if somebody has renamed or deleted it."""
    if not Group.objects.filter(name=role).exists():
        ensure()
    user.groups.add(Group.objects.get(name=role))


def ensure(**kwargs: Any) -> None:
    """Make the groups, and give them the permissions that they lack; a receiver of `post_migrate`."""
    for application in ("diagnosis", "auth"):
        create_permissions(apps.get_app_config(application), verbosity=0)
    for role, permissions in PERMISSIONS.items():
        group, _ = Group.objects.get_or_create(name=role)
        for application, names in permissions.items():
            group.permissions.add(*Permission.objects.filter(content_type__app_label=application, codename__in=names))


_PERMITTED = """
    SELECT django_content_type.app_label, auth_permission.codename
    FROM auth_permission JOIN django_content_type ON django_content_type.id = auth_permission.content_type_id
    WHERE auth_permission.id IN (
        SELECT permission_id FROM auth_user_user_permissions WHERE user_id = %s
        UNION
        SELECT auth_group_permissions.permission_id
        FROM auth_group_permissions JOIN auth_user_groups USING (group_id) WHERE auth_user_groups.user_id = %s
    )
"""


def may(user: User, permission: str) -> bool:
    """As `user.has_perm`, by one query for what the user and their groups may do.

    Nearly every request asks, and Django puts two queries together for it each time: 1.7 ms. What was read is left
    where Django looks for it.
    """
    if user.is_active and not user.is_superuser and not hasattr(user, "_perm_cache"):
        with connection.cursor() as cursor:
            cursor.execute(_PERMITTED, [user.pk, user.pk])
            user._perm_cache = {f"{application}.{name}" for application, name in cursor.fetchall()}  # type: ignore[attr-defined]
    return user.has_perm(permission)
