"""Which pairs of a split get a card: the same for every method, drawn at random, whatever a method makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from harness.datasets.base import Split

#: Pairs of a sample.
COUNT = 12
#: How they are chosen; another rule gets another name, so that cards by the earlier one are replaced.
RULE = f"{COUNT} by length, 1"
#: Groups by clutter, where it is known; each is sampled by length.
_CLUTTER_GROUPS = 3


class Pair(NamedTuple):
    """A picture with one of the dataset's captions, or with a text."""

    image: int  #: row
    caption: int | None  #: row; None = `text` is no caption of the dataset
    text: str
    chosen: Literal["sample", "asked"]


def sample(split: Split, data_sha256: str, clutter: Mapping[int, int] | None = None, count: int = COUNT) -> list[Pair]:
    """Correct pairs of differing captions: drawn at random from groups of equal size by length, each picture once.

    Nothing of any run decides them, so no method's good or bad side is picked; equal data give equal pairs.

    Args:
        split: I images, T captions.
        data_sha256: of the dataset, from which the draws are seeded.
        clutter: number of objects by image row, where it is known of every image: captions are then grouped by it first.
        count: pairs; fewer where there are fewer images.

    Returns:
        The pairs, in the order of clutter, then of length.
    """
    generator = np.random.default_rng(int(data_sha256[:16], 16))
    order = _ordered(split, clutter if clutter and len(clutter) == len(split.image_ids) else None, generator)
    wanted = min(count, len(split.image_ids))
    taken: dict[int, int] = {}  # caption row by image row
    # A group whose pictures are all taken draws from the rest; that happens where there are few pictures.
    for group in (*np.array_split(order, wanted), *[order] * wanted):
        owners = split.caption_image[group]
        free = group[~np.isin(owners, list(taken))]
        if len(free) and len(taken) < wanted:
            row = int(generator.choice(free))
            taken[int(split.caption_image[row])] = row
    places = {row: place for place, row in enumerate(order.tolist())}
    chosen = sorted(taken.values(), key=places.__getitem__)
    return [Pair(int(split.caption_image[row]), row, split.captions[row], "sample") for row in chosen]


def _ordered(split: Split, clutter: Mapping[int, int] | None, generator: np.random.Generator) -> np.ndarray:
    """(T,) caption rows by clutter of their picture, in few steps, then by number of words; ties at random."""
    lengths = np.array([len(caption.split()) for caption in split.captions])
    ties = generator.permutation(len(lengths))
    if clutter is None:
        return np.lexsort((ties, lengths))
    objects = np.array([clutter[int(row)] for row in split.caption_image])
    steps = np.quantile(objects, np.linspace(0, 1, _CLUTTER_GROUPS + 1)[1:-1])
    return np.lexsort((ties, lengths, np.searchsorted(steps, objects, side="left")))
