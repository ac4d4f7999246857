"""The frame around a picture: what a screenshot, a viewer or an export laid around the X-ray.

In the public set, black edges tell healthy children from ill ones, so a network that learned from it calls ill people
with black around them healthy. It is shown the picture without its frame. (The bars of `quality` are others: at one
side alone, or narrow, as a collimator leaves them, or too wide.)
"""

import numpy as np
from PIL import Image

Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge as shares of width and height, 0..1."""
EVERYTHING: Box = (0.0, 0.0, 1.0, 1.0)

FLAT = 10
"""Grey levels within which a line of pixels is one grey: a border, with the noise of JPEG."""
NARROWEST = 0.05
"""Share of the whole side that the borders at both its ends must take, each. Collimators leave narrower ones, or one
alone: of the 5,216 pictures of the public train split, 14 have a frame by this."""
KEPT = 0.2
"""Share of each side that is left at least: what is smaller is a stamp on a sheet, and no picture in a frame."""

_THIN = 2
"""Lines at the very edge that are not looked at: a thin line may be drawn around the frame."""
_NESTED = 3
"""How many frames may lie within each other."""
_SIDE = 64
"""Of a map that has been put into its place, in pixels."""


def inside(picture: np.ndarray) -> Box:
    """The box of `picture`, uint8 (height, width), inside its frame; EVERYTHING of one without.

    The frame may lie all around, above and below, or at left and right, and be of another grey at each side.
    """
    height, width = picture.shape
    top, bottom, left, right = 0, height, 0, width
    for _ in range(_NESTED):
        part = picture[top:bottom, left:right][_THIN:-_THIN, _THIN:-_THIN]
        if not part.size:
            break
        above, below = _borders(part.max(axis=1) - part.min(axis=1))
        before, after = _borders(part.max(axis=0) - part.min(axis=0))
        if bottom - top - above - below < KEPT * height or right - left - before - after < KEPT * width:
            break
        if not above + before:
            break
        top, bottom, left, right = top + above, bottom - below, left + before, right - after
    return left / width, top / height, right / width, bottom / height


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


def _borders(ranges: np.ndarray) -> tuple[int, int]:
    """How many lines to cut at the beginning and at the end; none at either unless there is a border at both.

    ranges: uint8 (n,), brightest less darkest grey of each line but for the _THIN ones beyond both ends.
    """
    flat = ranges <= FLAT
    # Lines before the first that is not flat; 0 where there is none.
    first, last = int(np.argmin(flat)), int(np.argmin(flat[::-1]))
    if not first or not last or _THIN + min(first, last) < NARROWEST * (len(flat) + 2 * _THIN):
        return 0, 0
    # The next line is half frame, half picture, by the antialiasing of whoever squeezed it.
    return _THIN + first + 1, _THIN + last + 1
