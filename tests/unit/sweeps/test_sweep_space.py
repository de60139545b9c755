"""Search spaces: what they may say, what they refuse, and that every scorer's own one fits its config."""

from __future__ import annotations

from typing import Literal

import optuna
import pytest
from pydantic import Field, model_validator

from harness import registry
from harness.errors import InvalidSpec
from harness.spec import Spec, load_experiment
from harness.sweeps.fitting import Target, check_space
from harness.sweeps.plan import draft_study, with_data
from harness.sweeps.space import merged


class Config(Spec):
    pooling: Literal["lse", "mean", "max"] = "lse"
    scale: float = Field(1.0, gt=0)
    depth: int = Field(2, ge=1, le=8)
    width: int | None = Field(None, ge=1)
    gate: bool = True
    a: float = Field(0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _not_both(self):
        if self.pooling == "max" and self.a == 0:
            raise ValueError("max needs a positive a")
        return self


def targets(**values):
    base = Config(**values)
    return {
        "config": Target(Config, base.model_dump(), "scorer toy"),
        "text": Target(Config, Config().model_dump(), "text"),
    }


def checked(raw, **values):
    return check_space(raw, targets(**values), "space of toy")


def plan_study(*arguments, **options):
    """A plan with its data opened."""
    return with_data(draft_study(*arguments, **options))


def draws(space, count=200):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.suggest(study.ask()) for _ in range(count)]


def test_draws_stay_in_their_ranges_and_types():
    space = checked(
        {
            "config.scale": {"low": 0.01, "high": 10, "log": True},
            "config.depth": {"low": 1, "high": 8},
            "config.a": {"low": 0, "high": 1, "step": 0.25},
            "config.gate": [True, False],
        }
    )
    values = draws(space)
    assert {v["config.depth"] for v in values} == set(range(1, 9))
    assert all(type(v["config.depth"]) is int for v in values)
    assert {v["config.a"] for v in values} == {0, 0.25, 0.5, 0.75, 1}
    scales = [v["config.scale"] for v in values]
    assert 0.01 <= min(scales) < 0.03
    assert 3 < max(scales) <= 10
    assert 70 < sum(scale < 10**-0.5 for scale in scales) < 130  # half of a logarithmic range, not a thirtieth of it
    assert {v["config.gate"] for v in values} == {True, False}


def test_a_condition_holds_a_setting_back_and_what_hangs_on_it():
    space = checked(
        {
            "config.a": {"low": 0.1, "high": 1, "when": {"config.depth": 3}},  # before what it depends on
            "config.depth": {"choices": [2, 3], "when": {"config.pooling": ["lse", "max"]}},
            "config.pooling": ["lse", "mean", "max"],
            "text.depth": {"tied": "config.depth"},
        }
    )
    for values in draws(space):
        assert ("config.depth" in values) == (values["config.pooling"] in ("lse", "max"))
        assert ("config.a" in values) == (values.get("config.depth") == 3)
        assert values.get("text.depth") == values.get("config.depth")


def test_a_condition_on_a_fixed_setting_counts_at_once():
    raw = {"config.a": {"low": 0.1, "high": 1, "when": {"config.pooling": "max"}}, "config.gate": [True, False]}
    assert list(checked(raw).entries) == ["config.gate"]
    assert list(checked(raw, pooling="max").entries) == ["config.a", "config.gate"]
    with pytest.raises(InvalidSpec, match="conditions are never met"):
        checked({"config.a": raw["config.a"]})


