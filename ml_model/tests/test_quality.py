"""Hints about a picture: a good one bears none, and each way to spoil one is told."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from ml_model import images, phantom, quality


def picture(grey: Image.Image) -> images.Picture:
    return images.Picture(grey, *grey.size, "PNG")


def bordered(grey: Image.Image, colour: int) -> Image.Image:
    return ImageOps.expand(grey, round(0.15 * grey.width), colour)


CHEST = phantom.draw(640, 560, seed=1)
SPOILT = {
    "too_dark": CHEST.point(lambda value: value * 0.35),
    "too_bright": CHEST.point(lambda value: 180 + value * 0.29),
    "low_contrast": CHEST.point(lambda value: 90 + value * 0.3),
    "low_resolution": CHEST.resize((90, 80)),
    "borders": ImageOps.expand(CHEST, (0, 0, 300, 0)),
    "cut_off": CHEST.crop((256, 0, 640, 560)),
}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", [(640, 560), (224, 224), (1800, 1500), (560, 700)])
def test_a_whole_chest_bears_no_hint(seed, size):
    assert quality.hints(picture(phantom.draw(*size, seed=seed, opacity=seed % 2))) == ()


@pytest.mark.parametrize("code", quality.CODES)
def test_each_fault_is_told(code):
    assert code in quality.hints(picture(SPOILT[code]))


@pytest.mark.parametrize(
    "spoilt",
    [CHEST.crop((0, 0, 320, 560)), CHEST.crop((0, 0, 640, 230)), CHEST.crop((200, 0, 440, 560))],
    ids=["right side", "lower half", "a strip"],
)
def test_other_ways_to_cut_a_chest_are_told_too(spoilt):
    assert "cut_off" in quality.hints(picture(spoilt))


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_what_is_in_the_box_is_judged(colour):
    framed = picture(bordered(CHEST, colour))
    inside = (0.15 / 1.3, 96 / 752, 1 - 0.15 / 1.3, 1 - 96 / 752)
    assert quality.hints(framed, inside) == ()
    assert quality.hints(framed) == ("borders",)
    small = picture(ImageOps.expand(CHEST.resize((200, 180)), 150, colour))
    assert quality.hints(small, (0.3, 0.3125, 0.7, 0.6875)) == ("low_resolution",)


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_bars_do_not_count_as_dark_or_bright(colour):
    assert quality.hints(picture(ImageOps.expand(CHEST, (0, 0, 0, 250), colour))) == ("borders",)


def test_a_negative_is_measured_as_it_is_analysed():
    assert quality.hints(picture(ImageOps.invert(CHEST)), inverted=True) == ()
    assert "too_dark" in quality.hints(picture(ImageOps.invert(SPOILT["too_dark"])), inverted=True)


@pytest.mark.parametrize("value", [0, 255])
def test_an_empty_picture_is_measured_as_well(value):
    said = quality.hints(picture(Image.fromarray(np.full((300, 300), value, np.uint8))))
    assert set(said) == {"too_bright" if value else "too_dark", "low_contrast", "borders"}


def test_few_real_pictures_bear_a_hint(xray_data):
    def share(paths) -> float:
        said = [quality.hints(images.read(path.read_bytes(), at_least=160)) for path in paths]
        return sum(map(bool, said)) / len(said)

    assert share(sorted(xray_data.glob("chest_xray/train/*/*"))[::25]) <= 0.02
    assert share(sorted(xray_data.glob("originals/*/*"))) <= 1 / 44
    assert share(sorted(xray_data.glob("adult_normal/*"))) <= 0.02
