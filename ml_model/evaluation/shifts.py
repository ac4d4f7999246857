"""Shifts: what happens to X-rays on their way from a machine to an upload form, imitated by code.

A network is measured on the same pictures under each: how much worse is it on a phone
photo of a screen? Deterministic, and relative to the picture's size.
"""

import io
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

Shift = Callable[[Image.Image], Image.Image]


def gamma(picture: Image.Image, power: float) -> Image.Image:
    """Grey values raised to `power`: over 1 darkens."""
    return picture.point([round(255 * (value / 255) ** power) for value in range(256)])


def blur(picture: Image.Image, share: float) -> Image.Image:
    """Gaussian blur whose deviation is `share` of the longer side."""
    return picture.filter(ImageFilter.GaussianBlur(share * max(picture.size)))


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    """Saved as JPEG of `quality` and read again."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("L")


def noise(picture: Image.Image, deviation: float) -> Image.Image:
    """Gaussian noise of `deviation` grey levels on each pixel."""
    grain = np.random.default_rng(0).normal(0, deviation, (picture.height, picture.width))
    return Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))


def border(picture: Image.Image, share: float, grey: int) -> Image.Image:
    """A frame of `grey`, `share` of each side wide, around the picture."""
    width, height = (math.ceil(side * share) for side in picture.size)
    return ImageOps.expand(picture, (width, height), fill=grey)


def crop(picture: Image.Image, share: float) -> Image.Image:
    """`share` of the picture's width and height cut away, half of it at each side."""
    width, height = (side * share / 2 for side in picture.size)
    return picture.crop((round(width), round(height), round(picture.width - width), round(picture.height - height)))


def rotate(picture: Image.Image, degrees: float) -> Image.Image:
    """Turned anticlockwise, corners black."""
    return picture.rotate(degrees, Image.Resampling.BILINEAR)


def phone_photo(picture: Image.Image) -> Image.Image:
    """Photographed from a screen, slightly from the side: perspective, moiré, uneven light, faint blur."""
    width, height = picture.size
    # Coefficients of (a x + b y + c) / (g x + h y + 1): the left edge is nearer than the right one.
    lean = 0.12
    photo = picture.transform(
        picture.size,
        Image.Transform.PERSPECTIVE,
        (1 + lean / 2, 0, 0, lean / 2, 1, -lean * height / 4, lean / (2 * width), 0),
        Image.Resampling.BILINEAR,
        fillcolor=20,
    )
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    moire = 6 * np.sin(2 * np.pi * (31 * x + 3 * y)) * np.sin(2 * np.pi * (2 * x + 29 * y))
    light = 0.75 + 0.35 * x - 0.15 * y
    grey = np.clip(30 + 0.8 * np.asarray(photo) * light + moire, 0, 255).astype(np.uint8)
    return blur(Image.fromarray(grey), 0.003)


SHIFTS: dict[str, Shift] = {
    "contrast x 0.6": lambda picture: ImageEnhance.Contrast(picture).enhance(0.6),
    "contrast x 1.5": lambda picture: ImageEnhance.Contrast(picture).enhance(1.5),
    "gamma 0.6": lambda picture: gamma(picture, 0.6),
    "gamma 1.7": lambda picture: gamma(picture, 1.7),
    "brightness - 40": lambda picture: picture.point(lambda value: value - 40),
    "brightness + 40": lambda picture: picture.point(lambda value: value + 40),
    "blur": lambda picture: blur(picture, 0.006),
    "noise": lambda picture: noise(picture, 12),
    "JPEG 30": lambda picture: jpeg(picture, 30),
    "black border": lambda picture: border(picture, 0.1, 0),
    "white border": lambda picture: border(picture, 0.1, 255),
    "phone photo": phone_photo,
    "crop 10 %": lambda picture: crop(picture, 0.1),
    "rotation 7°": lambda picture: rotate(picture, 7),
    "inverted": ImageOps.invert,
}
"""By name as reports print it; each takes and gives a grey picture (mode "L")."""
