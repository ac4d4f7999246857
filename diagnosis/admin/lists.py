"""Lists of the admin, where an address or a form may say what no row can be asked."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.db import DataError, NotSupportedError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.text import smart_split

from diagnosis.api.filters import Search

UNANSWERABLE = (OverflowError, ValueError, NotSupportedError, DataError)
"""What the database and the way to it raise for a day beyond the calendar, a number beyond all columns, and such."""


class Rows(ChangeList):
    """Leads back to the whole list from an address that cannot be answered, also where its query is what tells."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        try:
            super().__init__(*arguments, **options)
        except UNANSWERABLE as error:
            raise IncorrectLookupParameters(error) from error


class ListAdmin(admin.ModelAdmin):
    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return Rows

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        if len(list(smart_split(search_term))) > Search.most_words:
            self.message_user(request, Search.too_many_words(), messages.ERROR)
            raise IncorrectLookupParameters
        return super().get_search_results(request, queryset, search_term)

    def response_action(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        """An action on what was ticked; an identifier that none can be ticks nothing."""
        asked = request.POST.copy()
        asked.setlist(
            ACTION_CHECKBOX_NAME, [text for text in asked.getlist(ACTION_CHECKBOX_NAME) if self._is_key(text)]
        )
        request.POST = asked  # type: ignore[assignment]
        return super().response_action(request, queryset)

    def _is_key(self, text: str) -> bool:
        try:
            self.opts.pk.clean(text, None)
        except ValidationError:
            return False
        return True
