"""An activation map -> a transparent picture to lay over the X-ray."""

import io

import numpy as np
from PIL import Image

# Dark violet, red, orange, pale yellow: brightness rises with activation, so the map reads
# without colour vision too. What pushes little stays clear, so that the X-ray shows.
_STOPS = np.array([0.0, 0.35, 0.7, 1.0])
_COLOURS = np.array([[70, 15, 110], [200, 40, 80], [250, 140, 20], [252, 250, 160]], float)
_CLEAR_BELOW, _FULL_FROM = 0.15, 0.75


_STEPS = np.linspace(0, 1, 256)
_PALETTE = np.stack([np.interp(_STEPS, _STOPS, _COLOURS[:, c]) for c in range(3)], axis=-1).round().astype(np.uint8)
_ALPHA = np.rint(255 * np.clip((_STEPS - _CLEAR_BELOW) / (_FULL_FROM - _CLEAR_BELOW), 0, 1)).astype(np.uint8)


def picture(activation_map: np.ndarray, side: int) -> Image.Image:
    """A picture with a palette and transparency, `side` x `side` pixels, of a float (h, w) map with values 0..1.

    Enlarged in its 256 steps, which cuts what would swing below 0 or above 1 beside a peak.
    """
    levels = Image.fromarray(np.rint(255 * np.clip(activation_map, 0, 1)).astype(np.uint8))
    coloured = levels.resize((side, side), Image.Resampling.BICUBIC)
    coloured.putpalette(_PALETTE.tobytes())
    coloured.info["transparency"] = _ALPHA.tobytes()
    return coloured


def render(activation_map: np.ndarray, side: int = 192) -> bytes:
    """`picture` as PNG bytes.

    The map is squeezed to a square as the network's input is; stretched over the X-ray it fits.
    A browser enlarges it smoothly, so more pixels than that would show no more. One byte a pixel
    is written five times as fast as four, and its 256 steps are as fine as 8-bit colours.
    """
    file = io.BytesIO()
    picture(activation_map, side).save(file, "PNG", compress_level=2)
    return file.getvalue()
