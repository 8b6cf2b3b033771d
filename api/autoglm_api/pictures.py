"""From an image's bytes to numbers, by the same lines in trainer and server, so that both see the same picture.

Imported only where images are read: it needs Pillow and NumPy.
"""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Fit = Literal["squeeze", "crop"]
Bytes = NDArray[np.uint8]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
MAX_PIXELS = 50_000_000
_GREY = ("1", "L", "LA", "La", "I", "F")


class PictureError(ValueError):
    """What is wrong with an image, as a sentence's end: `is broken …`.

    Attributes:
        code: `NotBase64`, `NotImage` or `TooManyPixels`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def unpack(text: str) -> bytes:
    """The bytes behind base64, with or without a data URI's beginning.

    Raises:
        PictureError: it is not base64.
    """
    _, comma, rest = text.partition(",") if text.startswith("data:") else ("", "", "")
    try:
        return base64.b64decode("".join((rest if comma else text).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PictureError("NotBase64", f"is not base64 ({error}); encode the image file's bytes") from error


def is_grey(data: bytes) -> bool:
    """Whether the image has no colours, as its header says; nothing else of it is decoded.

    Raises:
        PictureError: it is no image, or a too large one.
    """
    with _opened(data) as image:
        return _without_colours(image)


def decode(data: bytes) -> Image.Image:
    """The picture, upright, in mode L or RGB; what is transparent lies on white, of an animation the first frame.

    Raises:
        PictureError: it is no image, a broken one, or a too large one.
    """
    with _opened(data) as image:
        try:
            image.load()
            upright = ImageOps.exif_transpose(image)
            return _flat(upright)
        except Exception as error:  # decoders raise what they meet: OSError, SyntaxError, struct.error and more
            raise PictureError("NotImage", f"is a broken {image.format} image ({_short(error)})") from error


def pixels(picture: Image.Image, *, size: int, channels: int, fit: Fit) -> Bytes:
    """(channels, size, size), 0 … 255.

    Args:
        picture: as `decode` gives it.
        size: of both sides.
        channels: 1 = grey, 3 = red, green, blue.
        fit: the whole picture is squeezed into a square, or its largest centred square is kept.
    """
    coloured = picture.convert("L" if channels == 1 else "RGB")
    if fit == "crop":
        square = ImageOps.fit(coloured, (size, size), method=Image.Resampling.BILINEAR)
    else:
        square = coloured.resize((size, size), Image.Resampling.BILINEAR)
    values = np.asarray(square, dtype=np.uint8).reshape(size, size, channels)
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def _opened(data: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is the lower one
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise PictureError("TooManyPixels", f"has too many pixels; at most {MAX_PIXELS:,}") from error
    except Exception as error:
        known = ", ".join(FORMATS)
        raise PictureError("NotImage", f"is not an image that can be read; known formats: {known}") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise PictureError("TooManyPixels", f"has {width} x {height} pixels; at most {MAX_PIXELS:,} in all")
    return image


def _flat(image: Image.Image) -> Image.Image:
    """In mode L or RGB."""
    if image.mode.startswith("I"):  # 16 bits a pixel
        return Image.fromarray((np.asarray(image).clip(0, 65_535) / 257).round().astype(np.uint8))
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("L" if _without_colours(image) else "RGB")


def _without_colours(image: Image.Image) -> bool:
    return image.mode in _GREY or image.mode.startswith("I;")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
