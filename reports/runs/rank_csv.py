"""A CSV of ranks, one row per query, seed and method, as `docs/significance.md` describes it.

Ranks are counted from 0 here and from 1 in many other programs. A file that counts from 1 gets every recall wrong, so it
is never guessed: wherever no query has rank 0, the user says what the first place is called.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from harness.errors import InvalidRecord, counted
from harness.files.hashing import sha256_file
from harness.files.kinds import identify, mismatch
from harness.records.ranks import OWN_GALLERY
from harness.records.ties import RECALLS
from harness.reports.runs.foreign import ForeignRun, first_line, numbers, read_table, refuse
from harness.reports.runs.queries import one_seed
from harness.reports.statistics.errors import (
    AggregateOnlyResults,
    DifferentCaptionMaps,
    DuplicateQueries,
    InvalidRanks,
    MissingQueries,
)
from harness.reports.statistics.hits import DIRECTIONS
from harness.reports.statistics.runs import MethodRuns

COLUMNS = ("query_id", "direction", "rank", "image_id", "caption_id", "seed", "method")
BEST_SEED = "best"
Origin = Literal[0, 1]


def read_rank_csv(path: Path, ranks_from: Origin | None = None) -> list[ForeignRun]:
    """Read a CSV of ranks.

    Args:
        path: the file.
        ranks_from: what it calls the first place where no query of a method, seed and direction has rank 0; None = not
            said. A file with a column `ranks_from` says it itself.

    Returns:
        One run per method and seed, in the order of the file.

    Raises:
        InvalidRecord: unreadable, or not in the format.
        AggregateOnlyResults: a table of published averages.
        InvalidComparison: one of its subclasses, for ranks that cannot be compared.
    """
    frame = read_table(path, "a CSV of ranks")
    _check_columns(path, frame)
    frame["rank"] = numbers(path, frame["rank"])
    parts = np.isfinite(frame["rank"]) & (frame["rank"] % 1 != 0)
    if line := first_line(parts):
        raise InvalidRanks(
            f"{path}, line {line}: ranks are whole numbers counted from 0, got {frame['rank'][line]:g}; give tied "
            f"negatives precedence, not a mean rank ({parts.sum()} of {len(frame)} rows)"
        )
    _check(path, frame["direction"], frame["direction"].isin(DIRECTIONS), "direction must be i2t or t2i")
    dataset, protocol = (_one_value(path, frame, name) for name in ("dataset", "protocol"))
    runs = _runs(path, frame)  # refuses what is no table of ranks before any rank is interpreted
    counted, remark = _stated_origin(path, frame) or _from_zero(path, frame, ranks_from)
    _require_within_gallery(path, counted, protocol)
    runs = runs if counted is frame else _runs(path, counted)
    digest = ((path.name, sha256_file(path)),)
    return [ForeignRun(run, digest, dataset, protocol, remark) for run in runs]


def _check_columns(path: Path, frame: pd.DataFrame) -> None:
    missing = [name for name in COLUMNS if name not in frame.columns]
    if "rank" in missing and set(RECALLS) & set(frame.columns):
        raise AggregateOnlyResults(
            f"{path} holds averages ({counted(len(frame), 'row')} of recalls) without per-query ranks: published averages cannot "
            "be tested; run these methods here or import their rank files"
        )
    if missing and (identify(path).key != "csv" or len(frame.columns) == 1):
        raise InvalidRecord(mismatch(path, f"a CSV, separated by commas, with the columns {', '.join(COLUMNS)}"))
    if missing:
        raise InvalidRecord(f"{path} lacks the columns {', '.join(missing)}; the format is in docs/significance.md")
    if frame.empty:
        raise InvalidRecord(f"{path} has no rows; one per query is expected")


def _check(path: Path, column: pd.Series, right: pd.Series, what: str) -> None:
    if line := first_line(~right):
        raise InvalidRecord(f"{path}, line {line}: {what}, got '{column[line]:.30}'")


def _one_value(path: Path, frame: pd.DataFrame, name: str) -> str:
    values = [*frame.get(name, pd.Series([""])).unique()]
    if len(values) > 1:
        raise InvalidRecord(f"{path} has several {name}s ({', '.join(values[:5])}); write one file for each")
    return values[0]


def _runs(path: Path, frame: pd.DataFrame) -> list[MethodRuns]:
    _check(path, frame["method"], frame["method"] != "", "a method needs a name")
    seeds = frame["seed"]
    whole = (seeds == BEST_SEED) | (seeds.map(str.isdecimal) & (seeds.str.len() <= 20))
    _check(path, seeds, whole, "seed must be a whole number of at most 20 digits or 'best'")
    return [
        _run(path, str(method), str(seed), rows)
        for (method, seed), rows in frame.groupby(["method", "seed"], sort=False)
    ]


def _run(path: Path, method: str, seed: str, rows: pd.DataFrame) -> MethodRuns:
    sides, who = {}, f"{path}: '{method}' seed {seed}"
    for direction, kind in (("i2t", "image_id"), ("t2i", "caption_id")):
        part = rows[rows["direction"] == direction]
        if part.empty:
            raise MissingQueries(f"{who} has no {direction} query; both directions are needed")
        query, own = part["query_id"], part[kind]
        if line := first_line((own != query) & (own != "")):
            raise InvalidRecord(
                f"{path}, line {line}: the query_id of {direction} is its {kind}, got '{query[line]}' and '{own[line]}'"
            )
        refuse(
            DuplicateQueries,
            query[query.duplicated()],
            f"{who} has several rows for {direction} queries",
            "keep one row each",
        )
        sides[direction] = part.set_index("query_id")
    owner = sides["t2i"]["image_id"]
    refuse(
        DifferentCaptionMaps,
        owner.index[owner == ""],
        f"{who} gives no image_id for captions",
        "the image of a caption is the unit of every test",
    )
    best = seed == BEST_SEED
    folds = _folds(path, rows) if "fold" in rows else None
    runs = one_seed(method, 0 if best else int(seed), sides["i2t"]["rank"], sides["t2i"]["rank"], owner, folds)
    return replace(runs, seed_selection="best") if best else runs


def _folds(path: Path, rows: pd.DataFrame) -> pd.Series:
    image = rows["image_id"].where(rows["image_id"] != "", rows["query_id"])
    folds = pd.DataFrame({"image": image, "fold": rows["fold"]}).drop_duplicates().set_index("image")["fold"]
    torn = folds.index[folds.index.duplicated()]
    refuse(DifferentCaptionMaps, torn, f"{path}: images in more than one fold:", "give each image one fold")
    return folds


def _stated_origin(path: Path, frame: pd.DataFrame) -> tuple[pd.DataFrame, str] | None:
    """The same rows with ranks counted from 0 where the file itself says how it counts; None where it does not."""
    stated = _one_value(path, frame, "ranks_from")
    if stated not in ("", "0", "1"):
        raise InvalidRecord(f"{path}: ranks_from must be 0 or 1, got '{stated:.30}'")
    if stated == "1" and (line := first_line(frame["rank"] == 0)):
        raise InvalidRanks(f"{path}, line {line}: rank 0 in a file whose column ranks_from says that it counts from 1")
    return (frame.assign(rank=frame["rank"] - int(stated)), "") if stated else None


def _from_zero(path: Path, frame: pd.DataFrame, origin: Origin | None) -> tuple[pd.DataFrame, str]:
    """The same rows with ranks counted from 0, and what a reader must know of them, empty if nothing.

    A method, seed and direction that has a rank 0 counts from 0, whatever origin is given.
    """
    keys = ["method", "seed", "direction"]
    smallest = frame.groupby(keys, sort=False)["rank"].agg(["min", "size"])
    without = smallest[smallest["min"] >= 1]
    if without.empty:
        return frame, ""
    (method, seed, direction), found = without.index[0], without.iloc[0]
    first = dict.fromkeys(smallest.index[smallest["min"] == 0].get_level_values(0))
    others = [name for name in first if name != method]
    beside = f", though {' and '.join(others[:3])} beside it has" if others else ""
    if method in first:
        beside = ", though others of its ranks are 0"
    what = f"'{method}' seed {seed} has no rank 0 among {int(found['size']):,} {direction} queries (smallest {found['min']:g})"
    if origin is None:
        raise InvalidRanks(
            f"{path}: {what}{beside}; ranks are counted from 0 here, and a file that counts from 1 gets every recall wrong: "
            "say --ranks-from 1 if 1 is its first place, or --ranks-from 0 if no query was answered at once"
        )
    if origin == 0:
        return frame, f"{path.name}: {what}; it is read as counted from 0, as --ranks-from says."
    rows = pd.MultiIndex.from_frame(frame[keys]).isin(without.index)
    shifted = frame.assign(rank=frame["rank"].where(~rows, frame["rank"] - 1))
    names = ", ".join(dict.fromkeys(without.index.get_level_values(0)))
    return shifted, f"{path.name}: ranks of {names} are counted from 1, as --ranks-from says; 1 is subtracted."


def _require_within_gallery(path: Path, frame: pd.DataFrame, protocol: str) -> None:
    """Refuse ranks that no item of the gallery can have.

    The gallery of a protocol on the dataset's own pairs is what the file names: its captions and images. Protocols of
    other judgements ask only some of them, so the file does not tell.
    """
    if protocol and protocol not in OWN_GALLERY:
        return
    i2t, t2i = (frame[frame["direction"] == direction] for direction in DIRECTIONS)
    images = pd.concat([i2t["query_id"], t2i["image_id"][t2i["image_id"] != ""]]).nunique()
    captions = t2i["query_id"].nunique()
    for ranks, what, items in (
        (i2t["rank"], f"i2t, but the file names {captions:,} captions", captions),
        (t2i["rank"], f"t2i, but the file names {images:,} images", images),
    ):
        if line := first_line(ranks >= items):
            raise InvalidRanks(
                f"{path}, line {line}: rank {ranks[line]:g} of {what}, so ranks are 0 to {items - 1:,}; list every query "
                "of the gallery, or name the protocol in a column 'protocol' if only some are asked"
            )
