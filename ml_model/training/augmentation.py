"""What training does to a picture so that the network learns lungs and not scanners.

Keras layers, run inside the training graph on float32 (batch, size, size, 1) of 0..255.
Strong on purpose: the official test pictures come from other days than the training
ones, and mild augmentation looked better on validation and did worse elsewhere.
"""

import itertools
import math

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("pneumonia_site")
class RandomGamma(layers.Layer):
    """Raise each picture to a power drawn log-uniformly from 1/limit..limit: the exposure curve of another machine."""

    def __init__(self, limit: float = 1.6, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.limit, self.seed = limit, seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, pictures, training=False):
        if not training:
            return pictures
        span = math.log(self.limit)
        power = keras.random.uniform((ops.shape(pictures)[0], 1, 1, 1), -span, span, seed=self.generator)
        return ops.power(ops.clip(pictures, 1e-4, 1.0), ops.exp(power))

    def get_config(self):
        return {**super().get_config(), "limit": self.limit, "seed": self.seed}


@keras.saving.register_keras_serializable("pneumonia_site")
class Sometimes(layers.Layer):
    """Applies `layer` to a share `rate` of the pictures and leaves the others as they are.

    Without it every training picture would have a black border or grain, and a clean
    X-ray would be the odd one.
    """

    def __init__(self, layer: layers.Layer, rate: float, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.layer, self.rate, self.seed = layer, rate, seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, pictures, training=False):
        if not training:
            return pictures
        chosen = keras.random.uniform((ops.shape(pictures)[0], 1, 1, 1), seed=self.generator) < self.rate
        return ops.where(chosen, self.layer(pictures, training=True), pictures)

    def get_config(self):
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), "layer": layer, "rate": self.rate, "seed": self.seed}


def build(seed: int) -> keras.Sequential:
    """The augmentation, drawn anew for each picture and epoch; the identity outside training."""
    unit = (0.0, 1.0)
    seeds = itertools.count(seed)
    shift_and_turn = keras.Sequential(
        [
            layers.RandomRotation(0.035, fill_mode="constant", seed=next(seeds)),
            layers.RandomZoom((-0.25, 0.15), (-0.25, 0.15), fill_mode="constant", seed=next(seeds)),
            layers.RandomTranslation(0.08, 0.08, fill_mode="constant", seed=next(seeds)),
        ]
    )
    expose = keras.Sequential(
        [
            RandomGamma(seed=next(seeds)),
            layers.RandomBrightness(0.2, value_range=unit, seed=next(seeds)),
            layers.RandomContrast(0.4, value_range=unit, seed=next(seeds)),
        ]
    )
    return keras.Sequential(
        [
            layers.Rescaling(1 / 255),
            layers.RandomFlip("horizontal", seed=next(seeds)),
            Sometimes(shift_and_turn, 0.6, seed=next(seeds)),
            Sometimes(expose, 0.6, seed=next(seeds)),
            # Blur and grain also hide the JPEG noise of the public set, which a network would learn by heart.
            layers.RandomGaussianBlur(0.5, 5, 1.0, value_range=unit, seed=next(seeds)),
            Sometimes(layers.GaussianNoise(0.035, seed=next(seeds)), 0.6, seed=next(seeds)),
            layers.RandomErasing(0.3, (0.02, 0.12), value_range=unit, seed=next(seeds)),
            layers.Rescaling(255),
        ],
        name="augmentation",
    )
