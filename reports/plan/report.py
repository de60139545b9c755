"""The report of a plan: what will run, what it needs, and what it costs."""

from __future__ import annotations

from harness.errors import counted
from harness.records.plan import PlanDocument
from harness.reports.document.model import Report, Section, Table
from harness.reports.document.text import duration, size
from harness.reports.plan.tables import (
    cells_table,
    costs_table,
    counts_table,
    evaluation_table,
    files_table,
    flat_cells,
    sources_table,
)
from harness.reports.plan.text import backbones_in_brief, files_in_brief, how_measured

STEM = "plan"


def build(document: PlanDocument) -> Report:
    """The report of a plan.

    Args:
        document: it.
    """
    files, costs, sources = files_table(document), costs_table(document), sources_table(document)
    counts, opening, reading = counts_table(document), [_first(document), _data(document)], how_measured(document)
    total, memory = _total(document), _memory(document)
    needs, evaluation = files_in_brief(document), evaluation_table(document)
    brief: list[Table | str] = [
        *opening,
        *(["Files that the runs need:", *needs] if needs else []),
        *backbones_in_brief(document),
        costs_table(document, brief=True) or counts_table(document, brief=True),
        *([evaluation] if evaluation else []),
        *filter(None, (total, memory)),
        *reading,
        *document.notes,
    ]
    sections = [
        Section(title="Files", tables=[files] if files else [], sentences=[] if files else ["Everything is here."]),
        Section(title="Runs", tables=[counts, *([sources] if sources else [])]),
    ]
    if costs:
        tables = [costs, *([evaluation] if evaluation else [])]
        sections.append(
            Section(title="Cost", tables=tables, sentences=[*filter(None, (total, memory))], reading=reading)
        )
    sections.append(Section(title="Every run", tables=[cells_table(document)]))
    return Report(
        title=f"Plan: {document.experiment}",
        stem=STEM,
        sentences=[*opening, *document.notes],
        sections=sections,
        brief=brief,
        main=flat_cells(document),
        data=document.model_dump(mode="json"),
    )


def _first(document: PlanDocument) -> str:
    recorded, failed = document.counted("recorded"), document.counted("failed")
    parts = [f"{recorded} recorded"] if recorded else []
    elsewhere = document.counted("recorded elsewhere")
    parts += [f"{elsewhere} recorded on data that are not here"] if elsewhere else []
    parts += [f"{failed} failed before"] if failed else []
    seeds = len({cell.seed for cell in document.cells})
    entries = len({cell.entry for cell in document.cells})
    grid = f"{counted(entries, 'model')} x {counted(seeds, 'seed')}"
    trials = f" x {counted(document.runs, 'trial')}" if document.runs > 1 else ""
    total = document.runs * len(document.cells)
    done = f" ({', '.join(parts)})" if parts else ""
    return f"{document.experiment}: {grid}{trials} = {counted(total, 'run')}{done}, {document.to_run():,} to run."


def _data(document: PlanDocument) -> str:
    data = document.data
    splits = ", ".join(f"{name} {split.images:,}" for name, split in data.splits.items())
    sizes = f": {splits} images ({data.source})" if splits else ""
    if data.here:
        return f"Data: {data.title}, layout {data.name}{sizes}."
    return f"Data: {data.title}, layout {data.name}, not here{sizes}. {data.problem}."


def _memory(document: PlanDocument) -> str:
    """Whether the memory of the workers fits; "" where it does, and where that is not known."""
    beside = document.side_by_side
    if beside is None or beside.fitting is None or beside.fitting >= beside.workers:
        return ""
    needed, free = size(beside.bytes or 0), size(beside.free_bytes or 0)
    advice = f"--workers {beside.fitting} fits" if beside.fitting else "not even one worker fits: a smaller batch may"
    return f"Memory: {beside.workers} workers side by side need about {needed}, and {free} are free; {advice}."


def _total(document: PlanDocument) -> str:
    """Hours and gigabytes of all that is to be run."""
    if not document.device or not document.to_run():
        return ""
    seconds, disk, memory = document.seconds_left(), document.bytes_left(), document.peak_bytes()
    if seconds is None or disk is None:
        return f"No total: {', '.join(document.unmeasured)} could not be measured."
    parts = [f"about {duration(seconds)} on {document.device}, one run after the other"]
    beside = document.side_by_side
    if beside is not None:
        parts = [
            f"about {duration(beside.seconds)} on {document.device} with {beside.workers} workers side by side, "
            f"{duration(seconds)} with one"
        ]
        memory = beside.bytes or memory
    where = " on each GPU" if beside is not None and beside.devices > 1 else ""
    parts += [f"{size(memory)} of memory{where}"] if memory else []
    parts.append(f"{size(disk)} of disk for the runs")
    parts[-1] += (
        f", {size(sum(store.bytes for store in document.stores))} of it stored features" if document.stores else ""
    )
    missing = sum(file.bytes or 0 for file in document.missing_files)
    parts += [f"{size(missing)} for the data files of known size that are missing"] if missing else []
    return f"In all: {'; '.join(parts)}."
