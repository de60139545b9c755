"""Results of other harnesses: ranks in a CSV, or TREC runs with qrels, read as the runs that the statistics compare.

Both formats are described in `docs/significance.md`. Nothing is filled in: a query without an answer, a truncated list
or a missing positive is refused, because a guess would be counted as a measurement.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from harness.errors import InvalidRecord
from harness.files.kinds import identify, mismatch
from harness.reports.runs.rank_origin import Origin, from_zero, require_within_gallery
from harness.reports.statistics.errors import (
    AggregateOnlyResults,
    DifferentCaptionMaps,
    DifferentQueries,
    DuplicateQueries,
    InvalidRanks,
    MissingQueries,
    listing,
)
from harness.reports.statistics.hits import DIRECTIONS
from harness.reports.statistics.refusals import aligned
from harness.reports.statistics.runs import MethodRuns, joined_seeds

COLUMNS = ("query_id", "direction", "rank", "image_id", "caption_id", "seed", "method")
OPTIONAL_COLUMNS = ("dataset", "protocol", "fold")
BEST_SEED = "best"
_RUN_FILE = re.compile(r"(?P<method>.+?)(?:\.seed(?P<seed>\d+))?\.(?P<direction>i2t|t2i)\.run")
_CAPTIONS_FILE = "captions.csv"


@dataclass(frozen=True, eq=False)
class ForeignRun:
    """One method and seed of somebody else's results.

    Attributes:
        runs: its ranks.
        files: name and sha256 of each file that they come from.
        dataset, protocol: what they are about, empty where the files do not say.
        remark: what a reader must know of the file, empty if nothing.
    """

    runs: MethodRuns
    files: tuple[tuple[str, str], ...]
    dataset: str = ""
    protocol: str = ""
    remark: str = ""


def is_rank_file(path: Path) -> bool:
    """Whether a path looks like foreign results: a CSV, or a folder with qrels or TREC runs."""
    if path.is_dir():
        return any(_qrels(path, d).is_file() for d in DIRECTIONS) or any(path.glob("*.i2t.run*"))
    return path.suffix.lower() == ".csv" and path.is_file()


def read(path: Path, *, depth: int = 10, ranks_from: Origin | None = None) -> list[ForeignRun]:
    """Read a rank CSV or a TREC folder.

    Args:
        path: the CSV file, or the folder.
        depth: largest K of the metrics asked for; a TREC list that ends before it without a positive is refused.
        ranks_from: see `rank_origin.from_zero`; TREC runs are ranked by their scores and have no use for it.

    Returns:
        One run a method and seed, in the order of the file (of the file names for TREC).

    Raises:
        InvalidRecord: unreadable, or not in the format.
        AggregateOnlyResults: a table of published averages.
        InvalidComparison: one of its subclasses, for ranks that cannot be compared.
    """
    return read_trec(path, depth=depth) if path.is_dir() else read_csv(path, ranks_from=ranks_from)


def read_csv(path: Path, *, ranks_from: Origin | None = None) -> list[ForeignRun]:
    """Read a CSV of ranks, one row a query, seed and method; see `read`."""
    _require_text(path, "a CSV of ranks")
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InvalidRecord(f"cannot read {path}: {' '.join(str(error).split()):.200}") from None
    missing = [name for name in COLUMNS if name not in frame.columns]
    if "rank" in missing and {"i2t_r1", "t2i_r1"} & set(frame.columns):
        raise AggregateOnlyResults(
            f"{path} holds averages ({len(frame)} rows of recalls) without per-query ranks: published averages cannot "
            "be tested; run these methods here or import their rank files"
        )
    if missing:
        if identify(path).key != "csv" or len(frame.columns) == 1:
            raise InvalidRecord(mismatch(path, f"a CSV, separated by commas, with the columns {', '.join(COLUMNS)}"))
        raise InvalidRecord(f"{path} lacks the columns {', '.join(missing)}; the format is in docs/significance.md")
    if frame.empty:
        raise InvalidRecord(f"{path} has no rows; one a query is expected")
    frame["rank"] = _numbers(path, frame["rank"])
    parts = frame.index[np.isfinite(frame["rank"]) & (frame["rank"] % 1 != 0)]
    if len(parts):
        raise InvalidRanks(
            f"{path}, line {parts[0] + 2}: ranks are whole numbers counted from 0, got {frame['rank'][parts[0]]:g}; "
            f"give tied negatives precedence, not a mean rank ({len(parts)} of {len(frame)} rows)"
        )
    wrong = frame.index[~frame["direction"].isin(DIRECTIONS)]
    if len(wrong):
        raise InvalidRecord(
            f"{path}, line {wrong[0] + 2}: direction must be i2t or t2i, got '{frame['direction'][wrong[0]]}'"
        )
    place = {name: _one_value(path, frame, name) for name in ("dataset", "protocol")}
    runs = _runs_of_rows(path, frame)  # refuses what is no table of ranks before any rank is interpreted
    counted, remark = from_zero(path, frame, ranks_from)
    require_within_gallery(path, counted, place["protocol"])
    runs = runs if counted is frame else _runs_of_rows(path, counted)
    digest = ((path.name, sha256(path)),)
    return [ForeignRun(run, digest, place["dataset"], place["protocol"], remark) for run in runs]


def _runs_of_rows(path: Path, frame: pd.DataFrame) -> list[MethodRuns]:
    return [
        _run_of_rows(path, str(method), str(seed), rows)
        for (method, seed), rows in frame.groupby(["method", "seed"], sort=False)
    ]


def read_trec(folder: Path, *, depth: int = 10) -> list[ForeignRun]:
    """Read a folder of TREC runs and qrels, `<method>[.seed<N>].<direction>.run` and `<direction>.qrels`; see `read`."""
    qrels = {d: _read_qrels(_qrels(folder, d)) for d in DIRECTIONS}
    owner = _caption_owner(folder, qrels["t2i"])
    found: dict[tuple[str, int], dict[str, Path]] = {}
    for path in sorted(folder.glob("*.run")):
        named = _RUN_FILE.fullmatch(path.name)
        if not named:
            raise InvalidRecord(f"{path}: a run is named METHOD.i2t.run or METHOD.seed0.t2i.run, rename it")
        found.setdefault((named["method"], int(named["seed"] or 0)), {})[named["direction"]] = path
    if not found:
        packed = [path for path in sorted(folder.glob("*.run.*")) if identify(path).key not in ("trec-run", "text")]
        if packed:
            raise InvalidRecord(mismatch(packed[0], "a TREC run named METHOD.i2t.run or METHOD.t2i.run"))
        raise InvalidRecord(f"{folder} has qrels but no run; put METHOD.i2t.run and METHOD.t2i.run beside them")
    digests = tuple((_qrels(folder, d).name, sha256(_qrels(folder, d))) for d in DIRECTIONS)
    made = []
    for (method, seed), paths in found.items():
        lacking = [d for d in DIRECTIONS if d not in paths]
        if lacking:
            raise InvalidRecord(f"{folder}: '{method}' seed {seed} has no {lacking[0]} run; both directions are needed")
        ranks = {d: trec_ranks(paths[d], qrels[d], depth) for d in DIRECTIONS}
        files = (*((paths[d].name, sha256(paths[d])) for d in DIRECTIONS), *digests)
        made.append(ForeignRun(_run_of_ranks(method, (seed,), ranks, owner), files))
    return made


def trec_ranks(path: Path, qrels: pd.DataFrame, depth: int) -> pd.Series:
    """0-based rank of the best positive of each query: how many negatives score at least as much (ties count against).

    Args:
        path: a run; its rank column is ignored, as by trec_eval.
        qrels: columns query, document, relevance.
        depth: see `read`.

    Returns:
        Ranks by query id, queries in the order of the qrels.

    Raises:
        InvalidRecord, DuplicateQueries, DifferentQueries, MissingQueries, InvalidRanks.
    """
    run = _columns(path, ("query", "q0", "document", "rank", "score", "tag"))
    run["score"] = _numbers(path, run["score"], header=0)
    if not np.isfinite(run["score"]).all():
        bad = run.loc[~np.isfinite(run["score"]), "query"].unique()
        raise InvalidRanks(f"{path}: scores that are NaN or infinite for queries {listing(bad)}; evaluate again")
    repeated = run.loc[run.duplicated(["query", "document"]), "query"].unique()
    if len(repeated):
        raise DuplicateQueries(f"{path}: documents listed twice for queries {listing(repeated)}; list each once")
    positives = qrels[qrels["relevance"] > 0]
    queries = positives["query"].unique()
    extra, lost = sorted(set(run["query"]) - set(queries)), sorted(set(queries) - set(run["query"]))
    if extra:
        raise DifferentQueries(f"{path}: no positive is judged for queries {listing(extra)}; complete the qrels")
    if lost:
        raise MissingQueries(f"{path} lacks queries {listing(lost)}; they are not filled in, evaluate all queries")
    pairs = pd.MultiIndex.from_frame(positives[["query", "document"]])
    positive = pd.MultiIndex.from_frame(run[["query", "document"]]).isin(pairs)
    best = run[positive].groupby("query")["score"].max()
    listed = run.groupby("query").size()
    short = listed.index[(listed < depth) & ~listed.index.isin(best.index)]
    if len(short):
        raise InvalidRanks(
            f"{path}: lists end before {depth} documents without a positive for queries {listing(short)}; R@{depth} is "
            f"unknown there, export at least {depth} documents a query"
        )
    ahead = run[~positive & (run["score"] >= run["query"].map(best).fillna(-np.inf))]
    return ahead.groupby("query").size().reindex(queries, fill_value=0).astype(np.float64)


def merged(runs: Sequence[MethodRuns]) -> MethodRuns:
    """The seeds of one method as one, on the same queries in the same order.

    Raises:
        InvalidComparison: seeds that repeat or were asked different queries.
    """
    if len(runs) == 1:
        return runs[0]
    name = runs[0].name
    ordered = aligned([replace(run, name=f"{name} seed {run.seeds[0]} ({n})") for n, run in enumerate(runs, 1)])
    return replace(
        ordered[0],
        name=name,
        seeds=tuple(run.seeds[0] for run in ordered),
        **joined_seeds(ordered),
        seed_selection="best" if any(run.seed_selection == "best" for run in runs) else "all",
    )


def sha256(path: Path) -> str:
    """Of a file's bytes.

    Raises:
        InvalidRecord: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidRecord(f"cannot read {path}: {error.strerror or error}") from None


