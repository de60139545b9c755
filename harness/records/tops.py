"""The first items of every query, as `top.npz` holds them: what a run found, without its model or its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from harness.errors import InvalidRecord
from harness.files.reading import Damaged, read_arrays
from harness.files.writing import atomic_path

#: Items kept per query, where the gallery has so many.
DEPTH = 10
#: Items per query that a file may hold, whoever wrote it.
_DEEPEST = 1000


@dataclass(frozen=True, eq=False)
class TopTable:
    """The first items of every query, in both directions, the whole split being the gallery.

    I images, T captions, K = min(10, size of the gallery). Of equal scores the lower row comes first. The place of an
    item in these lists is not a rank under the run's tie rule; that is in `ranks.npz`.

    Args:
        image_id: (I,) ids, by row.
        caption_id: (T,) ids, by row.
        caption_image: (T,) int64, the image row of each caption.
        i2t_top: (I, K) int32, caption rows, best first.
        i2t_score: (I, K) float32, their scores; of finer scores the nearest float32.
        t2i_top: (T, K) int32, image rows, best first.
        t2i_score: (T, K) float32.
    """

    image_id: np.ndarray
    caption_id: np.ndarray
    caption_image: np.ndarray
    i2t_top: np.ndarray
    i2t_score: np.ndarray
    t2i_top: np.ndarray
    t2i_score: np.ndarray


NAMES = tuple(field.name for field in fields(TopTable))
_KINDS = {
    "caption_image": np.int64,
    "i2t_top": np.int32,
    "i2t_score": np.float32,
    "t2i_top": np.int32,
    "t2i_score": np.float32,
}


def write_tops(path: Path, table: TopTable) -> None:
    """Write the table of a run, whole or not at all.

    Raises:
        ResultsNotWritable: the folder cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **{name: getattr(table, name) for name in NAMES})


def read_tops(path: Path, remedy: str) -> TopTable:
    """The table of a file, checked by `check_tops`.

    Raises:
        InvalidRecord: not a whole archive, or a table that no evaluation makes; one line that ends with `remedy`.
    """
    try:
        return _table(read_arrays(path))
    except Damaged as error:
        raise InvalidRecord(f"cannot read {path}: {error}; {remedy}") from None


def _table(arrays: Mapping[str, np.ndarray]) -> TopTable:
    missing = [name for name in NAMES if name not in arrays]
    if missing:
        raise Damaged(f"it lacks {', '.join(missing)}")
    table = TopTable(**{name: arrays[name] for name in NAMES})
    check_tops(table)
    return replace(table, **{name: arrays[name].astype(kind, copy=False) for name, kind in _KINDS.items()})


def check_tops(table: TopTable) -> None:
    """Refuse a table that no evaluation can have made.

    Raises:
        Damaged: what is wrong, in one line.
    """
    images, captions = (_check_ids(table, name) for name in ("image_id", "caption_id"))
    _check_shape(table, "caption_image", "iu", (captions,))
    _check_rows(table, "caption_image", images)
    bare = np.flatnonzero(np.bincount(table.caption_image.astype(np.int64), minlength=images) == 0)
    if len(bare):
        raise Damaged(f"{len(bare):,} images have no caption, the first is row {bare[0]}")
    for direction, queries, gallery in (("i2t", images, captions), ("t2i", captions, images)):
        _check_direction(table, direction, queries, gallery)


def _check_ids(table: TopTable, name: str) -> int:
    """The number of ids."""
    ids = getattr(table, name)
    if ids.ndim != 1 or ids.dtype.kind not in "Uiu" or not len(ids):
        raise Damaged(f"{name} is {ids.dtype} of shape {ids.shape}, expected a list of ids")
    if len(np.unique(ids)) < len(ids):
        raise Damaged(f"{name} names an item twice")
    return len(ids)


def _check_direction(table: TopTable, direction: str, queries: int, gallery: int) -> None:
    top, score = getattr(table, f"{direction}_top"), getattr(table, f"{direction}_score")
    width = top.shape[1] if top.ndim == 2 else 0
    if not 1 <= width <= min(gallery, _DEEPEST):
        raise Damaged(
            f"{direction}_top has shape {top.shape}, expected ({queries}, 1 to {min(gallery, _DEEPEST)}): one row per "
            f"query, of a gallery of {gallery:,}"
        )
    _check_shape(table, f"{direction}_top", "iu", (queries, width))
    _check_shape(table, f"{direction}_score", "f", (queries, width))
    _check_rows(table, f"{direction}_top", gallery)
    ordered = np.sort(top, axis=1)
    twice = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(1))
    if len(twice):
        raise Damaged(f"{direction}_top names an item twice for query {twice[0]}")
    beyond = ~(np.abs(score) <= np.finfo(np.float32).max)  # NaN too
    if beyond.any():
        raise Damaged(f"{direction}_score holds {score[beyond][0]:g}; scores must be finite, as float32 too")
    rising = np.flatnonzero((score[:, 1:] > score[:, :-1]).any(1))
    if len(rising):
        raise Damaged(f"{direction}_score rises along the list of query {rising[0]}; the best item comes first")


def _check_shape(table: TopTable, name: str, kinds: str, shape: tuple[int, ...]) -> None:
    array = getattr(table, name)
    if array.shape != shape or array.dtype.kind not in kinds:
        what = "numbers" if kinds == "f" else "whole numbers"
        raise Damaged(f"{name} is {array.dtype} of shape {array.shape}, expected {what} of shape {shape}")


def _check_rows(table: TopTable, name: str, count: int) -> None:
    rows = getattr(table, name)
    outside = (rows < 0) | (rows >= count)
    if outside.any():
        raise Damaged(f"{name} holds {rows[outside][0]}, expected rows 0 to {count - 1}")
