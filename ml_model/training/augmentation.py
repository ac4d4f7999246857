"""Augmentation: what training does to a picture so that the network learns lungs and not scanners.

Keras layers, run inside the training graph on float32 (batch, size, size, 1) of 0..255.
Stronger than validation asks for: the official test pictures come from other days than the
training ones, and mild augmentation looked better on validation and did worse elsewhere.
"""

import itertools
import math

import keras
import numpy as np
from keras import layers, ops


class _Random(layers.Layer):
    """Changes each picture by chance, up to `limit`, in training alone; pictures are float32 of 0..1 here."""

    limit = 1.0

    def __init__(self, limit: float | None = None, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.limit, self.seed = self.limit if limit is None else limit, seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, pictures, training=False):
        return self.change(pictures) if training else pictures

    def change(self, pictures):
        raise NotImplementedError

    def get_config(self):
        return {**super().get_config(), "limit": self.limit, "seed": self.seed}


@keras.saving.register_keras_serializable("pneumonia_site")
class RandomGamma(_Random):
    """Raise each picture to a power drawn log-uniformly from 1/limit..limit: the exposure curve of another machine."""

    limit = 1.6

    def change(self, pictures):
        span = math.log(self.limit)
        power = keras.random.uniform((ops.shape(pictures)[0], 1, 1, 1), -span, span, seed=self.generator)
        return ops.power(ops.clip(pictures, 1e-4, 1.0), ops.exp(power))


@keras.saving.register_keras_serializable("pneumonia_site")
class RandomShading(_Random):
    """Brighten and darken each picture smoothly from place to place, by up to `limit` of its value.

    Anode heel, a patient turned a little, scattered rays: brightness of a place alone says little.
    """

    limit = 0.3

    def change(self, pictures):
        count, height, width, _ = ops.shape(pictures)
        coarse = keras.random.uniform((count, 3, 3, 1), -self.limit, self.limit, seed=self.generator)
        return ops.clip(pictures * (1 + ops.image.resize(coarse, (height, width))), 0, 1)


@keras.saving.register_keras_serializable("pneumonia_site")
class RandomResolution(_Random):
    """Soften each picture as if it had been stored smaller, by a factor drawn log-uniformly from 1..2^limit, up to 4.

    In the public set the sharpness of a picture tells which class it was collected for.
    """

    limit = 2.0

    def change(self, pictures):
        count, height, width, _ = ops.shape(pictures)
        half, quarter = (
            ops.image.resize(ops.average_pool(pictures, factor, factor), (height, width)) for factor in (2, 4)
        )
        octaves = keras.random.uniform((count, 1, 1, 1), 0, self.limit, seed=self.generator)
        finer, coarser = ops.where(octaves < 1, pictures, half), ops.where(octaves < 1, half, quarter)
        return finer + (coarser - finer) * (octaves % 1)


@keras.saving.register_keras_serializable("pneumonia_site")
class RandomNoise(_Random):
    """Add Gaussian grain, of a deviation drawn from 0..limit for each picture: sharpness alone says little."""

    limit = 0.08

    def change(self, pictures):
        deviation = keras.random.uniform((ops.shape(pictures)[0], 1, 1, 1), 0, self.limit, seed=self.generator)
        grain = keras.random.normal(ops.shape(pictures), seed=self.generator)
        return ops.clip(pictures + deviation * grain, 0, 1)


