"""Where the fragments of an encoder that takes pixels lie in the picture that it was given.

Shape letters: R fragments of an image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.datasets.images import WHOLE, Box


@dataclass(frozen=True)
class Grid:
    """Cells in reading order, row by row from the top left; the fragments before the first cell have no place.

    A cell is the part of the picture that a fragment stands for. What it has seen is more: the neighbourhood of the cell
    in a convolutional tower, all of the picture where cells attend to each other.

    >>> Grid(rows=1, columns=2, first=1).boxes()
    (None, (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0))
    """

    rows: int
    columns: int
    first: int = 0  #: number of the fragment of the first cell: 1 after a [CLS]

    @property
    def fragments(self) -> int:
        """R, those without a place included."""
        return self.first + self.rows * self.columns

    def boxes(self, part: Box = WHOLE) -> tuple[Box | None, ...]:
        """The place of each fragment, R boxes; None for a fragment that has none.

        Args:
            part: the part of the picture that the grid covers, see `harness.datasets.images.seen_part`.
        """
        left, top, right, bottom = part
        width, height = right - left, bottom - top
        across = [left + width * column / self.columns for column in range(self.columns + 1)]
        down = [top + height * row / self.rows for row in range(self.rows + 1)]
        cells = [
            (across[column], down[row], across[column + 1], down[row + 1])
            for row in range(self.rows)
            for column in range(self.columns)
        ]
        return (*[None] * self.first, *cells)


def square(cells: int) -> tuple[int, int] | None:
    """Rows and columns of a number of cells of a square picture; None where they make no square.

    >>> square(49), square(50), square(0)
    ((7, 7), None, None)
    """
    side = math.isqrt(cells)
    return (side, side) if side and side * side == cells else None
