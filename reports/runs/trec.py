"""TREC runs with qrels: a folder of `<method>[.seed<N>].<direction>.run` and `<direction>.qrels`.

pandas reads them: the readers of ir_measures name neither file nor line, take whole relevances only, and bring trec_eval.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from harness.errors import InvalidRecord
from harness.files.hashing import sha256_file
from harness.files.kinds import identify, mismatch
from harness.reports.runs.foreign import ForeignRun, numbers, read_table, refuse
from harness.reports.runs.queries import one_seed
from harness.reports.statistics.errors import (
    DifferentCaptionMaps,
    DifferentQueries,
    DuplicateQueries,
    InvalidRanks,
    MissingQueries,
)
from harness.reports.statistics.hits import DIRECTIONS

_RUN_FILE = re.compile(r"(?P<method>.+?)(?:\.seed(?P<seed>\d+))?\.(?P<direction>i2t|t2i)\.run")
_CAPTIONS = "captions.csv"
_RUN = ("query", "q0", "document", "rank", "score", "tag")
_QRELS = ("query", "iteration", "document", "relevance")


def is_trec_folder(path: Path) -> bool:
    """Whether a folder holds qrels or TREC runs."""
    return any((path / f"{d}.qrels").is_file() for d in DIRECTIONS) or any(path.glob("*.i2t.run*"))


def read_trec(folder: Path, depth: int = 10) -> list[ForeignRun]:
    """Read a folder of TREC runs and qrels.

    Args:
        folder: the folder.
        depth: largest K of the metrics asked for; a list that ends before it without a positive is refused.

    Returns:
        One run per method and seed, in the order of the file names.

    Raises:
        InvalidRecord: unreadable, or not in the format.
        InvalidComparison: one of its subclasses, for ranks that cannot be compared.
    """
    files = {d: folder / f"{d}.qrels" for d in DIRECTIONS}
    qrels = {d: _positives(path) for d, path in files.items()}
    owner = _caption_owner(folder, qrels["t2i"])
    judged = tuple((path.name, sha256_file(path)) for path in files.values())
    made = []
    for (method, seed), paths in _runs(folder).items():
        lacking = [d for d in DIRECTIONS if d not in paths]
        if lacking:
            raise InvalidRecord(f"{folder}: '{method}' seed {seed} has no {lacking[0]} run; both directions are needed")
        ranks = {d: trec_ranks(paths[d], qrels[d], depth) for d in DIRECTIONS}
        runs = one_seed(method, seed, ranks["i2t"], ranks["t2i"], owner.reindex(ranks["t2i"].index))
        made.append(ForeignRun(runs, (*((paths[d].name, sha256_file(paths[d])) for d in DIRECTIONS), *judged)))
    return made


def trec_ranks(path: Path, positives: pd.DataFrame, depth: int) -> pd.Series:
    """0-based rank of the best positive of each query: how many negatives score at least as much (ties count against).

    Args:
        path: a run; its rank column is ignored, as by trec_eval.
        positives: columns query, document.
        depth: see `read_trec`.

    Returns:
        Ranks by query id, queries in the order of the positives.
    """
    run = read_table(path, f"lines of {len(_RUN)} columns: {' '.join(_RUN)}", _RUN)
    run["score"] = numbers(path, run["score"])
    queries = positives["query"].unique()
    for error, wrong, what, remedy in (
        (InvalidRanks, ~np.isfinite(run["score"]), "scores that are NaN or infinite for", "evaluate again"),
        (DuplicateQueries, run.duplicated(["query", "document"]), "documents listed twice for", "list each once"),
        (DifferentQueries, ~run["query"].isin(queries), "no positive is judged for", "complete the qrels"),
    ):
        refuse(error, run["query"][wrong], f"{path}: {what} queries", remedy)
    lost = positives["query"][~positives["query"].isin(run["query"].unique())]
    refuse(MissingQueries, lost, f"{path} lacks queries", "they are not filled in, evaluate all queries")
    positive = pd.MultiIndex.from_frame(run[["query", "document"]]).isin(pd.MultiIndex.from_frame(positives))
    best = run[positive].groupby("query")["score"].max()
    listed = run.groupby("query").size()
    refuse(
        InvalidRanks,
        listed.index[(listed < depth) & ~listed.index.isin(best.index)],
        f"{path}: lists end before {depth} documents without a positive for queries",
        f"R@{depth} is unknown there, export at least {depth} documents per query",
    )
    ahead = run[~positive & (run["score"] >= run["query"].map(best).fillna(-np.inf))]
    return ahead.groupby("query").size().reindex(queries, fill_value=0).astype(np.float64)


def _runs(folder: Path) -> dict[tuple[str, int], dict[str, Path]]:
    """The runs of a folder by method and seed, then by direction."""
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
    return found


def _positives(path: Path) -> pd.DataFrame:
    """Query and document of each positive in a file of qrels."""
    frame = read_table(path, f"lines of {len(_QRELS)} columns: {' '.join(_QRELS)}", _QRELS)
    frame["relevance"] = numbers(path, frame["relevance"])
    query = frame["query"]
    vague, twice = ~np.isfinite(frame["relevance"]), frame.duplicated(["query", "document"])
    refuse(InvalidRecord, query[vague], f"{path}: relevance that is not finite for queries", "judge with numbers")
    refuse(DuplicateQueries, query[twice], f"{path}: documents judged twice for queries", "judge each once")
    return frame.loc[frame["relevance"] > 0, ["query", "document"]]


def _caption_owner(folder: Path, positives: pd.DataFrame) -> pd.Series:
    """The image of each caption: `captions.csv` (caption_id, image_id) if there is one, else its only positive."""
    path = folder / _CAPTIONS
    if path.is_file():
        frame = read_table(path, "a CSV with the columns caption_id and image_id")
        if not {"caption_id", "image_id"} <= set(frame.columns):
            raise InvalidRecord(f"{path} lacks the columns caption_id and image_id")
        owner = frame.drop_duplicates().set_index("caption_id")["image_id"]
    else:
        owner = positives.set_index("query")["document"]
    refuse(
        DifferentCaptionMaps,
        owner.index[owner.index.duplicated()],
        "captions with several images:",
        f"say in {path} (caption_id,image_id) which image each caption belongs to, it is the unit of every test",
    )
    unknown = positives["query"][~positives["query"].isin(owner.index)]
    refuse(DifferentCaptionMaps, unknown, f"{path} lacks captions", "name the image of every caption")
    return owner
