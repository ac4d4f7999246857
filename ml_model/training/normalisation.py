"""Batch normalisation in one operation, for training.

Keras takes a dozen operations of TensorFlow for it, each of which goes through the whole feature map; on a CPU these
take longer than the convolutions.
"""

import keras
from keras import layers


def fused(model: keras.Model) -> keras.Model:
    """A copy of `model`, with its weights, that is quicker to train; not for saving, as no other program knows it."""
    return _rebuilt(model, _Fused)


def plain(model: keras.Model) -> keras.Model:
    """A copy of `model`, with its weights, of Keras' own layers."""
    return _rebuilt(model, layers.BatchNormalization)


class _Fused(layers.BatchNormalization):
    """The same numbers, except for the running variance, whose estimate is unbiased."""

    def call(self, x, training=None, mask=None):
        if keras.backend.backend() != "tensorflow":
            return super().call(x, training=training, mask=mask)
        import tensorflow as tf

        learns = bool(training and self.trainable)
        known = ([], []) if learns else (self.moving_mean, self.moving_variance)
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=self.gamma,
            offset=self.beta,
            mean=known[0],
            variance=known[1],
            epsilon=self.epsilon,
            is_training=learns,
        )
        if learns:
            for running, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
                running.assign(running * self.momentum + now * (1 - self.momentum))
        return y


def _rebuilt(model: keras.Model, kind: type[layers.BatchNormalization]) -> keras.Model:
    def copied(layer: layers.Layer) -> layers.Layer:
        of = kind if isinstance(layer, layers.BatchNormalization) else type(layer)
        return of.from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=copied)
    copy.set_weights(model.get_weights())
    return copy
