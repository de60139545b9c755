"""Edge density: which share of a picture's pixels has a strong gradient, a measure of visual clutter.

Source:
    Mack and Oliva, Computational estimation of visual complexity, 2004; Rosenholtz, Li and Nakano, Measuring visual clutter,
    Journal of Vision 2007: the density of edge pixels. Differs: they detect edges by Canny's method, whose thinning
    and hysteresis need more settings; here an edge is a Sobel gradient above one threshold.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

#: The longer side that pictures are reduced to, pixels; smaller ones stay.
SIDE = 128
#: A gradient is strong from so many grey values per pixel, of 255.
STRONG = 24.0
#: Densities are rounded to 0.1 %, so that boundaries can be told exactly.
DECIMALS = 3


def edge_density(image: Image.Image) -> float:
    """Share of the pixels whose gradient is at least `STRONG`.

    Args:
        image: of any size and mode.

    Returns:
        0 to 1. The picture is made grey and reduced to `SIDE`; the gradient is that of Sobel's two filters, each divided by
        8 so that a ramp of one grey value per pixel has the gradient 1. Beyond its border the picture goes on as it ends.

    >>> edge_density(Image.new("RGB", (300, 200), "red"))
    0.0
    """
    grey = image.convert("L")
    grey.thumbnail((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=None)
    values = np.asarray(grey, dtype=np.float64)
    across, down = (ndimage.sobel(values, axis=axis, mode="nearest") / 8.0 for axis in (1, 0))
    return float((np.hypot(across, down) >= STRONG).mean())
