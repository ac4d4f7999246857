"""The Keras architecture: EfficientNet-Lite0 on one grey channel, with a head that can be looked into.

EfficientNet-Lite0 (Tan & Le 2019, the "Lite" variant of the TensorFlow model
garden) is plain convolutions, batch normalisation and ReLU6, which a CPU runs fast.
Two things differ here:

* the first convolution takes one channel, and every picture is standardised by
  its own mean and deviation first, so exposure says nothing;
* the head is linear on averages of feature maps at two scales (stride 16 and 32).
  The logit is therefore a sum over places of the picture, and that sum before
  adding up is the class activation map (Zhou et al. 2016): exact and free.

Needs Keras, with any backend. Serving does not import this module.
"""

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
HEAD = "logit"


def _convolution(
    x,
    channels: int,
    kernel: int,
    name: str,
    *,
    stride: int = 1,
    activate: bool = True,
    activation_name: str | None = None,
):
    x = layers.Conv2D(channels, kernel, stride, "same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=activation_name or f"{name}_relu")(x) if activate else x


def build(size: int, dropout: float = 0.3) -> keras.Model:
    """The untrained network.

    Input: float32 (batch, size, size, 1), grey values 0..255, black is 0.
    Output: float32 (batch, 1), probability of pneumonia in 0..1.
    """
    picture = keras.Input((size, size, 1), name="picture")
    x = layers.Rescaling(1 / 255, name="unit_range")(picture)
    # Flat, since the .h5 format forgets the axes of a normalisation over several.
    x = layers.Flatten(name="flat")(x)
    x = layers.LayerNormalization(center=False, scale=False, epsilon=1e-4, name="standardise")(x)
    x = layers.Reshape((size, size, 1), name="square")(x)
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
    features = layers.Concatenate(name="features")(
        [
            layers.GlobalAveragePooling2D(name="fine_average")(fine),
            layers.GlobalAveragePooling2D(name="coarse_average")(coarse),
        ]
    )
    x = layers.Dropout(dropout, name="dropout")(features)
    logit = layers.Dense(1, name=HEAD)(x)
    return keras.Model(picture, layers.Activation("sigmoid", name="probability")(logit), name="pneumonia_cnn")
