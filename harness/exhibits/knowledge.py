"""What is known of a split beyond its own pairs: captions that are true of other images, and how many objects a picture has."""

from __future__ import annotations

import logging

import numpy as np

from harness import protocols
from harness.datasets.base import Dataset, Split
from harness.datasets.scenes.dataset import Scenes
from harness.protocols.judged import JudgedProtocol, own_pairs
from harness.records.exhibits import MOST_PAIRS, KnownPairs
from harness.runs.subjects import subject_of

logger = logging.getLogger(__name__)

#: Protocols whose positives are correct pairs. `pmrp` is left out: plausible matches share object classes, no more.
SOURCES = ("scenes_relevance", "cxc", "eccv_caption", "human", "human_crowd")


def unlabelled_pairs(dataset: Dataset, split: Split) -> dict[str, KnownPairs]:
    """Correct pairs that are not the dataset's own, by the protocol that knows them; of those that fit the split.

    A source of more than `MOST_PAIRS` pairs is left out, and a line says so.
    """
    subject = subject_of(split, dataset)
    own, found = set(zip(*(side.tolist() for side in own_pairs(subject)), strict=True)), {}
    for name in SOURCES:
        protocol = protocols.get(name)
        if not isinstance(protocol, JudgedProtocol) or not protocols.fits(name, subject):
            continue
        exact = subject.relevance if name == "scenes_relevance" else None
        if exact is not None and np.count_nonzero(exact) > MOST_PAIRS + len(split.captions):
            _report(dataset, split, name)  # before lists of tens of millions are made
            continue
        judged = protocol.judged(subject)
        captions = np.stack([np.repeat(judged.i2t.queries, judged.i2t.sizes), judged.i2t.items])
        images = np.stack([judged.t2i.items, np.repeat(judged.t2i.queries, judged.t2i.sizes)])
        pairs = np.unique(np.concatenate([captions, images], axis=1), axis=1)
        further = [pair for pair in zip(*pairs.tolist(), strict=True) if pair not in own]
        if len(further) > MOST_PAIRS:
            _report(dataset, split, name)
        elif further:
            found[name] = KnownPairs(pairs=tuple(further))
    return found


def _report(dataset: Dataset, split: Split, name: str) -> None:
    logger.warning(
        "the correct pairs that %s knows of %s %s are left out of the site, which marks at most %s",
        name,
        dataset.title,
        split.name,
        f"{MOST_PAIRS:,}",
    )


def clutter(dataset: Dataset, split: Split) -> dict[int, int]:
    """The number of objects in each picture, by image row; nothing where it is not known."""
    if not isinstance(dataset, Scenes):
        return {}
    return {row: len(scene) for row, scene in enumerate(dataset.scenes(split.name))}