def test_later_layers_narrow_replace_and_remove():
    below = {
        "training.lr": {"low": 1e-4, "high": 1e-2, "log": True},
        "config.pooling": ["lse", "mean"],
        "config.a": [1, 2],
    }
    above = {"training.lr": {"high": 1e-3}, "config.pooling": {"low": 1, "high": 2}, "config.a": None, "config.b": [3]}
    assert merged(below, above) == {
        "training.lr": {"low": 1e-4, "high": 1e-3, "log": True},
        "config.pooling": {"low": 1, "high": 2},
        "config.b": [3],
    }


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({}, "is empty; at least one setting"),
        ({"config.poling": ["lse"]}, "unknown setting 'config.poling'; did you mean 'config.pooling'"),
        ({"konfig.pooling": ["lse"]}, "begins with one of config, text"),
        ({"config.scale": {"low": 2, "high": 1}}, "empty: low 2 is not below high 1"),
        ({"config.scale": {"low": 1, "high": 1}}, "is empty"),
        ({"config.pooling": []}, "is empty: no choices"),
        ({"config.pooling": ["lse", "lse"]}, "repeat"),
        ({"config.pooling": ["lse", "medium"]}, "'medium' conflicts with the config"),
        ({"config.pooling": {"low": 0, "high": 1}}, "is no number"),
        ({"config.gate": {"low": 0, "high": 1}}, "is no number"),
        ({"config.gate": [0, 1]}, "conflicts with the config, which holds bool"),
        ({"config.scale": {"low": 0, "high": 1}}, "greater than 0"),
        ({"config.scale": {"low": -1, "high": 1, "log": True}}, "logarithmic range must begin above 0"),
        ({"config.scale": {"low": 1, "high": 2, "log": True, "step": 0.5}}, "either logarithmic or has a step"),
        ({"config.a": {"low": 0, "high": 1, "step": 2}}, "step 2 is wider"),
        (
            {"config.depth": {"low": 1, "high": 9}},
            "9 conflicts with the config: input should be less than or equal to 8",
        ),
        ({"config.depth": {"low": 1.5, "high": 3}}, "whole number, got low 1.5"),
        ({"config.scale": {"low": 1, "high": 2, "lgo": True}}, "unknown key 'lgo'; did you mean 'low' or 'log'"),
        ({"config.scale": 3}, "must be a list of choices or a mapping"),
        ({"config.depth": {"tied": "config.width"}}, "which the space does not vary"),
        ({"config.scale": {"low": 1, "high": 2, "when": {"config.pooling": "medium"}}}, "condition 'config.pooling'"),
        ({"config.scale": {"low": 1, "high": 2, "when": {"config.nothing": 1}}}, "unknown setting 'config.nothing'"),
        (
            {
                "config.a": {"low": 0.5, "high": 1, "when": {"config.depth": 2}},
                "config.depth": {"choices": [2, 3], "when": {"config.a": 0.5}},
            },
            "in a circle",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(raw, message):
    with pytest.raises(InvalidSpec, match=message) as refused:
        checked(raw)
    assert "\n" not in str(refused.value)


def test_a_conflict_within_the_config_is_found_before_any_trial():
    assert checked({"config.a": {"low": 0, "high": 1}})
    with pytest.raises(InvalidSpec, match=r"'config.a' = 0\.0 conflicts with scorer toy: max needs a positive a"):
        checked({"config.a": {"low": 0, "high": 1}}, pooling="max")
    conditional = {
        "config.pooling": ["max", "mean"],
        "config.a": {"low": 0, "high": 1, "when": {"config.pooling": "max"}},
    }
    with pytest.raises(InvalidSpec, match="max needs a positive a"):
        checked(conditional)


def test_a_grid_needs_finitely_many_values():
    space = checked({"config.depth": {"low": 1, "high": 3}, "config.a": {"low": 0, "high": 1, "step": 0.5}})
    assert space.grid() == {"config.depth": [1, 2, 3], "config.a": [0, 0.5, 1]}
    with pytest.raises(InvalidSpec, match="range without a step"):
        checked({"config.scale": {"low": 1, "high": 2}}).grid()


@pytest.mark.parametrize("name", registry.names())
def test_every_scorers_own_space_fits_its_config_and_gives_runs(name, tiny, tmp_path):
    plan = plan_study(load_experiment({**tiny, "scorers": [name]}), name, tmp_path)
    assert any(path.startswith("config.") for path in plan.space.entries)
    for values in draws(plan.space, 20):
        spec = plan.candidate(values)
        for path, value in values.items():
            part, _, field = path.partition(".")
            assert getattr(getattr(spec, part), field) == value


def test_what_a_variant_is_named_for_is_not_tuned(tiny, tmp_path):
    experiment = load_experiment({**tiny, "scorers": ["scan.i2t_avg"]})
    paths = set(plan_study(experiment, "scan.i2t_avg", tmp_path).space.entries)
    assert "config.inverse_temperature" in paths
    assert not {"config.direction", "config.pooling"} & paths


def test_the_experiment_narrows_and_replaces(tiny, tmp_path):
    narrowed = {"space": {"training.learning_rate": {"high": 5e-3}}, "scorers": {"scan": {"config.direction": None}}}
    space = plan_study(load_experiment({**tiny, "sweep": narrowed}), "scan", tmp_path).space
    assert space.entries["training.learning_rate"].high == 5e-3
    assert space.entries["training.learning_rate"].low == 1e-4
    assert "config.direction" not in space.entries
    replaced = {"replace": True, "space": {"image.width": [8, 16], "text.width": {"tied": "image.width"}}}
    plan = plan_study(load_experiment({**tiny, "sweep": replaced}), "scan", tmp_path)
    assert list(plan.space.entries) == ["image.width", "text.width"]
    spec = plan.candidate({"image.width": 8, "text.width": 8})
    assert (spec.image.options.width, spec.text.options.width) == (8, 8)


def test_the_default_is_a_trial_only_where_the_space_holds_it(tiny, tmp_path):
    assert plan_study(load_experiment(tiny), "scan", tmp_path).default["training.learning_rate"] == 0.003
    outside = {"space": {"training.learning_rate": {"high": 1e-3}}}
    assert plan_study(load_experiment({**tiny, "sweep": outside}), "scan", tmp_path).default == {}
    unwanted = {"include_default": False}
    assert plan_study(load_experiment({**tiny, "sweep": unwanted}), "scan", tmp_path).default == {}


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"samplr": "TPESampler"}, "did you mean 'sampler'"),
        ({"objectives": ["rsum", "latenzy"]}, "unknown objective 'latenzy'; did you mean 'latency'"),
        ({"objectives": ["latency"]}, "rsum must be among the objectives"),
        ({"objectives": ["rsum", "latency", "query_ms_p50"]}, "repeat"),
        ({"at_most": {"rsum": 3}}, "more of rsum is better"),
        ({"objectives": ["rsum", "params"], "pruner": "MedianPruner"}, "cannot prune by several objectives"),
        ({"seeds": 4}, "has 1 seeds"),
        ({"scorers": {"scam": {}}}, "did you mean 'scan'"),
        ({"space": {"config.pooling": ["lse"]}}, "sweep.scorers.<entry>"),
    ],
)
def test_settings_that_cannot_be(sweep, message, tiny, tmp_path):
    from harness.errors import ItmError

    with pytest.raises(ItmError, match=message):
        plan_study(load_experiment({**tiny, "sweep": sweep}), "scan", tmp_path)


def test_no_run_depends_on_how_it_was_tuned(tiny):
    from harness.runs.planning import plan

    (plain,) = plan(load_experiment(tiny))
    tuned = {**tiny, "sweep": {"seeds": 1}, "scorers": [{"name": "scan", "tuning": {"trials": 7}}]}
    (same,) = plan(load_experiment(tuned))
    assert same.run_id == plain.run_id
    assert same.tuning == {"trials": 7}
    assert "tuning" not in same.model_dump()
