"""Whatever bytes come: a grey upright picture, or one of three errors with a sentence."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ml_model import images, phantom

SIZE = (320, 280)


def encoded(image: Image.Image, file_format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


@pytest.fixture
def drawn() -> Image.Image:
    return phantom.draw(*SIZE, opacity=0.6)


def difference(picture: images.Picture, expected: Image.Image) -> float:
    return float(np.abs(np.asarray(picture.grey, float) - np.asarray(expected, float)).mean())


@pytest.mark.parametrize("file_format", images.FORMATS)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_every_format_gives_the_same_grey_picture(drawn, file_format, mode):
    picture = images.read(
        encoded(drawn.convert(mode), file_format, **({"quality": 95} if file_format in ("JPEG", "WEBP") else {}))
    )
    assert picture.format == file_format
    assert (picture.width, picture.height) == picture.grey.size == SIZE
    assert picture.grey.mode == "L"
    assert difference(picture, drawn) < 3


def test_palette_and_alpha_read_as_the_picture_they_show(drawn):
    assert difference(images.read(encoded(drawn.convert("P"), "PNG")), drawn) < 1
    opaque = drawn.convert("RGBA")
    assert difference(images.read(encoded(opaque, "PNG")), drawn) < 1
    grey_alpha = drawn.convert("LA")
    assert difference(images.read(encoded(grey_alpha, "PNG")), drawn) < 1


def test_transparent_places_are_black():
    clear = Image.new("RGBA", SIZE, (255, 255, 255, 0))
    assert np.asarray(images.read(encoded(clear, "PNG")).grey).max() == 0


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_deep_greys_are_stretched_to_eight_bits(drawn, bits, file_format):
    values = np.asarray(drawn, np.float64)
    stretched = (values - values.min()) / (values.max() - values.min())
    deep = Image.fromarray((stretched * (2**bits - 1)).astype(np.uint16))
    picture = images.read(encoded(deep, file_format))
    assert difference(picture, Image.fromarray((stretched * 255).astype(np.uint8))) < 1.5


@pytest.mark.parametrize("dead", [0, 2**16 - 1, 2**30])
def test_a_dead_pixel_takes_no_greys_from_the_rest(drawn, dead, monkeypatch):
    deep = 10_000 + 12 * np.asarray(drawn, np.int32)
    whole = images.read(encoded(Image.fromarray(deep), "TIFF"))
    deep[100, 70] = dead
    monkeypatch.setattr(images, "_BAND", 10_000)  # pixels at a time
    picture = images.read(encoded(Image.fromarray(deep), "TIFF"))
    assert np.flatnonzero(np.asarray(picture.grey) != np.asarray(whole.grey)).tolist() == [100 * SIZE[0] + 70]
    assert picture.grey.getpixel((70, 100)) == (255 if dead else 0)


def test_metal_keeps_its_contrast_on_bone():
    deep = np.tile(np.linspace(0, 3000, 320).astype(np.uint16), (280, 1))
    deep[100:102, -4:-2] = 4000
    grey = np.asarray(images.read(encoded(Image.fromarray(deep), "PNG")).grey)
    assert (grey[100, -3], grey[99, -3]) == (255, 190)


@pytest.mark.parametrize("marked", [0, 1])
def test_a_marker_on_one_grey_stays_visible(marked):
    deep = np.full((280, 320), 500, np.uint16)
    deep[10, 10] += marked
    assert np.asarray(images.read(encoded(Image.fromarray(deep), "PNG")).grey).max() == 255 * marked


def test_float_tiff_with_infinities_reads(drawn):
    values = np.asarray(drawn, np.float32).copy()
    values[0, 0], values[0, 1] = np.inf, np.nan
    assert images.read(encoded(Image.fromarray(values), "TIFF")).grey.mode == "L"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(drawn, orientation):
    """The stored pixels are turned the other way, and the tag turns them back."""
    back = {1: None, 2: 0, 3: 1 + 2, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose values
    stored = drawn if back[orientation] is None else drawn.transpose(Image.Transpose(back[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = images.read(encoded(stored, "JPEG", quality=95, exif=exif))
    assert (picture.width, picture.height) == SIZE
    assert difference(picture, drawn) < 3


def test_a_damaged_orientation_tag_costs_no_picture(drawn):
    data = encoded(drawn, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert images.read(data).grey.size == SIZE


def test_jpeg_is_decoded_at_reduced_scale_when_a_small_one_is_enough():
    big = phantom.draw(1600, 1400)
    picture = images.read(encoded(big, "JPEG"), at_least=160)
    assert (picture.width, picture.height) == (1600, 1400)
    assert 320 <= min(picture.grey.size) < 700


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", images.UnsupportedFormat),
        (b"hello", images.UnsupportedFormat),
        (b"%PDF-1.7\n" + b"x" * 3000, images.UnsupportedFormat),
        (b"GIF89a" + b"\0" * 100, images.UnsupportedFormat),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", images.UnsupportedFormat),
        (b"\xff\xd8\xff\xe0" + b"\0" * 500, images.PictureError),
        (b"\x89PNG\r\n\x1a\n", images.PictureError),
        (b"BM" + b"\xff" * 200, images.PictureError),
        (b"II*\0" + b"\xff" * 200, images.PictureError),
    ],
)
def test_what_is_no_picture_is_refused_with_a_sentence(data, error):
    with pytest.raises(error, match=r"^[A-Z].*\.$"):
        images.read(data)


@pytest.mark.parametrize("file_format", images.FORMATS)
def test_truncated_files_are_refused(drawn, file_format):
    data = encoded(drawn, file_format)
    for share in (0.1, 0.5, 0.9):
        with pytest.raises(images.PictureError):
            images.read(data[: int(len(data) * share)])


@pytest.mark.parametrize("file_format", images.FORMATS)
def test_flipped_bytes_never_raise_anything_else(drawn, file_format):
    data = bytearray(encoded(drawn, file_format))
    generator = np.random.Generator(np.random.PCG64(1))
    for _ in range(40):
        broken = bytearray(data)
        for position in generator.integers(0, min(len(data), 600), 6):
            broken[position] = generator.integers(0, 256)
        with contextlib.suppress(images.PictureError):  # any other exception fails the test
            images.read(bytes(broken), limits=images.Limits(megapixels=1))


def test_pixel_limit_is_judged_by_the_header_alone():
    """A PNG that announces 65000 x 65000 pixels and holds none."""
    header = struct.pack(">IIBBBBB", 65000, 65000, 8, 0, 0, 0, 0)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(images.TooLarge, match="65000 x 65000"):
        images.read(bomb)


def test_byte_limit_names_both_numbers():
    with pytest.raises(images.TooLarge, match="2 MB; at most 1 MB"):
        images.read(b"x" * 2_000_000, limits=images.Limits(megabytes=1))


def test_a_dicom_file_is_called_so():
    with pytest.raises(images.UnsupportedFormat, match="DICOM"):
        images.read(bytes(128) + b"DICM" + bytes(1000))


def test_several_pictures_in_one_file_are_refused(drawn):
    data = encoded(drawn, "TIFF", save_all=True, append_images=[drawn])
    with pytest.raises(images.Unreadable, match="several"):
        images.read(data)


def test_tiny_pictures_are_refused():
    with pytest.raises(images.Unreadable, match="at least 32"):
        images.read(encoded(Image.new("L", (400, 8)), "PNG"))


def test_browsers_get_what_they_can_show(drawn):
    jpeg = encoded(drawn, "JPEG")
    assert images.displayable(jpeg) == (jpeg, "image/jpeg")
    for data in (
        encoded(drawn, "TIFF"),
        encoded(drawn, "BMP"),
        encoded(Image.fromarray(np.asarray(drawn).astype(np.uint16) * 16), "PNG"),
    ):
        shown, content_type = images.displayable(data)
        assert content_type == "image/png"
        assert Image.open(io.BytesIO(shown)).mode == "L"


def test_a_picture_cut_into_countless_parts_is_refused_before_decoding(drawn):
    progressive = encoded(drawn, "JPEG", progressive=True)
    scan, end = progressive[progressive.rindex(b"\xff\xda") : -2], progressive[-2:]
    assert images.read(progressive[:-2] + 5 * scan + end).grey.size == SIZE
    many_scans = progressive[:-2] + 5000 * scan + end

    strips = 4_000_000
    tags = [(256, 32), (257, strips), (258, 8), (259, 1), (262, 1), (277, 1), (278, 1)]
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags]
    entries += [struct.pack("<HHII", tag, 3, strips, 200) for tag in (273, 279)]
    many_strips = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(sorted(entries)) + bytes(2 * strips)

    for data in (many_scans, many_strips):
        with pytest.raises(images.Unreadable, match="parts"):
            images.read(data)


def test_coded_pixels_end_at_the_next_marker():
    for coded in (b"", b"a", b"ab\xff\x00cde", b"\xff\x00\xff\xd0\xff\xd7", b"a" * 20):
        for fill in (b"", b"\xff", b"\xff" * 9):
            for marker in (b"\xff\xd9", b"\xff\xda", b"\xff\xc4", b"\xff\x01"):
                data = b"head" + coded + fill + marker + b"tail"
                assert images.end_of_scan(data, 4) == 4 + len(coded)
        assert images.end_of_scan(b"head" + coded + b"\xff", 4) == 5 + len(coded), "there is no marker"


@pytest.mark.parametrize("lead", [0, 1])
def test_scans_are_counted_wherever_they_lie(drawn, lead):
    data = encoded(drawn, "JPEG")[:-2] + b"x" * lead + b"\xff\xda" * images.MOST_SCANS
    with pytest.raises(images.Unreadable, match="far more parts"):
        images.read(data)


def test_pictures_to_show_are_about_as_large_as_they_are_shown():
    for size, small, on_a_page in [
        ((1799, 1500), (225, 188), (1200, 1001)),
        ((257, 200), (129, 100), (257, 200)),
        ((256, 200), (256, 200), (256, 200)),
        ((2000, 32), (250, 4), (1200, 19)),
    ]:
        grey = Image.new("L", size)
        assert Image.open(io.BytesIO(images.thumbnail(grey))).size == small
        assert Image.open(io.BytesIO(images.printable(grey))).size == on_a_page


def test_a_chain_of_a_million_pictures_is_not_walked(drawn):
    data = encoded(drawn, "TIFF")
    (start,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    link = start + 2 + 12 * entries
    chain = b"".join(struct.pack("<HI", 0, len(data) + 6 * (index + 1)) for index in range(1_000_000))
    with pytest.raises(images.Unreadable, match="several pictures"):
        images.read(data[:link] + struct.pack("<I", len(data)) + data[link + 4 :] + chain)


def test_the_first_picture_of_a_phone_is_read(drawn):
    data = encoded(drawn, "MPO", save_all=True, append_images=[drawn.resize((64, 64))])
    picture = images.read(data, at_least=32)
    assert (picture.format, picture.width, picture.height) == ("JPEG", *SIZE)
    alone = encoded(drawn, "MPO", save_all=True)
    assert images.read(alone).format == "JPEG"
