"""Test or validation data that a model also learns from: pictures, pairs and ids that splits share."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator, Sequence

from harness.datasets.base import Dataset, Split

log = logging.getLogger(__name__)

PAIRS_OF_SPLITS = (("test", "train"), ("test", "val"), ("val", "train"))
#: Short captions recur in any collection ("a man riding a wave"): only so large a share of them says that files are mixed up.
MANY_CAPTIONS = 0.1


def report(dataset: Dataset) -> list[str]:
    """Say in the log what splits share, one line for each two splits that share anything; generated data share nothing.

    Returns:
        The lines.
    """
    lines = list(_lines(dataset))
    for line in lines:
        log.warning("%s: %s", dataset.title, line)
    return lines


def _lines(dataset: Dataset) -> Iterator[str]:
    for first, second in PAIRS_OF_SPLITS:
        digests, others = dataset.image_digests(first), dataset.image_digests(second)
        if digests is None or others is None:
            return
        here, there = dataset.split(first), dataset.split(second)
        texts = {text for text in there.captions if text}
        counts = {
            "pictures": _shared(digests, others),
            "pairs of picture and caption": _shared(_pairs(here, digests), _pairs(there, others)),
            "image ids": _shared(here.image_ids, there.image_ids),
            "captions": sum(text in texts for text in here.captions),
        }
        totals = (len(digests), len(here.captions), len(digests), len(here.captions))
        if any(list(counts.values())[:3]) or counts["captions"] > MANY_CAPTIONS * len(here.captions):
            shares = ", ".join(
                f"{n:,} of {total:,} {what}" for (what, n), total in zip(counts.items(), totals, strict=True)
            )
            yield f"{first} shares with {second}: {shares}"


def _pairs(split: Split, digests: Sequence[bytes]) -> list[tuple[bytes, str]]:
    return [(digests[row], text) for row, text in zip(split.caption_image.tolist(), split.captions, strict=True)]


def _shared(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    other = set(second)
    return sum(item in other for item in first)
