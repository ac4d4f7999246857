"""Two thousand broken pictures at the door: each gets an answer, none an error of the server's."""

import io
import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from diagnosis.models import Prediction, Upload
from ml_model import phantom

EXPECTED = {200, 413, 415, 422}


def encoded(image: Image.Image, file_format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def sound_files() -> list[bytes]:
    """Drawn pictures in every format and kind of pixel, and some real files where these are at hand."""
    drawn = phantom.draw(160, 140, opacity=0.5)
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "a" * 200, zip=True)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "b" * 200
    files = [
        encoded(drawn, "JPEG", exif=exif),
        encoded(drawn.convert("RGB"), "JPEG", progressive=True),
        encoded(drawn.convert("CMYK"), "JPEG"),
        encoded(drawn, "MPO", save_all=True, append_images=[drawn]),
        encoded(drawn, "PNG", pnginfo=text, exif=exif),
        encoded(drawn.convert("P"), "PNG", transparency=3),
        encoded(drawn.convert("RGBA"), "PNG"),
        encoded(drawn.convert("I;16"), "PNG"),
        encoded(drawn, "TIFF"),
        encoded(drawn.convert("F"), "TIFF", compression="tiff_adobe_deflate"),
        encoded(drawn.convert("RGB"), "TIFF", compression="jpeg"),
        encoded(drawn, "BMP"),
        encoded(drawn.convert("P"), "BMP"),
        encoded(drawn.convert("RGB"), "WEBP", exif=exif),
        encoded(drawn.convert("RGBA"), "WEBP", lossless=True),
    ]
    if folder := os.environ.get("XRAY_DATA"):
        real = sorted((Path(folder) / "chest_xray" / "train" / "NORMAL").iterdir())[:3]
        files += [path.read_bytes() for path in real]
    return files


SOUND = sound_files()


@st.composite
def broken_files(draw: st.DrawFn) -> bytes:
    """A sound file with one to four things wrong."""
    data = bytearray(draw(st.sampled_from(SOUND)))
    for _ in range(draw(st.integers(1, 4))):
        # Headers and tables stand in front: most harm is done there.
        end = draw(st.sampled_from([64, 700, len(data)]))
        at = draw(st.integers(0, max(0, min(end, len(data)) - 1)))
        match draw(st.sampled_from(["byte", "number", "cut", "remove", "repeat", "splice", "append"])):
            case "byte":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "number":
                data[at : at + 4] = draw(
                    st.sampled_from([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1"])
                )
            case "cut":
                del data[at:]
            case "remove":
                del data[at : at + draw(st.integers(1, 64))]
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 512))]
            case "splice":
                other = draw(st.sampled_from(SOUND))
                data[at:] = other[at:]
            case "append":
                data += draw(st.sampled_from([b"PK\3\4" + bytes(40), b"<script>alert(1)</script>", b"%PDF-1.7"]))
    return bytes(data)


@pytest.mark.django_db
@settings(
    max_examples=2000,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=broken_files())
def test_every_broken_picture_gets_an_answer(client, data):
    cache.clear()  # the throttle's, which would answer 429
    before = Upload.objects.count()
    response = client.post("/predict", {"file": SimpleUploadedFile("x.jpg", data)})
    assert response.status_code in EXPECTED
    kept = Upload.objects.count() - before
    if response.status_code == 200 or response.json()["code"] == "not_a_chest_xray":
        assert kept == 1
        newest = Prediction.objects.first()
        for address in ("xray", "thumbnail.jpg"):
            assert client.get(f"/predictions/{newest.pk}/{address}").status_code == 200
    else:
        assert kept == 0
        assert response.json()["detail"].endswith(".")


SIDE = 7700  # 59.3 million pixels, just under the limit


