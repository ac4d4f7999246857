"""The Keras architecture: two trunks on one grey channel, under one head that can be looked into.

* The pretrained trunk is EfficientNet-Lite0 (Tan & Le 2019, the "Lite" variant of the TensorFlow
  model garden): plain convolutions, batch normalisation and ReLU6, which a CPU runs fast. What
  it learned of ordinary pictures keeps it steady on chests unlike those it was trained on.
* The small trunk learned from X-rays alone. It errs on other pictures than the first, and so
  their mean errs less than either.

Served is a student: one pretrained trunk that sees less of the same picture, in half the time, and learned
both from labels and from a bundle with two trunks (see training/distillation.py).

Every picture is standardised by its own mean and deviation first, so exposure says nothing.
The head is linear on averages of feature maps. The logit is therefore a sum over places of
the picture, and that sum before adding up is the class activation map (Zhou et al. 2016):
exact and free.

Needs Keras, with any backend. Serving does not import this module.
"""

import itertools

import keras
from keras import layers

# kernel, stride, expansion, channels of each inverted residual block of EfficientNet-Lite0
# that is kept. The published network has two more blocks and a wide 1x1 convolution; they
# hold two fifths of its weights for pictures of a thousand kinds, and the head here needs none.
BLOCKS = (
    [(3, 1, 1, 16)]
    + [(3, 2, 6, 24)] + [(3, 1, 6, 24)]
    + [(5, 2, 6, 40)] + [(5, 1, 6, 40)]
    + [(3, 2, 6, 80)] + [(3, 1, 6, 80)] * 2
    + [(5, 1, 6, 112)] * 3
    + [(5, 2, 6, 192)] + [(5, 1, 6, 192)] * 2
)  # fmt: skip
STEM_CHANNELS = 32
FINE, COARSE = "fine_features", "coarse_features"
"""Names of the layers whose averages the head reads: stride 16 and stride 32."""
SMALL_CHANNELS = (24, 48, 96)
SMALL = "small_features"
"""Name of the last feature map of the small trunk: stride 16."""
TRUNKS = {"pretrained": (FINE, COARSE), "small": (SMALL,)}
HEAD = "logit"
ONE_TRUNK = "EfficientNet-Lite0 cut after its fourteenth block"
TWO_TRUNKS = f"the mean of {ONE_TRUNK} and a small residual network"
"""What model cards call the networks of `student` and `build`."""


