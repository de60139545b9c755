"""Ranks of every query, as `ranks.npz` holds them: enough to repeat every statistical test without a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

import numpy as np

from harness.errors import InvalidRecord
from harness.files.reading import Damaged, read_arrays
from harness.files.writing import atomic_path

#: Protocols whose gallery is made of their own queries, fold by fold: no rank can be as large as the other side.
OWN_GALLERY = ("full", "flickr30k_1k", "coco_1k", "coco_5k")


@dataclass(frozen=True, eq=False)
class RankTable:
    """Per-query results of one protocol, in both directions. I image queries, T caption queries.

    Args:
        i2t_rank: (I,) 0-based rank of the best positive caption under the run's tie policy.
        i2t_ties: (I,) number of negatives that tie with it.
        i2t_image_id: (I,) the query.
        i2t_caption_id: (I,) the best positive.
        t2i_rank, t2i_ties: (T,) likewise for captions.
        t2i_caption_id: (T,) the query.
        t2i_image_id: (T,) its image.
        i2t_fold, t2i_fold: fold of each query; 0 everywhere unless the protocol averages over folds.
        i2t_best_tied, t2i_best_tied: positives of each query that share the best score, at least 1; with the number of
            negatives that tie they decide every tie rule. 0 = unknown, as in files of earlier versions; the default.
    """

    i2t_rank: np.ndarray
    i2t_ties: np.ndarray
    i2t_image_id: np.ndarray
    i2t_caption_id: np.ndarray
    t2i_rank: np.ndarray
    t2i_ties: np.ndarray
    t2i_caption_id: np.ndarray
    t2i_image_id: np.ndarray
    i2t_fold: np.ndarray
    t2i_fold: np.ndarray
    i2t_best_tied: np.ndarray = None  # type: ignore[assignment]
    t2i_best_tied: np.ndarray = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        for name in ("i2t", "t2i"):
            if getattr(self, f"{name}_best_tied") is None:
                object.__setattr__(self, f"{name}_best_tied", np.zeros(len(getattr(self, f"{name}_ties")), np.int64))

    @property
    def caption_image(self) -> np.ndarray:
        """(T,) int64, row in `i2t_image_id` of each caption's image."""
        row = {image: index for index, image in enumerate(self.i2t_image_id.tolist())}
        return np.array([row[image] for image in self.t2i_image_id.tolist()], dtype=np.int64)


NAMES = tuple(field.name for field in fields(RankTable))
#: Columns that every file has; files of earlier versions may lack the others, which have defaults.
NEEDED = tuple(field.name for field in fields(RankTable) if field.default is MISSING)
_COUNTS = ("_ties", "_tied", "_fold")


def write_ranks(path: Path, tables: Mapping[str, RankTable]) -> None:
    """Write the tables of several protocols.

    Raises:
        ResultsNotWritable: the folder cannot be written.
    """
    arrays = {f"{protocol}/{name}": getattr(table, name) for protocol, table in tables.items() for name in NAMES}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_ranks(path: Path, remedy: str) -> dict[str, RankTable]:
    """The tables of a file by protocol, each checked by `check_table`.

    Raises:
        InvalidRecord: not a whole archive, or a table that no evaluation makes; one line that ends with `remedy`.
    """
    try:
        arrays = read_arrays(path)
        return {protocol: _table(arrays, protocol) for protocol in dict.fromkeys(k.rpartition("/")[0] for k in arrays)}
    except Damaged as error:
        raise InvalidRecord(f"cannot read {path}: {error}; {remedy}") from None


def _table(arrays: Mapping[str, np.ndarray], protocol: str) -> RankTable:
    found = {name: arrays[f"{protocol}/{name}"] for name in NAMES if f"{protocol}/{name}" in arrays}
    missing = [name for name in NEEDED if name not in found]
    if missing:
        raise Damaged(f"protocol '{protocol:.40}' lacks {', '.join(missing)}")
    table = RankTable(**found)
    check_table(table, protocol)
    return table


def check_table(table: RankTable, protocol: str, ties: str = "") -> None:
    """Refuse a table that no evaluation can have made.

    Args:
        table: as read.
        protocol: whose it is.
        ties: tie rule of the ranks; empty = unknown, then only what holds under every rule is checked.

    Raises:
        Damaged: what is wrong, in one line.
    """
    try:
        for direction, query in (("i2t", "image"), ("t2i", "caption")):
            _check_direction(table, direction, query)
            _check_ties(table, direction, ties)
        _check_folds(table)
        if protocol in OWN_GALLERY:
            _check_gallery(table)
    except Damaged as error:
        raise Damaged(f"protocol '{protocol:.40}': {error}") from None