@keras.saving.register_keras_serializable("pneumonia_site")
class RandomBorder(_Random):
    """Cover the four edges of each picture, each up to `limit` of its side wide, with one grey, as collimators do."""

    limit = 0.12

    def change(self, pictures):
        count, height, width, _ = ops.shape(pictures)
        edges = keras.random.uniform((4, count, 1, 1, 1), 0, self.limit, seed=self.generator)
        y = ops.reshape(ops.linspace(0.0, 1.0, height), (1, height, 1, 1))
        x = ops.reshape(ops.linspace(0.0, 1.0, width), (1, 1, width, 1))
        inside = (y >= edges[0]) & (y <= 1 - edges[1]) & (x >= edges[2]) & (x <= 1 - edges[3])
        return ops.where(inside, pictures, keras.random.uniform((count, 1, 1, 1), seed=self.generator))


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

    def build(self, shape):
        self.layer.build(shape)

    def call(self, pictures, training=False):
        if not training:
            return pictures
        chosen = keras.random.uniform((ops.shape(pictures)[0], 1, 1, 1), seed=self.generator) < self.rate
        return ops.where(chosen, self.layer(pictures, training=True), pictures)

    def get_config(self):
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), "layer": layer, "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable("pneumonia_site")
class Halves(layers.Layer):
    """Applies one layer to the first half of each batch and another to the rest; the identity outside training."""

    def __init__(self, first: layers.Layer, second: layers.Layer, **kwargs):
        super().__init__(**kwargs)
        self.first, self.second = first, second

    def build(self, shape):
        self.first.build(shape)
        self.second.build(shape)

    def call(self, pictures, training=False):
        if not training:
            return pictures
        half = ops.shape(pictures)[0] // 2
        parts = [self.first(pictures[:half], training=True), self.second(pictures[half:], training=True)]
        return ops.clip(ops.round(ops.concatenate(parts)), 0, 255)

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        both = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in ("first", "second")}
        return {**super().get_config(), **both}


def greys_of(pictures: np.ndarray) -> np.ndarray:
    """The grey value at each of 256 even steps from the darkest to the brightest pixel: uint8 (n, 256).

    pictures: uint8 (n, size, size, 1).
    """
    flat = np.sort(pictures.reshape(len(pictures), math.prod(pictures.shape[1:])), axis=1)
    return flat[:, np.linspace(0, flat.shape[1] - 1, 256).round().astype(int)]


def with_greys(picture: np.ndarray, greys: np.ndarray, part: float) -> np.ndarray:
    """`picture`, uint8, with as much dark, grey and bright as the one that `greys`, uint8 (256,), came from.

    part: 0..1, how far it goes there (histogram matching).
    """
    share = np.cumsum(np.bincount(picture.ravel(), minlength=256))
    table = greys[255 * share // share[-1]].astype(np.float64)
    return (picture + part * (table[picture] - picture)).astype(np.uint8)


def build(seed: int, *, strong: bool) -> keras.Sequential:
    """The augmentation: random for each picture and epoch, the identity outside training.

    strong: for a network trained from scratch; a pretrained one did worse on adults with it.
    """
    often, zoom, shading, contrast, erase, border = (
        (0.8, 0.3, 0.3, 0.5, 0.3, 0.25) if strong else (0.6, 0.25, 0.2, 0.4, 0.2, 0.15)
    )
    unit = (0.0, 1.0)
    seeds = itertools.count(seed)
    frame = keras.Sequential(
        [
            layers.RandomRotation(0.035, fill_mode="constant", seed=next(seeds)),
            layers.RandomZoom((-zoom, 0.15), (-zoom, 0.15), fill_mode="constant", seed=next(seeds)),
            layers.RandomTranslation(0.1, 0.1, fill_mode="constant", seed=next(seeds)),
        ]
    )
    for layer in frame.layers:
        layer.supports_jit = True  # Keras sets it to False for TensorFlow, where nothing here needs it
    expose = keras.Sequential(
        [
            RandomGamma(seed=next(seeds)),
            RandomShading(shading, seed=next(seeds)),
            layers.RandomBrightness(0.2, value_range=unit, seed=next(seeds)),
            layers.RandomContrast(contrast, value_range=unit, seed=next(seeds)),
        ]
    )
    return keras.Sequential(
        [
            layers.Rescaling(1 / 255),
            layers.RandomFlip("horizontal", seed=next(seeds)),
            Sometimes(frame, often, seed=next(seeds)),
            Sometimes(expose, often, seed=next(seeds)),
            # Softening and grain also hide the JPEG noise of the public set, which a network would learn by heart.
            Sometimes(RandomResolution(seed=next(seeds)), 0.6, seed=next(seeds)),
            Sometimes(RandomNoise(seed=next(seeds)), 0.7, seed=next(seeds)),
            # Two erased boxes, one of noise and one black: no single place may decide, nor letters or cables.
            layers.RandomErasing(erase, (0.02, 0.12), value_range=unit, seed=next(seeds)),
            layers.RandomErasing(erase, (0.02, 0.12), fill_value=0.0, value_range=unit, seed=next(seeds)),
            Sometimes(RandomBorder(seed=next(seeds)), border, seed=next(seeds)),
            layers.Rescaling(255),
        ],
        name="augmentation",
    )
