"""How files come in, on pages and in the API alike: under any name."""

from typing import Any

from django.core.files.uploadhandler import FileUploadHandler
from django.http.multipartparser import MultiPartParser


class AnyFileName(FileUploadHandler):
    """Stands before the handlers that keep files, and lets files come under any name.

    Django passes over a file whose name is not UTF-8 or is `..`, and then stumbles over its bytes, which costs the
    other files of the form.
    """

    def handle_raw_input(
        self, input_data: Any, META: Any, content_length: int, boundary: Any, encoding: str | None = None
    ) -> Any:
        others = [handler for handler in self.request.upload_handlers if handler is not self]  # type: ignore[union-attr]
        body: Any = _HeadsInUtf8(input_data, boundary)
        return _Form(META, body, others, encoding).parse()


class _Form(MultiPartParser):
    def sanitize_file_name(self, file_name: str) -> str:
        return super().sanitize_file_name(file_name) or "unnamed"


_LONGEST_HEAD = 1024  # which Django takes


class _HeadsInUtf8:
    """The body of a form, in which what is not UTF-8 in the head of a part is taken for Latin-1.

    Some programs write names of files as their system keeps them: curl on Windows does.
    """

    def __init__(self, body: Any, boundary: bytes):
        self._body, self._begin = body, b"--" + boundary
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
            end = data.find(b"\r\n\r\n", at, at + self._longest)
            if end < 0:  # after the last part, or more than Django takes
                at += 1
                continue
            done += [data[told:at], _in_utf8(data[at:end])]
            told = at = end
        ready = max(ready, told)
        self._held = data[ready:]
        return b"".join([*done, data[told:ready]])


def _in_utf8(head: bytes) -> bytes:
    try:
        head.decode()
    except UnicodeDecodeError:
        return head.decode("latin-1").encode()
    return head
