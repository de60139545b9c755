"""Clutter ladders: pictures of two targets whose captions stay while what surrounds the targets changes.

Of every picture, the targets with their place, size, tilt and shade, the background, its strokes and the noise are the same
at every level, and so are the captions, which speak of the targets alone. More objects than `max_objects` are more than
training shows: that is what is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.datasets.base import Split
from harness.datasets.scenes.dataset import Scenes
from harness.datasets.scenes.detector import describe, detect_alike
from harness.datasets.scenes.distractors import MOST, around, touching
from harness.datasets.scenes.grammar import LEVELS, Form, Truth, forms_of, wording
from harness.datasets.scenes.pictures import in_memory
from harness.datasets.scenes.rendering import CLUTTER, Placed, place, render
from harness.datasets.scenes.world import Draws, Scene, edit_scene, sample_scene

#: Part of the identity of what is generated here: a change of one byte must change it.
VERSION = 2
#: Objects in a picture, targets included, at each level.
OBJECTS = (2, 4, 6, 8, 10, 2 + MOST)
#: Share of each target's painted samples that also lie in a distractor, at each level of overlap and occlusion.
SHARES = (0.0, 0.15, 0.3, 0.45)
#: Objects in a picture at every level of overlap and occlusion.
FIXED = 4
#: Levels of captions that speak of two targets at most.
SPOKEN = LEVELS[:4]
_PURPOSE = 6  # see `Scenes.draws`
_SCENE, _CAPTIONS, _PLACE, _SURROUNDINGS, _AROUND, _TOUCHING, _DETECTOR = range(7)


class Drawn(NamedTuple):
    """The objects of a picture.

    Args:
        objects: the two targets, then distractors; each at the same place of the tuple at every level that has it.
        order: in which they are painted, the front one last.
    """

    objects: tuple[Placed, ...]
    order: tuple[int, ...]


class Ladder:
    """Splits of the same targets and captions under different clutter. Equal settings give equal bytes on every machine.

    Args:
        dataset: whose seed, image size, clutter and share of minimal edits hold.
        name: of the split whose random streams are continued: train, val or test.
        pictures: how many, at least 1.
    """

    def __init__(self, dataset: Scenes, name: str, pictures: int):
        self.dataset, self.name = dataset, name
        self._size = dataset.config.image_size
        self._scenes = [self._scene(index) for index in range(pictures)]
        self._targets = [place(scene, self._draws(at, _PLACE), self._size) for at, scene in enumerate(self._scenes)]
        self._touching: dict[int, tuple[tuple[Placed, ...], ...]] = {}
        self._forms: list[Form] = []
        captions = []
        for index, scene in enumerate(self._scenes):
            draws = self._draws(index, _CAPTIONS)
            forms = forms_of(scene, draws)[: len(SPOKEN)]
            captions += [wording(form, draws) for form in forms]
            self._forms += forms
        self.captions = tuple(captions)
        self.image_ids = tuple(f"{name}-ladder-{index:05d}" for index in range(pictures))

    def objects(self, count: int) -> Split:
        """Two targets and so many distractors that there are `count` objects, `OBJECTS[0]` to `OBJECTS[-1]`; nothing touches.

        The objects of a picture are those of the same picture with fewer, and further ones.
        """
        return self._split([self.beside(index, count) for index in range(len(self.image_ids))])

    def overlapping(self, level: int, behind: bool) -> Split:
        """`FIXED` objects, of which a distractor lies against each target, and covers `SHARES[level]` of it.

        Args:
            level: of `SHARES`.
            behind: the targets lie behind it, which hides that share of them; else before it, all of them seen.
        """
        return self._split([self.against(index, level, behind) for index in range(len(self.image_ids))])

    def beside(self, index: int, count: int) -> Drawn:
        """One picture of `objects`."""
        targets = self._targets[index]
        distractors = around(targets, self._draws(index, _AROUND), self._size)
        objects = (*targets, *distractors[: count - len(targets)])
        return Drawn(objects, tuple(reversed(range(count))))

    def against(self, index: int, level: int, behind: bool) -> Drawn:
        """One picture of `overlapping`."""
        targets = self._targets[index]
        if index not in self._touching:  # the same at every level
            self._touching[index] = touching(targets, SHARES, self._draws(index, _TOUCHING), self._size)
        objects = (*targets, *self._touching[index][level])
        return Drawn(objects, (0, 1, 2, 3) if behind else (2, 3, 0, 1))

    def _draws(self, index: int, *purpose: int) -> Draws:
        return self.dataset.draws(_PURPOSE, self.name, index, *purpose)

    def _scene(self, index: int) -> Scene:
        """Two targets. Of some pairs (2k, 2k + 1) the second is a minimal edit of the first, as in the dataset."""
        draws = self._draws(index, _SCENE)
        if index % 2 and draws.chance(self.dataset.config.minimal_edits):
            return edit_scene(self._scene(index - 1), draws)
        return sample_scene(draws, 2, 2)

    def _split(self, drawn: Sequence[Drawn]) -> Split:
        truth = Truth([tuple(placed.object for placed in picture.objects) for picture in drawn])
        return Split(
            name=self.name,
            images=in_memory([self._picture(index, picture) for index, picture in enumerate(drawn)]),
            image_ids=self.image_ids,
            captions=self.captions,
            caption_ids=tuple(f"{image}#{level}" for image in self.image_ids for level in SPOKEN),
            caption_image=np.repeat(np.arange(len(self.image_ids)), len(SPOKEN)),
            relevance=np.stack([truth.of(form) for form in self._forms], axis=1),
        )

    def _picture(self, index: int, drawn: Drawn) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (S, S, 3) and region features of one picture."""
        clutter = self.dataset.config.clutter
        painted = [drawn.objects[number] for number in drawn.order]
        image = render(painted, CLUTTER[clutter], self._draws(index, _SURROUNDINGS), self._size)
        boxes = detect_alike(drawn.objects, clutter, lambda what: self._draws(index, _DETECTOR, what), self._size)
        return image, describe(image, boxes)
