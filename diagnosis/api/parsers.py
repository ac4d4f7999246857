"""Bodies of requests -> data."""

import codecs
import json
from collections import Counter
from typing import Any

from rest_framework import exceptions, parsers
from rest_framework.utils.json import strict_constant


class JSONParser(parsers.JSONParser):
    """Refuses lists in lists in lists … with a sentence, and a field that comes twice.

    Python's own parser gives up at some depth, and of two fields of one name takes the last.
    """

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        encoding = parsers.get_encoding(parser_context or {})  # type: ignore[attr-defined]  # newer than its stubs
        text = codecs.getreader(encoding)(stream)
        try:
            return json.load(text, parse_constant=strict_constant, object_pairs_hook=_each_once)
        except RecursionError:
            raise exceptions.ParseError("The JSON is nested too deep.") from None
        except ValueError as error:
            raise exceptions.ParseError(f"JSON parse error - {error}") from None


def _each_once(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(fields)
    if len(found) < len(fields):
        ((name, _times),) = Counter(name for name, _value in fields).most_common(1)
        raise exceptions.ValidationError({name[:100]: "This came more than once."})
    return found
