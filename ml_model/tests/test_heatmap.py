"""An activation map as a picture."""

import io

import numpy as np
from PIL import Image

from ml_model import heatmap


def test_what_pushes_little_is_clear_and_what_pushes_most_is_pale_yellow():
    activation = np.array([[0.0, 0.1], [0.5, 1.0]], np.float32).repeat(8, axis=0).repeat(8, axis=1)
    with Image.open(io.BytesIO(heatmap.render(activation, 64))) as file:
        shown = np.asarray(file.convert("RGBA")).astype(int)
    assert shown.shape == (64, 64, 4)
    calm, middle, most = shown[16, 16], shown[48, 16], shown[48, 48]
    assert calm[3] == 0
    assert 0 < middle[3] < 255
    assert most.tolist() == [252, 250, 160, 255]
    assert calm[:3].sum() < middle[:3].sum() < most[:3].sum(), "brightness rises with activation"


def test_values_beyond_the_scale_are_shown_as_its_ends():
    low, high = (np.asarray(heatmap.picture(np.full((5, 5), value), 8).convert("RGBA")) for value in (-1.0, 7.0))
    assert low[..., 3].max() == 0
    assert (high == [252, 250, 160, 255]).all()
