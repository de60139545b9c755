"""The tables of a leaderboard: accuracy, cost, printed figures, failed runs, and what a terminal has room for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pandas as pd

from harness.errors import counted
from harness.records import noise
from harness.records.run import RunRecord
from harness.records.ties import RECALLS
from harness.reports.document.best import CHANCE
from harness.reports.document.model import Column, Table
from harness.reports.document.recalls import recall_columns
from harness.reports.document.text import listed, single_line
from harness.reports.leaderboard.marks import legend, marked
from harness.reports.leaderboard.rows import COSTS, Board, Row, board_frame, flat_row
from harness.reports.leaderboard.text import verdicts
from harness.reports.published.rows import method_key

# A longer list of other methods' figures is folded away; one that fills more than a page is no table for a paper.
_LONGEST_OPEN_TABLE = 20
_LONGEST_PAPER_TABLE = 60
_COST = {cost.key: cost for cost in COSTS}
_COVERS = Column(
    "energy_covers",
    "Energy of",
    prose=True,
    help="what was measured, with all that ran there; energies of different things do not compare",
)
_NAMES = (Column("shown_scorer", "Scorer", pinned=True, link="run_ids"), Column("variant", "Variant"))
_BACKBONE = Column("backbone", "Backbone")


ACCURACY = (
    Column("tier", "Tier", "count", help="significantly worse than the tier above"),
    Column("shown_rank", "Rank", help="ranks that the tests leave open"),
    *_NAMES,
    *recall_columns("estimate"),
    Column("rsum", "rSum", "estimate", help="sum of the six recalls, 0 to 600", better="higher", pinned=True),
    Column("seeds", "Seeds", "count"),
    _BACKBONE,
)
#: What stands behind each row of the accuracy.
EVIDENCE = (
    *_NAMES,
    Column("ranked", "Ranks", help="measured here, or added from the results of other code"),
    Column("origin", "Code", help="whose code or weights"),
    Column("selected_on", "Selected on", help="what the checkpoints were chosen on; unknown where nobody said"),
    Column(
        "contamination",
        "Test images trained on",
        help="found by name, number, content or perceptual hash; unknown where it was not looked for",
    ),
    Column("tuning_kind", "Settings", help="how they were found; an ensemble averages the scores of several models"),
    Column("tuning_trials", "Trials", "count", help="tuning trials before these runs"),
    Column(
        "rsum_se",
        "SE (rSum)",
        "number",
        1,
        help="standard error of rSum, points: new images, and new seeds from two on",
    ),
    Column(
        "rsum_seed_percent", "From seeds (%)", "number", 0, help="share of its variance that more seeds would reduce"
    ),
)
#: The difference from a baseline, where one was asked for; after rSum.
DIFFERENCE = (
    Column(
        "baseline_difference",
        "Δ rSum",
        "estimate",
        help="rSum minus the baseline's, paired by image, with its interval",
    ),
    Column(
        "baseline_p_adjusted",
        "p (Holm)",
        "p",
        help="of that difference, corrected for all comparisons with the baseline",
    ),
)
#: Of the accuracy, what a paper has room for.
_PAPER = ("shown_scorer", "variant", *RECALLS, "rsum", *(column.key for column in DIFFERENCE))
#: What the settings cost to find; shown where any method was tuned.
TUNING = (
    Column("tuning_steps", "Tuning steps", "count", help="training steps of all tuning trials"),
    Column("tuning_seconds", "Tuning (s)", "count", help="wall time of all tuning trials"),
)
PRINTED = (
    Column("scorer", "Method", pinned=True),
    *recall_columns("number"),
    Column("rsum", "rSum", "number", better="higher", pinned=True),
    _BACKBONE,
    Column("selected_on", "Selected on", help="split on which the public code keeps its best epoch"),
    Column("selected_on_source", "Seen in", prose=True, help="file and commit of that code"),
    Column("origin", "Origin"),
    Column("note", "Note", prose=True),
    Column("source", "Source", prose=True),
)
_FAILURES = (
    Column("method", "Method"),
    _BACKBONE,
    Column("dataset", "Dataset"),
    Column("seed", "Seed", "count"),
    Column("error", "Error"),
    Column("run_id", "Run"),
)
_BRIEF = (
    Column("tier", "Tier", "count"),
    Column("label", "Method"),
    Column("seeds", "Seeds", "count", wide=True),
    Column("i2t_r1", "i2t R@1", "number"),
    Column("t2i_r1", "t2i R@1", "number"),
    Column("rsum", "rSum ± SD [95 % CI]", "estimate", pinned=True),
    replace(_COST["encode_image_ms_p50"], title="Image ms", wide=True),
    _COST["pairs_per_second"],
)


def accuracy_and_cost(board: Board) -> list[Table]:
    """All methods with their recalls, and again with their costs where any cost is known."""
    rows = [*board.rows, *chance_rows(board)]
    title, slug = board.gallery.title, board.gallery.slug
    caption = f"Accuracy on {title} ({_size(board)}): recalls in percent, best rSum first"
    accuracy = Table(
        _named(board, rows),
        _with_difference(board, _with_metrics(board, ACCURACY)),
        caption,
        f"accuracy-{slug}",
        rule_by=("tier",),
        muted=range(len(board.rows), len(rows)),
        paper=(*_PAPER, *(column.key for one in board.metrics for column in one.columns)),
    )
    tables, frame = [accuracy], _named(board, board.rows)
    caption = f"What stands behind each row on {title} ({_size(board)}), in the same order"
    tables.append(Table(frame, EVIDENCE, caption, f"evidence-{slug}"))
    if frame[list(_COST)].notna().any(axis=None):
        tuning = TUNING if any(row["tuning_steps"] for row in board.rows) else ()
        money = board.prices.columns() if board.prices else ()
        columns = [*_NAMES, *money, *_known_costs(frame), *tuning, _BACKBONE, Column("device", "Device", prose=True)]
        caption = f"Cost on {title} ({_size(board)}), in the same order"
        tables.append(Table(frame, columns, caption, f"cost-{slug}"))
    return tables


def _known_costs(frame: pd.DataFrame) -> list[Column]:
    """The costs, but for energies that no machine measured, and what the energies are of."""
    columns = [cost for cost in COSTS if cost.key not in noise.ENERGIES or frame[cost.key].notna().any()]
    return [*columns, _COVERS] if any(column.key in noise.ENERGIES for column in columns) else columns


def chance_rows(board: Board) -> list[Row]:
    """What scorers that know nothing come to on a board, as rows without interval, tier or cost."""
    return [
        flat_row(board.gallery, label=floor.name, scorer=floor.name, origin=CHANCE, kind=CHANCE, **floor.scores)
        for floor in board.floors
    ]


def printed_tables(board: Board, rows: Sequence[Row]) -> list[Table]:
    """The printed figures of the methods that are on the board, then those of all others."""
    ours = {method_key(group.first.scorer) for group in board.groups}
    tables = []
    for key, what, on_board in (("same", "of the methods above", True), ("other", "of other methods", False)):
        part = [row for row in rows if (method_key(row["scorer"]) in ours) is on_board]
        table = Table(
            frame=board_frame([{**row, "scorer": marked(row["scorer"], row)} for row in part]),
            columns=PRINTED,
            caption=f"Published figures {what} on {board.gallery.title}, as printed ({counted(len(part), 'row')})",
            key=f"published-{key}-{board.gallery.slug}",
            muted=range(len(part)),
            for_paper=len(part) <= _LONGEST_PAPER_TABLE,
            collapsed=not on_board and len(part) > _LONGEST_OPEN_TABLE,
        )
        tables += [table] if part else []
    return tables


def failure_row(record: RunRecord) -> Row:
    """A failed run as a flat row."""
    keys = ("backbone", "dataset", "seed", "run_id")
    named = {key: getattr(record, key) for key in keys}
    return {"method": record.label, **named, "error": single_line(record.error)}


def failures_table(failures: Sequence[RunRecord]) -> Table:
    """The runs that failed."""
    frame = pd.DataFrame([failure_row(record) for record in failures])
    caption = "Failed runs; the same command tries them again"
    return Table(frame, _FAILURES, caption, "failures", for_paper=False)


def brief(boards: Iterable[tuple[Board, Sequence[Row]]]) -> list[Table | str]:
    """The few columns that a terminal has room for, board by board; published rows are counted, not listed."""
    parts: list[Table | str] = []
    noisy = False
    for board, published in boards:
        rows = board.rows
        if rows:
            caption = f"{board.gallery.title} ({_size(board)})"
            lines = [{**row, "label": marked(row["label"], row)} for row in rows]
            shown = board_frame([*lines, *chance_rows(board)])
            alone = [row["label"] for row in rows if row["origin"] == "published"]
            muted = range(len(lines), len(shown))
            columns = _with_difference(board, _with_metrics(board, _BRIEF, brief=True))
            if board.against:  # the difference is what was asked for
                columns = [replace(column, wide=column.wide or column.key in RECALLS) for column in columns]
            parts.append(Table(shown, columns, caption, "brief", rule_by=("tier",), muted=muted))
            parts += [*legend(rows), *verdicts(board)]
            if alone:
                parts.append(f"{listed(alone)}: averages only, without interval and tier, and never tested")
        if published:
            parts.append(
                f"and {counted(len(published), 'published row')} (see the files; they have no interval and no tier)"
            )
        noisy |= any(row[column.noise] for row in rows for column in _BRIEF if column.noise)
    if noisy:
        parts.append(noise.LEGEND)
    return parts or ["no finished run"]


def _named(board: Board, rows: Sequence[Row]) -> pd.DataFrame:
    """Rows with their names and marks, and the ranks that the tests leave open."""
    ranks = {place.name: place.open_ranks for place in board.ranked}
    return board_frame(rows).assign(
        shown_scorer=[marked(_scorer(row), row) for row in rows],
        shown_rank=[ranks.get(row["label"], "") for row in rows],
    )


def _with_difference(board: Board, columns: Sequence[Column]) -> list[Column]:
    """The columns, with those of the baseline after rSum, or without them."""
    own = [column for column in columns if column not in DIFFERENCE]
    if board.against is None:
        return own
    after = next(number for number, column in enumerate(own, 1) if column.key == "rsum")
    shown = DIFFERENCE if board.against.comparison else [replace(DIFFERENCE[0], title="Δ rSum, untested")]
    return [*own[:after], *shown, *own[after:]]


def _with_metrics(board: Board, columns: Sequence[Column], brief: bool = False) -> list[Column]:
    """The columns, with those of further metrics after rSum."""
    after = next(number for number, column in enumerate(columns, 1) if column.key == "rsum")
    more = [column for one in board.metrics for column in (one.brief if brief else one.columns)]
    return [*columns[:after], *more, *columns[after:]]


def _size(board: Board) -> str:
    return board.size.text if board.size else "size unknown"


def _scorer(row: Row) -> str:
    """The scorer, with what tells it from its namesakes."""
    name = f"{row['scorer']}.{row['variant']}" if row["variant"] else row["scorer"]
    return f"{row['scorer']}{row['label'].removeprefix(name)}"
