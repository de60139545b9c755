"""The ranks of all runs of a gallery as CSV: a row per query, a column per run; and what ties, a row per query that does.

Which of an image's captions stood first is not kept: no metric and no test asks for it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from harness.errors import InvalidFrozen, one_line
from harness.files.reading import Damaged
from harness.records.frozen.manifest import I2T, T2I, TIES
from harness.records.ranks import RankTable

#: Columns before those of the runs.
QUERY = {"i2t": ("image_id", "fold"), "t2i": ("caption_id", "image_id", "fold")}
_FILE = {"i2t": I2T, "t2i": T2I}
_ID = {"i2t": "i2t_image_id", "t2i": "t2i_caption_id"}
_TIES = ("run_id", "direction", "query_id", "ties", "best_tied")


def write_tables(tables: Mapping[str, RankTable], title: str) -> dict[str, bytes]:
    """The files of a gallery from the tables of its runs, by run id.

    Raises:
        InvalidFrozen: runs that were asked different queries.
    """
    first_id, first = next(iter(tables.items()))
    ordered = {
        run_id: _in_order(table, first, f"{title}: runs {first_id} and {run_id}") for run_id, table in tables.items()
    }
    files = {}
    for way, columns in QUERY.items():
        frame = {name: _texts(getattr(first, f"{way}_{name}")) for name in columns[:-1]} | {
            "fold": getattr(first, f"{way}_fold")
        }
        frame |= {run_id: getattr(table, f"{way}_rank") for run_id, table in ordered.items()}
        files[_FILE[way]] = _csv(pd.DataFrame(frame))
    ties = [_tied(run_id, way, table) for run_id, table in ordered.items() for way in QUERY]
    files[TIES] = _csv(pd.concat(ties, ignore_index=True))
    return files


def read_tables(files: Mapping[str, bytes], run_ids: Sequence[str]) -> dict[str, RankTable]:
    """The tables of a gallery's runs.

    Args:
        files: content by name.
        run_ids: the runs, whose columns the files must have, and no others.

    Raises:
        Damaged: files that no freezing makes; one line that names the file.
    """
    frames = {way: _frame(files[name], name, QUERY[way], run_ids) for way, name in _FILE.items()}
    tied = _ties_frame(files[TIES])
    shared = {
        "i2t_image_id": frames["i2t"]["image_id"].to_numpy(dtype=str),
        "i2t_caption_id": _first_captions(frames),
        "i2t_fold": frames["i2t"]["fold"].to_numpy(),
        "t2i_caption_id": frames["t2i"]["caption_id"].to_numpy(dtype=str),
        "t2i_image_id": frames["t2i"]["image_id"].to_numpy(dtype=str),
        "t2i_fold": frames["t2i"]["fold"].to_numpy(),
    }
    if unknown := set(tied["run_id"]) - set(run_ids):
        raise Damaged(f"{TIES} names the run {min(unknown)!r:.60}, which the others lack")
    parts = dict(list(tied.groupby(["run_id", "direction"], sort=False)))
    queries = {way: pd.Index(frames[way][columns[0]]) for way, columns in QUERY.items()}
    made = {}
    for run_id in run_ids:
        own = {}
        for way in QUERY:
            own[f"{way}_rank"] = frames[way][run_id].to_numpy()
            counts = _counts(queries[way], parts.get((run_id, way)), run_id)
            own[f"{way}_ties"], own[f"{way}_best_tied"] = counts
        made[run_id] = RankTable(**shared, **own)
    return made


def _in_order(table: RankTable, first: RankTable, who: str) -> RankTable:
    """The same table with its queries in the order of the first one."""
    values: dict[str, np.ndarray] = {}
    for way, id_of in _ID.items():
        wanted, own = _texts(getattr(first, id_of)), _texts(getattr(table, id_of))
        place = {query: row for row, query in enumerate(own)}
        if place.keys() != set(wanted):
            raise InvalidFrozen(
                f"{who} were asked different {way} queries, {len(wanted):,} and {len(own):,}; freeze them apart"
            )
        rows = np.array([place[query] for query in wanted])
        values |= {name: getattr(table, name)[rows] for name in table.__dataclass_fields__ if name.startswith(way)}
    made = RankTable(**values)
    for name in ("t2i_image_id", "i2t_fold", "t2i_fold"):
        if _texts(getattr(made, name)) != _texts(getattr(first, name)):
            raise InvalidFrozen(f"{who} differ in {name}, so they have no common gallery; freeze them apart")
    return made


def _tied(run_id: str, way: str, table: RankTable) -> pd.DataFrame:
    ties, best = getattr(table, f"{way}_ties"), getattr(table, f"{way}_best_tied")
    rows = np.flatnonzero((ties != 0) | (best != 1))
    queries = _texts(getattr(table, _ID[way])[rows])
    return pd.DataFrame(
        dict(zip(_TIES, (run_id, way, queries, ties[rows], best[rows]), strict=True)), index=range(len(rows))
    )


def _counts(queries: pd.Index, rows: pd.DataFrame | None, run_id: str) -> tuple[np.ndarray, np.ndarray]:
    ties, best = np.zeros(len(queries), np.int64), np.ones(len(queries), np.int64)
    if rows is not None:
        at = queries.get_indexer(pd.Index(rows["query_id"]))
        if (at < 0).any() or len(np.unique(at)) < len(at):
            raise Damaged(f"{TIES} names a query of run {run_id} twice, or one that the others lack")
        ties[at], best[at] = rows["ties"].to_numpy(), rows["best_tied"].to_numpy()
    return ties, best


def _first_captions(frames: Mapping[str, pd.DataFrame]) -> np.ndarray:
    captions = frames["t2i"].drop_duplicates("image_id").set_index("image_id")["caption_id"]
    return captions.reindex(frames["i2t"]["image_id"]).fillna("").to_numpy(dtype=str)


def _frame(content: bytes, name: str, ids: Sequence[str], run_ids: Sequence[str]) -> pd.DataFrame:
    frame = _read(content, name, dict.fromkeys(ids[:-1], str))
    if list(frame.columns) != [*ids, *run_ids]:
        wrong = set(frame.columns) ^ {*ids, *run_ids}
        what = (
            f"{', '.join(sorted(map(str, wrong)))[:120]} missing or too many" if wrong else "they are in another order"
        )
        raise Damaged(f"{name}: the columns must be {', '.join(ids)} and the runs of the manifest: {what}")
    if frame.empty:
        raise Damaged(f"{name} has no rows")
    if frame[ids[0]].duplicated().any():
        raise Damaged(f"{name} names the query {frame[ids[0]][frame[ids[0]].duplicated()].iloc[0]!r:.60} twice")
    for column in ("fold", *run_ids):
        if frame[column].dtype.kind not in ("iu" if column == "fold" else "iuf"):
            raise Damaged(f"{name}: column {column} must hold numbers only")
    return frame


def _ties_frame(content: bytes) -> pd.DataFrame:
    frame = _read(content, TIES, dict.fromkeys(_TIES[:3], str))
    if tuple(frame.columns) != _TIES:
        raise Damaged(f"{TIES}: the columns must be {', '.join(_TIES)}")
    if frame.empty:
        return frame.astype({"ties": np.int64, "best_tied": np.int64})
    if not frame["direction"].isin(list(QUERY)).all() or any(frame[c].dtype.kind not in "iu" for c in _TIES[3:]):
        raise Damaged(f"{TIES}: direction must be i2t or t2i, ties and best_tied whole numbers")
    return frame


def _read(content: bytes, name: str, types: Mapping[str, type]) -> pd.DataFrame:
    try:
        return pd.read_csv(
            io.BytesIO(content), dtype=dict(types), na_filter=False, float_precision="round_trip", index_col=False
        )
    except (ValueError, UnicodeDecodeError, pd.errors.ParserError, OverflowError) as error:
        raise Damaged(f"{name} is no CSV of ranks: {one_line(error, 120)}") from None


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode()


def _texts(values: np.ndarray) -> list[str]:
    return [str(value) for value in values.tolist()]