def check_ties(table: RankTable, protocol: str, ties: str) -> None:
    """Refuse ranks that a tie rule cannot have given to a table that is sound otherwise; errors as `check_table`."""
    try:
        for direction in ("i2t", "t2i"):
            _check_ties(table, direction, ties)
    except Damaged as error:
        raise Damaged(f"protocol '{protocol:.40}': {error}") from None


def _check_direction(table: RankTable, direction: str, query: str) -> None:
    rank = getattr(table, f"{direction}_rank")
    columns = {name: getattr(table, name) for name in NAMES if name.startswith(direction)}
    for name, column in columns.items():
        kinds = "iu" if name.endswith(_COUNTS) else "iuf" if name.endswith("_rank") else "Uiu"
        if column.ndim != 1 or column.dtype.kind not in kinds:
            raise Damaged(f"{name} is {column.dtype} of shape {column.shape}, expected one value per query")
        if len(column) != len(rank):
            raise Damaged(f"{name} has {len(column):,} values, {direction}_rank {len(rank):,}")
    if not len(rank):
        raise Damaged(f"{direction} has no query")
    if not np.isfinite(rank).all() or (rank < 0).any():
        raise Damaged(f"{direction}_rank holds {_first(rank, ~np.isfinite(rank) | (rank < 0))}; ranks count from 0")
    if any((column < 0).any() for name, column in columns.items() if name.endswith(_COUNTS)):
        raise Damaged(f"{direction} has a negative number of ties or a negative fold")
    ids = columns[f"{direction}_{query}_id"]
    if len(np.unique(ids)) < len(ids):
        raise Damaged(f"{direction}_{query}_id names a query twice")


def _check_ties(table: RankTable, direction: str, ties: str) -> None:
    rank, tied = getattr(table, f"{direction}_rank"), getattr(table, f"{direction}_ties")
    # Only the expected rule gives fractions, and only to queries that tie.
    fractional = (rank != np.floor(rank)) & ((tied == 0) if ties in ("", "expected") else True)
    if fractional.any():
        raise Damaged(f"{direction}_rank holds {_first(rank, fractional)}; ranks are whole numbers")
    if ties == "pessimistic" and (rank < tied).any():
        raise Damaged(f"{direction}_rank holds {_first(rank, rank < tied)}, less than that query's ties")


def _check_folds(table: RankTable) -> None:
    """Every caption is in the fold of its image."""
    fold = dict(zip(table.i2t_image_id.tolist(), table.i2t_fold.tolist(), strict=True))
    for image, number in zip(table.t2i_image_id.tolist(), table.t2i_fold.tolist(), strict=True):
        if fold.get(image, number) != number:
            raise Damaged(f"image {image!r:.60} is in fold {fold[image]}, its caption in fold {number}")


def _check_gallery(table: RankTable) -> None:
    """The gallery of a fold is the fold's other side: no more incorrect items than it has can come before a correct one."""
    images, captions = set(table.i2t_image_id.tolist()), set(table.t2i_image_id.tolist())
    if images != captions:
        raise Damaged(f"{len(images ^ captions)} images have a query or a caption, but not both")
    if not set(table.i2t_caption_id.tolist()) <= set(table.t2i_caption_id.tolist()):
        raise Damaged("the best caption of an image is not in the gallery")
    captions_of = Counter(table.t2i_image_id.tolist())
    own = {"i2t": np.array([captions_of[image] for image in table.i2t_image_id.tolist()]), "t2i": np.ones(1)}
    for direction, other in (("i2t", "t2i"), ("t2i", "i2t")):
        sizes = Counter(getattr(table, f"{other}_fold").tolist())
        negatives = np.array([sizes[fold] for fold in getattr(table, f"{direction}_fold").tolist()]) - own[direction]
        rank, tied = getattr(table, f"{direction}_rank"), getattr(table, f"{direction}_ties")
        beyond = (rank > negatives) | (tied > negatives)
        if beyond.any():
            raise Damaged(
                f"{direction}_rank holds {_first(rank, beyond)}, with {_first(tied, beyond)} ties, where the gallery has "
                f"{_first(negatives, beyond)} incorrect items"
            )


def _first(values: np.ndarray, where: np.ndarray) -> str:
    return f"{values[where][0]:g}"
