"""The tables of a run's page: numbers by protocol, ranks, epochs, settings, environment, features and files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.records.ranks import RankTable
from harness.records.run import RunRecord
from harness.records.ties import WAYS
from harness.reports.document.model import Column, Table
from harness.reports.document.recalls import recall_columns
from harness.reports.document.text import size
from harness.reports.run.peers import Peers, settings_of, shown

Row = dict[str, Any]
_NUMBERS = (
    Column("protocol", "Protocol", pinned=True),
    Column("ties", "Ties", help="where a wrong item with the same score stands: before the correct one if pessimistic"),
    *recall_columns("number"),
    Column("rsum", "rSum", "number", help="sum of the six recalls"),
    Column("i2t_medr", "i2t median", "number", help="median rank of the best correct caption, from 1"),
    Column("t2i_medr", "t2i median", "number", help="median rank of the best correct image, from 1"),
    Column("i2t_meanr", "i2t mean", "number"),
    Column("t2i_meanr", "t2i mean", "number"),
    Column("tie_percent", "Tied (%)", "number", 2, help="queries whose best correct item ties with a wrong one"),
)
_RANKS = (
    Column("protocol", "Protocol", pinned=True),
    Column("direction", "Direction"),
    Column("queries", "Queries", "count"),
    Column("first", "First (%)", "number", help="the best correct item is first"),
    Column("to_5", "2 to 5 (%)", "number"),
    Column("to_10", "6 to 10 (%)", "number"),
    Column("to_100", "11 to 100 (%)", "number"),
    Column("beyond", "Beyond (%)", "number", help="beyond rank 100"),
    Column("decile", "90 % within", "significant", help="rank, from 1, that nine in ten queries reach"),
    Column("worst", "Worst rank", "significant"),
)
#: Upper ends of the ranges of ranks, from 1.
_ENDS = {"first": 1, "to_5": 5, "to_10": 10, "to_100": 100, "beyond": np.inf}
_SETTINGS = (
    Column("setting", "Setting", pinned=True),
    Column("value", "This run"),
    Column("own", "Scorer's own", help="its default or published value, where that is another one"),
    Column("others", "Other runs", prose=True, help="what other runs on these data have, with their number"),
)
_PAIRS = (Column("what", "What", pinned=True), Column("value", "Value", prose=True))
_FEATURES = (
    Column("side", "Side"),
    Column("tower", "Tower"),
    Column("dtype", "Type"),
    Column("split", "Split"),
    Column("key", "Entry of the store"),
    Column("sha256", "SHA-256", prose=True),
)
_FILES = (
    Column("file", "File", pinned=True, file="path"),
    Column("size", "Size"),
    Column("what", "What it holds", prose=True),
)
#: What the files of a run's folder hold.
FILES = {
    "record.json": "the record: settings, numbers, costs, environment",
    "config.yaml": "the settings; itm leaderboard takes it and makes the run again",
    "ranks.npz": "rank of the best correct item of every query, for every test",
    "level_ranks.npz": "the same for each level of the score alone",
    "model.safetensors": "the trained weights with all that rebuilds the model",
    "scores.npy": "all similarities, images by captions",
    "top.npz": "the first items of every query with their scores",
    "alignments.json": "alignment cards of chosen pairs",
    "checkpoint.pt": "state of an unfinished training",
    "progress.json": "how far an unfinished run is",
    "deaths.json": "how workers died of this run",
    "traceback.txt": "where it failed",
}
_MOST_OTHERS = 3


def numbers_table(record: RunRecord) -> Table:
    """Metrics by protocol under the run's tie rule, then under the other rules that were computed."""
    rows = [_numbers(protocol, record.ties, values) for protocol, values in record.metrics.items()]
    for protocol, rules in record.evaluation.other_ties.items():
        rows += [_numbers(protocol, rule, values) for rule, values in rules.items()]
    muted = range(len(record.metrics), len(rows))
    further = [
        Column(f"{way}_{name}", f"{way} {name}", "number", 2, help=note.description)
        for name, note in record.evaluation.metrics.items()
        for way in WAYS
    ]
    return Table(
        pd.DataFrame(rows), [*_NUMBERS, *further], "Metrics by protocol, percent and ranks", "metrics", muted=muted
    )


def ranks_table(tables: Mapping[str, RankTable]) -> Table:
    """How the ranks of the best correct item are distributed, by protocol and direction."""
    rows = [_ranks(protocol, direction, table) for protocol, table in tables.items() for direction in ("i2t", "t2i")]
    caption = "Rank of the best correct item, over all queries"
    return Table(pd.DataFrame(rows), _RANKS, caption, "ranks", rule_by=("protocol",), for_paper=False)


