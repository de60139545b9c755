"""Score matrices, whole or in shards of one per fold.

Shape letters: I images, T captions.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.errors import InvalidProtocol, InvalidSimilarity
from harness.metrics import ScoreSource
from harness.outputs.base import Measured, Output
from harness.outputs.contents import UNNAMED, Contents
from harness.protocols import Evaluation, Protocol, Subject
from harness.protocols.catalogue import counted
from harness.protocols.folds import FoldProtocol
from harness.records.scores import checked_scores, mean_scores, require_exact_mean
from harness.records.ties import Ties

Rows = Literal["images", "captions"]
_log = logging.getLogger(__name__)


class Matrix(Output):
    """Scores of all images with all captions.

    Args:
        scores: (I, T), finite, comparable, higher is better; or a source that gives them tile by tile.
        title, precision: see `Output`.
    """

    scores: np.ndarray | ScoreSource

    def __init__(self, scores: np.ndarray | ScoreSource, title: str, precision: str = ""):
        self.scores, self.title = scores, title
        half = isinstance(scores, np.ndarray) and scores.dtype == np.float16
        self.precision = precision or ("float16" if half else "")
        self._counted: dict[Protocol, Callable[[Ties], Evaluation]] = {}

    def look(self, protocols: Sequence[Protocol], subject: Subject) -> None:
        """Count for all of them in one pass over the scores."""
        self._counted = dict(zip(protocols, counted(protocols, self.scores, subject)[0], strict=True))

    def negated(self) -> Matrix:
        """Higher is better, from scores of which lower ones are."""
        assert isinstance(self.scores, np.ndarray)  # of a file
        return Matrix(negated(self.scores), f"{self.title} of distances, negated", self.precision)

    def measure(self, protocol: Protocol, subject: Subject, ties: Ties) -> Measured:
        """Every protocol; see `Output.measure`."""
        known = self._counted.get(protocol)
        found = known(ties) if known else protocol.evaluate(self.scores, subject, ties)
        return Measured(found.metrics, found.info, found.ranks)


class Shards(Output):
    """One score matrix per fold: the scores of images with captions of other folds are not known.

    Args:
        shards: per fold the scores of its images with its captions.
        title, precision: see `Output`.
    """

    def __init__(self, shards: Sequence[np.ndarray], title: str, precision: str = ""):
        self.shards, self.title, self.precision = list(shards), title, precision

    def negated(self) -> Shards:
        """As of `Matrix`."""
        return Shards([negated(shard) for shard in self.shards], f"{self.title} of distances, negated", self.precision)

    def refusal(self, protocol: Protocol) -> str:
        """Only a mean over as many folds can be computed."""
        if isinstance(protocol, FoldProtocol) and protocol.folds == len(self.shards):
            return ""
        return f"protocol {protocol.name} needs the scores of all pairs; {len(self.shards)} shards hold each fold's own"

    def measure(self, protocol: Protocol, subject: Subject, ties: Ties) -> Measured:
        """The mean over the folds; see `Output.measure`."""
        if reason := self.refusal(protocol):
            raise InvalidProtocol(reason)
        assert isinstance(protocol, FoldProtocol)
        found = protocol.evaluate(self._whole(protocol, subject), subject, ties)
        return Measured(found.metrics, found.info, found.ranks)

    def _whole(self, protocol: FoldProtocol, subject: Subject) -> np.ndarray:
        """(I, T) with the shards in the blocks of their folds; a fold protocol reads nothing else."""
        owner, fold = np.asarray(subject.caption_image), protocol.image_fold(subject.images)
        # np.zeros takes memory for what is written only.
        whole = np.zeros((subject.images, len(owner)), dtype=np.result_type(*self.shards))
        for number, shard in enumerate(self.shards):
            images, captions = np.flatnonzero(fold == number), np.flatnonzero(fold[owner] == number)
            if shard.shape != (len(images), len(captions)):
                raise InvalidSimilarity(
                    f"shard {number} has shape {shard.shape}, fold {number} has {len(images):,} images and "
                    f"{len(captions):,} captions"
                )
            whole[images[:, None], captions] = shard
        return whole


def matrix_of(contents: Contents, name: str, images: int, texts: int, rows: Rows | None) -> Matrix:
    """The score matrix of a file, turned so that rows are images.

    Raises:
        InvalidSimilarity: another shape, a square one that may be either way round, or scores that cannot be ranked.
    """
    what = f"`{name}`, " if name != UNNAMED else ""
    title = f"a score matrix ({what}{contents.arrays[name].dtype})"
    return Matrix(_scores(contents, name, images, texts, rows), title, contents.precision)


def _scores(contents: Contents, name: str, images: int, texts: int, rows: Rows | None) -> np.ndarray:
    turned = oriented(contents.arrays[name], contents.path, images, texts, rows)
    _check_npts(contents, turned.shape)
    return checked_scores(turned, contents.path, images, texts)


def oriented(scores: np.ndarray, path: Path, images: int, texts: int, rows: Rows | None) -> np.ndarray:
    """Scores with images as rows, as the shape shows or `rows` says.

    Raises:
        InvalidSimilarity: a square matrix without `rows`, or one whose shape contradicts it.
    """
    if images == texts and scores.shape == (images, texts) and rows is None:
        raise InvalidSimilarity(
            f"{path} is square, {images:,} x {texts:,}: its rows may be images or captions, and the recalls of the two "
            "directions would change places; say which with --rows images or --rows captions"
        )
    if rows == "captions" or (rows is None and images != texts and scores.shape == (texts, images)):
        if scores.shape != (texts, images):
            raise InvalidSimilarity(
                f"{path} has shape {scores.shape}; with captions as rows ({texts}, {images}) is expected"
            )
        _log.info("%s: rows are captions (%s x %s); the matrix is turned", path, f"{texts:,}", f"{images:,}")
        return scores.T
    return scores


def mean_of(members: Sequence[tuple[Contents, str]], images: int, texts: int, rows: Rows | None) -> Matrix:
    """The mean of several score matrices.

    Raises:
        InvalidSimilarity: as `matrix_of`, or values that float64 would round.
    """
    matrices = []
    for contents, name in members:
        require_exact_mean(contents.arrays[name], contents.path)
        matrices.append(_scores(contents, name, images, texts, rows))
    return Matrix(mean_scores(matrices), f"the mean of {len(matrices)} score matrices")


def shards_of(members: Sequence[tuple[Contents, str]], images: int, rows: Rows | None) -> Shards:
    """Score matrices of the folds of a split of `images` images, in the order given.

    Raises:
        InvalidSimilarity: as `matrix_of`.
    """
    share = images // len(members)
    shards = []
    for contents, name in members:
        array = contents.arrays[name]
        texts = array.shape[1] if array.shape[0] == share else array.shape[0]
        turned = oriented(array, contents.path, share, texts, rows)
        _check_npts(contents, turned.shape)
        shards.append(checked_scores(turned, contents.path, share, texts))
    names = ", ".join(contents.path.name for contents, _ in members)
    _log.info("%s: the score matrices of %s folds, in this order", names, len(shards))
    return Shards(shards, f"{len(shards)} shards of a score matrix, one per fold", members[0][0].precision)


def negated(scores: np.ndarray) -> np.ndarray:
    """Scores (I, T) in the opposite order, exactly.

    >>> negated(np.array([[1, 2]], dtype=np.uint8)).tolist()
    [[-1.0, -2.0]]
    """
    return -scores if scores.dtype.kind == "f" else -scores.astype(np.float64)


def in_order(paths: Sequence[Path]) -> list[Path]:
    """Files of shards in the order of the numbers in their names, where they are 0..n-1 or 1..n; else as given.

    >>> [path.name for path in in_order([Path("1sim_best.txt"), Path("0sim_best.txt")])]
    ['0sim_best.txt', '1sim_best.txt']
    """
    columns = zip(*(re.findall(r"\d+", path.name) or [""] for path in paths), strict=False)
    for column in columns:
        if not all(column):
            continue
        numbers = [int(text) for text in column]
        if sorted(numbers) in (list(range(len(paths))), list(range(1, len(paths) + 1))):
            return [paths[numbers.index(number)] for number in sorted(numbers)]
    return list(paths)


def _check_npts(contents: Contents, shape: tuple[int, ...]) -> None:
    """The number of images that the authors' evaluations store beside their scores."""
    count: Any = contents.values.get("npts")
    if count is not None and count != shape[0]:
        raise contents.refuse(
            f"says npts = {count!r:.20} (images) but its sims have {shape[0]:,} rows; it is damaged or was put together from "
            "two evaluations"
        )
