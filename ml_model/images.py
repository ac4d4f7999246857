"""Bytes from a stranger -> one grey picture.

Formats, limits, orientation and bit depth are settled here, for training,
evaluation and serving alike. What the network then wants of the picture is
preprocessing.py's business. Nothing here trusts a file name or a content type.
"""

import io
import itertools
import math
import re
import struct
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, UnidentifiedImageError

FORMATS = {"JPEG": "jpg", "PNG": "png", "TIFF": "tif", "BMP": "bmp", "WEBP": "webp"}
"""Pillow's names of the formats that are read, and the file ending each is stored under."""

DEEP_MODES = {"I;16", "I;16L", "I;16B", "I;16N", "I", "F"}
"""Pillow modes with more than eight bits a pixel."""

# The exact count is checked against Limits below; Pillow's own guard would only warn, or
# refuse with another sentence, in between.
Image.MAX_IMAGE_PIXELS = None


def gettext_noop(sentence: str) -> str:
    """`sentence` as it is; by the name, whoever shows it in other languages finds it to translate."""
    return sentence


class PictureError(Exception):
    """A file that cannot be analysed. `str()` is a sentence for the person who sent it.

    The same without its figures is `sentence`, with places for `figures`, for those who translate it.
    """

    code = "unreadable"

    def __init__(self, sentence: str, **figures: float):
        super().__init__(sentence % {name: f"{figure:.9g}" for name, figure in figures.items()})
        self.sentence, self.figures = sentence, figures


class UnsupportedFormat(PictureError):
    """The bytes are not a picture of a format that is read."""

    code = "unsupported_format"


class TooLarge(PictureError):
    """The file, or the picture that its header announces, is over the limits."""

    code = "too_large"


class Unreadable(PictureError):
    """The bytes begin like a picture but cannot be decoded."""

    code = "unreadable"


@dataclass(frozen=True)
class Limits:
    """What is accepted, judged before anything is decoded."""

    megabytes: float = 25
    megapixels: float = 60

    def check_bytes(self, count: int) -> None:
        """Raises TooLarge if a file of `count` bytes is over the limit."""
        if count > self.megabytes * 1_000_000:
            raise TooLarge(
                gettext_noop(
                    "The file is %(size)s MB; at most %(most)s MB are accepted. "
                    "Save it as a JPEG, or export it at a lower resolution."
                ),
                size=round(count / 1e6, 1),
                most=self.megabytes,
            )

    def check_pixels(self, width: int, height: int, file_format: str) -> None:
        """Raises TooLarge if a picture of that size is over the limit."""
        # WebP's decoder keeps several copies of the whole picture, in four colours each.
        most = self.megapixels / 2 if file_format == "WEBP" else self.megapixels
        if width * height > most * 1_000_000:
            raise TooLarge(
                gettext_noop(
                    "The picture has %(width)s x %(height)s pixels; at most %(most)s million are accepted. "
                    "Export it at a lower resolution."
                ),
                width=width,
                height=height,
                most=most,
            )


