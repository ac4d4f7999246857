"""Rows that no part of the program can change once they are written."""

from typing import Any

from django.db import models


class AppendOnly(models.Model):
    """Rows that are written once: they can be neither changed nor deleted, one by one or in bulk."""

    class QuerySet(models.QuerySet):
        def update(self, **values: Any) -> int:
            raise TypeError(f"{self.model.__name__} is append-only.")

        def delete(self) -> tuple[int, dict[str, int]]:
            raise TypeError(f"{self.model.__name__} is append-only.")

        update.alters_data = delete.alters_data = True  # type: ignore[attr-defined]

    objects = models.Manager.from_queryset(QuerySet)()

    class Meta:
        abstract = True

    def save(self, *args: Any, **options: Any) -> None:
        if not self._state.adding:
            raise TypeError(f"{type(self).__name__} is append-only.")
        super().save(*args, **options)

    def delete(self, *args: Any, **options: Any) -> tuple[int, dict[str, int]]:
        raise TypeError(f"{type(self).__name__} is append-only.")
