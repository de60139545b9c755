"""Probes of clutter on scenes: the same targets and captions among more objects, overlapped by them, or hidden by them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from harness.datasets.base import Dataset, Split
from harness.datasets.scenes.dataset import Scenes
from harness.datasets.scenes.ladder import OBJECTS, SHARES, VERSION, Ladder
from harness.probes.base import Answers, Level
from harness.probes.model import Model
from harness.probes.retrieval import RetrievalProbe

#: Pictures of a ladder, where no number is given.
PICTURES = 200


def clutter_probes(dataset: Dataset, split: str, pictures: int = PICTURES) -> tuple[ClutterProbe, ...]:
    """The probes of clutter that fit a dataset: all three for scenes, none for others, whose objects are not known.

    Args:
        dataset: of the runs.
        split: whose random streams the pictures continue; they are none of its own.
        pictures: of each level, at least 2.
    """
    if not isinstance(dataset, Scenes):
        return ()
    ladder = Ladder(dataset, split, pictures)
    return ObjectsProbe(ladder), OverlapProbe(ladder), OcclusionProbe(ladder)


class ClutterProbe(RetrievalProbe):
    """Retrieval of a ladder's pictures by captions that speak of the targets alone.

    A query's gallery is the same at every level. More objects make more captions true of more pictures, and what is true is
    no error; but were it left out of the gallery at the level where it is true, clutter would make galleries smaller and
    recall higher. So whatever is true of a query at any level is left out at all.

    Args:
        ladder: the pictures.
    """

    family = "clutter"
    filtered = True

    def __init__(self, ladder: Ladder):
        self._ladder = ladder
        self._splits: dict[int, Split] = {}

    @property
    def identity(self) -> dict[str, Any]:
        """The data, the split, the number of pictures and the ladder's version."""
        ladder = self._ladder
        return {
            "data": ladder.dataset.sha256,
            "split": ladder.name,
            "pictures": len(ladder.image_ids),
            "ladder": VERSION,
        }

    def split(self, level: int) -> Split:
        """The pictures of a level with the captions of all levels; its relevance is what is true at this level."""
        if level not in self._splits:
            self._splits[level] = self._made(level)
        return self._splits[level]

    def true_pairs(self, level: int) -> np.ndarray:
        """(I, T) bool, what is true at any level."""
        found = [self.split(each).relevance for each in range(len(self.levels))]
        return np.logical_or.reduce([true for true in found if true is not None])

    def answers(self, model: Model) -> Answers:
        """Ranks at every level, with a remark on how many objects training shows."""
        config = self._ladder.dataset.config
        shown = f"training shows {config.min_objects} to {config.max_objects} objects per picture"
        return dataclasses.replace(super().answers(model), remarks=(shown,))

    def forget(self) -> None:
        """Drop the pictures."""
        self._splits.clear()

    def _made(self, level: int) -> Split:
        raise NotImplementedError


class ObjectsProbe(ClutterProbe):
    """More and more distractors beside two targets; nothing touches."""

    name = "objects"
    title = "objects in the picture"
    axis = "objects"
    levels = tuple(Level(str(count), float(count)) for count in OBJECTS)

    def _made(self, level: int) -> Split:
        return self._ladder.objects(OBJECTS[level])


_SHARES = tuple(Level(f"{100 * share:.0f} %", share) for share in SHARES)


class OverlapProbe(ClutterProbe):
    """A distractor ever further behind each of two targets, which are seen whole."""

    name = "overlap"
    title = "targets before a distractor"
    axis = "share of the target covered"
    levels = _SHARES

    def _made(self, level: int) -> Split:
        return self._ladder.overlapping(level, behind=False)


class OcclusionProbe(ClutterProbe):
    """A distractor ever further before each of two targets, of which it hides that share."""

    name = "occlusion"
    title = "targets behind a distractor"
    axis = "share of the target covered"
    levels = _SHARES

    def _made(self, level: int) -> Split:
        return self._ladder.overlapping(level, behind=True)
