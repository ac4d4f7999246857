"""Bodies of requests -> data."""

import codecs
import json
from collections import Counter
from typing import Any

from django.http.multipartparser import MultiPartParser as FormReader
from django.utils.http import parse_header_parameters
from rest_framework import exceptions, parsers
from rest_framework.utils.json import strict_constant


class JSONParser(parsers.JSONParser):
    """Refuses lists in lists in lists …, and numbers without end, with a sentence, a field that comes twice, and what
    has no fields.

    Python's own parser gives up at some depth and length, and of two fields of one name takes the last.
    """

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        encoding = parsers.get_encoding(parser_context or {})  # type: ignore[attr-defined]  # newer than its stubs
        text = codecs.getreader(encoding)(stream)
        try:
            data = json.load(text, parse_constant=strict_constant, parse_int=_number, object_pairs_hook=_each_once)
        except RecursionError:
            raise exceptions.ParseError("The JSON is nested too deep.") from None
        except ValueError as error:
            raise exceptions.ParseError(f"JSON parse error - {error}") from None
        if not isinstance(data, dict):
            raise exceptions.ValidationError({"non_field_errors": "Send one JSON object, with the fields in braces."})
        return data


def _number(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise exceptions.ParseError(f"A number of the JSON has more than {LONGEST_NUMBER} digits.")
    return int(digits)


LONGEST_NUMBER = 100


def _each_once(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(fields)
    if len(found) < len(fields):
        ((name, _times),) = Counter(name for name, _value in fields).most_common(1)
        raise exceptions.ValidationError({name[:100]: "This came more than once."})
    return found


class MultiPartParser(parsers.MultiPartParser):
    """Says what is missing where `Content-Type` does not tell how the form's parts are told apart."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        boundary = parse_header_parameters(media_type or "")[1].get("boundary", "")
        if not FormReader.boundary_re.fullmatch(boundary):
            raise exceptions.ParseError(
                "Its `Content-Type` names no `boundary` of the form's parts; programs that make forms write that "
                "header by themselves, if it is left to them."
            )
        return super().parse(stream, media_type, parser_context)
