"""Streaming: the scores of all pairs tile by tile, for galleries whose matrix, or whose fragments, do not fit in memory.

The pairs whose scores are compared with others (positives) are scored first, a few images and their captions at a time,
and every tile then takes their scores over: another kernel, or a product of another shape, may round otherwise, and a
positive would then tie or swap places with itself. Ranks are those of the whole matrix.

Shape letters: I images, T captions, n pairs; U distinct items of a side.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from harness.fragments import Fragments
from harness.metrics.sources import ScoreSource, Tile
from harness.records.scores import scores_file
from harness.scorer import Scorer
from harness.scoring.blocks import ScoreBlock, device_of, evaluating
from harness.scoring.matrix import Limits, check_finite, check_sides, copied, distinct_blocks, similarity_matrix
from harness.scoring.memory import default_budget, empty_matrix, fits
from harness.scoring.sides import SMALLEST_PART, Side, side_of

#: Whether scores come tile by tile: "auto" = where the matrix or the fragments do not fit in memory.
Streaming = Literal["auto"] | bool
#: Images whose positives are scored together: few of many, since all their captions meet all of them.
FEWEST_IMAGES, MOST_IMAGES, SHARE_OF_IMAGES = 16, 128, 64
#: Parts of the budget that the fragments of each side may take while they are scored.
SHARE_OF_FRAGMENTS = 3
#: Seconds between two lines on how far a long evaluation has come.
REPORT_SECONDS = 60.0

logger = logging.getLogger(__name__)


class StreamedScores(ScoreSource):
    """Scores of I images with T captions, of which one tile at a time is held.

    Args:
        scorer: any scorer; its device is where the tiles are computed and counted.
        images, texts: encoded and prepared, in memory or in a file.
        memory_budget: bytes that the fragments being scored and the intermediate results may take together, beside what
            the sides hold in memory; default: twice `default_budget`.
        dtype: see `harness.scoring.similarity_matrix`.

    Raises:
        InvalidFragments: a side is empty, or the sides differ in width.
    """

    def __init__(
        self,
        scorer: Scorer,
        images: Fragments | Side,
        texts: Fragments | Side,
        *,
        memory_budget: int | None = None,
        dtype: torch.dtype | None = None,
    ):
        self.scorer, self.images, self.texts, self.dtype = scorer, side_of(images), side_of(texts), dtype
        sample = check_sides(images, texts)
        self.device = device_of(scorer, sample)
        self._budget = memory_budget // 2 if memory_budget else default_budget(self.device)
        self._known = _KnownPairs(self.images.kept, self.texts.kept)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.images), len(self.texts)

    def of_pairs(self, images: np.ndarray, captions: np.ndarray) -> np.ndarray:
        """See `ScoreSource.of_pairs`; equal images and equal captions have one score, computed once."""
        left, right = (
            side.found.copy_of.numpy()[items] for side, items in ((self.images, images), (self.texts, captions))
        )
        new = self._known.unknown(left, right)
        if len(new[0]):
            with evaluating(self.scorer):
                self._known.add(*new, self._scored_pairs(*new))
        return self._known.scores(left, right).astype(np.float64)

    def tiles(self, searched: bool = False) -> Iterator[Tile]:
        for block in self._blocks():
            yield Tile(block.images.to(block.scores.device), block.texts.to(block.scores.device), block.scores)

    def matrix(self) -> Tensor:
        """(I, T) float32 in main memory, or in a temporary file where that is too small."""
        result = empty_matrix(*self.shape, torch.device("cpu"))
        for block in self._blocks():
            result[block.images[:, None], block.texts] = block.scores.cpu()
        return result

    def saved(self, path: Path) -> np.ndarray:
        """(I, T) float32 in a `.npy` file, written tile by tile, mapped into memory; whole or not at all.

        Raises:
            ResultsNotWritable: the folder cannot be written, or its disk has no room for the scores.
        """
        with scores_file(path, *self.shape) as scores:
            for block in self._blocks():
                scores[block.images.numpy()[:, None], block.texts.numpy()] = block.scores.cpu().numpy()
        return np.load(path, mmap_mode="r", allow_pickle=False)

    def _blocks(self) -> Iterator[ScoreBlock]:
        """Blocks of all pairs, with the known scores in their places, checked."""
        left, right = self.images.found, self.texts.found
        limits, share = Limits(self._budget), self._budget // SHARE_OF_FRAGMENTS
        report = _Report(self.images.kept * self.texts.kept, self.shape)
        with evaluating(self.scorer):
            for text_part in self.texts.parts(share):
                some_texts = self.texts.read(text_part)
                for image_part in self.images.parts(share):
                    some_images = self.images.read(image_part)
                    for block, rows, columns in distinct_blocks(
                        self.scorer, some_images, some_texts, limits, self.dtype
                    ):
                        images, texts = block.images + image_part.start, block.texts + text_part.start
                        self._known.put(images.numpy(), texts.numpy(), block.scores)
                        for copy in copied(ScoreBlock(images, texts, block.scores), left, right, rows, columns):
                            check_finite(self.scorer, copy)
                            yield copy
                        report.add(block.scores.numel())

    def _scored_pairs(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """(n,) float32 scores of distinct pairs of kept items, which rise by image and then by caption."""
        scores = np.empty(len(left), dtype=np.float32)
        for part in self._strips(left):
            rows, columns = _with_others(left[part], self.images.kept), _with_others(right[part], self.texts.kept)
            images, texts = self.images.take(torch.from_numpy(rows)), self.texts.take(torch.from_numpy(columns))
            found = torch.empty(len(rows), len(columns))
            for block, _, _ in distinct_blocks(self.scorer, images, texts, Limits(self._budget), self.dtype):
                found[block.images[:, None], block.texts] = block.scores.cpu()
            scores[part] = found.numpy()[np.searchsorted(rows, left[part]), np.searchsorted(columns, right[part])]
        return scores

    def _strips(self, left: np.ndarray) -> Iterator[slice]:
        """Successive pairs of few images, and of no more captions than fit."""
        share = self._budget // SHARE_OF_FRAGMENTS
        images = min(max(FEWEST_IMAGES, self.images.kept // SHARE_OF_IMAGES), MOST_IMAGES)
        images = max(1, min(images, share // self.images.item_bytes))
        pairs = max(1, share // self.texts.item_bytes)
        number = np.cumsum(np.append(0, left[1:] != left[:-1])) // images
        starts = np.flatnonzero(np.append(True, number[1:] != number[:-1]))
        for start, stop in zip(starts, [*starts[1:], len(left)], strict=True):
            for first in range(start, stop, pairs):
                yield slice(first, min(first + pairs, stop))


def _with_others(places: np.ndarray, count: int) -> np.ndarray:
    """The distinct places, rising, with neighbours where they are fewer than a product should have; of `count` in all.

    >>> _with_others(np.array([5, 5]), 6).tolist()
    [0, 1, 2, 3, 4, 5]
    """
    first = max(0, min(int(places.min()), count - SMALLEST_PART))
    neighbours = np.arange(first, min(count, first + SMALLEST_PART))
    found = np.unique(places)
    return found if len(found) >= SMALLEST_PART else np.union1d(found, neighbours)


class _KnownPairs:
    """Scores of pairs of kept items, found by image: places rise by image and then by caption."""

    def __init__(self, images: int, texts: int):
        self._images, self._texts = images, texts
        self._keys, self._values = np.empty(0, np.int64), np.empty(0, np.float32)
        self._starts = np.zeros(images + 1, np.int64)
        self._column = np.full(texts, -1)

    def unknown(self, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of some pairs that are not known, each once."""
        return np.divmod(np.setdiff1d(left * self._texts + right, self._keys), self._texts)

    def add(self, left: np.ndarray, right: np.ndarray, values: np.ndarray) -> None:
        keys = np.append(self._keys, left * self._texts + right)
        order = np.argsort(keys)
        self._keys, self._values = keys[order], np.append(self._values, values)[order]
        self._starts = np.searchsorted(self._keys, np.arange(self._images + 1) * self._texts)

    def scores(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """(n,) of known pairs."""
        return self._values[np.searchsorted(self._keys, left * self._texts + right)]

    def put(self, images: np.ndarray, texts: np.ndarray, scores: Tensor) -> None:
        """Write what is known into a tile (i, t) of these kept images and captions, in place."""
        counts = self._starts[images + 1] - self._starts[images]
        total = int(counts.sum())
        if not total:
            return
        row = np.repeat(np.arange(len(images)), counts)
        place = np.arange(total) + np.repeat(self._starts[images] - (counts.cumsum() - counts), counts)
        self._column[texts] = np.arange(len(texts))
        column = self._column[self._keys[place] % self._texts]
        self._column[texts] = -1
        here = column >= 0
        at = tuple(torch.from_numpy(some[here]).to(scores.device) for some in (row, column))
        scores[at] = torch.from_numpy(self._values[place[here]]).to(scores.device, scores.dtype)


class _Report:
    """One line a minute on how far a pass over all pairs has come."""

    def __init__(self, pairs: int, shape: tuple[int, int]):
        self.pairs, self.shape, self.done = pairs, shape, 0
        self._started = self._told = time.monotonic()

    def add(self, pairs: int) -> None:
        self.done += pairs
        now = time.monotonic()
        if now - self._told < REPORT_SECONDS:
            return
        self._told = now
        left = (now - self._started) * (self.pairs / self.done - 1)
        logger.info("%.1f %% of %s x %s pairs scored, about %.0f s left", 100 * self.done / self.pairs,
                    f"{self.shape[0]:,}", f"{self.shape[1]:,}", left)  # fmt: skip


def scores_of(
    scorer: Scorer, images: Fragments | Side, texts: Fragments | Side, streaming: Streaming = "auto"
) -> Tensor | StreamedScores:
    """All scores of two sides: the matrix where it fits in memory, else a source that gives them tile by tile.

    Args:
        scorer: any scorer.
        images, texts: as `harness.scoring.inputs.encode_sides` returns them.
        streaming: True = tile by tile in any case; False = always a matrix, in a temporary file if it must be.

    Raises:
        InvalidFragments, InvalidSimilarity, ItmError: as `similarity_matrix`.
    """
    in_memory = isinstance(images, Fragments) and isinstance(texts, Fragments)
    if streaming is False:
        if isinstance(images, Fragments) and isinstance(texts, Fragments):
            return similarity_matrix(scorer, images, texts)
        return StreamedScores(scorer, images, texts).matrix()
    if streaming == "auto" and in_memory and fits(len(images), len(texts)):
        return similarity_matrix(scorer, images, texts)  # type: ignore[arg-type]  # fragments, as asked above
    reason = "as asked for" if streaming is True else f"since {_reason(images, texts)} not fit in memory"
    logger.info(
        "%s x %s scores are counted tile by tile, %s; the numbers are the same", f"{len(images):,}", f"{len(texts):,}", reason
    )  # fmt: skip
    return StreamedScores(scorer, images, texts)


def _reason(images: Fragments | Side, texts: Fragments | Side) -> str:
    spilled = [name for name, side in (("images", images), ("captions", texts)) if isinstance(side, Side)]
    return f"the fragments of the {' and of the '.join(spilled)} do" if spilled else "the matrix does"
