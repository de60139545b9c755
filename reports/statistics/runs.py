"""What one method did on one dataset and protocol: the ranks of all its seeds and the ids that make them comparable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.records.ties import TiedRanks
from harness.reports.statistics.checks import whole
from harness.reports.statistics.errors import (
    AggregateOnlyResults,
    DifferentCaptionMaps,
    DuplicateQueries,
    InvalidHits,
    InvalidRanks,
    InvalidSetting,
    RecallNotMonotone,
    listing,
)
from harness.reports.statistics.rivals import Rivals


@dataclass(frozen=True, eq=False, kw_only=True)
class MethodRuns:
    """The per-query ranks of one method on one dataset and protocol.

    Attributes:
        name: the method, as reports show it.
        seeds: the S seeds, one a trained model.
        i2t_ranks: (S, I) 0-based rank of each image query's best positive; (I,) is taken as one seed.
        t2i_ranks: (S, T) the same for each caption query.
        caption_image: (T,) the row in `image_ids` of each caption.
        image_ids: (I,) unique ids of the images.
        caption_ids: (T,) unique ids of the captions.
        fold: (I,) the fold of each image where a protocol averages over folds (COCO 1K), or None.
        image_queried: (I,) whether the image is itself a query, or None for all; the ranks of others are ignored.
        i2t_ties: (S, I, 2) wrong and correct items that tie with the best positive, where ranks are means over the orders
            of tied items (the expected rule), or None: then a rank below K is a hit.
        t2i_ties: (S, T, 2) likewise.
        gallery: what identifies the gallery (protocol and data hash); methods must agree.
        rivals: for each seed what single images take from the queries of others, where the scores are kept, or None.
        seed_selection: `all` seeds that were run, or the `best` of them (refused by `compare`).
        checkpoint_chosen_on: the split that picked the checkpoint; `test` draws a warning.

    Raises:
        AggregateOnlyResults, DuplicateQueries, InvalidRanks, DifferentCaptionMaps: what came cannot be compared.
    """

    name: str
    seeds: Sequence[int]
    i2t_ranks: Any
    t2i_ranks: Any
    caption_image: Any
    image_ids: Any
    caption_ids: Any
    fold: Any = None
    image_queried: Any = None
    i2t_ties: Any = None
    t2i_ties: Any = None
    gallery: str = ""
    rivals: tuple[Rivals, ...] | None = None
    seed_selection: Literal["all", "best"] = "all"
    checkpoint_chosen_on: Literal["validation", "test"] = "validation"

    def __post_init__(self) -> None:
        if self.i2t_ranks is None or self.t2i_ranks is None:
            raise AggregateOnlyResults(
                f"'{self.name}' has no per-query ranks: published averages cannot be tested; run the method here "
                "or import its rank file"
            )
        for field, given, known in (
            ("seed_selection", self.seed_selection, ("all", "best")),
            ("checkpoint_chosen_on", self.checkpoint_chosen_on, ("validation", "test")),
        ):
            if given not in known:
                raise InvalidSetting(f"'{self.name}': {field} must be {' or '.join(known)}, got {given!r}")
        images, captions = _ids(self.name, "image", self.image_ids), _ids(self.name, "caption", self.caption_ids)
        seeds = tuple(whole(s, f"each seed of '{self.name}'") for s in self.seeds)
        if len(set(seeds)) < len(seeds) or not seeds:
            raise DuplicateQueries(f"'{self.name}' needs at least one seed and each once, got {list(seeds)}")
        queried = _flags(self.name, self.image_queried, len(images))
        values: dict[str, Any] = {
            "seeds": seeds,
            "image_ids": images,
            "caption_ids": captions,
            "caption_image": _caption_map(self.name, self.caption_image, len(captions), len(images)),
            "fold": _fold(self.name, self.fold, len(images)),
            "image_queried": queried,
            "i2t_ranks": _ranks(self.name, "i2t", self.i2t_ranks, len(seeds), images, queried),
            "t2i_ranks": _ranks(self.name, "t2i", self.t2i_ranks, len(seeds), captions, None),
            "i2t_ties": _ties(self.name, "i2t", self.i2t_ties, len(seeds), len(images)),
            "t2i_ties": _ties(self.name, "t2i", self.t2i_ties, len(seeds), len(captions)),
        }
        if self.rivals is not None and len(self.rivals) != len(seeds):
            raise InvalidSetting(f"'{self.name}': rivals must be given for {len(seeds)} seeds, got {len(self.rivals)}")
        for key, value in values.items():
            object.__setattr__(self, key, value)

    def hits(self, direction: str, k: int) -> NDArray[np.float64]:
        """Chance of each query to hit at K, (S, I) or (S, T): 0 or 1 where ranks are whole.

        Images that are no query of their own count 0.
        """
        ranks, ties = (self.i2t_ranks, self.i2t_ties) if direction == "i2t" else (self.t2i_ranks, self.t2i_ties)
        if ties is None:
            hits = (ranks < k).astype(np.float64)
        else:
            wrong, correct = ties.reshape(-1, 2).T
            tied = TiedRanks.from_ranks(ranks.ravel(), wrong, correct, "expected")
            hits = tied.hits(k, "expected").reshape(ranks.shape)
        return hits * self.image_queried if direction == "i2t" else hits

    @classmethod
    def from_hits(
        cls, *, name: str, i2t_hits: Mapping[int, ArrayLike], t2i_hits: Mapping[int, ArrayLike], **rest: Any
    ) -> MethodRuns:
        """Build from per-query hits at some K, as other harnesses export them.

        Args:
            name: the method.
            i2t_hits: K to hits (S, I) or (I,) in {0, 1}.
            t2i_hits: K to hits (S, T) or (T,) in {0, 1}.
            **rest: the other attributes of `MethodRuns`.

        Returns:
            Runs with the smallest ranks that give those hits; recalls at other K mean nothing.

        Raises:
            InvalidHits: a hit outside {0, 1}.
            RecallNotMonotone: a hit at a small K that is a miss at a larger one.
        """
        i2t = _hits_to_ranks(name, "i2t", i2t_hits, rest.get("image_ids"))
        t2i = _hits_to_ranks(name, "t2i", t2i_hits, rest.get("caption_ids"))
        return cls(name=name, i2t_ranks=i2t, t2i_ranks=t2i, **rest)


def _ids(name: str, kind: str, ids: Any) -> NDArray[np.str_]:
    array = np.asarray([str(i) for i in ids])
    unique, counts = np.unique(array, return_counts=True)
    if len(unique) < len(array):
        raise DuplicateQueries(
            f"'{name}' has repeated {kind} ids: {listing(unique[counts > 1])}; each query must occur once, "
            "remove the repeats from its rank file"
        )
    return array


def _flags(name: str, flags: Any, size: int) -> NDArray[np.bool_]:
    if flags is None:
        return np.ones(size, dtype=bool)
    array = np.asarray(flags)
    if array.dtype != bool or array.shape != (size,) or not array.any():
        raise InvalidRanks(f"'{name}': image_queried must be {size} booleans, at least one true, got {array.shape}")
    return array


def _fold(name: str, fold: Any, size: int) -> NDArray[Any]:
    array = np.zeros(size, dtype=np.int64) if fold is None else np.asarray(fold)
    if array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):  # NaN is a fold of its own to numpy
        raise DifferentCaptionMaps(f"'{name}': folds must be whole numbers, got {array[array != np.rint(array)][0]:g}")
    if array.shape != (size,):
        raise DifferentCaptionMaps(f"'{name}': one fold an image expected, {size} images but folds {array.shape}")
    return array


def _caption_map(name: str, rows: Any, captions: int, images: int) -> NDArray[np.int64]:
    array = np.asarray(rows)
    if array.shape != (captions,) or not np.issubdtype(array.dtype, np.integer):
        raise DifferentCaptionMaps(
            f"'{name}': caption_image must be {captions} whole numbers, one a caption, "
            f"got shape {array.shape} of {array.dtype}"
        )
    if captions and (array.min() < 0 or array.max() >= images):
        raise DifferentCaptionMaps(
            f"'{name}': caption_image must name rows 0 to {images - 1}, got {array.min()} to {array.max()}"
        )
    return array.astype(np.int64)


def _ranks(
    name: str, direction: str, ranks: Any, seeds: int, ids: NDArray[np.str_], asked: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    try:
        array = np.atleast_2d(np.asarray(ranks, dtype=np.float64))
    except (TypeError, ValueError):
        raise InvalidRanks(f"'{name}': {direction} ranks must be numbers, got {ranks!r:.80}") from None
    if array.shape != (seeds, len(ids)):
        raise InvalidRanks(
            f"'{name}': {direction} ranks must be {seeds} seeds x {len(ids)} queries, got {array.shape}; "
            "missing queries must be evaluated, they are not filled in"
        )
    if asked is not None:
        array = np.where(asked, array, 0.0)
    bad = ~(np.isfinite(array) & (array >= 0)).all(axis=0)
    if bad.any():
        raise InvalidRanks(
            f"'{name}': {direction} ranks that are NaN, infinite or negative for queries {listing(ids[bad])}; "
            "ranks are counted from 0, evaluate the method again"
        )
    return array


def _ties(name: str, direction: str, ties: Any, seeds: int, queries: int) -> NDArray[np.int64] | None:
    if ties is None:
        return None
    array = np.asarray(ties)
    if array.ndim == 2:
        array = array[None]
    if array.shape != (seeds, queries, 2) or array.dtype.kind not in "iu" or (array < (0, 1)).any():
        raise InvalidRanks(
            f"'{name}': {direction} ties must be {seeds} seeds x {queries} queries x 2 counts of tied items, at least 0 "
            f"wrong and 1 correct, got {array.dtype} of shape {array.shape}"
        )
    return array.astype(np.int64)


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


def _hits_to_ranks(name: str, direction: str, hits: Mapping[int, ArrayLike], ids: Any) -> NDArray[np.float64]:
    if not hits or min(hits) < 1:
        raise InvalidSetting(f"'{name}': {direction} hits need at least one K >= 1, got {sorted(hits)}")
    ladder = sorted(hits)
    ranks: NDArray[np.float64] | None = None
    for position in reversed(range(len(ladder))):
        k = ladder[position]
        array = np.atleast_2d(np.asarray(hits[k], dtype=np.float64))
        names = np.arange(array.shape[1]).astype(str) if ids is None else np.asarray([str(i) for i in ids])
        if array.shape[1] != len(names) or (ranks is not None and ranks.shape != array.shape):
            raise InvalidHits(
                f"'{name}': {direction} hits at {k} have shape {array.shape}, {len(names)} queries expected"
            )
        wrong = ~np.isin(array, (0.0, 1.0)).all(axis=0)
        if wrong.any():
            raise InvalidHits(
                f"'{name}': {direction} hits at {k} must be 0 or 1, other values for queries {listing(names[wrong])}"
            )
        if ranks is None:
            ranks = np.full(array.shape, float(k))
        lost = ((array == 1) & (ranks > k)).any(axis=0)
        if lost.any():
            raise RecallNotMonotone(
                f"'{name}': {direction} R@{k} counts queries that R@{ladder[position + 1]} does not: "
                f"{listing(names[lost])}; a hit at a small K is one at every larger K, check the file's columns"
            )
        ranks = np.where(array == 1, float(ladder[position - 1] if position else 0), ranks)
    assert ranks is not None
    return ranks
