"""Where the body is in a picture, so that a network sees that and not how somebody framed it.

In the public set, black edges are a label: 28 % of the healthy children's pictures have a border of one grey at an
edge, of those with pneumonia 5 %. A network that learned so calls ill people with black around them healthy.
"""

import numpy as np
from PIL import Image

Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge as shares of width and height, 0..1, as in `Image.crop`."""
EVERYTHING: Box = (0.0, 0.0, 1.0, 1.0)

FLAT = 10
"""Grey levels within which a whole line of pixels is one grey: a border, with the noise of JPEG."""
DARK = 0.1
"""Up to this share of the way from a picture's darkest to its brightest grey, each but for 1 % of pixels, is air."""
MOSTLY = 0.7
"""Share of a line's pixels that are air where the line is not body: beside it are letters, above it raised arms."""
KEPT = 0.5
"""Share of width and of height that is kept at least; where less would remain, nothing is taken away there."""

_SIDE = 64
"""Of a map that has been put into its place, in pixels."""


def body(picture: np.ndarray) -> Box:
    """The box of `picture`, uint8 (height, width), without borders of one grey and without air beside the body."""
    height, width = picture.shape
    top, bottom = _borders(picture.min(axis=1), picture.max(axis=1))
    left, right = _borders(picture.min(axis=0), picture.max(axis=0))
    inside = picture[top : height - bottom, left : width - right]
    if inside.size:
        counts = np.cumsum(np.bincount(inside.ravel(), minlength=256))
        darkest, brightest = np.searchsorted(counts, (0.01 * counts[-1], 0.99 * counts[-1]))
        air = inside <= darkest + DARK * (brightest - darkest)
        columns, rows = air.mean(axis=0) >= MOSTLY, air.mean(axis=1) >= MOSTLY
        left, right = left + _leading(columns), right + _leading(columns[::-1])
        top, bottom = top + _leading(rows), bottom + _leading(rows[::-1])
    if left + right > (1 - KEPT) * width:
        left = right = 0
    if top + bottom > (1 - KEPT) * height:
        top = bottom = 0
    return left / width, top / height, 1 - right / width, 1 - bottom / height


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


def _borders(darkest: np.ndarray, brightest: np.ndarray) -> tuple[int, int]:
    """How many lines at the beginning and at the end are of one grey, each side of its own."""
    flat, darkest = brightest - darkest <= FLAT, darkest.astype(int)
    first, last = (flat & (np.abs(darkest - darkest[end]) <= FLAT) for end in (0, -1))
    return _leading(first), _leading(last[::-1])


def _leading(lines: np.ndarray) -> int:
    """How many are true before the first that is not; none where all are, since then nothing else is there."""
    return int(np.argmin(lines))
