"""Training with another normalisation than Keras' own comes to the same network."""

import numpy as np
import pytest

pytestmark = pytest.mark.training


def test_training_with_fused_normalisation_is_training_all_the_same():
    import keras
    from keras import layers

    from ml_model.training import normalisation

    generator = np.random.Generator(np.random.PCG64(5))
    pictures = generator.normal(2, 3, (16, 8, 8, 1)).astype(np.float32)
    labels = np.tile([0.0, 1.0], 8)
    keras.utils.set_random_seed(6)
    start = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, name="first"),
            layers.BatchNormalization(momentum=0.9, name="learned"),
            layers.ReLU(6.0),
            layers.Conv2D(4, 3, name="second"),
            layers.BatchNormalization(trainable=False, name="frozen"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, "sigmoid", name="head"),
        ]
    )
    keras_own, fused = normalisation.plain(start), normalisation.fused(start)
    for model in (keras_own, fused):
        model.compile(keras.optimizers.SGD(0.1), loss="binary_crossentropy")
        model.fit(pictures, labels, batch_size=16, epochs=3, shuffle=False, verbose=0)
    for name in ("first", "learned", "second", "head"):
        before, after, quick = (model.get_layer(name).get_weights() for model in (start, keras_own, fused))
        assert not any(np.array_equal(*pair) for pair in zip(before, after, strict=True)), name
        for expected, got in zip(after, quick, strict=True):
            assert got == pytest.approx(expected, rel=3e-3, abs=1e-5), name  # its variance is n / (n - 1) of Keras'
    for expected, got in zip(*(m.get_layer("frozen").get_weights() for m in (start, fused)), strict=True):
        assert np.array_equal(got, expected)
    saved = normalisation.plain(fused)
    assert type(saved.get_layer("learned")) is layers.BatchNormalization
    assert saved.predict(pictures, verbose=0) == pytest.approx(fused.predict(pictures, verbose=0), abs=1e-6)
