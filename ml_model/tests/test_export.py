"""What goes into a bundle, without a training."""

import numpy as np
import pytest

from ml_model import phantom, preprocessing

pytestmark = pytest.mark.training


@pytest.mark.parametrize("size", [32, 96, 128, 160, 256])
def test_every_multiple_of_32_can_be_exported(size):
    from ml_model import network
    from ml_model.training import export

    for model in (network.build(size), network.student(size)):
        assert export.push_map(model).output.shape[1:] == (*model.get_layer(network.FINE).output.shape[1:3], 1)
    assert network.student(160).get_layer("enlarge_picture").output.shape[1] == 128


def test_golden_pictures_are_the_least_and_the_most_ill():
    from ml_model.training import export

    low, high = export.golden_pictures(lambda inputs: inputs.mean(axis=(1, 2, 3)) / 255, 64)
    assert low.probability < high.probability
    pixels = preprocessing.to_input(phantom.draw(opacity=high.opacity, seed=high.seed, blur=high.blur), 64)
    assert high.probability == pytest.approx(pixels.mean() / 255)


@pytest.mark.parametrize("apart", [1.0, 2.2, 3.0])
def test_screening_never_finds_fewer_than_balanced(apart):
    from ml_model.evaluation import metrics
    from ml_model.training import export

    generator = np.random.Generator(np.random.PCG64(4))
    labels = np.repeat([1, 0], [600, 200])
    scores = metrics.sigmoid(generator.normal(np.where(labels, apart, -apart), 1.0))
    thresholds = export.operating_thresholds(scores, labels)
    assert thresholds["screening"] <= thresholds["balanced"]
    assert np.mean(scores[labels == 1] >= thresholds["screening"]) >= export.SCREENING_SENSITIVITY
