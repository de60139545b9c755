"""Ablation plans: which models, with which overrides, and what cannot be combined."""

from __future__ import annotations

from typing import ClassVar

import pytest

from harness import registry
from harness.errors import InvalidSpec, UnknownName
from harness.runs.ablation import plan_ablation
from harness.scorer import Scorer, ScorerConfig
from harness.spec import load_experiment


class Config(ScorerConfig):
    a: bool = True
    b: bool = True
    depth: int = 3


class Toy(Scorer):
    Config = Config
    variants: ClassVar = {"no_a": {"a": False}, "no_b": {"b": False}, "flat": {"depth": 1}, "deep": {"depth": 9}}
    components = ("no_a", "no_b")


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    known = registry.scorer_class
    monkeypatch.setattr(registry, "scorer_class", lambda name: Toy if name.split(".")[0] == "toy" else known(name))


EXPERIMENT = load_experiment(
    {"name": "e", "dataset": "scenes", "scorers": ["scan", {"name": "toy", "config": {"depth": 5}}]}
)


def _models(plan):
    return {e.key: registry.resolve_config(e.name, e.config).model_dump() for e in plan.experiment.scorers}


def test_one_at_a_time_is_the_full_model_and_each_component_removed():
    plan = plan_ablation(EXPERIMENT, "toy")
    assert plan.experiment.name == "e-ablate-toy"
    assert plan.reference.key == "toy"
    assert _models(plan) == {
        "toy": {"a": True, "b": True, "depth": 5},
        "toy.no_a": {"a": False, "b": True, "depth": 5},
        "toy.no_b": {"a": True, "b": False, "depth": 5},
    }


def test_a_variant_wins_over_the_experiments_own_setting():
    assert _models(plan_ablation(EXPERIMENT, "toy", variants=["flat"]))["toy.flat"]["depth"] == 1


def test_add_one_in_starts_from_the_bare_model():
    plan = plan_ablation(EXPERIMENT, "toy", "add_one_in")
    assert plan.reference.key == "toy bare"
    assert _models(plan) == {
        "toy bare": {"a": False, "b": False, "depth": 5},
        "toy+a": {"a": True, "b": False, "depth": 5},
        "toy+b": {"a": False, "b": True, "depth": 5},
        "toy": {"a": True, "b": True, "depth": 5},
    }


def test_a_grid_is_every_subset():
    models = _models(plan_ablation(EXPERIMENT, "toy", "grid"))
    assert {(m["a"], m["b"]) for m in models.values()} == {(x, y) for x in (True, False) for y in (True, False)}
    assert len(models) == 4


def test_mistakes():
    with pytest.raises(UnknownName, match="did you mean 'no_a'"):
        plan_ablation(EXPERIMENT, "toy", variants=["noa"])
    with pytest.raises(UnknownName, match="unknown scorer 'nothing'"):
        plan_ablation(EXPERIMENT, "nothing")
    with pytest.raises(UnknownName, match="one_at_a_time"):
        plan_ablation(EXPERIMENT, "toy", "one_at_time")  # type: ignore[arg-type]
    with pytest.raises(InvalidSpec, match="depth to different values"):
        plan_ablation(EXPERIMENT, "toy", "add_one_in", ["flat", "deep"])
    with pytest.raises(InvalidSpec, match="not its variant"):
        plan_ablation(
            EXPERIMENT.model_copy(
                update={"scorers": load_experiment({"name": "e", "dataset": "scenes", "scorers": ["toy.no_a"]}).scorers}
            ),
            "toy.no_a",
        )


def test_a_grid_has_a_limit(monkeypatch):
    monkeypatch.setattr(Toy, "variants", {f"no_{i}": {"depth": i} for i in range(7)})
    monkeypatch.setattr(Toy, "components", ())
    with pytest.raises(InvalidSpec, match="128 models, more than 64"):
        plan_ablation(EXPERIMENT, "toy", "grid")