def png_of_zeros(side: int, bits: int, colour: int, channels: int) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    packer = zlib.compressobj(1)
    row = bytes(1 + side * bits * channels // 8)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


BOMBS: dict[str, Callable[[], bytes]] = {
    "deepest PNG": lambda: png_of_zeros(SIDE, 16, 6, 4),
    "deep grey PNG": lambda: png_of_zeros(SIDE, 16, 0, 1),
    "PNG over the limit": lambda: png_of_zeros(20_000, 1, 0, 1),
    "TIFF of floats": lambda: encoded(Image.new("F", (SIDE, SIDE)), "TIFF", compression="tiff_adobe_deflate"),
    "progressive JPEG": lambda: encoded(Image.new("RGB", (SIDE, SIDE)), "JPEG", progressive=True),
    "WebP": lambda: encoded(Image.new("RGB", (5470, 5470)), "WEBP", lossless=True, method=0),
}


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


JPEG, PNG, WEBP = (encoded(phantom.draw(160, 140).convert("RGB"), name) for name in ("JPEG", "PNG", "WEBP"))
FILLING = 20_000_000
# Each is decoded, or stripped of its metadata, step by step, and a step is announced by a few bytes.
MANY_PARTS = {
    "empty PNG chunks": PNG[:33] + chunk(b"IDAT") * (FILLING // 12) + PNG[33:],
    "PNG comments": PNG[:33] + chunk(b"tEXt", b"a\0b") * (FILLING // 15) + PNG[33:],
    "PNG comments that unpack": PNG[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**6))) * 5000 + PNG[33:],
    "JPEG segments": JPEG[:2] + b"\xff\xe5\0\2" * (FILLING // 4) + JPEG[2:],
    "JPEG segments behind the pixels": JPEG[:-2] + b"\xff\xfe\0\2" * (FILLING // 4) + JPEG[-2:],
    "JPEG filling before a segment": JPEG[:20] + b"\xff" * FILLING + JPEG[20:],
    "JPEG filling among the pixels": JPEG[:-2] + b"\xff" * FILLING + b"\0" + JPEG[-2:],
    "nothing between JPEG segments": JPEG[:20] + bytes(FILLING) + JPEG[20:],
    "WebP chunks": WEBP + b"JUNK\0\0\0\0" * (FILLING // 8),
    "BigTIFF tags": struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, 900_000)
    + b"".join(struct.pack("<HHQQ", 40_000 + number, 1, 1, 0) for number in range(20_000)) * 45,
}


@pytest.mark.parametrize("kind", MANY_PARTS)
def test_files_of_very_many_parts_cost_less_than_two_seconds(client, db, kind):
    started = time.process_time()  # a busy machine is no failure
    response = client.post("/predict", {"file": SimpleUploadedFile("x.jpg", MANY_PARTS[kind])})
    assert time.process_time() - started < 2
    assert response.status_code == 422
    assert response.json()["code"] == "unreadable"


def test_a_bmp_of_runs_is_refused_before_it_is_decoded(client, db):
    side, runs = 7745, b"\1\1\0\0"  # one pixel, then the next row
    header = struct.pack("<2sI4xI", b"BM", 0, 14 + 40 + 1024) + struct.pack(
        "<IiiHHIIiiII", 40, side, side, 1, 8, 1, *[0] * 5
    )
    started = time.process_time()
    file = SimpleUploadedFile("x.bmp", header + bytes(1024) + runs * side + b"\0\1")
    response = client.post("/predict", {"file": file})
    assert time.process_time() - started < 2
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_format")
    assert response.json()["detail"] == "A compressed BMP is not read. Export it again as a plain PNG."


READ = """
import sys
from pathlib import Path
from ml_model import images
try:
    images.read(sys.stdin.buffer.read(), at_least=160)
except images.PictureError:
    pass
memory = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
print(int(memory) // 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("bomb", BOMBS)
def test_small_files_that_unpack_to_large_pictures_stay_within_512_mb(bomb):
    result = subprocess.run([sys.executable, "-c", READ], input=BOMBS[bomb](), capture_output=True, check=True)
    assert int(result.stdout) < 512
