"""Grounding on generated scenes, where it is known which word speaks of which object and where that is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from harness.datasets.base import Split
from harness.datasets.images import Box
from harness.datasets.scenes.dataset import Scenes
from harness.datasets.scenes.referents import referents
from harness.grounding.probe import VERSION, GroundingProbe
from harness.grounding.targets import Target
from harness.grounding.texts import spans


class SceneGrounding(GroundingProbe):
    """Words for colour, shape, size, texture and place in the captions of some pictures; each names one object.

    Roles are `colour`, `shape`, `size`, `texture` and `place` (the phrase "in the top left corner" is one item).

    Args:
        dataset: the scenes.
        split: train, val or test.
        count: pictures at most, drawn by the data's hash; all captions of each are asked about.
    """

    name = "scenes"
    title = "words of scenes on their objects"

    def __init__(self, dataset: Scenes, split: str, count: int):
        self._dataset, self._name, self._count = dataset, split, count

    @property
    def identity(self) -> dict[str, Any]:
        """The data, the split, the number of pictures, and the version of the questions."""
        return {"data": self.key, "split": self._name, "pictures": self._count, "version": VERSION}

    @property
    def key(self) -> str:
        return self._dataset.sha256

    @property
    def split(self) -> Split:
        """All of it: other probes ask about it too, so that it is encoded once."""
        return self._dataset.split(self._name)

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        split, rows = self.split, set(self._rows.tolist())
        boxes = self._dataset.boxes(self._name)
        found = []
        for caption, named in enumerate(referents(self._dataset, self._name)):
            row = int(split.caption_image[caption])
            if row not in rows:
                continue
            places = spans(split.captions[caption].split())
            for referent in named:
                span = places[referent.words[0]][0], places[referent.words[-1]][1]
                found.append(Target(caption, span, referent.role, boxes[row][referent.object][None]))
        return tuple(found)

    def region_places(self, rows: Sequence[int]) -> Sequence[Sequence[Box]] | None:
        """The detector's boxes."""
        return [[tuple(box) for box in self._detections[row].tolist()] for row in rows]

    @cached_property
    def _rows(self) -> np.ndarray:
        images = len(self.split.image_ids)
        if images <= self._count:
            return np.arange(images)
        return np.random.default_rng(int(self.key[:16], 16)).choice(images, self._count, replace=False)

    @cached_property
    def _detections(self) -> tuple[np.ndarray, ...]:
        return self._dataset.detections(self._name)