NO_LIMITS = Limits(megabytes=float("inf"), megapixels=float("inf"))


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    grey: Pillow image of mode "L", upright; may be smaller than the original (see `read`).
    width, height: pixels of the original, upright.
    format: a key of FORMATS. milliseconds: what decoding took.
    """

    grey: Image.Image
    width: int
    height: int
    format: str
    milliseconds: float = 0.0


def read(data: bytes, *, limits: Limits = Limits(), at_least: int | None = None) -> Picture:
    """Decode `data` to one upright grey picture.

    `at_least`: a square side in pixels. A JPEG may then come at 1/2, 1/4 or 1/8 of its
    size, as long as neither side falls below twice that; scaling inside the JPEG's
    cosine transform saves about half the decoding time.

    Raises UnsupportedFormat, TooLarge or Unreadable, and no other exception.
    """
    if not data:
        raise UnsupportedFormat(gettext_noop("The file is empty. Choose an X-ray picture."))
    limits.check_bytes(len(data))
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = _decode(data, limits, at_least)
            return replace(picture, milliseconds=(time.perf_counter() - start) * 1000)
    except PictureError:
        raise
    except UnidentifiedImageError:
        other = gettext_noop("This is not a picture that can be read. Send the X-ray as JPEG, PNG, TIFF, BMP or WebP.")
        dicom = gettext_noop("This is a DICOM file. Export the X-ray from your viewer as PNG or JPEG and send that.")
        raise UnsupportedFormat(dicom if data[128:132] == b"DICM" else other) from None
    except Exception:
        # Pillow's decoders raise OSError, ValueError, SyntaxError, struct.error, IndexError,
        # MemoryError and more on broken files; to the sender they all mean the same.
        raise Unreadable(
            gettext_noop(
                "The picture is damaged or incomplete and cannot be decoded. Export it again and send the new file."
            )
        ) from None


def _decode(data: bytes, limits: Limits, at_least: int | None) -> Picture:
    _check_parts(data)
    with Image.open(io.BytesIO(data), formats=tuple(FORMATS)) as image:
        width, height = image.size
        limits.check_pixels(width, height, image.format or "")
        if min(width, height) < LEAST_SIDE:
            raise Unreadable(
                gettext_noop(
                    "The picture has only %(width)s x %(height)s pixels; an X-ray needs at least 32 on each side."
                ),
                width=width,
                height=height,
            )
        # A phone keeps a second, smaller picture behind a JPEG ("MPO"); the first is the one it shows.
        format_name = "JPEG" if image.format == "MPO" else image.format or ""
        if getattr(image, "is_animated", False) and format_name != "JPEG":
            raise Unreadable(
                gettext_noop("The file holds several pictures. Save the one to analyse as a file of its own.")
            )
        if format_name == "JPEG" and at_least:
            image.draft("L", (2 * at_least, 2 * at_least))
        image.load()
        turned = orientation(image)
        grey = _to_grey(image)
    if turned in _TURN:
        grey = grey.transpose(_TURN[turned])
    if turned >= 5:  # a quarter turn swaps the sides
        width, height = height, width
    return Picture(grey=grey, width=width, height=height, format=format_name)


LEAST_SIDE = 32  # pixels
MOST_SCANS = 32
"""Of a JPEG; progressive ones have about ten. Each costs a pass over the whole picture, and an empty one 20 bytes."""
MOST_STRIPS = 65_536
"""Strips or tiles of a TIFF; each costs far more to decode than the two bytes that announce it."""
MOST_PARTS = 10_000
"""Chunks of a PNG or WebP, segments of a JPEG, tags of a TIFF. Each costs a step in Python and as little as 4 bytes."""


def _check_parts(data: bytes) -> None:
    """Raises Unreadable, or UnsupportedFormat, for a small file that would take minutes or gigabytes to decode."""
    if data.startswith(b"\xff\xd8"):
        scans = itertools.islice(_SCAN.finditer(data), MOST_SCANS + 1)
        excess = sum(1 for _ in scans) > MOST_SCANS or _jpeg_steps(data) > MOST_PARTS
    elif data.startswith(b"\x89PNG"):
        excess = _chunks(data, 8, ">I4x", 12) > MOST_PARTS
    elif data.startswith(b"RIFF"):
        excess = _chunks(data, 12, "<4xI", 8) > MOST_PARTS
    elif data[:2] in (b"II", b"MM"):
        excess = _tiff_strips(data) > MOST_STRIPS
    elif data.startswith(b"BM") and data[30:34] in _RUN_LENGTHS and data[14] != _BMP_WITHOUT_COMPRESSION:
        # Pillow decodes it in Python, a million pixels a second, and as little as 32 KB hold sixty million.
        raise UnsupportedFormat(gettext_noop("A compressed BMP is not read. Export it again as a plain PNG."))
    else:
        excess = False
    if excess:
        raise Unreadable(
            gettext_noop("The picture is split into far more parts than any X-ray. Export it again as a plain PNG.")
        )


def _chunks(data: bytes, position: int, head: str, frame: int) -> int:
    """How many chunks there are from `position` on, counted up to MOST_PARTS + 1.

    head: struct layout of a chunk's beginning, which tells its length; frame: bytes of a chunk beside its content.
    """
    count = 0
    while position + 8 <= len(data) and count <= MOST_PARTS:
        position += frame + struct.unpack_from(head, data, position)[0]
        count += 1
    return count


_FILL = re.compile(rb"\xff+")
_LONG_FILL = b"\xff" * 1000
# They begin with one plain byte, which `re` looks for forty times as fast as for anything else.
_SCAN = re.compile(rb"\xff\xda")
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_ALONE = {0x00, 0x01, *range(0xD0, 0xDA)}
"""Markers without a length and content."""


def _jpeg_steps(data: bytes) -> int:
    """How many segments, and bytes between them, a reader steps over; counted up to about MOST_PARTS + 1."""
    steps, position = 0, 2
    while steps <= MOST_PARTS and (start := data.find(b"\xff", position)) >= 0:
        marker_at = _FILL.match(data, start).end()  # type: ignore[union-attr]
        steps += marker_at - position
        position = marker_at + 1
        if position + 2 > len(data):
            break
        if data[marker_at] not in _ALONE:
            position += struct.unpack_from(">H", data, position)[0]
        if data[marker_at] == 0xDA:
            end = end_of_scan(data, position)
            if data.find(_LONG_FILL, position, end) >= 0:
                return MOST_PARTS + 1  # libjpeg begins anew at each block of it that it gets
            position = end
    return steps


def end_of_scan(data: bytes, position: int) -> int:
    """Where the coded pixels of a JPEG that begin at `position` end: at the next marker, or at the end of `data`.

    A marker may have any number of bytes 0xff before it; they are part of it.
    """
    marker = _MARKER.search(data, position)
    return position + len(data[position : marker.start()].rstrip(b"\xff")) if marker else len(data)


def _tiff_strips(data: bytes) -> int:
    """How many strips or tiles the first picture of a TIFF or BigTIFF announces; too many where it has as many tags.

    Raises struct.error if it is cut.
    """
    order = "<" if data.startswith(b"II") else ">"
    big = 43 in data[2:4]
    (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (entries,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
    first, length = start + (8 if big else 2), 20 if big else 12
    layout = order + ("HHQ" if big else "HHI")
    if entries > MOST_PARTS:
        return MOST_STRIPS + 1
    tags = (struct.unpack_from(layout, data, first + index * length) for index in range(entries))
    return max((count for tag, _type, count in tags if tag in (_STRIP_OFFSETS, _TILE_OFFSETS)), default=0)


_STRIP_OFFSETS, _TILE_OFFSETS = 273, 324
_RUN_LENGTHS = (b"\1\0\0\0", b"\2\0\0\0")  # how the header of a BMP tells of runs
_BMP_WITHOUT_COMPRESSION = 12  # length of the oldest header, which tells of none

_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes the picture upright."""


def orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 where there is none or it cannot be read: a damaged tag costs no picture."""
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


_BAND = 1 << 20
"""Pixels that are converted at a time: whole pictures in deep or coloured form would take gigabytes."""


def _to_grey(image: Image.Image) -> Image.Image:
    """Mode "L". Deeper greys are stretched between what `_ends` gives and clipped; transparency becomes black."""
    if image.mode == "L" and "transparency" not in image.info:
        return image.copy()
    deep = image.mode in DEEP_MODES
    low, high = _ends(image) if deep else (0.0, 0.0)
    grey = Image.new("L", image.size)
    for top, band in _bands(image):
        grey.paste(_eight_bits(_values(band), low, high) if deep else _flat(band), (0, top))
    return grey


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        band.info = image.info
        yield top, band


def _flat(image: Image.Image) -> Image.Image:
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("L")
    if image.mode == "LAB":
        return image.getchannel("L")
    return image.convert("L")


def _values(image: Image.Image) -> np.ndarray:
    return np.nan_to_num(np.asarray(image).astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _ends(image: Image.Image) -> tuple[float, float]:
    """The darkest and the brightest pixel of `image`, but for outliers.

    Those are among the 0.01 % at either end, and further from the rest than half of its range: one dead pixel at 65535
    would leave a picture of 12 bits sixteen greys. Metal, which is nearer, keeps its contrast.
    """
    few = -(-image.width * image.height // 10_000)
    lowest, highest = np.full(few + 1, np.inf, np.float32), np.full(few + 1, -np.inf, np.float32)
    for _, band in _bands(image):
        values = _values(band).ravel()
        lowest = np.partition(np.append(lowest, values[values < lowest[-1]]), few)[: few + 1]
        highest = np.partition(np.append(highest, values[values > highest[0]]), -few - 1)[-few - 1 :]
    low, high = float(lowest[-1]), float(highest[0])
    near = (high - low) / 2 or math.inf  # where the rest is of one grey, an outlier is all that there is to see
    return float(lowest[lowest >= low - near].min()), float(highest[highest <= high + near].max())


def _eight_bits(values: np.ndarray, low: float, high: float) -> Image.Image:
    scale = 255.0 / (high - low) if high > low else 0.0
    return Image.fromarray(np.rint(((values - low) * scale).clip(0, 255)).astype(np.uint8), mode="L")


def thumbnail(grey: Image.Image, side: int = 256) -> bytes:
    """JPEG bytes of `grey` (mode "L"), shrunk to a half, a third and so on until it fits `side` x `side` pixels.

    That takes a third of the time of one to the pixel; a larger picture keeps more than `side` / 2.
    """
    return _jpeg(grey.reduce(math.ceil(max(grey.size) / side)))


def printable(grey: Image.Image, side: int = 1200) -> bytes:
    """JPEG bytes of `grey` (mode "L"), shrunk to fit `side` x `side` pixels."""
    fitting = grey.copy()
    fitting.thumbnail((side, side), Image.Resampling.BILINEAR, reducing_gap=2)
    return _jpeg(fitting)


def _jpeg(grey: Image.Image) -> bytes:
    file = io.BytesIO()
    grey.save(file, "JPEG", quality=85)
    return file.getvalue()


def displayable(data: bytes) -> tuple[bytes, str]:
    """(bytes, content type) of the picture file `data` as any browser shows it.

    JPEG, WebP and 8-bit PNG pass unchanged. TIFF, BMP and deeper greys, which browsers do
    not show or show black, become an 8-bit PNG. `data` must have been accepted by `read`.
    """
    with Image.open(io.BytesIO(data), formats=tuple(FORMATS)) as image:
        if image.format in ("JPEG", "WEBP") or (image.format == "PNG" and image.mode not in DEEP_MODES):
            return data, f"image/{image.format.lower()}"
    file = io.BytesIO()
    read(data, limits=NO_LIMITS).grey.save(file, "PNG", compress_level=1)
    return file.getvalue(), "image/png"
