"""Thumbnails: small JPEG files of a bounded size, the same bytes for the same picture, and nothing but the picture."""

from __future__ import annotations

import io

from PIL import Image

#: Longest side in pixels; smaller pictures keep their size.
SIDE = 256
#: Of photographs, at about 10 kB each; and of small drawings, whose edges and thin lines suffer first.
PHOTOGRAPH, DRAWING = {"quality": 78}, {"quality": 92, "subsampling": 0}
#: Longest side up to which a picture is treated as a drawing: generated ones, and icons.
SMALL = 128


def thumbnail(image: Image.Image) -> bytes:
    """A JPEG file of an upright RGB picture, without metadata.

    >>> small = Image.open(io.BytesIO(thumbnail(Image.new("RGB", (640, 320), "red"))))
    >>> small.size, small.mode, small.format
    ((256, 128), 'RGB', 'JPEG')
    """
    small = image.convert("RGB")
    settings = DRAWING if max(small.size) <= SMALL else PHOTOGRAPH
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    small.info = {}  # Pillow would write a comment that the file had
    file = io.BytesIO()
    small.save(file, "JPEG", optimize=True, **settings)
    return file.getvalue()
