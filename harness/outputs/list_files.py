"""Candidate lists from files: JSON, `.npz`, and TREC runs.

Shape letters: I images, T captions, K places of a list, M listed items.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from harness.datasets.base import Split
from harness.errors import InvalidSimilarity
from harness.metrics.positives import Direction
from harness.outputs.contents import Contents
from harness.outputs.lists import CandidateLists, Listed, levels
from harness.reports.runs.foreign import numbers, read_table

DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
_RUN = ("query", "q0", "document", "rank", "score", "tag")
_SCORES = "_scores"
_log = logging.getLogger(__name__)


def lists_of(contents: Contents, split: Split) -> CandidateLists:
    """The lists of a JSON file or an archive with `i2t` or `t2i` or both.

    JSON: a mapping of a query's id to the ids of its items, best first, or a list with one list of positions per query of
    the split. `.npz`: positions (queries, K), -1 = no item, and optionally scores of that shape under `i2t_scores`.

    Raises:
        InvalidSimilarity: unknown ids, an item twice in a list, or another form.
    """
    sides = {
        "i2t": (split.image_ids, split.caption_ids),
        "t2i": (split.caption_ids, split.image_ids),
    }
    listed: dict[Direction, Listed] = {}
    for direction in DIRECTIONS:
        if direction in contents.values:
            queries, items = sides[direction]
            read = _from_array if isinstance(contents.values[direction], np.ndarray) else _from_json
            listed[direction] = read(contents, direction, queries, items)
    return _complete(listed, split, str(contents.path))


def lists_of_runs(paths: Sequence[Path], split: Split) -> CandidateLists:
    """The lists of one TREC run per direction; ids of queries and documents are those of the dataset.

    Raises:
        InvalidSimilarity: unknown ids, one direction twice, or a run that fits both.
        InvalidRecord: not a TREC run.
    """
    listed: dict[Direction, Listed] = {}
    for path in paths:
        table = read_table(path, f"lines of {len(_RUN)} columns: {' '.join(_RUN)}", _RUN)
        scores = numbers(path, table["score"]).to_numpy()
        asked, named = table["query"].to_numpy(), table["document"].to_numpy()
        if not np.isfinite(scores).all():
            raise InvalidSimilarity(
                f"{path} holds a score that is NaN or infinite, query {asked[~np.isfinite(scores)][0]}"
            )
        direction = _direction(path, asked, named, split)
        if direction in listed:
            raise InvalidSimilarity(f"{path}: there are two runs of {direction}; give one per direction")
        queries, items = _sides(direction, split)
        query = _rows(asked, queries, f"{path}, query")
        item = _rows(named, items, f"{path}, document")
        order = np.lexsort(
            (np.arange(len(query)), -scores, query)
        )  # the run's own rank column is ignored, as by trec_eval
        query, item, scores = query[order], item[order], scores[order]
        listed[direction] = _listed(str(path), queries, query, item, scores)
    return _complete(listed, split, ", ".join(path.name for path in paths))


def _from_json(contents: Contents, direction: Direction, queries: Sequence[str], items: Sequence[str]) -> Listed:
    value = contents.values[direction]
    if isinstance(value, Mapping):
        lists: Iterable[Any] = value.values()
        named = True
        asked = _rows(list(value), queries, f"{contents.path}, {direction} query")
    elif isinstance(value, list) and len(value) == len(queries):
        lists, named, asked = value, False, np.arange(len(queries))
    else:
        came = f"{len(value):,} lists" if isinstance(value, list) else type(value).__name__
        raise contents.refuse(
            f"holds {came} under '{direction}'; expected a mapping of {len(queries):,} query ids to lists of ids, or a list "
            "of as many lists of positions"
        )
    parts = list(lists)
    if not all(isinstance(part, list) and all(type(i) in (int, str) for i in part) for part in parts):  # `true` is no 1
        raise contents.refuse(f"holds something else than lists of ids under '{direction}', best item first")
    query = np.repeat(asked, [len(part) for part in parts])
    flat = [item for part in parts for item in part]
    where = f"{contents.path}, {direction} item"
    item = _rows(flat, items, where) if named else _positions(flat, len(items), where)
    return _listed(f"{contents.path}, {direction}", queries, query, item, None)


def _from_array(contents: Contents, direction: Direction, queries: Sequence[str], items: Sequence[str]) -> Listed:
    array = contents.arrays[direction]
    if array.ndim != 2 or array.dtype.kind not in "iu" or len(array) != len(queries):
        raise contents.refuse(
            f"holds {array.dtype} of shape {array.shape} under '{direction}'; expected whole numbers ({len(queries):,}, K), "
            "the positions of each query's first K items"
        )
    scores = contents.arrays.get(direction + _SCORES)
    if scores is not None and (scores.shape != array.shape or scores.dtype.kind not in "fiu"):
        raise contents.refuse(f"holds {direction}{_SCORES} of shape {scores.shape}; expected {array.shape}")
    present = array >= 0  # faiss fills short lists with -1
    query = np.repeat(np.arange(len(queries)), present.sum(axis=1))
    item = _positions(array[present].tolist(), len(items), f"{contents.path}, {direction} item")
    values = None if scores is None else scores[present].astype(np.float64)
    if values is not None and not np.isfinite(values).all():
        raise contents.refuse(f"holds NaN or infinite values in {direction}{_SCORES}")
    if values is not None:
        rising = (query[1:] == query[:-1]) & (values[1:] > values[:-1])
        if rising.any():
            raise contents.refuse(
                f"lists items of query {int(query[1:][rising][0]):,} ({direction}) in rising order of score; the best item "
                "comes first, and distances must be negated"
            )
    return _listed(f"{contents.path}, {direction}", queries, query, item, values)


def _listed(
    where: str, queries: Sequence[str], query: np.ndarray, item: np.ndarray, scores: np.ndarray | None
) -> Listed:
    """Lists whose items stand in order within each query."""
    if len(query):
        pairs, counts = np.unique(np.stack([query, item]), axis=1, return_counts=True)
        if (counts > 1).any():
            twice = int(pairs[0][counts > 1][0])
            raise InvalidSimilarity(
                f"{where}: the list of query '{queries[twice]}' holds an item twice; list each once"
            )
    order = np.argsort(query, kind="stable")
    query, item = query[order], item[order]
    starts = np.searchsorted(query, np.arange(len(queries)))
    place = np.arange(len(query)) - starts[query]
    level = place if scores is None else levels(query, place, scores[order])
    return Listed(len(queries), query, item, place, level)


def _complete(listed: dict[Direction, Listed], split: Split, what: str) -> CandidateLists:
    for direction, lists in listed.items():
        bare = int((lists.depths == 0).sum())
        if bare == lists.queries:
            raise InvalidSimilarity(f"{what}: no {direction} query has a list")
        if bare:
            _log.warning(
                "%s: %s of %s %s queries have no list; numbers that need them are not given",
                what, f"{bare:,}", f"{lists.queries:,}", direction,
            )  # fmt: skip
    ordered = {direction: listed[direction] for direction in DIRECTIONS if direction in listed}
    return CandidateLists(ordered, len(split.image_ids), len(split.captions))


def _sides(direction: Direction, split: Split) -> tuple[Sequence[str], Sequence[str]]:
    sides = split.image_ids, split.caption_ids
    return sides if direction == "i2t" else sides[::-1]


def _direction(path: Path, asked: np.ndarray, named: np.ndarray, split: Split) -> Direction:
    """The direction of a run: the one that its ids fit, or the one that its name says where they fit both."""
    in_name = [d for d in DIRECTIONS if re.search(rf"(^|[._-]){d}([._-]|$)", path.name)]
    fitting = [d for d in DIRECTIONS if _fits(asked, _sides(d, split)[0]) and _fits(named, _sides(d, split)[1])]
    if len(fitting) == 1:
        return fitting[0]
    if len(in_name) == 1 and (in_name[0] in fitting or not fitting):
        return in_name[0]
    if fitting:
        raise InvalidSimilarity(
            f"{path}: its ids fit both directions; put .i2t. (an image searches captions) or .t2i. into its name"
        )
    raise InvalidSimilarity(
        f"{path}: its ids are not those of the dataset: query '{asked[0]}' and document '{named[0]}', where image ids are like "
        f"'{split.image_ids[0]}' and caption ids like '{split.caption_ids[0]}'"
    )


def _fits(ids: np.ndarray, known: Sequence[str]) -> bool:
    return bool(_lookup(ids, known).keys() >= set(map(str, np.unique(ids))))


def _rows(ids: Sequence[Any] | np.ndarray, known: Sequence[str], where: str) -> np.ndarray:
    """(n,) rows of ids."""
    rows = _lookup(ids, known)
    if known[0] not in rows:
        _say_numbers(known[0])
    texts = [str(name) for name in ids]
    unknown = next((name for name in texts if name not in rows), None)
    if unknown is not None:
        raise InvalidSimilarity(
            f"{where} '{unknown:.60}' is not in the dataset's split, whose ids are like '{known[0]}'"
        )
    return np.array([rows[name] for name in texts], dtype=np.int64)


@functools.lru_cache(maxsize=64)  # said once, not for each direction and side
def _say_numbers(example: str) -> None:
    _log.info("whole numbers are taken for the numbers at the end of the dataset's ids (as in '%s')", example)


def _lookup(ids: Sequence[Any] | np.ndarray, known: Sequence[str]) -> dict[str, int]:
    """Row by id; by the number at an id's end (COCO_val2014_000000391895.jpg) where whole numbers are asked for."""
    rows = {name: row for row, name in enumerate(known)}
    if any(str(name) in rows for name in ids[:1]) or not str(next(iter(ids), "")).isdigit():
        return rows
    ends = [re.search(r"(?:^|_)0*(\d+)(?:\.\w+)?$", name, re.ASCII) for name in known]
    numbered = {end[1]: row for row, end in enumerate(ends) if end}
    return numbered if len(numbered) == len(known) else rows


def _positions(items: list[Any], count: int, where: str) -> np.ndarray:
    wrong = next((i for i in items if type(i) is not int or not 0 <= i < count), None)
    if wrong is not None:
        raise InvalidSimilarity(f"{where} {wrong!r:.40} is no position; positions are 0 to {count - 1:,}")
    return np.array(items, dtype=np.int64)
