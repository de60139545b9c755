"""The leaderboard: who is better, how sure that is, and what it costs, from finished runs alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.records.ties import WAYS
from harness.reports.document.model import Report, Section
from harness.reports.leaderboard import further, tables, text
from harness.reports.leaderboard.baseline import Reference, require_found
from harness.reports.leaderboard.figures import board_figure
from harness.reports.leaderboard.levels import LEVELS, inside_of_group, levels_section
from harness.reports.leaderboard.prices import Prices
from harness.reports.leaderboard.printed import printed_rows
from harness.reports.leaderboard.rows import COSTS, Board, Row, board_frame, make_board, with_prices
from harness.reports.runs.groups import groups, too_short_sentence
from harness.reports.runs.loading import finished_records
from harness.reports.statistics.results import Comparison
from harness.reports.statistics.telling import Tell, silent

_PAIR = (
    "a", "b", "difference", "se", "df", "low", "high", "simultaneous_low", "simultaneous_high", "p", "p_adjusted",
    "significant",
)  # fmt: skip


def paper_columns(metrics: Sequence[str] = ()) -> list[str]:
    """Keys of the columns that the LaTeX tables of a leaderboard may have, those of further metrics included."""
    columns = [*tables.ACCURACY, *tables.DIFFERENCE, *tables.EVIDENCE, *COSTS, *tables.TUNING, *LEVELS, *tables.PRINTED]
    return list(dict.fromkeys([column.key for column in columns] + [f"{way}_{n}" for n in metrics for way in WAYS]))


def build(
    store: RunStore,
    run_ids: Sequence[str],
    *,
    title: str,
    failures: Sequence[RunRecord] = (),
    published: bool | Sequence[str] | None = None,
    baseline: Reference | None = None,
    prices: Prices | None = None,
    tell: Tell = silent,
) -> Report:
    """Build the leaderboard of some finished runs, one section per dataset and protocol.

    Args:
        store: where the runs lie.
        run_ids: finished runs; those that differ only in their seed are one method.
        title: heading.
        failures: records of runs that failed, to be listed with their errors.
        published: True joins the published figures of the same dataset and protocol (but for other papers' ablations),
            names of methods join only theirs.
        baseline: what every method is set against, see `harness.reports.leaderboard.baseline.read_reference`.
        prices: what the reader pays, for columns of money.
        tell: told of how far it is.

    Returns:
        The report; `main` is flat and numeric, `data` holds the run ids and every pair's test.

    Raises:
        InvalidRecord: a run is missing, unfinished, or its files are damaged or contradict each other.
        InvalidComparison: seeds of one method, or a method and the baseline, were asked different queries.
        UnknownName, DifferentGalleries: a baseline that is on none of the galleries.
    """
    records = finished_records(store, run_ids)
    galleries = groups(records)
    boards = [
        with_prices(make_board(store, gallery, members, baseline, tell), prices)
        for gallery, members in galleries.items()
    ]
    if baseline:
        labels = [group.label for board in boards for group in board.groups]
        found = [board.against is not None for board in boards]
        require_found(baseline, found, [board.gallery.title for board in boards], labels)
    tell("making pages", 0, 0)
    joined = [(board, *printed_rows(board, published)) for board in boards]
    inside = [levels_section(store, board) for board in boards]
    remedies = [line for board in boards for line in further.remedies(board.metrics, store.results.as_posix())]
    sections = [part for parts, (more, _) in zip(joined, inside, strict=True) for part in (_section(*parts), *more)]
    if failures:
        sections.append(Section(title="Failures", tables=[tables.failures_table(failures)]))
    return Report(
        title=title,
        stem="leaderboard",
        sentences=[
            *map(text.headline, boards),
            *(said for board in boards for said in text.verdicts(board)),
            *text.failure_count(failures),
            *too_short_sentence(records),
            *dict.fromkeys(remedies),
        ],
        sections=sections,
        brief=[
            *tables.brief((board, more) for board, more, _ in joined),
            *too_short_sentence(records),
            *dict.fromkeys(remedies),
        ],
        main=board_frame([row for board, more, _ in joined for row in (*board.rows, *more)]),
        data={
            "run_ids": [run_id for board in boards for group in board.groups for run_id in group.run_ids],
            "boards": [_data(board) | rows for board, (_, rows) in zip(boards, inside, strict=True)],
            "published": [row for _, more, _ in joined for row in more],
            "failures": [tables.failure_row(record) for record in failures],
        },
    )


def inside_of_run(store: RunStore, run_id: str) -> Report:
    """What the levels of one run rank alone, and what its gates and regions do: for a terminal.

    Raises:
        InvalidRecord: the run is missing, unfinished or damaged.
    """
    galleries = groups(finished_records(store, [run_id]))
    parts = [part for gallery, (group,) in galleries.items() for part in inside_of_group(store, gallery, group)]
    record = store.require(run_id)
    title = f"{record.title} ({run_id})"
    nothing = f"{title}: {record.scorer} is one similarity without gates or regions; there is nothing to show"
    return Report(title=title, stem="levels", brief=parts or [nothing])


def _section(board: Board, published: Sequence[Row], remarks: Sequence[str]) -> Section:
    figure = board_figure(board)
    return Section(
        title=board.gallery.title,
        sentences=[text.subject(board)],
        tables=[*tables.accuracy_and_cost(board), *tables.printed_tables(board, published)],
        figures=[figure] if figure else [],
        reading=[*text.reading(board, published), *remarks],
        footnotes=list(text.footnotes(board)),
    )


def _data(board: Board) -> dict[str, Any]:
    """A board for the JSON: full numbers, run ids per method, and every pair's test."""
    return {
        **{key: getattr(board.gallery, key) for key in ("dataset", "split", "protocol", "data_sha256")},
        "images": board.images,
        "captions": board.captions,
        "methods": [
            {**row, "run_ids": list(group.run_ids), "seeds": list(group.seeds), "identity": group.identity}
            for row, group in zip(board.rows, board.groups, strict=True)
        ],
        "tests": _tests(board.comparison),
        "chance": [{"name": floor.name, **floor.scores} for floor in board.floors],
        "baseline": _baseline(board),
        "metrics": {one.name: {"better": one.better, "description": one.description} for one in board.metrics},
    }


def _baseline(board: Board) -> dict[str, Any] | None:
    against = board.against
    if against is None:
        return None
    tests = _tests(against.comparison) or {"untested": against.reason}
    return {"name": against.baseline.name, "rsum": against.baseline.rsum, **tests}


def _tests(comparison: Comparison | None) -> dict[str, Any] | None:
    if comparison is None:
        return None
    return {
        "metric": "rsum",
        **{key: getattr(comparison, key) for key in ("claim", "alpha", "resamples")},
        "correction": comparison.families[0].correction,
        "pairs": [{key: getattr(row, key) for key in _PAIR} for row in comparison.rows],
        "notices": [notice.message for notice in comparison.notices],
    }
