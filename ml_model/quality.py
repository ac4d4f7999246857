"""What may be wrong with a picture, judged from its pixels alone: hints for people, which change no answer.

What is cut away as a frame before the analysis is not judged.

Each measure has one threshold, set so that it speaks of one or two in a thousand of the 5,216 train
pictures of the public set. Shares of them and, in brackets, of 200 normal adults (RSNA challenge):

too_dark        the mean grey within bars is under 65               0.06 % (0 %); median 123 (126)
too_bright      the mean grey within bars is over 185               0.12 % (0.5 %)
low_contrast    nine tenths of the pixels lie within 85 grey levels 0.21 % (0 %); median 184 (205)
borders         bars of one grey at the edges cover over a quarter  0 % (0 %); at most 0.21 (0.23)
cut_off         it mirrors best far from its middle, or has a shape
                unlike that of X-rays                               0.15 % (0 %)
low_resolution  under 224 pixels on a side                          0 % (0 %): the copies at hand have 224

Any of them: 0.48 % of train, 0.16 % of 624 test pictures, 0.5 % of the adults, 1 of 44 originals.
Where the left or right four tenths of such originals are cut away, cut_off says so of 93 and 84 %; of the
adults, 94 and 100 %, some by their shape. Where three tenths are missing it is about half, and of what is
missing above or below, only the shape tells: the originals are 1.05 to 1.77 times as wide as high.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from ml_model import framing
from ml_model.images import Picture

DARKEST, BRIGHTEST = 65.0, 185.0
LEAST_CONTRAST = 85
MOST_BORDER = 0.25
ASPECTS = 0.6, 2.2
LEAST_SIDE = 224

CODES = ("too_dark", "too_bright", "low_contrast", "low_resolution", "borders", "cut_off")

_SIDE = 224  # pixels are sampled to a square like the public set's copies
_CELLS = 32  # and averaged to so many cells a side to look for the axis of symmetry
_FLAT = 2.0  # standard deviation of a row or column that is one grey, but for JPEG's traces
_MIDDLE, _FAR = 0.13, 0.18  # of the width, from the middle
_MARGIN = 0.1  # by how much a far axis must correlate better than any in the middle


def hints(picture: Picture, box: framing.Box = framing.EVERYTHING, *, inverted: bool = False) -> tuple[str, ...]:
    """Those of CODES that hold for what is in `box` of `picture`, or for its negative if it is `inverted`.

    Takes under a millisecond.
    """
    left, top, right, bottom = box
    edges = framing.in_pixels(box, picture.grey)
    pixels = np.asarray(picture.grey.resize((_SIDE, _SIDE), Image.Resampling.NEAREST, edges))
    width, height = round((right - left) * picture.width), round((bottom - top) * picture.height)
    return tuple(_hints(255 - pixels if inverted else pixels, width, height))


def _hints(pixels: np.ndarray, width: int, height: int) -> Iterator[str]:
    inside = _within_bars(pixels)
    share = np.bincount((inside if inside.size else pixels).ravel(), minlength=256).cumsum()
    share = share / share[-1]
    mean = 255 - share[:-1].sum()
    if mean < DARKEST:
        yield "too_dark"
    elif mean > BRIGHTEST:
        yield "too_bright"
    if np.searchsorted(share, 0.95) - np.searchsorted(share, 0.05) < LEAST_CONTRAST:
        yield "low_contrast"
    if min(width, height) < LEAST_SIDE:
        yield "low_resolution"
    if inside.size < (1 - MOST_BORDER) * pixels.size:
        yield "borders"
    if not ASPECTS[0] <= width / height <= ASPECTS[1] or _off_centre(pixels):
        yield "cut_off"


def _within_bars(pixels: np.ndarray) -> np.ndarray:
    """`pixels` without the rows and columns at the edges that are of one grey."""
    for _ in range(2):  # rows, then columns
        alive = np.flatnonzero(_deviation(pixels) > _FLAT)
        pixels = (pixels[alive[0] : alive[-1] + 1] if alive.size else pixels[:0]).T
        if not pixels.size:
            break
    return pixels


def _deviation(pixels: np.ndarray) -> np.ndarray:
    """The standard deviation of each row."""
    values = pixels.astype(np.float32)
    return np.sqrt(np.maximum((values * values).mean(1) - values.mean(1) ** 2, 0))


def _off_centre(pixels: np.ndarray) -> bool:
    """Whether the picture mirrors best about a line far from its middle, as a chest does whose side is missing."""
    cells = np.asarray(Image.fromarray(pixels).reduce(_SIDE // _CELLS), dtype=np.float64)[_CELLS // 8 : -_CELLS // 8]
    correlations = _correlations(cells)
    return bool(correlations[_OFF > _MIDDLE].max() - correlations[_OFF <= _MIDDLE].max() > _MARGIN)


_AXES = np.array([axis for axis in range(6, _CELLS - 5) if not _MIDDLE < abs(axis / _CELLS - 0.5) < _FAR])
_OFF = abs(_AXES / _CELLS - 0.5)
_MIRRORED = np.add.outer(range(_CELLS), range(_CELLS))  # two columns are each other's images where it is 2 * axis - 1


def _correlations(cells: np.ndarray) -> np.ndarray:
    """What is left of each of _AXES, mirrored, with what is right of it, as far as both reach; 0 where one is flat.

    By the products of all pairs of columns, from which each axis takes its sums, in a quarter of the time.
    """
    width = np.minimum(_AXES, _CELLS - _AXES)
    products = cells.T @ cells
    product = np.bincount(_MIRRORED.ravel(), products.ravel())[2 * _AXES - 1] / 2  # each pair is in it twice
    sums, squares = (np.concatenate([[0], np.cumsum(each)]) for each in (cells.sum(0), products.diagonal()))
    left, right = (sums[_AXES] - sums[_AXES - width], sums[_AXES + width] - sums[_AXES])
    count = width * len(cells)
    variance = count * (squares[_AXES] - squares[_AXES - width]) - left**2
    other_variance = count * (squares[_AXES + width] - squares[_AXES]) - right**2
    flat = np.minimum(variance, other_variance) < 1
    return np.where(flat, 0, (count * product - left * right) / np.sqrt(np.where(flat, 1, variance * other_variance)))