def _run_of_rows(path: Path, method: str, seed: str, rows: pd.DataFrame) -> MethodRuns:
    if not method:
        raise InvalidRecord(f"{path}, line {rows.index[0] + 2}: a method needs a name")
    if seed != BEST_SEED and not (seed.isdecimal() and len(seed) <= 20):
        raise InvalidRecord(
            f"{path}, line {rows.index[0] + 2}: seed must be a whole number of at most 20 digits or 'best', got "
            f"'{seed:.30}'"
        )
    ranks, owner = {}, pd.Series(dtype=str)
    for direction, kind in (("i2t", "image_id"), ("t2i", "caption_id")):
        part = rows[rows["direction"] == direction]
        if part.empty:
            raise MissingQueries(f"{path}: '{method}' seed {seed} has no {direction} query; both directions are needed")
        differs = part[(part[kind] != part["query_id"]) & (part[kind] != "")]
        if len(differs):
            raise InvalidRecord(
                f"{path}, line {differs.index[0] + 2}: the query_id of {direction} is its {kind}, got "
                f"'{differs['query_id'].iloc[0]}' and '{differs[kind].iloc[0]}'"
            )
        repeated = part.loc[part["query_id"].duplicated(), "query_id"].unique()
        if len(repeated):
            raise DuplicateQueries(
                f"{path}: '{method}' seed {seed} answers {direction} queries {listing(repeated)} twice; keep one row each"
            )
        ranks[direction] = part.set_index("query_id")["rank"]
        if direction == "t2i":
            owner = part.set_index("query_id")["image_id"]
    if (owner == "").any():
        raise DifferentCaptionMaps(
            f"{path}: '{method}' seed {seed} gives no image_id for captions {listing(owner.index[owner == ''])}; the "
            "image of a caption is the unit of every test"
        )
    folds = _folds(path, rows) if "fold" in rows else None
    best = seed == BEST_SEED
    runs = _run_of_ranks(method, (0,) if best else (int(seed),), ranks, owner, folds)
    return replace(runs, seed_selection="best") if best else runs


