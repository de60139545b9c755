"""The first items of every query: those of a stable sort of the whole matrix, whatever the tiles, types and ties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InvalidSimilarity
from harness.metrics import BestRanks, ScoreSource, Tile, TopItems, TopLists, count


class Shuffled(ScoreSource):
    """A matrix in tiles of random rows and columns."""

    def __init__(self, matrix: torch.Tensor, rows: int, columns: int, seed: int):
        self.matrix, self.rows, self.columns = matrix, rows, columns
        self.random = torch.Generator().manual_seed(seed)

    @property
    def shape(self):
        return tuple(self.matrix.shape)

    def of_pairs(self, images, captions):
        return self.matrix.double().numpy()[images, captions]

    def tiles(self, searched=False):
        rows, columns = (torch.randperm(n, generator=self.random) for n in self.shape)
        for some_rows in rows.split(self.rows):
            for some in columns.split(self.columns):
                yield Tile(some_rows, some, self.matrix[some_rows[:, None], some])


def sorted_stably(matrix: np.ndarray, depth: int) -> TopLists:
    """The oracle: one stable sort of all scores, from the highest down."""
    lists = []
    for scores in (matrix, matrix.T):
        order = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
        lists += [order, np.take_along_axis(scores, order, axis=1)]
    return TopLists(*lists)


def check(source, matrix: np.ndarray, depth: int) -> None:
    (found,) = count(source, [TopItems(depth)])
    for name, expected in sorted_stably(matrix, depth)._asdict().items():
        np.testing.assert_array_equal(getattr(found, name), expected.astype(getattr(found, name).dtype), name)
    assert (found.i2t_top.dtype, found.t2i_score.dtype) == (np.int32, np.float32)


@st.composite
def matrices(draw: st.DrawFn) -> torch.Tensor:
    """Few distinct values, so that most lists end within equal ones; zeros of both signs are equal."""
    shape = draw(st.tuples(st.integers(1, 30), st.integers(1, 30)))
    values = draw(st.lists(st.sampled_from([-0.0, 0.0, 1.0, -1.5, 2.0, 1e-3, 65504.0]), min_size=1, max_size=5))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from([torch.float16, torch.float32, torch.float64]))
    return torch.from_numpy(random.choice(values, size=shape)).to(dtype)


@settings(max_examples=150, deadline=None)
@given(matrices(), st.integers(1, 12), st.integers(1, 30), st.integers(1, 30), st.integers(0, 99))
def test_lists_are_those_of_a_stable_sort(matrix, depth, rows, columns, seed):
    check(Shuffled(matrix, rows, columns, seed), matrix.double().numpy(), depth)
    check(matrix, matrix.double().numpy(), depth)


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_lists_of_a_matrix_of_several_tiles(decimals):
    scores = np.random.default_rng(0).normal(size=(900, 4_500))
    matrix = (scores if decimals is None else scores.round(decimals)).astype(np.float32)
    check(matrix, matrix, 10)
    check(Shuffled(torch.from_numpy(matrix), 64, 4_500, 1), matrix, 10)


def test_a_constant_score_lists_the_first_rows():
    (found,) = count(np.zeros((3, 40)), [TopItems()])
    assert found.i2t_top.tolist() == [list(range(10))] * 3
    assert found.t2i_top.tolist() == [[0, 1, 2]] * 40


def test_ranks_and_lists_come_from_one_pass():
    class Once(Shuffled):
        passes = 0

        def tiles(self, searched=False):
            self.passes += 1
            return super().tiles(searched)

    source = Once(torch.eye(4), 2, 3, 0)
    ranks, lists = count(source, [BestRanks(range(4)), TopItems(1)])
    assert source.passes == 1
    assert ranks.ranks()[0].tolist() == [0] * 4
    assert lists.i2t_top.ravel().tolist() == [0, 1, 2, 3]


def test_scores_beyond_float32_stand_at_its_end():
    (found,) = count(np.array([[1e300, 2e300, -1e300]]), [TopItems()])
    largest = float(np.finfo(np.float32).max)
    assert found.i2t_top.tolist() == [[1, 0, 2]]
    assert found.i2t_score.tolist() == [[largest, largest, -largest]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(value):
    matrix = np.zeros((3, 4))
    matrix[1, 2] = value
    with pytest.raises(InvalidSimilarity, match="at image 1, caption 2"):
        count(matrix, [TopItems()])
