"""Parsing of uploaded forms, on pages and in the API: files under any name, and all of a form or none."""

import re
from typing import Any

from django.core.files.uploadhandler import FileUploadHandler
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.utils.http import parse_header_parameters


class AnyFileName(FileUploadHandler):
    """Comes before the handlers that store files, and accepts files under any name.

    Django passes over a file whose name is not UTF-8 or is `..`, and then stumbles over its bytes, which costs the
    other files of the form. Of a form that was cut off it passes over the last file, as if that had not been sent, and
    of a part without a name it takes the content for heads of further parts.
    """

    def handle_raw_input(
        self, input_data: Any, META: Any, content_length: int, boundary: Any, encoding: str | None = None
    ) -> Any:
        others = [handler for handler in self.request.upload_handlers if handler is not self]  # type: ignore[union-attr]
        body: Any = _FormBody(input_data, boundary)
        return _Form(META, body, others, encoding).parse()


class _Form(MultiPartParser):
    def sanitize_file_name(self, file_name: str) -> str:
        return super().sanitize_file_name(file_name) or "unnamed"


_LONGEST_HEAD = 1024  # which Django takes


class _FormBody:
    """The body of a form, in which what is not UTF-8 in the head of a part is taken for Latin-1.

    Some programs write names of files as their system keeps them: curl on Windows does. Reading raises
    MultiPartParserError at the head of a part without a name, and at the end of a body that is not the end of its form.
    """

    def __init__(self, body: Any, boundary: bytes):
        self._body, self._begin = body, b"--" + boundary
        self._is_whole = False
        self._longest = len(self._begin) + _LONGEST_HEAD
        self._held = b""  # read, and perhaps the beginning of a head

    def read(self, size: int) -> bytes:
        data, ready, more = self._held, 0, True
        while more and ready <= 0:
            more = bool(chunk := self._body.read(size))
            data += chunk
            ready = len(data) - self._longest if more else len(data)
        done, told, at = [], 0, 0
        while 0 <= (at := data.find(self._begin, at)) < ready:
            is_last = data.startswith(b"--", at + len(self._begin))
            self._is_whole |= is_last
            end = data.find(b"\r\n\r\n", at, at + self._longest)
            if end < 0:  # after the last part, or more than Django takes
                at += 1
                continue
            head = _in_utf8(data[at:end])
            if not (is_last or _has_name(head)):
                raise MultiPartParserError(
                    'A part of the form has no name that can be read; give it one, as in `form-data; name="file"`.'
                )
            done += [data[told:at], head]
            told = at = end
        if not (more or self._is_whole):
            raise MultiPartParserError(
                "The form is cut off before its last boundary; its `Content-Length` must count bytes, not characters."
            )
        ready = max(ready, told)
        self._held = data[ready:]
        return b"".join([*done, data[told:ready]])


def _in_utf8(head: bytes) -> bytes:
    try:
        head.decode()
    except UnicodeDecodeError:
        return head.decode("latin-1").encode()
    return head


_NAMED = re.compile(rb"^content-disposition:[^\r\n]*;\s*name[*\d]*\s*=[^\r\n]*", re.IGNORECASE | re.MULTILINE)


def _has_name(head: bytes) -> bool:
    line = _NAMED.search(head)
    if line and b"*" in line[0]:  # something of it in a charset of its own, perhaps one that there is not
        try:
            parse_header_parameters(line[0].decode())
        except ValueError:
            return False
    return bool(line)
