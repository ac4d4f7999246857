"""A chest X-ray drawn by code: no patient, no licence, the same pixels on every machine.

Tests, the bundle's golden check and the README's screenshot use it. It has what a
frontal radiograph has in coarse strokes: body, lungs, spine, heart, diaphragm, ribs,
collar bones and grain, and on request a patch of consolidation.
"""

import functools

import numpy as np
from PIL import Image, ImageFilter


def draw(width: int = 640, height: int = 560, *, opacity: float = 0.0, seed: int = 0, blur: float = 0.0) -> Image.Image:
    """A phantom of `width` x `height` pixels, Pillow mode "L".

    opacity: 0..1, how white a patch in the right lower lung is drawn; 0 draws a clear chest.
    seed: moves the anatomy and the grain a little, so that pictures differ. blur: deviation of a Gaussian
    blur, as a share of the longer side; a tenth leaves but haze of a chest.
    """
    drawn = _sharp(width, height, opacity, seed)
    return drawn.filter(ImageFilter.GaussianBlur(blur * max(width, height))) if blur else drawn.copy()


@functools.lru_cache(maxsize=4)  # whoever chooses golden pictures blurs each of them in turn
def _sharp(width: int, height: int, opacity: float, seed: int) -> Image.Image:
    jitter = [((seed * 7919 + k * 104729) % 1000) / 1000 - 0.5 if seed else 0.0 for k in range(4)]
    # One column and one row: what depends on one of them alone is computed once, and not for each pixel.
    y, x = (axis.astype(np.float64) for axis in np.ogrid[0:height, 0:width])
    x = (x / width - 0.5) * 2 - 0.05 * jitter[0]
    y = (y / height - 0.5) * 2 - 0.05 * jitter[1]

    def soft(distance: np.ndarray, edge: float) -> np.ndarray:
        """1 inside (negative distance), 0 outside, over `edge`."""
        return 1 / (1 + np.exp(np.clip(distance / edge, -50, 50)))

    def ellipse(cx: float, cy: float, rx: float, ry: float, edge: float = 0.06) -> np.ndarray:
        return soft(np.hypot((x - cx) / rx, (y - cy) / ry) - 1, edge)

    wide = 1 + 0.08 * jitter[2]
    picture = 150 * soft(np.maximum(np.abs(x) - 0.92 - 0.1 * y, np.abs(y) - 1.2), 0.02)
    shoulders = soft(y + 0.95 - 0.28 * np.abs(x), 0.04)
    picture *= 1 - shoulders
    lungs = np.maximum(ellipse(-0.42 * wide, -0.05, 0.33, 0.68), ellipse(0.43 * wide, -0.05, 0.31, 0.66))
    lungs *= soft(y - 0.48 - 0.12 * np.cos(x * 4.2), 0.02)
    picture -= 112 * lungs
    for k in range(9):
        arch = -0.72 + 0.15 * k + 0.34 * (np.abs(x) - 0.3) ** 2 + 0.10 * np.abs(x)
        # Further away a rib is fainter than rounding.
        first, last = np.searchsorted(y[:, 0], (arch.min() - 0.2, arch.max() + 0.2))
        rib = np.exp(-(((y[first:last] - arch) / 0.022) ** 2))
        picture[first:last] += 26 * rib * soft(np.abs(x) - 0.80, 0.02) * (np.abs(x) > 0.1)
    collar = np.exp(-(((y + 0.70 + 0.16 * np.abs(x)) / 0.026) ** 2))
    picture += 46 * collar * soft(np.abs(x) - 0.75, 0.03)
    picture += 58 * soft(np.abs(x) - 0.085, 0.02) * (1 + 0.10 * np.cos(y * 40))
    picture += (
        92 * np.maximum(ellipse(0.12, 0.22, 0.26, 0.30), 0.7 * ellipse(0.0, -0.15, 0.15, 0.45)) * soft(y - 0.6, 0.05)
    )
    picture += 36 * soft(-(y - 0.62), 0.06)
    if opacity:
        patch = 0.6 * ellipse(-0.45, 0.22, 0.24, 0.24, 0.18) + 0.4 * ellipse(-0.36, 0.08, 0.20, 0.16, 0.2)
        texture = 0.85 + 0.15 * np.sin(x * 37 + 3 * np.sin(y * 23)) * np.sin(y * 41)
        picture += 125 * opacity * patch * texture * lungs
    picture += np.random.Generator(np.random.PCG64(seed)).integers(-5, 6, size=picture.shape)
    return Image.fromarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8), mode="L")
