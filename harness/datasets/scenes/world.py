"""Symbolic scenes: a few objects, each with shape, colour, size, texture and a cell of a 3 x 3 grid.

Some scenes are minimal edits of their neighbour: two objects exchange one attribute, so that both scenes hold the same
attributes and only their binding differs ("red circle, blue square" v "blue circle, red square").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")
SHAPES = ("circle", "square", "triangle", "cross", "ring", "star")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "white", "black")
SIZES = ("small", "large")
TEXTURES = ("plain", "striped", "spotted")
GRID = 3
CELLS = GRID * GRID
ANY = -1  #: a description that leaves an attribute open


class Object(NamedTuple):
    """An object, or the description of one: indices into the tables above; `ANY` = not said (descriptions only)."""

    shape: int
    colour: int
    size: int = ANY
    texture: int = ANY
    cell: int = ANY  #: row * GRID + column

    @property
    def row(self) -> int:
        return self.cell // GRID

    @property
    def column(self) -> int:
        return self.cell % GRID


Scene = tuple[Object, ...]


class Draws:
    """Random numbers that are the same on every machine and with every numpy.

    Of PCG64 only the raw 64-bit stream is guaranteed between numpy's versions (NEP 19), so they are made from it here.

    Args:
        key: non-negative integers that name the stream.

    >>> Draws(0).order(5)
    [4, 2, 0, 1, 3]
    """

    def __init__(self, *key: int):
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def below(self, limit: int) -> int:
        """An integer in [0, limit), limit far below 2**32."""
        return (int(self._bits.random_raw()) >> 32) * limit >> 32

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * ((int(self._bits.random_raw()) >> 11) * 2.0**-53)

    def chance(self, probability: float) -> bool:
        return self.between(0.0, 1.0) < probability

    def pick(self, options: Sequence[T]) -> T:
        """One of some options."""
        return options[self.below(len(options))]

    def order(self, count: int) -> list[int]:
        """The integers below `count` in random order."""
        items = list(range(count))
        for last in range(count - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]
        return items

    def bytes(self, count: int) -> np.ndarray:
        """(count,) uint8."""
        return self._bits.random_raw(-(-count // 8)).astype("<u8").view(np.uint8)[:count]


def sample_scene(draws: Draws, fewest: int, most: int) -> Scene:
    """A scene of `fewest` to `most` objects in different cells, no two with the same colour and shape."""
    cells = draws.order(CELLS)[: fewest + draws.below(most - fewest + 1)]
    kinds: list[tuple[int, int]] = []
    while len(kinds) < len(cells):
        kind = (draws.below(len(SHAPES)), draws.below(len(COLOURS)))
        if kind not in kinds:
            kinds.append(kind)
    return tuple(
        Object(shape, colour, draws.below(len(SIZES)), draws.below(len(TEXTURES)), cell)
        for (shape, colour), cell in zip(kinds, cells, strict=True)
    )


def edit_scene(scene: Scene, draws: Draws) -> Scene:
    """The scene with one attribute exchanged between two of its objects.

    A scene in which no exchange gives a different, valid one is returned as it is (so rare that it needs no retry:
    two objects would have to agree in four attributes, yet any two differ in their cell).
    """
    exchanges = [(a, b, field) for a in range(len(scene)) for b in range(a) for field in Object._fields]
    for choice in draws.order(len(exchanges)):
        a, b, field = exchanges[choice]
        edited = list(scene)
        edited[a] = scene[a]._replace(**{field: getattr(scene[b], field)})
        edited[b] = scene[b]._replace(**{field: getattr(scene[a], field)})
        if set(edited) != set(scene) and len({obj[:2] for obj in edited}) == len(edited):
            return tuple(edited)
    return scene
