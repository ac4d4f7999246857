"""Remove from a picture file what may identify people and places, and leave its pixels as they are.

Cameras, workstations and exporting programs write names, dates, places, serial numbers and
whole small pictures into a file, and anything may follow a picture's end. What is kept here
is what a decoder needs, and which way is up.
"""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator

from PIL import Image

from ml_model import images


def strip(data: bytes) -> bytes:
    """The picture file `data`, which images.read accepted, without metadata; same format, same decoded pixels.

    JPEG, PNG and WebP lose segments and their compressed pixels are copied as they are. TIFF
    and BMP are written anew, without loss. A file with which neither succeeds, though a lenient
    decoder read it, becomes an 8-bit grey PNG of what the decoder saw.
    """
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data), formats=tuple(images.FORMATS)) as image:
            warnings.simplefilter("ignore")
            turned = images.orientation(image)
            match image.format:
                case "PNG":
                    return b"".join(_png(data, turned))
                case "WEBP":
                    return _webp(data, turned)
                case "TIFF" | "BMP":
                    return _written_anew(image)
                case _:
                    return b"".join(_jpeg(data, turned))
    except Exception:
        # Parts in disorder, or a kind of pixel that Pillow reads and does not write.
        file = io.BytesIO()
        images.read(data, limits=images.NO_LIMITS).grey.save(file, "PNG", compress_level=1)
        return file.getvalue()


class _Malformed(Exception):
    """The parts of the file do not follow each other as its format asks."""


def _exif(orientation: int) -> bytes:
    """A TIFF structure with the tag Orientation alone."""
    return struct.pack("<2sHI H HHIHH I", b"II", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)


# --- JPEG: ITU-T T.81, annex B ------------------------------------------------------------

_START_OF_SCAN, _END = 0xDA, 0xD9
_KEPT_BY_JPEG = {0xE0, 0xEE}
"""APP0 (JFIF: density) and APP14 (Adobe: how colours are coded)."""
_MARKER = re.compile(rb"\xff++[^\x00\xff\xd0-\xd7]")


def _jpeg(data: bytes, orientation: int) -> Iterator[bytes]:
    yield data[:2]
    if orientation != 1:
        body = b"Exif\0\0" + _exif(orientation)
        yield struct.pack(">BBH", 0xFF, 0xE1, 2 + len(body)) + body
    position = 2
    while True:
        found = _MARKER.match(data, position)
        if not found:
            raise _Malformed
        marker = data[found.end() - 1]
        if marker == _END:
            yield b"\xff\xd9"
            return
        start, (length,) = found.end() - 2, _unpack(">H", data, found.end())
        position = found.end() + length
        if length < 2 or position > len(data):
            raise _Malformed
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE) or marker in _KEPT_BY_JPEG:
            yield data[start:position]
        if marker == _START_OF_SCAN:
            end = images.end_of_scan(data, position)
            yield data[position:end]
            position = end


# --- PNG: W3C recommendation, third edition -----------------------------------------------

_KEPT_BY_PNG = {b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT"}


def _png(data: bytes, orientation: int) -> Iterator[bytes]:
    yield data[:8]
    position = 8
    while True:
        length, kind = _unpack(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise _Malformed
        if kind in _KEPT_BY_PNG:
            yield data[position:end]
        if kind == b"IHDR" and orientation != 1:
            chunk = b"eXIf" + _exif(orientation)
            yield struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        if kind == b"IEND":
            yield data[position:end]
            return
        position = end


# --- WebP: RFC 9649 -----------------------------------------------------------------------

_KEPT_BY_WEBP = {b"VP8X", b"VP8 ", b"VP8L", b"ALPH"}
_HAS_ICC, _HAS_EXIF, _HAS_XMP = 0x20, 0x08, 0x04


def _webp(data: bytes, orientation: int) -> bytes:
    riff, size, webp = _unpack("<4sI4s", data, 0)
    if (riff, webp) != (b"RIFF", b"WEBP") or size + 8 > len(data):
        raise _Malformed
    chunks, position = [], 12
    while position < 8 + size:
        kind, length = _unpack("<4sI", data, position)
        body = data[position + 8 : position + 8 + length]
        if len(body) < length or (kind == b"VP8X" and length < 10):
            raise _Malformed
        if kind == b"VP8X":
            flags = body[0] & ~(_HAS_ICC | _HAS_EXIF | _HAS_XMP) | (_HAS_EXIF if orientation != 1 else 0)
            body = bytes([flags]) + body[1:]
        if kind in _KEPT_BY_WEBP:
            chunks.append(_riff_chunk(kind, body))
        position += 8 + length + length % 2
    if orientation != 1:
        chunks.append(_riff_chunk(b"EXIF", _exif(orientation)))
    return _riff_chunk(b"RIFF", b"WEBP" + b"".join(chunks))


def _riff_chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _unpack(layout: str, data: bytes, position: int) -> tuple:
    try:
        return struct.unpack_from(layout, data, position)
    except struct.error:
        raise _Malformed from None


# --- TIFF and BMP -------------------------------------------------------------------------


def _written_anew(image: Image.Image) -> bytes:
    image.load()
    options: dict = {"compression": "tiff_lzw"} if image.format == "TIFF" else {}
    if image.format == "TIFF" and (orientation := images.orientation(image)) != 1:
        options["exif"] = _exif(orientation)
    file_format = image.format
    clean = image.copy()  # a plain picture, which has no tags of its own
    clean.info = {name: value for name, value in clean.info.items() if name == "transparency"}
    file = io.BytesIO()
    clean.save(file, file_format, **options)
    return file.getvalue()
