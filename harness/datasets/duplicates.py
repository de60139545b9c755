"""Captions that are word for word the same: they get the same scores, tie, and cannot all be told apart by any method.

COCO's test split has 176 that repeat another one, Flickr30K's 1. Where the two belong to different images, one of
them counts as wrong for the other's image.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Duplicates:
    """Exact duplicates among T captions.

    Args:
        captions: T.
        repeats: captions whose text an earlier caption has already.
        texts: different texts that occur more than once.
        across_images: captions whose text another image has too; these tie as a correct and a wrong item.
        example: the first text that repeats, "" if none does.
    """

    captions: int
    repeats: int
    texts: int
    across_images: int
    example: str = ""

    def sentence(self) -> str:
        """What was found, for a log or a report."""
        return (
            f"{self.repeats:,} of {self.captions:,} captions repeat another one word for word "
            f"({self.across_images:,} share their text with another image's: their scores tie, whatever the method)"
        )

    def as_dict(self) -> dict[str, int | str]:
        """For a record."""
        return asdict(self)


def find(captions: Sequence[str], caption_image: np.ndarray) -> Duplicates:
    """Find captions of equal text, character by character.

    Args:
        captions: T texts.
        caption_image: (T,) image row of each.

    Returns:
        The counts.
    """
    owners: dict[str, list[int]] = {}
    for text, image in zip(captions, np.asarray(caption_image).tolist(), strict=True):
        owners.setdefault(text, []).append(image)
    repeated = {text: images for text, images in owners.items() if len(images) > 1}
    return Duplicates(
        captions=len(captions),
        repeats=len(captions) - len(owners),
        texts=len(repeated),
        across_images=sum(len(images) for images in repeated.values() if len(set(images)) > 1),
        example=next(iter(repeated), ""),
    )


def report(captions: Sequence[str], caption_image: np.ndarray, where: str) -> Duplicates:
    """Find them, and say so in the log where there are any.

    Args:
        captions, caption_image: as `find`.
        where: dataset and split, for the line.
    """
    found = find(captions, caption_image)
    if found.repeats:
        log.info("%s: %s", where, found.sentence())
    return found
