"""What training does to pictures."""

import numpy as np
import pytest

from ml_model import phantom

pytestmark = pytest.mark.training


def test_half_of_a_batch_is_spoiled_by_each_and_nothing_outside_training():
    from keras import layers

    from ml_model.training import augmentation

    halves = augmentation.Halves(layers.Rescaling(0.5), layers.Rescaling(2))
    pictures = np.full((4, 2, 2, 1), 10, np.float32)
    assert np.asarray(halves(pictures, training=True))[:, 0, 0, 0].tolist() == [5, 5, 20, 20]
    assert np.array_equal(np.asarray(halves(pictures)), pictures)


def test_other_greys_are_those_of_the_other_picture():
    from ml_model.training import augmentation

    picture, other = (np.asarray(phantom.draw(96, 96, seed=seed)) for seed in (1, 2))
    (greys,) = augmentation.greys_of((other // 2)[np.newaxis, :, :, np.newaxis])
    assert np.array_equal(augmentation.with_greys(picture, greys, 0.0), picture)
    assert augmentation.with_greys(picture, greys, 1.0).mean() == pytest.approx((other // 2).mean(), abs=2)
