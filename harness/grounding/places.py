"""Where the fragments of a model's image encoder lie in some pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from harness.backbones.base import ImageEncoder
from harness.datasets.images import Box
from harness.grounding.boxes import Places, places_of

#: Boxes of the regions of some pictures, by their rows; None where they are not known.
RegionBoxes = Callable[[Sequence[int]], Sequence[Sequence[Box]] | None]


def fragment_places(
    encoder: ImageEncoder,
    rows: Sequence[int],
    fragments: int,
    size: Callable[[int], tuple[int, int]],
    regions: RegionBoxes,
) -> Places | None:
    """The places of the fragments of some pictures; None where they are not known.

    Args:
        encoder: of the pictures.
        rows: N pictures.
        fragments: R, the number of fragments, padding included.
        size: width and height of a picture by its row; asked where the encoder crops.
        regions: boxes of the region features, for an encoder that takes those.
    """
    if encoder.input == "regions":
        boxes = regions(rows)
        found = None if boxes is None else places_of(boxes)
    else:
        found = _cells(encoder, rows, fragments, size)
    lacking = 0 if found is None else fragments - found.placed.shape[1]
    if found is None or lacking < 0:
        return None
    return Places(np.pad(found.boxes, ((0, 0), (0, lacking), (0, 0))), np.pad(found.placed, ((0, 0), (0, lacking))))


def _cells(
    encoder: ImageEncoder, rows: Sequence[int], fragments: int, size: Callable[[int], tuple[int, int]]
) -> Places | None:
    if encoder.grid is None or encoder.grid.fragments != fragments:
        return None
    # A picture that is resized with its aspect ratio lost has its cells at the same fractions at any size.
    sizes = [(1, 1) if encoder.resize == "plain" else size(row) for row in rows]
    distinct = list(dict.fromkeys(sizes))
    boxes = [encoder.places(*one) for one in distinct]
    if any(one is None for one in boxes):
        return None
    each = places_of([one for one in boxes if one is not None])
    number = {one: place for place, one in enumerate(distinct)}
    chosen = [number[one] for one in sizes]
    return Places(each.boxes[chosen], each.placed[chosen])
