"""Grey picture -> what the network takes. Training, evaluation and serving all pass through here."""

import numpy as np
from PIL import Image

from ml_model import images


def to_input(grey: Image.Image, size: int) -> np.ndarray:
    """`grey` (mode "L", any size) as uint8 (size, size, 1).

    The whole picture is squeezed to a square: so is the public training set, and
    bilinear filtering with antialiasing is what reproduces its copies best
    (mean difference 2.1 grey levels over 44 pairs; other filters 2.4 to 3.6).
    """
    if grey.size != (size, size):
        grey = grey.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(grey, dtype=np.uint8)[..., np.newaxis]


def from_bytes(data: bytes, size: int) -> np.ndarray:
    """`data`, a picture file, as uint8 (size, size, 1). Raises images.PictureError."""
    return to_input(images.read(data, at_least=size).grey, size)
