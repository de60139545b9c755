"""How long a plan takes in several workers, and whether their memory fits: worked examples in round numbers."""

from __future__ import annotations

import pytest

from harness.estimates import workers
from harness.estimates.workers import Room, room_of, side_by_side
from harness.executors.base import Seat
from harness.records.plan import (
    DataPlan,
    Estimate,
    Measurement,
    PlanDocument,
    PlannedCell,
    PlannedEntry,
    SideBySide,
    StoreCost,
)
from harness.reports.document.render import render
from harness.reports.plan import report

GB = 10**9


def plan_of(states: dict[str, str] | None = None, **changes: object) -> PlanDocument:
    """Two seeds of three models: runs of 100, 10 and 40 s, of 4, 1 and 2 GB, and a store of 30 s that all read."""
    store = (StoreCost(tower="resnet", seconds=30.0, bytes=5),)
    costs = {"slow": (100.0, 4 * GB), "fast": (10.0, 1 * GB), "medium": (40.0, 2 * GB)}
    named = {"image": "regions", "text": "bigru"}
    entries = [
        PlannedEntry(
            key=key,
            scorer=key,
            epochs=1,
            batch_size=8,
            measurement=Measurement(data="scenes"),
            estimate=Estimate(training_seconds=seconds, memory_bytes=memory, measured_batch=8, stores=store),
            **named,
        )
        for key, (seconds, memory) in costs.items()
    ]
    cells = [
        PlannedCell(entry=key, scorer=key, seed=seed, state=(states or {}).get(key, "missing"), **named)
        for seed in (0, 1)
        for key in costs
    ]
    values = {"experiment": "tiny", "data": DataPlan(name="scenes", title="scenes"), "device": "cpu", "files": ()}
    return PlanDocument(**{**values, "cells": tuple(cells), "entries": tuple(entries), **changes})


# Two workers: 100 | 10, 40, then 100 from 50 s on; 10 and 40 from 100 s on: 150 s, and the store of 30 s before.
@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (Room(2), SideBySide(workers=2, seconds=30 + 150, bytes=8 * GB)),
        (Room(2, free_bytes=20 * GB), SideBySide(workers=2, seconds=180, bytes=8 * GB, free_bytes=20 * GB, fitting=6)),
        (Room(6, free_bytes=11 * GB), SideBySide(workers=6, seconds=130, bytes=14 * GB, free_bytes=11 * GB, fitting=3)),
        (Room(64, free_bytes=3 * GB), SideBySide(workers=6, seconds=130, bytes=14 * GB, free_bytes=3 * GB, fitting=0)),
        (Room(2, busy=2.0), SideBySide(workers=2, seconds=30 + 300, bytes=8 * GB)),
        (
            Room(4, asked=True, devices=2, free_bytes=4 * GB),
            SideBySide(workers=4, asked=True, devices=2, seconds=130, bytes=8 * GB, free_bytes=4 * GB, fitting=2),
        ),
        (Room(1), None),
    ],
    ids=["two", "they fit", "three fit", "none fits", "they share a CPU", "two GPUs", "one"],
)
def test_the_runs_are_shared_out_in_the_order_of_the_plan(room, expected):
    assert side_by_side(plan_of(), room) == expected


def test_only_what_is_to_be_run_counts():
    assert side_by_side(plan_of({"slow": "recorded", "medium": "recorded elsewhere"}), Room(8)) == SideBySide(
        workers=2, seconds=40.0, bytes=2 * GB
    )
    assert side_by_side(plan_of({"slow": "recorded", "fast": "recorded", "medium": "recorded"}), Room(8)) is None


def test_trials_of_a_sweep_are_runs_too():
    document = plan_of({"slow": "recorded", "medium": "recorded"}, runs=4)
    found = side_by_side(document, Room(3))
    assert found == SideBySide(workers=3, seconds=30.0 + 30.0, bytes=3 * GB)  # 8 runs of 10 s


@pytest.mark.parametrize(("room", "checkpoints"), [(Room(1), 9), (Room(3), 9 + 9 + 2)])
def test_each_worker_has_a_checkpoint(room, checkpoints):
    document = plan_of()
    working = {"slow": 9, "fast": 1, "medium": 2}
    entries = tuple(
        entry.model_copy(update={"estimate": entry.estimate.model_copy(update={"working_bytes": working[entry.key]})})
        for entry in document.entries
    )
    document = document.model_copy(update={"entries": entries})
    document = document.model_copy(update={"side_by_side": side_by_side(document, room)})
    assert document.bytes_left() == 5 + checkpoints  # 5 are the store's


def test_without_a_time_of_every_run_nothing_is_claimed():
    document = plan_of()
    unknown = document.entries[0].model_copy(update={"estimate": None})
    assert side_by_side(document.model_copy(update={"entries": (unknown, *document.entries[1:])}), Room(2)) is None
    assert side_by_side(plan_of(device=""), Room(2)) is None


@pytest.mark.parametrize(("threads", "busy"), [(1, 1.0), (2, 1.0), (3, 1.5)])
def test_workers_that_share_cpus_take_longer(monkeypatch, threads, busy):
    monkeypatch.setattr(workers, "usable_cpus", lambda: 4)
    monkeypatch.setattr(workers, "free_memory", lambda: 7)
    seats = [Seat(number, "cpu", threads) for number in (1, 2)]
    assert room_of(seats, asked=True) == Room(2, True, 1, 7, busy)


@pytest.mark.parametrize(
    ("room", "said"),
    [
        (None, "In all: about 6 min on cpu, one run after the other; 4.0 GB of memory; "),
        (
            Room(2, free_bytes=20 * GB),
            "In all: about 3 min on cpu with 2 workers side by side, 6 min with one; 8.0 GB of memory; ",
        ),
        (
            Room(6, free_bytes=11 * GB),
            "Memory: 6 workers side by side need about 14.0 GB, and 11.0 GB are free; --workers 3 fits.",
        ),
        (
            Room(6, free_bytes=3 * GB),
            "Memory: 6 workers side by side need about 14.0 GB, and 3.0 GB are free; not even one worker fits: a smaller "
            "batch may.",
        ),
    ],
)  # fmt: skip
def test_a_plan_says_the_time_and_whether_memory_fits(room, said):
    document = plan_of()
    beside = side_by_side(document, room) if room else None
    text = render(report.build(document.model_copy(update={"side_by_side": beside})), "md")
    plain = " ".join(text.replace("\\", "").split())
    assert said in plain
    assert ("Memory:" in plain) == said.startswith("Memory:")
