"""What rows rest on: what their checkpoints were chosen on and how their settings were found, from records alone."""

from __future__ import annotations

import pytest

from harness.records.parts import Evaluation, Source, Tuning
from harness.records.run import RunRecord
from harness.reports.runs import evidence
from harness.reports.runs.groups import groups

TRAINED = {"scorer": "scan", "training": {"epochs": 3}, "weights": ""}
ZERO_SHOT = {"scorer": "clip", "training": {"epochs": 0}, "weights": ""}


def record(seed=0, spec=TRAINED, **more) -> RunRecord:
    given = {
        "run_id": f"{seed:016x}",
        "scorer": "scan",
        "backbone": "patches+bigru",
        "dataset": "scenes",
        "protocols": ("full",),
        "seed": seed,
        "metrics": {"full": {"rsum": 300.0}},
        "data_sha256": "0" * 64,
        "spec": {**spec, "seed": seed},
        "status": "finished",
        "started": f"2026-01-01T00:00:0{seed}",
    }
    return RunRecord(**{**given, **more})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "validation"),
        ({"spec": ZERO_SHOT}, "nothing"),
        ({"spec": {}}, "unknown"),
        ({"spec": {**ZERO_SHOT, "scorer": "scan", "weights": "x.safetensors"}}, "unknown"),
        (
            {"spec": {**ZERO_SHOT, "scorer": "scan", "weights": "x.safetensors"}, "code_origin": "official weights"},
            "validation",
        ),
        (
            {"spec": {**ZERO_SHOT, "scorer": "laps", "weights": "x.safetensors"}, "code_origin": "official weights"},
            "test",
        ),
        ({"origin": "foreign"}, "unknown"),
        ({"origin": "foreign", "selected_on": "test"}, "test"),
        ({"origin": "foreign", "selected_on": "last epoch"}, "last epoch"),
        ({"spec": {"ensemble": [TRAINED, TRAINED]}, "code_origin": "ensemble"}, "validation"),
        ({"spec": {"ensemble": [TRAINED, ZERO_SHOT]}, "code_origin": "ensemble"}, "mixed"),
    ],
)
def test_what_a_checkpoint_was_chosen_on(given, expected):
    assert evidence.checkpoint_selected_on(record(**given)) == expected
    assert evidence.selected_on([record(**given)]) == expected


def test_seeds_that_were_chosen_differently_are_mixed():
    said = [record(seed, origin="foreign", selected_on=on) for seed, on in enumerate(("test", "validation"))]
    assert evidence.selected_on(said) == "mixed"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "default"),
        ({"tuning": Tuning(trials=3)}, "tuned"),
        ({"evaluation": Evaluation(ensemble=("a", "b"))}, "ensembled"),
        ({"evaluation": Evaluation(ensemble=("a", "b")), "tuning": Tuning(trials=3)}, "tuned and ensembled"),
        ({"origin": "foreign", "tuning": Tuning()}, "unknown"),
        ({"origin": "foreign", "tuning": Tuning(trials=0)}, "default"),
        ({"origin": "foreign", "tuning": Tuning(), "source": Source(reading={"ensemble": True})}, "ensembled"),
    ],
)
def test_how_settings_were_found(given, expected):
    assert evidence.tuning([record(**given)]) == expected


def test_tuned_and_default_runs_of_one_method_are_two_entries_whose_labels_say_so():
    tuned = {**TRAINED, "config": {"pooling": "mean"}}
    default = {**TRAINED, "config": {"pooling": "lse"}}
    made = [record(0, default), record(1, default), record(2, tuned, tuning=Tuning(trials=30))]
    ((first, second),) = groups(made).values()
    assert {first.label, second.label} == {"scan", "scan (tuned)"}
    assert (len(first.seeds), len(second.seeds)) == (2, 1)


def test_entries_of_one_kind_are_still_told_apart_by_what_differs():
    made = [record(n, {**TRAINED, "config": {"pooling": p}}, tuning=Tuning(trials=3)) for n, p in enumerate(("a", "b"))]
    ((first, second),) = groups(made).values()
    assert {first.label, second.label} == {"scan (tuned) (pooling=a)", "scan (tuned) (pooling=b)"} or {
        first.label,
        second.label,
    } == {"scan (pooling=a)", "scan (pooling=b)"}


@pytest.mark.parametrize(
    ("origin", "said"), [("measured", "measured here"), ("foreign", "added"), ("published", "published")]
)
def test_who_ranked(origin, said):
    assert evidence.measured_by(record(origin=origin)) == said
