"""How files come in, on pages and in the API alike: under any name, and all or none."""

from typing import Any

from django.core.files.uploadhandler import FileUploadHandler
from django.http.multipartparser import MultiPartParser, MultiPartParserError


class AnyFileName(FileUploadHandler):
    """Stands before the handlers that keep files, and lets files come under any name.

    Django passes over a file whose name is not UTF-8 or is `..`, and then stumbles over its bytes, which costs the
    other files of the form. Of a form that was cut off it passes over the last file, as if that had not been sent.
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
    MultiPartParserError at the end of a body that is not the end of its form.
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
            self._is_whole |= data.startswith(b"--", at + len(self._begin))
            end = data.find(b"\r\n\r\n", at, at + self._longest)
            if end < 0:  # after the last part, or more than Django takes
                at += 1
                continue
            done += [data[told:at], _in_utf8(data[at:end])]
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
