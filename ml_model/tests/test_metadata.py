"""What is stored tells nothing of people and places, and shows the very same picture."""

import contextlib
import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from ml_model import images, metadata, phantom

SECRET = b"DOE^JANE 1970-01-01"
SIZE = (160, 128)


def encoded(image: Image.Image, file_format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def with_secrets(image: Image.Image, file_format: str, orientation: int = 1) -> bytes:
    """A picture file with the secret wherever the format has a place for it, and after its end."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = exif[0x013B] = SECRET.decode()
    options: dict = {"exif": exif, "xmp": SECRET, "icc_profile": SECRET}
    if file_format == "JPEG":
        options["comment"] = SECRET
    if file_format == "PNG":
        options = {"exif": exif, "pnginfo": PngImagePlugin.PngInfo()}
        options["pnginfo"].add_text("Patient", SECRET.decode())
        options["pnginfo"].add_itxt("Name", SECRET.decode())
    if file_format == "TIFF":
        options = {"exif": exif, "description": SECRET.decode(), "icc_profile": SECRET}
    if file_format == "BMP":
        options = {}
    if file_format == "WEBP":
        options["lossless"] = True
    return encoded(image, file_format, **options) + SECRET


def seen(data: bytes) -> np.ndarray:
    return np.asarray(images.read(data).grey)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", images.FORMATS)
def test_nothing_personal_is_left_and_the_picture_is_the_same(file_format, orientation):
    sent = with_secrets(phantom.draw(*SIZE), file_format, orientation)
    stored = metadata.strip(sent)
    assert SECRET in sent
    assert SECRET not in stored
    assert b"1970" not in stored
    assert images.read(stored).format == file_format
    assert np.array_equal(seen(stored), seen(sent))
    with Image.open(io.BytesIO(stored)) as image:
        assert not set(image.info) & {"exif", "xmp", "icc_profile", "comment", "Patient", "Name"} or orientation != 1
        assert set(image.getexif()) - {0x0112} == set() or file_format == "TIFF"


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [(mode, "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")]
    + [(mode, "TIFF") for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F", "LAB")]
    + [(mode, "JPEG") for mode in ("L", "RGB", "CMYK")]
    + [(mode, "BMP") for mode in ("1", "L", "P", "RGB", "RGBA")]
    + [(mode, "WEBP") for mode in ("RGB", "RGBA")],
)
def test_every_kind_of_pixel_survives(mode, file_format):
    drawn = phantom.draw(*SIZE)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(drawn).astype(np.uint16) * 200)
    elif mode == "LAB":
        image = Image.merge("LAB", [drawn, drawn, drawn])
    elif mode in ("LA", "RGBA"):
        image = drawn.convert(mode)
        image.putalpha(Image.linear_gradient("L").resize(SIZE))
    else:
        image = drawn.convert(mode)
    sent = encoded(image, file_format)
    stored = metadata.strip(sent)
    assert np.array_equal(seen(stored), seen(sent))
    assert images.read(stored).format == file_format


def test_a_progressive_jpeg_keeps_every_scan():
    sent = encoded(phantom.draw(*SIZE), "JPEG", progressive=True, comment=SECRET)
    stored = metadata.strip(sent)
    assert SECRET not in stored
    assert np.array_equal(seen(stored), seen(sent))


def test_a_jpeg_with_a_second_picture_keeps_the_first_alone():
    drawn = phantom.draw(*SIZE)
    sent = encoded(drawn, "MPO", save_all=True, append_images=[drawn.transpose(0)])
    stored = metadata.strip(sent)
    assert images.read(sent).format == images.read(stored).format == "JPEG"
    assert len(stored) < 0.7 * len(sent)
    assert np.array_equal(seen(stored), seen(sent))


@pytest.mark.parametrize("file_format", images.FORMATS)
def test_what_a_lenient_decoder_accepted_is_never_lost(file_format):
    sent = with_secrets(phantom.draw(*SIZE), file_format, orientation=6)
    generator = np.random.Generator(np.random.PCG64(3))
    for _ in range(150):
        broken = bytearray(sent)
        for position in generator.integers(0, min(len(sent), 900), 3):
            broken[position] = generator.integers(0, 256)
        with contextlib.suppress(images.PictureError):
            before = images.read(bytes(broken), limits=images.Limits(megapixels=1))
            after = images.read(metadata.strip(bytes(broken)))
            assert (after.width, after.height) == (before.width, before.height)
            assert np.array_equal(np.asarray(after.grey), np.asarray(before.grey))
