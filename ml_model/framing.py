"""The frame around a picture: what a screenshot, a viewer or an export laid around the X-ray.

In the public set, black edges tell healthy children from ill ones, so a network that learned from it calls ill people
with black around them healthy. It is shown the picture without its frame. (The bars of `quality` are more: also those
at one side, or narrow, which belong to the X-ray.)
"""

import numpy as np
from PIL import Image

Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge as shares of width and height, 0..1."""
EVERYTHING: Box = (0.0, 0.0, 1.0, 1.0)

FLAT = 10
"""Grey levels within which a whole line of pixels is one grey: a border, with the noise of JPEG."""
NARROWEST = 0.05
"""Share of a side that a border must take on both opposite sides. A collimator leaves narrower ones, or one alone:
of the 5,216 pictures of the public train split, 13 have a frame by this."""
KEPT = 0.2
"""Share of a side that is left at least; a picture with a wider frame is taken as it is."""

_SIDE = 64
"""Of a map that has been put into its place, in pixels."""


def inside(picture: np.ndarray) -> Box:
    """The box of `picture`, uint8 (height, width), inside its frame; EVERYTHING of one without.

    The frame may lie all around, above and below, or at left and right.
    """
    top, bottom = _borders(picture.min(axis=1), picture.max(axis=1))
    left, right = _borders(picture.min(axis=0), picture.max(axis=0))
    return left, top, 1 - right, 1 - bottom


def in_pixels(box: Box, picture: Image.Image) -> Box:
    """`box` in pixels of `picture`, for `Image.resize`."""
    left, top, right, bottom = box
    return left * picture.width, top * picture.height, right * picture.width, bottom * picture.height


def placed(activation_map: np.ndarray, box: Box) -> np.ndarray:
    """`activation_map`, float32 (h, w) with values 0..1, of what is in `box`, as one of the whole picture.

    Nothing is active outside the box. Of the whole picture, the map itself.
    """
    if box == EVERYTHING:
        return activation_map
    left, top, right, bottom = (round(edge * _SIDE) for edge in box)
    enlarged = Image.fromarray(activation_map).resize((right - left, bottom - top), Image.Resampling.BICUBIC)
    whole = np.zeros((_SIDE, _SIDE), np.float32)
    whole[top:bottom, left:right] = np.clip(np.asarray(enlarged), 0, 1)
    return whole


def _borders(darkest: np.ndarray, brightest: np.ndarray) -> tuple[float, float]:
    """Share of the lines, of which the darkest and brightest grey are given, that is frame at the beginning and at the
    end; 0 for both unless it is at either.
    """
    flat, grey, count = brightest - darkest <= FLAT, darkest.astype(int), len(darkest)
    # How many lines before the first that is not flat, or of another grey than the outermost; 0 where there is none.
    first, last = (
        int(np.argmin((flat & (np.abs(grey - grey[end]) <= FLAT))[::step])) for end, step in ((0, 1), (-1, -1))
    )
    if min(first, last) < NARROWEST * count or first + last > (1 - KEPT) * count:
        return 0.0, 0.0
    # The next line is half frame, half picture, by the antialiasing of whoever squeezed it.
    return (first + 1) / count, (last + 1) / count
