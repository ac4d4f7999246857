"""Bodies of requests -> data."""

from typing import Any

from rest_framework import exceptions, parsers


class JSONParser(parsers.JSONParser):
    """Refuses lists in lists in lists … with a sentence; Python's own parser gives up at some depth."""

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().parse(*args, **kwargs)
        except RecursionError:
            raise exceptions.ParseError("The JSON is nested too deep.") from None