def _run_of_ranks(
    method: str,
    seeds: tuple[int, ...],
    ranks: dict[str, pd.Series],
    owner: pd.Series,
    folds: pd.Series | None = None,
) -> MethodRuns:
    """Runs of one seed; an image that only captions are about counts as a unit without a query of its own."""
    asked = ranks["i2t"].index
    images = asked.append(pd.Index(owner[~owner.isin(asked)].unique()))
    i2t = np.concatenate([ranks["i2t"].to_numpy(), np.zeros(len(images) - len(asked))])
    return MethodRuns(
        name=method,
        seeds=seeds,
        i2t_ranks=i2t,
        t2i_ranks=ranks["t2i"].to_numpy(),
        caption_image=images.get_indexer(pd.Index(owner.reindex(ranks["t2i"].index))),
        image_ids=images.tolist(),
        caption_ids=ranks["t2i"].index.tolist(),
        fold=None if folds is None else folds.reindex(images).to_numpy(),
        image_queried=np.arange(len(images)) < len(asked),
    )


def _folds(path: Path, rows: pd.DataFrame) -> pd.Series:
    image = rows["image_id"].where(rows["image_id"] != "", rows["query_id"])
    folds = pd.DataFrame({"image": image, "fold": rows["fold"]}).drop_duplicates()
    torn = folds.loc[folds["image"].duplicated(), "image"].unique()
    if len(torn):
        raise DifferentCaptionMaps(f"{path}: images in more than one fold: {listing(torn)}; give each image one fold")
    return folds.set_index("image")["fold"]