def epochs_table(record: RunRecord, selected: int | None) -> Table:
    """Every epoch in numbers; the one that was kept stands out from the others."""
    rows: list[Row] = []
    for epoch in record.training.history:
        losses = {f"loss {name}": value for name, value in epoch.losses.items()}
        validation = {key: epoch.validation.get(key) for key in ("rsum", "i2t_r1", "t2i_r1")}
        number = epoch.epoch + 1
        kept = {"kept": "kept" if number == selected else ""}
        rows.append(
            {"epoch": number, **losses, **validation, "rate": epoch.learning_rate, "seconds": epoch.seconds, **kept}
        )
    parts = list(dict.fromkeys(key for row in rows for key in row if key.startswith("loss ")))
    columns = [
        Column("epoch", "Epoch", "count", pinned=True),
        *(Column(key, key.removeprefix("loss "), "significant", group="Loss") for key in parts),
        Column("rsum", "rSum", "number", group="Validation"),
        Column("i2t_r1", "i2t R@1", "number", group="Validation"),
        Column("t2i_r1", "t2i R@1", "number", group="Validation"),
        Column("rate", "Learning rate", "significant"),
        Column("seconds", "Seconds", "significant"),
        Column("kept", "", help="epoch whose weights were kept: the best rSum on the validation split"),
    ]
    return Table(pd.DataFrame(rows), columns, "Every epoch in numbers", "epochs", collapsed=True, for_paper=False)


def settings_tables(record: RunRecord, peers: Peers) -> list[Table]:
    """The settings that tell this run apart, then all others, folded away."""
    apart: list[Row] = []
    same: list[Row] = []
    own = record.overridden or {}
    for key, value in settings_of(record).items():
        others = peers.others(record, key, value)
        row = {
            "setting": key,
            "value": shown(value),
            "own": shown(own[key]) if key in own else "",
            "others": _others(others),
        }
        (apart if others or key in own else same).append(row)
    tables: list[tuple[str, str, list[Row], Sequence[Column]]] = [
        ("settings", "Settings that differ from the scorer's own or from other runs on these data", apart, _SETTINGS),
        ("other-settings", "All other settings" if apart else "Settings", same, _SETTINGS[:2]),
    ]
    return [
        Table(pd.DataFrame(rows), columns, caption, key, collapsed=rows is same and bool(apart), for_paper=False)
        for key, caption, rows, columns in tables
        if rows
    ]


def pairs_table(pairs: Sequence[tuple[str, Any]], caption: str, key: str, *, collapsed: bool = False) -> Table | None:
    """Names with their values, without those that are not known; None if none is."""
    rows = [{"what": what, "value": shown(value)} for what, value in pairs if value not in (None, "", {}, [])]
    return Table(pd.DataFrame(rows), _PAIRS, caption, key, collapsed=collapsed, for_paper=False) if rows else None


def features_table(record: RunRecord) -> Table | None:
    """The entries of the feature store that the run read; None if it read none."""
    rows = list(_features(record.features))
    caption = "Outputs of frozen towers, from the feature store"
    return Table(pd.DataFrame(rows), _FEATURES, caption, "features", collapsed=True, for_paper=False) if rows else None


def files_table(folder: Path) -> Table | None:
    """The files of the run's folder with their sizes, but for such whose names are no text; None if it has none."""
    rows = [
        {
            "file": path.name,
            "path": f"runs/{folder.name}/{path.name}",
            "size": size(path.stat().st_size),
            "what": FILES.get(path.name, ""),
        }
        for path in sorted(folder.glob("*"))
        if path.is_file() and not path.name.startswith(".") and _is_text(path.name)
    ]
    return Table(pd.DataFrame(rows), _FILES, "Files of the run", "files", for_paper=False) if rows else None


def _is_text(name: str) -> bool:
    """Whether the name of a file, which is bytes for the system, is a text that a table can hold."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _numbers(protocol: str, ties: str, values: Mapping[str, float]) -> Row:
    rate = values.get("tie_rate")
    return {"protocol": protocol, "ties": ties, **values, "tie_percent": None if rate is None else 100.0 * rate}


def _ranks(protocol: str, direction: str, table: RankTable) -> Row:
    ranks = np.asarray(getattr(table, f"{direction}_rank"), dtype=np.float64) + 1.0
    shares, below = {}, 0.0
    for key, end in _ENDS.items():
        within = 100.0 * float(np.mean(ranks <= end))
        shares[key], below = within - below, within
    named = "image to text" if direction == "i2t" else "text to image"
    decile = float(np.quantile(ranks, 0.9, method="inverted_cdf"))
    return {
        "protocol": protocol,
        "direction": named,
        "queries": len(ranks),
        **shares,
        "decile": decile,
        "worst": ranks.max(),
    }


def _others(found: Mapping[str, int]) -> str:
    named = [f"{text} ({count})" for text, count in list(found.items())[:_MOST_OTHERS]]
    rest = len(found) - len(named)
    return ", ".join([*named, *([f"and {rest} more"] if rest else [])])


def _features(features: Mapping[str, Any]) -> Iterator[Row]:
    for side, part in features.items():
        keys, hashes = part.get("keys", {}), part.get("sha256", {})
        for split, key in keys.items():
            named = {"side": side, "tower": part.get("tower", ""), "dtype": part.get("dtype", "")}
            yield {**named, "split": split, "key": key, "sha256": hashes.get(split, "")}
