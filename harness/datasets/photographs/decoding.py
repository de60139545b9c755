"""Image files to RGB pixels as a viewer shows them: upright, on white where transparent, scaled by their bit depth."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from harness.errors import InvalidDataset

#: Part of every key and hash that depends on pixels: raise it when a file decodes to other pixels than before.
DECODER = 2
#: Formats that Pillow decodes itself. Others call programs (EPS) or are documents, not photographs.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
MOST_PIXELS = 178_956_970  # Pillow's own limit of a decompression bomb

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIXTEEN_BITS = 65_535
_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
_UNKNOWN_RANGE = {"I": "32-bit integers", "F": "floating-point numbers"}


def read_image(path: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        InvalidDataset: missing, unreadable, or a FIFO, device or folder.
    """
    try:
        # A FIFO without a writer does not block here.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidDataset(f"image {path} is not a regular file; replace it with the photograph")
            return file.read()
    except FileNotFoundError:
        raise InvalidDataset(f"image {path} is missing") from None
    except IsADirectoryError:
        raise InvalidDataset(f"image {path} is not a regular file; replace it with the photograph") from None
    except OSError as error:
        raise InvalidDataset(f"image {path} cannot be read: {error.strerror or error}") from None


def decode_bytes(content: bytes, path: Path) -> Image.Image:
    """An RGB image from the bytes of a file.

    Args:
        content: of the file.
        path: for the message.

    Raises:
        InvalidDataset: truncated, no image, of a depth without a known range, or implausibly large.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise InvalidDataset(f"image {path} claims {image.width} x {image.height} pixels, too many to decode")
            image.load()
            return as_shown(image)
    except UnidentifiedImageError:
        raise InvalidDataset(
            f"image {path} is not an image that can be read ({', '.join(FORMATS)}), or is truncated"
        ) from None
    # SyntaxError: a broken PNG; MemoryError: a header that claims a huge image
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        raise InvalidDataset(f"image {path} cannot be decoded: {error}; replace the file") from None


def problem_of(content: bytes, path: Path) -> str:
    """Why the bytes of an image file cannot be decoded; "" if they can. A JPEG is decoded at an eighth of its size."""
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            image.draft("RGB", (1, 1))
            image.load()
            return ""
    except Exception:  # no JPEG, or a bad one: the full decoder says what is wrong
        pass
    try:
        decode_bytes(content, path)
    except InvalidDataset as error:
        return str(error)
    return ""


def as_shown(image: Image.Image) -> Image.Image:
    """RGB, upright by its EXIF orientation, transparent pixels on white, deep pixels scaled to 8 bits.

    Raises:
        ValueError: a pixel type whose range is not known (32-bit integers, floats).
    """
    try:
        turn = _UPRIGHT.get(int(image.getexif().get(ExifTags.Base.Orientation, 1)))
    except Exception:  # damaged EXIF data: Pillow raises many kinds; viewers show the picture as it lies
        turn = None
    image = _eight_bits(image)
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        shown = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", shown.size, (255, 255, 255, 255)), shown)
    image = image.convert("RGB")
    return image if turn is None else image.transpose(turn)


def _eight_bits(image: Image.Image) -> Image.Image:
    """An image of a mode with 8 bits per channel."""
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise ValueError(
            f"its pixels are {_UNKNOWN_RANGE[image.mode]}, whose range is not known; save it with 8 or 16 bits"
        )
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)
    grey = Image.fromarray(((values * 255 + _SIXTEEN_BITS // 2) // _SIXTEEN_BITS).clip(0, 255).astype(np.uint8))
    hidden = image.info.get("transparency")
    if isinstance(hidden, int):  # one grey value that stands for nothing
        grey.putalpha(Image.fromarray(np.where(values == hidden, 0, 255).astype(np.uint8)))
    return grey