def _qrels(folder: Path, direction: str) -> Path:
    return folder / f"{direction}.qrels"


def _read_qrels(path: Path) -> pd.DataFrame:
    frame = _columns(path, ("query", "iteration", "document", "relevance"))
    frame["relevance"] = _numbers(path, frame["relevance"], header=0)
    vague = frame.loc[~np.isfinite(frame["relevance"]), "query"].unique()
    if len(vague):
        raise InvalidRecord(f"{path}: relevance that is not finite for queries {listing(vague)}; judge with numbers")
    repeated = frame.loc[frame.duplicated(["query", "document"]), "query"].unique()
    if len(repeated):
        raise DuplicateQueries(f"{path}: documents judged twice for queries {listing(repeated)}; judge each once")
    return frame


def _caption_owner(folder: Path, qrels: pd.DataFrame) -> pd.Series:
    """The image of each caption: `captions.csv` (caption_id, image_id) if there is one, else its only positive."""
    path = folder / _CAPTIONS_FILE
    if path.is_file():
        try:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
            owner = frame.drop_duplicates().set_index("caption_id")["image_id"]
        except (OSError, ValueError, KeyError) as error:
            raise InvalidRecord(f"cannot read caption_id and image_id from {path}: {error!s:.200}") from None
    else:
        positives = qrels[qrels["relevance"] > 0].drop_duplicates(["query", "document"])
        owner = positives.set_index("query")["document"]
    several = owner.index[owner.index.duplicated()].unique()
    if len(several):
        raise DifferentCaptionMaps(
            f"captions with several images: {listing(several)}; say in {path} (caption_id,image_id) which image each "
            "caption belongs to, it is the unit of every test"
        )
    unknown = sorted(set(qrels.loc[qrels["relevance"] > 0, "query"]) - set(owner.index))
    if unknown:
        raise DifferentCaptionMaps(f"{path} lacks captions {listing(unknown)}; name the image of every caption")
    return owner


def _require_text(path: Path, expected: str) -> None:
    """Refuse what is no table of text, by its name; a missing file is left to its reader."""
    if identify(path).key not in ("csv", "tsv", "text", "qrels", "trec-run", "numbers", "yaml", "missing"):
        raise InvalidRecord(mismatch(path, expected))


def _columns(path: Path, names: Sequence[str]) -> pd.DataFrame:
    """A file of whitespace-separated columns, as TREC's are."""
    _require_text(path, f"lines of {len(names)} columns: {' '.join(names)}")
    try:
        frame = pd.read_csv(
            path, sep=r"\s+", header=None, dtype=str, keep_default_na=False, quoting=3, encoding="utf-8-sig"
        )
    except (OSError, ValueError) as error:
        raise InvalidRecord(f"cannot read {path}: {' '.join(str(error).split()):.200}") from None
    if len(frame.columns) != len(names):
        raise InvalidRecord(f"{path} has {len(frame.columns)} columns, {len(names)} expected: {' '.join(names)}")
    return frame.set_axis(list(names), axis=1)


def _numbers(path: Path, column: pd.Series, header: int = 1) -> pd.Series:
    values = pd.to_numeric(column, errors="coerce")
    wrong = column.index[values.isna() & ~column.str.lower().isin(("nan", "+nan", "-nan"))]
    if len(wrong):
        # Lines are counted from 1, and the heading is one of them.
        line = wrong[0] + 1 + header
        raise InvalidRecord(f"{path}, line {line}: {column.name} must be a number, got '{column[wrong[0]]}'")
    return values.astype(np.float64)


def _one_value(path: Path, frame: pd.DataFrame, name: str) -> str:
    values = list(frame[name].unique()) if name in frame else [""]
    if len(values) > 1:
        raise InvalidRecord(f"{path} has several {name}s ({', '.join(values[:5])}); write one file for each")
    return values[0]
