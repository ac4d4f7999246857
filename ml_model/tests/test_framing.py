"""Where the body is in a picture: what is cut away from what a network sees, and where its map belongs then."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from ml_model import Classifier, bundle, framing, phantom, preprocessing
from ml_model.evaluation import shifts

SIDE = 160


def chest(width: int = 160, height: int = 160) -> Image.Image:
    """A phantom with bright waves over it, up to its edges: nothing of it is border or air."""
    y, x = np.mgrid[:height, :width] / 12
    grey = np.asarray(phantom.draw(width, height), int) // 2 + 90 + 30 * np.sin(x) * np.cos(y)
    return Image.fromarray(grey.astype(np.uint8))


def box_of(picture: Image.Image) -> tuple[float, ...]:
    return framing.body(np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)))


def test_a_body_that_fills_the_picture_is_shown_whole():
    assert box_of(chest()) == framing.EVERYTHING


@pytest.mark.parametrize("grey", [0, 130, 255])
def test_a_border_of_one_grey_is_cut_away(grey):
    left, top, right, bottom = box_of(shifts.border(chest(320, 320), 0.1, grey))
    assert (left, top) == pytest.approx((0.083, 0.083), abs=0.015)
    assert (right, bottom) == pytest.approx((0.917, 0.917), abs=0.015)


def test_air_beside_the_body_is_cut_away_with_the_letter_in_it():
    picture = Image.new("L", (400, 300), 4)
    picture.paste(chest(240, 300), (80, 0))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((20, 100, 45, 140), fill=240)
    pen.rectangle((0, 0, 79, 40), fill=150)  # a shoulder
    pen.rectangle((320, 0, 399, 40), fill=150)
    assert box_of(picture) == pytest.approx((0.2, 0, 0.8, 1), abs=0.02)


@pytest.mark.parametrize("change", ["contrast x 0.6", "brightness + 40", "gamma 1.7", "JPEG 30", "noise"])
def test_the_same_is_cut_away_however_the_picture_was_exposed(change):
    picture = Image.new("L", (400, 300), 0)
    picture.paste(chest(280, 300), (40, 0))
    assert box_of(shifts.SHIFTS[change](picture)) == pytest.approx(box_of(picture), abs=0.02)


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_flat_picture_is_shown_whole(grey):
    assert box_of(Image.new("L", (200, 100), grey)) == framing.EVERYTHING


def test_at_least_half_of_each_side_is_kept():
    picture = Image.new("L", (400, 300), 0)
    picture.paste(chest(100, 300), (150, 0))
    assert box_of(picture) == framing.EVERYTHING


def test_only_a_network_of_the_body_is_shown_the_body():
    picture = ImageOps.expand(chest(320, 320), 40)
    whole, body = (preprocessing.to_input(picture, SIDE, frame) for frame in (bundle.WHOLE, bundle.BODY))
    alone = preprocessing.to_input(chest(320, 320), SIDE, bundle.WHOLE)
    assert np.abs(body.astype(int) - alone).mean() < 2 < np.abs(whole.astype(int) - alone).mean()


def test_a_map_of_the_body_is_put_into_its_place():
    body = np.full((8, 8), 0.5, np.float32)
    assert framing.placed(body, framing.EVERYTHING) is body
    placed = framing.placed(body, (0.25, 0.0, 0.75, 0.5))
    assert placed.dtype == np.float32
    assert placed.mean() == pytest.approx(0.5 / 4)
    half = len(placed) // 2
    assert placed[:half, half // 2 : -half // 2].min() == pytest.approx(0.5)


def test_the_map_moves_with_the_body_and_the_answer_stays():
    classifier = Classifier(bundle.current())
    assert classifier.card.frame == bundle.BODY
    found = []
    for place in (0, 60):
        picture = Image.new("L", (300, 240), 0)
        picture.paste(chest(240, 240), (place, 0))
        output, _ = classifier.classify(picture)
        found.append((output.probability, np.asarray(Image.fromarray(output.activation_map).resize((300, 240)))))
    (before, at_left), (after, at_right) = found
    assert after == pytest.approx(before, abs=0.03)
    assert not at_left[:, 246:].any()
    assert not at_right[:, :54].any()
    assert np.abs(at_left[:, :240] - at_right[:, 60:]).mean() < 0.02