def _convolution(
    x,
    channels: int,
    kernel: int,
    name: str,
    *,
    stride: int = 1,
    activate: bool = True,
    activation_name: str | None = None,
    ceiling: float | None = 6.0,
):
    x = layers.Conv2D(channels, kernel, stride, "same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(ceiling, name=activation_name or f"{name}_relu")(x) if activate else x


def build(size: int) -> keras.Model:
    """The untrained network.

    Input: float32 (batch, size, size, 1), grey values 0..255, black is 0; size is a multiple of 32.
    Output: float32 (batch, 1), probability of pneumonia in 0..1.
    """
    picture, x = _standardised(size)
    return _headed(picture, {**_pretrained_trunk(x, size), **_small_trunk(x)})


def student(size: int) -> keras.Model:
    """The untrained network for distillation: the pretrained trunk alone, input and output as of `build`.

    It enlarges the half-size picture to about four fifths of `size` and not to `size`: a third less to compute.
    As `size`, that is a multiple of 32, so that the coarse map has half the side of the fine one.
    """
    picture, x = _standardised(size)
    return _headed(picture, _pretrained_trunk(x, round(size * 4 / 5 / 32) * 32))


def feature_maps(model: keras.Model) -> list[str]:
    """Names of the layers whose averages the head of `model` reads, in the order of its weights."""
    there = {layer.name for layer in model.layers}
    return [name for name in itertools.chain(*TRUNKS.values()) if name in there]


def _standardised(size: int):
    picture = keras.Input((size, size, 1), name="picture")
    # Half the resolution: sharpness and grain tell the scanner, not the lung.
    x = layers.AveragePooling2D(2, name="soften")(picture)
    x = layers.Rescaling(1 / 255, name="unit_range")(x)
    # Flat, since the .h5 format forgets the axes of a normalisation over several.
    x = layers.Flatten(name="flat")(x)
    x = layers.LayerNormalization(center=False, scale=False, epsilon=1e-4, name="standardise")(x)
    return picture, layers.Reshape((size // 2, size // 2, 1), name="square")(x)


def _headed(picture, maps: dict) -> keras.Model:
    averages = [layers.GlobalAveragePooling2D(name=_average(name))(tensor) for name, tensor in maps.items()]
    logit = layers.Dense(1, name=HEAD)(layers.Concatenate(name="features")(averages))
    return keras.Model(picture, layers.Activation("sigmoid", name="probability")(logit), name="pneumonia_cnn")


def member(model: keras.Model, trunk: str, dropout: float) -> keras.Model:
    """One trunk of `model`, a key of TRUNKS, with a head of its own to train it by; shares the layers of `model`."""
    averages = [model.get_layer(_average(name)).output for name in TRUNKS[trunk]]
    features = layers.Concatenate(name=f"{trunk}_features")(averages) if len(averages) > 1 else averages[0]
    logit = layers.Dense(1, name=HEAD)(layers.Dropout(dropout, name="dropout")(features))
    return keras.Model(model.input, layers.Activation("sigmoid", name="probability")(logit), name=trunk)


def with_dropout(model: keras.Model, dropout: float) -> keras.Model:
    """`model` with dropout before its head, to train it by; shares its layers."""
    features = layers.Dropout(dropout, name="dropout")(model.get_layer("features").output)
    logit = model.get_layer(HEAD)(features)
    return keras.Model(model.input, layers.Activation("sigmoid", name="probability")(logit), name="student")


def _average(name: str) -> str:
    return f"{name}_average"


def _pretrained_trunk(x, side: int) -> dict:
    """EfficientNet-Lite0 on the standardised half-size picture enlarged to `side`: its fine and coarse feature maps."""
    if side == 2 * x.shape[1]:
        x = layers.UpSampling2D(2, interpolation="bilinear", name="enlarge_picture")(x)
    else:
        x = layers.Resizing(side, side, name="enlarge_picture")(x)
    x = _convolution(x, STEM_CHANNELS, 3, "stem", stride=2)
    channels = STEM_CHANNELS
    fine = None
    for index, (kernel, stride, expansion, out) in enumerate(BLOCKS):
        name = f"block{index}"
        entry = x
        if expansion > 1:
            last_before_coarse = stride == 2 and out == BLOCKS[-1][3]
            x = _convolution(
                x, channels * expansion, 1, f"{name}_expand", activation_name=FINE if last_before_coarse else None
            )
            fine = x if last_before_coarse else fine
        x = layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"{name}_depthwise")(x)
        x = layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_depthwise_bn")(x)
        x = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(x)
        x = _convolution(x, out, 1, f"{name}_project", activate=False)
        if stride == 1 and channels == out:
            x = layers.Add(name=f"{name}_add")([x, entry])
        channels = out
    coarse = _convolution(x, channels * 6, 1, f"block{len(BLOCKS)}_expand", activation_name=COARSE)
    return {FINE: fine, COARSE: coarse}


def _small_trunk(x) -> dict:
    """Six residual blocks (He et al. 2016) that never saw another picture than X-rays: its last feature map."""
    x = _convolution(x, SMALL_CHANNELS[0], 3, "small_stem", stride=2, ceiling=None)
    for stage, channels in enumerate(SMALL_CHANNELS):
        for step in range(2):
            name = f"small{stage}{step}"
            stride = 2 if stage and not step else 1
            entry = x
            if stride == 2:
                entry = layers.AveragePooling2D(2, name=f"{name}_pool")(x)
                entry = _convolution(entry, channels, 1, f"{name}_widen", activate=False)
            x = _convolution(x, channels, 3, f"{name}_first", stride=stride, ceiling=None)
            x = _convolution(x, channels, 3, f"{name}_second", activate=False)
            x = layers.Add(name=f"{name}_add")([x, entry])
            last = stage == len(SMALL_CHANNELS) - 1 and step
            x = layers.ReLU(name=SMALL if last else f"{name}_relu")(x)
    return {SMALL: x}
