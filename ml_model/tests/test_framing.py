"""The frame around a picture: what is kept from the network, and where its map belongs then."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from ml_model import Classifier, bundle, framing, phantom, preprocessing
from ml_model.evaluation import shifts

SIDE = 160


def chest(width: int = 320, height: int = 320) -> Image.Image:
    """A phantom with bright waves over it, up to its edges: nothing of it is a frame."""
    y, x = np.mgrid[:height, :width] / 40
    grey = np.asarray(phantom.draw(width, height), int) // 2 + 90 + 30 * np.sin(x) * np.cos(y)
    return Image.fromarray(grey.astype(np.uint8))


def box_of(picture: Image.Image) -> tuple[float, ...]:
    return framing.inside(np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)))


def test_a_picture_without_a_frame_is_shown_whole():
    assert box_of(chest()) == framing.EVERYTHING


@pytest.mark.parametrize("grey", [0, 130, 255])
@pytest.mark.parametrize("spoil", ["contrast x 0.6", "brightness + 40", "JPEG 30", "blur"])
def test_a_frame_of_any_grey_is_cut_away_however_the_picture_was_stored(grey, spoil):
    left, top, right, bottom = box_of(shifts.SHIFTS[spoil](shifts.border(chest(), 0.1, grey)))
    assert (left, top) == pytest.approx((0.083, 0.083), abs=0.02)
    assert (right, bottom) == pytest.approx((0.917, 0.917), abs=0.02)


@pytest.mark.parametrize(("border", "box"), [((80, 0), (0.167, 0, 0.833, 1)), ((0, 320), (0, 0.333, 1, 0.667))])
def test_bars_on_two_sides_are_a_frame(border, box):
    assert box_of(ImageOps.expand(chest(), border)) == pytest.approx(box, abs=0.01)


def test_a_thin_line_around_a_frame_does_not_hide_it():
    framed = ImageOps.expand(chest(), 70)
    for width in (1, 3):
        assert box_of(ImageOps.expand(framed, width, 255)) == pytest.approx((0.15, 0.15, 0.85, 0.85), abs=0.02)


def test_frames_within_each_other_are_cut_away():
    bars = ImageOps.expand(chest(), (60, 0))
    assert box_of(ImageOps.expand(bars, 60, 255)) == pytest.approx((0.214, 0.136, 0.786, 0.864), abs=0.02)


def test_what_a_collimator_leaves_is_no_frame():
    picture = ImageOps.expand(chest(), (60, 0, 0, 0))
    assert box_of(picture) == framing.EVERYTHING, "at one side alone"
    assert box_of(ImageOps.expand(chest(), 8)) == framing.EVERYTHING, "narrow"


def test_letters_in_the_frame_are_kept():
    picture = ImageOps.expand(chest(), 80)
    ImageDraw.Draw(picture).rectangle((10, 200, 30, 230), fill=255)
    left, *others = box_of(picture)
    assert left == 0
    assert others == pytest.approx([0.167, 1, 0.833], abs=0.01)


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_flat_picture_is_shown_whole(grey):
    assert box_of(Image.new("L", (200, 100), grey)) == framing.EVERYTHING


def test_a_stamp_on_a_sheet_is_no_picture_in_a_frame():
    assert box_of(ImageOps.expand(chest(40, 40), 200)) == framing.EVERYTHING


def test_the_network_is_shown_what_is_inside():
    framed, alone = (preprocessing.to_input(each, SIDE).astype(int) for each in (ImageOps.expand(chest(), 37), chest()))
    assert np.abs(framed - alone).mean() < 3
    assert framed.min() > 40, "nothing black is left"


def test_what_would_be_too_small_by_itself_is_not_cut_out():
    small = ImageOps.expand(chest(28, 28), 20)
    assert box_of(small) != framing.EVERYTHING
    assert preprocessing.unframed(small, SIDE)[1] == framing.EVERYTHING
    assert preprocessing.unframed(ImageOps.expand(chest(40, 40), 20), SIDE)[1] != framing.EVERYTHING


@pytest.mark.parametrize("side", [1, 4, 8, 32, 224])
def test_a_picture_of_any_size_has_a_box(side):
    for picture in (np.zeros((side, side), np.uint8), np.pad(np.full((side, side), 200, np.uint8), side)):
        left, top, right, bottom = framing.inside(picture)
        assert right - left >= framing.KEPT
        assert bottom - top >= framing.KEPT
        assert framing.placed(np.ones((2, 2), np.float32), (left, top, right, bottom)).any()


def test_a_map_is_put_into_its_place():
    inner = np.full((8, 8), 0.5, np.float32)
    assert framing.placed(inner, framing.EVERYTHING) is inner
    placed = framing.placed(inner, (0.25, 0.0, 0.75, 0.5))
    assert placed.dtype == np.float32
    assert placed.mean() == pytest.approx(0.5 / 4)
    half = len(placed) // 2
    assert placed[:half, half // 2 : -half // 2].min() == pytest.approx(0.5)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("size", [(400, 300), (2400, 2000)])
def test_a_frame_changes_neither_the_answer_nor_where_the_network_looked(size, turned):
    classifier = Classifier(bundle.current())
    whole = phantom.draw(*size, opacity=1)
    whole = ImageOps.invert(whole) if turned else whole
    framed = ImageOps.expand(whole, (size[0] // 4, size[1] // 4))
    answers = []
    for picture in (whole, framed):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=90)
        answers.append(classifier.diagnose(file.getvalue()))
    assert [answer.inverted for answer in answers] == [turned, turned]
    assert answers[1].accepted
    assert answers[1].probability == pytest.approx(answers[0].probability, abs=0.03)
    at_whole, at_framed = (np.asarray(Image.fromarray(answer.activation_map).resize((192, 192))) for answer in answers)
    inner = np.asarray(Image.fromarray(at_whole).resize((128, 128)))
    assert np.abs(at_framed[32:160, 32:160] - inner).mean() < 0.05
    assert not at_framed[:28].any()
    assert not at_framed[:, 164:].any()


@pytest.mark.parametrize("grey", [20, 235])
def test_hints_are_of_what_is_analysed(grey):
    framed = np.random.Generator(np.random.PCG64(1)).normal(grey, 5, (1000, 1000)).clip(0, 255).astype(np.uint8)
    framed[200:800, 200:800] = np.asarray(phantom.draw(600, 600))
    file = io.BytesIO()
    Image.fromarray(framed).save(file, "PNG")
    assert Classifier(bundle.current()).diagnose(file.getvalue()).hints == ()
