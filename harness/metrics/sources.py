"""Where scores come from when ranks are counted: a whole matrix, or anything that gives it tile by tile.

Shape letters: I images, T captions, n pairs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import InvalidSimilarity
from harness.metrics.operations import arrays
from harness.metrics.operations.choice import Values, operations_for
from harness.records.scores import comparable

if TYPE_CHECKING:
    from torch import Tensor

#: Scores of one tile of a matrix where each is compared, so that masks stay in the cache, and where rows are sorted, so
#: that few pieces of them are searched.
TILE_ELEMENTS, SORTED_ELEMENTS = 2_000_000, 16_000_000


@dataclass(frozen=True, eq=False)
class Tile:
    """Scores of some images with some captions.

    Args:
        images: (i,) int64 image rows, each once.
        captions: (t,) int64 caption columns, each once.
        scores: (i, t), finite, of a floating-point type that compares exactly.

    All three are arrays, or all three tensors on one device.
    """

    images: Values
    captions: Values
    scores: Values


class ScoreSource(ABC):
    """Scores of I images with T captions, higher is better, that need not be held at once."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(I, T)."""

    @abstractmethod
    def of_pairs(self, images: np.ndarray, captions: np.ndarray) -> np.ndarray:
        """(n,) float64 scores of n pairs, each named once.

        `tiles` gives these pairs the very same scores, to the last bit, when it is called afterwards.
        """

    @abstractmethod
    def tiles(self, searched: bool = False) -> Iterator[Tile]:
        """Tiles that cover every pair once.

        Args:
            searched: whether tiles will be sorted and searched, which is faster in large ones.

        Raises:
            InvalidSimilarity: a score that is not finite.
        """


class MatrixScores(ScoreSource):
    """A matrix (I, T): a tensor, an array or a memory map, read in blocks of rows.

    Raises:
        InvalidSimilarity: not a matrix, empty, or values that cannot be ranked.
    """

    def __init__(self, similarity: Tensor | np.ndarray):
        if similarity.ndim != 2 or 0 in similarity.shape:
            raise InvalidSimilarity(
                f"similarity must be a non-empty (I, T) matrix, got shape {tuple(similarity.shape)}"
            )
        self.matrix = _rankable(similarity)

    @property
    def shape(self) -> tuple[int, int]:
        return self.matrix.shape[0], self.matrix.shape[1]

    def of_pairs(self, images: np.ndarray, captions: np.ndarray) -> np.ndarray:
        work = operations_for(self.matrix)
        rows, columns = (work.moved(side, self.matrix) for side in (images, captions))
        return work.as_array(work.doubled(self.matrix[rows, columns]))

    def tiles(self, searched: bool = False) -> Iterator[Tile]:
        images, texts = self.shape
        step = max(1, (SORTED_ELEMENTS if searched else TILE_ELEMENTS) // texts)
        work = operations_for(self.matrix)
        captions = work.moved(np.arange(texts), self.matrix)
        for start in range(0, images, step):
            block = self.matrix[start : start + step]
            if isinstance(block, np.ndarray):  # read from the disk once; half precision compares slowly
                block = arrays.comparable(np.array(block, dtype=None if block.dtype.kind == "f" else np.float64))
            tile = Tile(work.moved(np.arange(start, start + len(block)), block), captions, block)
            require_finite(tile)
            yield tile


def source_of(similarity: Tensor | np.ndarray | ScoreSource) -> ScoreSource:
    """A matrix as a source; a source as it is.

    >>> source_of(np.eye(2)).of_pairs(np.array([0, 1]), np.array([0, 0])).tolist()
    [1.0, 0.0]
    """
    return similarity if isinstance(similarity, ScoreSource) else MatrixScores(similarity)


def require_finite(tile: Tile) -> None:
    """Refuse a tile with a score that cannot be ranked.

    Raises:
        InvalidSimilarity: naming the first such score.
    """
    work = operations_for(tile.scores)
    finite = work.finite(tile.scores)
    if bool(finite.all()):
        return
    row, column = np.argwhere(~work.as_array(finite))[0].tolist()
    raise not_finite(float(tile.scores[row, column]), int(tile.images[row]), int(tile.captions[column]))


def not_finite(value: float, image: int, caption: int) -> InvalidSimilarity:
    """The error of a score that cannot be ranked."""
    return InvalidSimilarity(
        f"similarity holds {value} at image {image}, caption {caption}; every score must be finite, or ranks are undefined"
    )


def _rankable(similarity: Tensor | np.ndarray) -> Tensor | np.ndarray:
    """The matrix in a type that can be compared exactly; floating-point tensors stay where they are."""
    if isinstance(similarity, np.ndarray):
        return comparable(similarity)
    if similarity.is_floating_point():
        return similarity.detach()
    work = operations_for(similarity)
    return work.moved(comparable(work.as_array(similarity)).astype(np.float64), similarity)
