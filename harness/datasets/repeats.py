"""What repeats in a dataset: captions word for word within a split, and pictures, pairs and ids that splits share.

Captions of equal text get equal scores and tie, whatever the method; where two belong to different images, one of them
counts as wrong for the other's image. COCO's test split has 176 that repeat another one, Flickr30K's 1.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from harness.datasets.base import Dataset, Split

logger = logging.getLogger(__name__)

PAIRS_OF_SPLITS = (("test", "train"), ("test", "val"), ("val", "train"))
#: Short captions recur in any collection ("a man riding a wave"): only so large a share of them says that files are mixed up.
MANY_CAPTIONS = 0.1


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

    def as_dict(self) -> dict[str, int | str]:
        """For a record."""
        return asdict(self)


def duplicate_captions(captions: Sequence[str], caption_image: np.ndarray) -> Duplicates:
    """Count captions of equal text, character by character.

    Args:
        captions: T texts.
        caption_image: (T,) image row of each.

    >>> duplicate_captions(["a dog", "a cat", "a dog"], np.array([0, 0, 1]))
    Duplicates(captions=3, repeats=1, texts=1, across_images=2, example='a dog')
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


def report_captions(captions: Sequence[str], caption_image: np.ndarray, where: str) -> Duplicates:
    """Count captions of equal text, and log the counts where there are any.

    Args:
        captions, caption_image: as `duplicate_captions`.
        where: dataset and split, for the line.
    """
    found = duplicate_captions(captions, caption_image)
    if found.repeats:
        logger.info(
            "%s: %s of %s captions repeat another one word for word (%s share their text with another image's: their "
            "scores tie, whatever the method)",
            where,
            f"{found.repeats:,}",
            f"{found.captions:,}",
            f"{found.across_images:,}",
        )
    return found


def report_splits(dataset: Dataset) -> list[str]:
    """Log what splits share, one line for each two that share anything; generated data share nothing.

    Returns:
        The lines.
    """
    lines = list(_shared_by_splits(dataset))
    for line in lines:
        logger.warning("%s: %s", dataset.title, line)
    return lines


def _shared_by_splits(dataset: Dataset) -> Iterator[str]:
    for first, second in PAIRS_OF_SPLITS:
        if not {first, second}.issubset(dataset.splits):
            continue
        digests, others = dataset.image_digests(first), dataset.image_digests(second)
        if digests is None or others is None:
            return
        here, there = dataset.split(first), dataset.split(second)
        texts = {text for text in there.captions if text}
        images, captions = len(digests), len(here.captions)
        counts = (
            (_shared(digests, others), images, "pictures"),
            (_shared(_pairs(here, digests), _pairs(there, others)), captions, "pairs of picture and caption"),
            (_shared(here.image_ids, there.image_ids), images, "image ids"),
            (sum(text in texts for text in here.captions), captions, "captions"),
        )
        if any(count for count, _, _ in counts[:3]) or counts[3][0] > MANY_CAPTIONS * captions:
            shares = ", ".join(f"{count:,} of {total:,} {what}" for count, total, what in counts)
            yield f"{first} shares with {second}: {shares}"


def _pairs(split: Split, digests: Sequence[bytes]) -> list[tuple[bytes, str]]:
    return [(digests[row], text) for row, text in zip(split.caption_image.tolist(), split.captions, strict=True)]


def _shared(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    other = set(second)
    return sum(item in other for item in first)
