"""What one method did on one dataset and protocol: the ranks of all its seeds and the ids that make them comparable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.records.ties import TiedRanks
from harness.reports.statistics import errors
from harness.reports.statistics.checks import whole
from harness.reports.statistics.rivals import Rivals


@dataclass(frozen=True, eq=False, kw_only=True)
class MethodRuns:
    """The per-query ranks of one method on one dataset and protocol: S seeds, I images, T captions.

    Raises:
        AggregateOnlyResults, DuplicateQueries, InvalidRanks, DifferentCaptionMaps: what came cannot be compared.
    """

    name: str  # as reports show it
    seeds: Sequence[int]  # one per trained model
    i2t_ranks: Any  # (S, I) 0-based rank of each image query's best positive; (I,) is taken as one seed
    t2i_ranks: Any  # (S, T) the same for each caption query
    caption_image: Any  # (T,) the row in `image_ids` of each caption
    image_ids: Any  # (I,) unique
    caption_ids: Any  # (T,) unique
    fold: Any = None  # (I,) the fold of each image where a protocol averages over folds (COCO 1K)
    image_queried: Any = None  # (I,) whether the image is itself a query, None for all; the ranks of others are ignored
    #: (S, I, 2) wrong and correct items that tie with the best positive, where ranks are means over the orders of tied
    #: items (the expected rule). None: a rank below K is a hit.
    i2t_ties: Any = None
    t2i_ties: Any = None  # (S, T, 2) likewise
    #: By direction the K up to which hits are known, where lists were cut; ranks from there on stand at the end.
    depths: Mapping[str, int] = field(default_factory=dict)
    gallery: str = ""  # identifies the gallery (protocol and data hash); methods must agree
    rivals: tuple[Rivals, ...] | None = None  # per seed, where the scores are kept
    seed_selection: Literal["all", "best"] = "all"  # `compare` refuses the best of several
    checkpoint_chosen_on: Literal["validation", "test"] = "validation"  # `test` draws a warning

    def __post_init__(self) -> None:
        try:
            values = self._checked()
        except errors.InvalidComparison as error:
            raise type(error)(f"'{self.name}': {error}") from None
        for key, value in values.items():
            object.__setattr__(self, key, value)

    def _checked(self) -> dict[str, Any]:
        if self.i2t_ranks is None or self.t2i_ranks is None:
            raise errors.AggregateOnlyResults(
                "no per-query ranks, and published averages cannot be tested; run the method here or import its rank file"
            )
        for name, known in (("seed_selection", ("all", "best")), ("checkpoint_chosen_on", ("validation", "test"))):
            if getattr(self, name) not in known:
                raise errors.InvalidSetting(f"{name} must be {' or '.join(known)}, got {getattr(self, name)!r}")
        images, captions = _ids("image", self.image_ids), _ids("caption", self.caption_ids)
        seeds = tuple(whole(seed, "each seed") for seed in self.seeds)
        if len(set(seeds)) < len(seeds) or not seeds:
            raise errors.DuplicateQueries(f"at least one seed is needed and each once, got {list(seeds)}")
        if self.rivals is not None and len(self.rivals) != len(seeds):
            raise errors.InvalidSetting(f"rivals must be given for {len(seeds)} seeds, got {len(self.rivals)}")
        queried = _flags(self.image_queried, len(images))
        return {
            "seeds": seeds,
            "image_ids": images,
            "caption_ids": captions,
            "caption_image": _caption_map(self.caption_image, len(captions), len(images)),
            "fold": _fold(self.fold, len(images)),
            "image_queried": queried,
            "i2t_ranks": _ranks("i2t", self.i2t_ranks, len(seeds), images, queried),
            "t2i_ranks": _ranks("t2i", self.t2i_ranks, len(seeds), captions, np.ones(len(captions), dtype=bool)),
            "i2t_ties": _ties("i2t", self.i2t_ties, len(seeds), len(images)),
            "t2i_ties": _ties("t2i", self.t2i_ties, len(seeds), len(captions)),
        }

    def hits(self, direction: str, k: int) -> NDArray[np.float64]:
        """Chance of each query to hit at K, (S, I) or (S, T): 0 or 1 where ranks are whole.

        Images that are no query of their own count 0.

        Raises:
            InvalidRanks: the lists that the ranks come from are cut above K.
        """
        if k > self.depths.get(direction, k):
            raise errors.InvalidRanks(
                f"'{self.name}': its {direction} lists are cut, so hits are known up to K = {self.depths[direction]}, not at "
                f"{k}; ask for a smaller K, or add its score matrix"
            )
        ranks, ties = (self.i2t_ranks, self.i2t_ties) if direction == "i2t" else (self.t2i_ranks, self.t2i_ties)
        if ties is None:
            hits = (ranks < k).astype(np.float64)
        else:
            wrong, correct = ties.reshape(-1, 2).T
            tied = TiedRanks.from_ranks(ranks.ravel(), wrong, correct, "expected")
            hits = tied.hits(k, "expected").reshape(ranks.shape)
        return hits * self.image_queried if direction == "i2t" else hits


def joined_seeds(runs: Sequence[MethodRuns]) -> dict[str, Any]:
    """Ranks and ties of runs that are aligned, one below the other, for `dataclasses.replace`."""
    values: dict[str, Any] = {}
    for direction in ("i2t", "t2i"):
        ranks = [getattr(run, f"{direction}_ranks") for run in runs]
        ties = [getattr(run, f"{direction}_ties") for run in runs]
        values[f"{direction}_ranks"] = np.concatenate(ranks)
        if any(one is not None for one in ties):  # ranks without ties are decided: nothing ties
            decided = [np.broadcast_to(np.array([0, 1]), (*one.shape, 2)) for one in ranks]
            values[f"{direction}_ties"] = np.concatenate(
                [d if one is None else one for d, one in zip(decided, ties, strict=True)]
            )
    return values


def _ids(kind: str, ids: Any) -> NDArray[np.str_]:
    array = (
        ids
        if isinstance(ids, np.ndarray) and ids.dtype.kind == "U" and ids.ndim == 1
        else np.asarray([str(i) for i in ids])
    )
    unique, counts = np.unique(array, return_counts=True)
    if len(unique) < len(array):
        raise errors.DuplicateQueries(
            f"repeated {kind} ids: {errors.listing(unique[counts > 1])}; each query must occur once, remove the repeats from "
            "its rank file"
        )
    return array


def _flags(flags: Any, size: int) -> NDArray[np.bool_]:
    if flags is None:
        return np.ones(size, dtype=bool)
    array = np.asarray(flags)
    if array.dtype != bool or array.shape != (size,) or not array.any():
        raise errors.InvalidRanks(f"image_queried must be {size} booleans, at least one true, got {array.shape}")
    return array


def _fold(fold: Any, size: int) -> NDArray[Any]:
    array = np.zeros(size, dtype=np.int64) if fold is None else np.asarray(fold)
    if array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):  # NaN is a fold of its own to numpy
        raise errors.DifferentCaptionMaps(f"folds must be whole numbers, got {array[array != np.rint(array)][0]:g}")
    if array.shape != (size,):
        raise errors.DifferentCaptionMaps(f"one fold per image expected, {size} images but folds {array.shape}")
    return array


def _caption_map(rows: Any, captions: int, images: int) -> NDArray[np.int64]:
    array = np.asarray(rows)
    if array.shape != (captions,) or not np.issubdtype(array.dtype, np.integer):
        raise errors.DifferentCaptionMaps(
            f"caption_image must be {captions} whole numbers, one per caption, got shape {array.shape} of {array.dtype}"
        )
    if captions and (array.min() < 0 or array.max() >= images):
        raise errors.DifferentCaptionMaps(
            f"caption_image must name rows 0 to {images - 1}, got {array.min()} to {array.max()}"
        )
    return array.astype(np.int64)


def _ranks(
    direction: str, ranks: Any, seeds: int, ids: NDArray[np.str_], asked: NDArray[np.bool_]
) -> NDArray[np.float64]:
    try:
        array = np.atleast_2d(np.asarray(ranks, dtype=np.float64))
    except (TypeError, ValueError):
        raise errors.InvalidRanks(f"{direction} ranks must be numbers, got {ranks!r:.80}") from None
    if array.shape != (seeds, len(ids)):
        raise errors.InvalidRanks(
            f"{direction} ranks must be {seeds} seeds x {len(ids)} queries, got {array.shape}; "
            "missing queries must be evaluated, they are not filled in"
        )
    array = np.where(asked, array, 0.0)
    bad = ~(np.isfinite(array) & (array >= 0)).all(axis=0)
    if bad.any():
        raise errors.InvalidRanks(
            f"{direction} ranks that are NaN, infinite or negative for queries {errors.listing(ids[bad])}; "
            "ranks are counted from 0, evaluate the method again"
        )
    return array


def _ties(direction: str, ties: Any, seeds: int, queries: int) -> NDArray[np.int64] | None:
    if ties is None:
        return None
    array = np.asarray(ties)
    if array.ndim == 2:
        array = array[None]
    if array.shape != (seeds, queries, 2) or array.dtype.kind not in "iu" or (array < (0, 1)).any():
        raise errors.InvalidRanks(
            f"{direction} ties must be {seeds} seeds x {queries} queries x 2 counts of tied items, at least 0 wrong and "
            f"1 correct, got {array.dtype} of shape {array.shape}"
        )
    return array.astype(np.int64)
