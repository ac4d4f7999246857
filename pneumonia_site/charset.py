"""Addresses and bodies are UTF-8, whatever a request says of itself."""

from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.utils.http import parse_header_parameters


class Request(WSGIRequest):
    """Django would read addresses and forms by any of Python's codecs that Content-Type names as a charset. Some read
    no text (base64, zlib), others not this (idna), and fail before there are pages of errors."""

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except ValueError:  # a parameter's own charset, which there is not
            meta["CONTENT_TYPE"] = self.content_type = ""
            self.content_params = {"charset": "unknown"}  # so that diagnosis.middleware refuses the body
