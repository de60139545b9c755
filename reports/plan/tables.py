"""The tables of a plan."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.records.plan import CellState, NeededFile, PlanDocument, PlannedEntry
from harness.reports.document.model import Column, Table
from harness.reports.document.text import duration, size

_STATES: tuple[CellState, ...] = ("recorded", "recorded elsewhere", "failed", "missing")


def files_table(document: PlanDocument) -> Table | None:
    """What is needed, what is missing first; None where nothing is."""
    rows = [
        {
            "name": file.name,
            "what": what_of(file),
            "state": state_of(file),
            "where": file.where,
            "entries": needed_by(file, document),
        }
        for file in sorted(document.files, key=lambda file: (file.state == "here", not file.required))
    ]
    if not rows:
        return None
    columns = [
        Column("name", "File", pinned=True),
        Column("state", "State"),
        Column("what", "What"),
        Column("where", "Where to get it"),
        Column("entries", "Needed by", prose=True),
    ]
    return Table(pd.DataFrame(rows), columns, "Files that the runs need", "files", for_paper=False)


def what_of(file: NeededFile) -> str:
    """What a file is, with its size where that is known."""
    return file.what + (f", {size(file.bytes)}" if file.bytes else "")


def state_of(file: NeededFile) -> str:
    """Whether it is here; an optional one that is not, is optional."""
    return file.state if file.required or file.state == "here" else "optional"


def needed_by(file: NeededFile, document: PlanDocument) -> str:
    """The entries that need it."""
    return "all" if len(file.entries) in (0, len(document.entries)) else ", ".join(file.entries)


def counts_table(document: PlanDocument, *, brief: bool = False) -> Table:
    """Runs by entry and state; without backbones where a terminal names them in a sentence."""
    rows = []
    for entry in document.entries:
        seeds = [cell.seed for cell in document.cells if cell.entry == entry.key]
        if not seeds:
            continue
        rows.append(
            _named(entry)
            | {state: document.counted(state, entry=entry.key) for state in _STATES}
            | {"seeds": _ranges(seeds), "epochs": entry.epochs, "steps": entry.steps_per_epoch}
        )
    shown = [state for state in _STATES if any(row[state] for row in rows)] or ["missing"]
    columns = [
        Column("entry", "Entry", pinned=True),
        Column("scorer", "Scorer", wide=True),
        *(() if brief else (Column("image", "Image backbone"), Column("text", "Text backbone"))),
        Column("seeds", "Seeds"),
        *(Column(state, state.capitalize(), "count") for state in shown),
        Column("epochs", "Epochs", "count"),
        Column("steps", "Steps per epoch", "count"),
    ]
    return Table(pd.DataFrame(rows), columns, "Runs", "runs", for_paper=False)


def costs_table(document: PlanDocument, *, brief: bool = False) -> Table | None:
    """What one run of each entry costs, and all that are to be run; None where nothing was measured."""
    if not document.device:
        return None
    rows = [_cost(document, entry) for entry in document.entries if document.counted(*_STATES, entry=entry.key)]
    columns = [
        Column("entry", "Entry", pinned=True),
        *(() if brief else (Column("image", "Image backbone"), Column("text", "Text backbone"))),
        Column("to_run", "To run", "count"),
        Column("epochs", "Epochs", "count", wide=True),
        Column("batch", "Batch", help="of the training; timed: the largest that was", wide=True),
        Column("step", "Step", help="one optimiser step at the full batch"),
        Column("run", "One run"),
        *(() if brief else (Column("evaluation", "of it evaluation"),)),
        Column("all", "All"),
        Column("memory", "Memory"),
        Column("disk", "Disk per run", help="weights, and scores if they are saved"),
        *(() if brief else (Column("problem", "Not measured because", prose=True),)),
    ]
    return Table(pd.DataFrame(rows), columns, "What the runs to do cost, about", "cost", for_paper=False)


def evaluation_table(document: PlanDocument) -> Table | None:
    """What one evaluation costs at the size that was asked for; None where none was."""
    if document.gallery is None:
        return None
    rows = []
    for entry in document.entries:
        cost, row = entry.evaluation, _named(entry)
        if cost is None:
            problem = entry.measurement.problem if entry.measurement else ""
            rows.append(row | dict.fromkeys(("encoding", "scoring", "all", "memory", "disk"), "") | {"how": problem})
            continue
        rows.append(
            row
            | {
                "encoding": duration(cost.encoding_seconds),
                "scoring": duration(cost.scoring_seconds),
                "all": duration(cost.seconds),
                "memory": size(cost.memory_bytes),
                "disk": size(cost.disk_bytes) if cost.disk_bytes else "none",
                "how": "tile by tile" if cost.streamed else "whole matrix",
            }
        )
    columns = [
        Column("entry", "Entry", pinned=True),
        Column("encoding", "Encoding"),
        Column("scoring", "Scoring"),
        Column("all", "All"),
        Column("memory", "Memory"),
        Column("disk", "Disk", help="temporary files of fragments that do not fit in memory"),
        Column("how", "Scores"),
    ]
    title = f"One evaluation of {document.gallery.images:,} images x {document.gallery.captions:,} captions, about"
    return Table(pd.DataFrame(rows), columns, title, "evaluation", for_paper=False)


def sources_table(document: PlanDocument) -> Table | None:
    """Where the settings of the entries come from; None where no entry says so."""
    rows = [_named(entry) | {"source": entry.source, "differs": entry.differs} for entry in document.entries]
    if not any(row["source"] for row in rows):
        return None
    columns = [
        Column("entry", "Entry", pinned=True),
        Column("scorer", "Scorer"),
        Column("source", "Settings from"),
        Column("differs", "What differs"),
    ]
    return Table(pd.DataFrame(rows), columns, "Where the settings come from", "sources", for_paper=False)


def cells_table(document: PlanDocument) -> Table:
    """Every run."""
    columns = [
        Column("entry", "Entry", pinned=True),
        Column("scorer", "Scorer"),
        Column("image", "Image backbone"),
        Column("text", "Text backbone"),
        Column("seed", "Seed", "count"),
        Column("state", "State"),
        Column("run_id", "Run"),
    ]
    return Table(
        flat_cells(document), columns, "Every run", "cells", for_paper=False, collapsed=len(document.cells) > 40
    )


def flat_cells(document: PlanDocument) -> pd.DataFrame:
    """The cells as a frame."""
    return pd.DataFrame([cell.model_dump() for cell in document.cells])


def _named(entry: PlannedEntry) -> dict[str, Any]:
    return {"entry": entry.key, "scorer": entry.scorer, "image": entry.image, "text": entry.text}


def _cost(document: PlanDocument, entry: PlannedEntry) -> dict[str, Any]:
    to_run, estimate, measured = document.to_run(entry.key), entry.estimate, entry.measurement
    row = _named(entry) | {"to_run": to_run, "epochs": entry.epochs, "problem": measured.problem if measured else ""}
    shown = ("batch", "step", "run", "evaluation", "all", "memory", "disk")
    if estimate is None:
        return row | dict.fromkeys(shown, "not measured" if to_run else "")
    batch = f"{entry.batch_size}" if entry.epochs else ""
    if batch and estimate.measured_batch != entry.batch_size:
        batch += f" (timed {estimate.measured_batch})"
    return row | {
        "batch": batch,
        "step": duration(estimate.step_seconds) if estimate.step_seconds else "",
        "run": duration(estimate.seconds),
        "evaluation": duration(estimate.validation_seconds + estimate.test_seconds),
        "all": duration(to_run * estimate.seconds),
        "memory": size(estimate.memory_bytes) if estimate.memory_bytes else "",
        "disk": size(estimate.kept_bytes),
    }


def _ranges(seeds: list[int]) -> str:
    """Seeds in brief.

    >>> _ranges([0, 1, 2, 7])
    '0-2, 7'
    """
    parts: list[list[int]] = []
    for seed in sorted(seeds):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)
