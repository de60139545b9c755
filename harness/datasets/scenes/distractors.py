"""Where distractors stand round two targets: beside them, ever more, or against them, ever closer.

No distractor has colour and shape of a target or of another distractor, so that descriptions of the targets stay unique.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from harness.datasets.scenes.rendering import Placed, painted, paints, place
from harness.datasets.scenes.world import CELLS, COLOURS, GRID, SHAPES, SIZES, TEXTURES, Draws, Object

#: Distractors that stand round two targets at most: in seven cells, two small ones in each of three of them.
MOST = 10
_DOUBLED = MOST - (CELLS - 2)
_SMALL = SIZES.index("small")
_TIGHT = 0.25  # radius of objects that share a cell, in cells: the smallest of the small ones
_CORNER = 0.24  # how far their centres stand from the cell's, in cells: as far as it goes with `rendering`'s margin
_SEEN = 0.4  # of a distractor that lies behind its target this much is seen at least
_STEPS = 16  # places on the way to a target that are tried for each share
_REFINED = 8  # halvings between two of them
_ATTEMPTS = 1000


def around(targets: Sequence[Placed], draws: Draws, size: int) -> tuple[Placed, ...]:
    """`MOST` distractors in the cells that two targets leave free, in random order; none touches anything.

    The first few of them are a sample of all, so that distractors at every level are of one kind: mostly small.

    Args:
        targets: two objects in different cells.
        draws: for kinds, places and order.
        size: side S in pixels.
    """
    cells = _free_cells(targets, draws)
    spots = [(cell, 0) for cell in cells[_DOUBLED:]]
    for cell in cells[:_DOUBLED]:
        falling = 1 - 2 * draws.below(2)  # which diagonal of the cell they stand on
        spots += [(cell, falling), (cell, 2 * falling)]
    spots = [spots[number] for number in draws.order(MOST)]
    kinds = _other_kinds((target.object for target in targets), draws)
    placed = []
    for (cell, corner), kind in zip(spots, kinds, strict=False):
        alone = _distractor(kind, cell, draws, size)
        placed.append(_in_corner(alone, corner, size) if corner else alone)
    return tuple(placed)


def touching(
    targets: Sequence[Placed], shares: Sequence[float], draws: Draws, size: int
) -> tuple[tuple[Placed, ...], ...]:
    """Two distractors, which move towards a target each until they share the samples that are wanted of it.

    Each comes from a cell beside its target, straight towards the target's centre, and stops at the first place (of those
    tried, see `_STEPS`) where the share is reached. Nothing else touches anything, and of a distractor that lies behind its
    target two fifths are seen at least; what does not work out is drawn again.

    Args:
        targets: two objects in different cells.
        shares: of a target's painted samples that also lie in its distractor, ascending from 0.
        draws: for kinds and places.
        size: side S in pixels.

    Returns:
        At each share, a distractor for each target.
    """
    for _ in range(_ATTEMPTS):
        found = _attempt(targets, shares, draws, size)
        if found is not None:
            return found
    raise AssertionError("no place for distractors")


def covered(target: Placed, others: Iterable[Placed], size: int) -> float:
    """The share of the samples that a target paints which lie in other objects too."""
    xs, ys = painted(target, size)
    return float(np.logical_or.reduce([paints(other, xs, ys) for other in others]).mean())


def _attempt(
    targets: Sequence[Placed], shares: Sequence[float], draws: Draws, size: int
) -> tuple[tuple[Placed, ...], ...] | None:
    """Distractors that touch as they should; None where a place or a kind is lacking, or something else is touched."""
    free = _free_cells(targets, draws)
    kinds = iter(_other_kinds((target.object for target in targets), draws))
    ways = []
    for target in targets:
        cell = next((cell for cell in free if _are_beside(cell, target.object.cell)), None)
        if cell is None:
            return None
        free.remove(cell)
        tried = (_way(_distractor(kind, cell, draws, size), target, shares, size) for kind in kinds)
        way = next((way for way in tried if way is not None), None)
        if way is None:
            return None
        ways.append(way)
    touchers = tuple(zip(*ways, strict=True))
    apart = all(
        not covered(toucher, (targets[1 - number], level[1 - number]), size)
        for level in touchers
        for number, toucher in enumerate(level)
    )
    return touchers if apart else None


def _way(toucher: Placed, target: Placed, shares: Sequence[float], size: int) -> list[Placed] | None:
    """A distractor at each share of a target; None where a share is not reached, or too little of the distractor seen."""
    wanted, ours = len(painted(target, size)[0]), len(painted(toucher, size)[0])
    if shares[-1] * wanted > (1 - _SEEN) * ours:
        return None  # found sooner than by the search
    stops = _stops(toucher, target, shares, size)
    if stops is None:
        return None
    way = [_moved(toucher, target, stop, size) for stop in stops]
    return way if covered(way[-1], (target,), size) <= 1 - _SEEN else None


def _distractor(kind: tuple[int, int], cell: int, draws: Draws, size: int) -> Placed:
    """An object of a shape and colour, of any size and texture."""
    obj = Object(*kind, draws.below(len(SIZES)), draws.below(len(TEXTURES)), cell)
    return place((obj,), draws, size)[0]


def _stops(toucher: Placed, target: Placed, shares: Sequence[float], size: int) -> list[float] | None:
    """How far towards the target each share is reached, 0 to 1; None where one is not."""
    xs, ys = painted(target, size)

    def share(way: float) -> float:
        return float(paints(_moved(toucher, target, way, size), xs, ys).mean())

    coarse = [share(step / _STEPS) for step in range(_STEPS + 1)]
    stops = []
    for wanted in shares:
        step = next((step for step, reached in enumerate(coarse) if reached >= wanted), None)
        if step is None:
            return None
        before, there = max(step - 1, 0) / _STEPS, step / _STEPS
        for _ in range(_REFINED):
            middle = (before + there) / 2
            before, there = (before, middle) if share(middle) >= wanted else (middle, there)
        stops.append(there)
    return stops


def _moved(toucher: Placed, target: Placed, way: float, size: int) -> Placed:
    """A distractor on its way to a target; its cell is the one in which its centre lies."""
    x, y = toucher.x + way * (target.x - toucher.x), toucher.y + way * (target.y - toucher.y)
    cell = int(y * GRID / size) * GRID + int(x * GRID / size)
    return toucher._replace(object=toucher.object._replace(cell=cell), x=x, y=y)


def _in_corner(placed: Placed, corner: int, size: int) -> Placed:
    """A small object in one of two opposite corners of its cell: 1 and 2 on one diagonal, -1 and -2 on the other."""
    across = _CORNER if abs(corner) == 2 else -_CORNER
    down = across if corner > 0 else -across
    cell = size / GRID
    x, y = placed.object.column + 0.5 + across, placed.object.row + 0.5 + down
    return placed._replace(object=placed.object._replace(size=_SMALL), x=x * cell, y=y * cell, radius=_TIGHT * cell)


def _free_cells(targets: Sequence[Placed], draws: Draws) -> list[int]:
    taken = {target.object.cell for target in targets}
    return [cell for cell in draws.order(CELLS) if cell not in taken]


def _are_beside(first: int, second: int) -> bool:
    (row, column), (other_row, other_column) = divmod(first, GRID), divmod(second, GRID)
    return abs(row - other_row) + abs(column - other_column) == 1


def _other_kinds(objects: Iterable[Object], draws: Draws) -> list[tuple[int, int]]:
    """All shapes and colours that no object has together, in random order."""
    taken = {obj[:2] for obj in objects}
    every = [divmod(number, len(COLOURS)) for number in draws.order(len(SHAPES) * len(COLOURS))]
    return [kind for kind in every if kind not in taken]
