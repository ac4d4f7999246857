"""Each shift gives a picture that differs, the same one every time."""

import numpy as np
import pytest
from PIL import ImageOps

from ml_model import phantom
from ml_model.evaluation.shifts import SHIFTS


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_changes_the_picture_and_always_alike(name):
    picture = phantom.draw(200, 160)
    shifted = SHIFTS[name](picture)
    assert shifted.mode == "L"
    assert shifted.size != picture.size or np.any(np.asarray(shifted) != np.asarray(picture))
    assert np.array_equal(np.asarray(shifted), np.asarray(SHIFTS[name](picture)))
    assert np.asarray(picture).std() / 4 < np.asarray(shifted).std()


def test_inverting_twice_gives_the_picture_back():
    picture = phantom.draw(50, 50)
    assert np.array_equal(np.asarray(ImageOps.invert(SHIFTS["inverted"](picture))), np.asarray(picture))
