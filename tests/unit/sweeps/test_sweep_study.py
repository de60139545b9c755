"""A study's storage, sampler and pruner: what resumes, what repeats, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest

from harness.errors import InvalidSpec, ItmError, StorageUnavailable
from harness.spec import Component, load_experiment
from harness.sweeps.liveness import WORKER, Watcher
from harness.sweeps.plan import draft_study, with_data
from harness.sweeps.search import PRUNERS, SAMPLERS, make_pruner, make_sampler, violations
from harness.sweeps.storage import open_storage, shown_storage, study_lock
from harness.sweeps.study import open_study
from harness.sweeps.worker import begin, work

RANGE = {"training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "training.batch_size": [32, 64]}


def plan_study(*arguments, **options):
    """A plan with its data opened."""
    return with_data(draft_study(*arguments, **options))


@pytest.fixture
def plan_of(tiny, tmp_path):
    """A plan of a small space: `plan_of(objectives=..., storage=...)`."""

    def make(storage="", **sweep):
        experiment = load_experiment({**tiny, "sweep": {"replace": True, "space": RANGE, **sweep}})
        return plan_study(experiment, "scan", tmp_path, storage=storage or f"journal:{tmp_path}/study.log")

    return make


def run(study, plan, trials):
    def objective(trial):
        values = plan.space.suggest(trial)
        score = -abs(values["training.learning_rate"] - 1e-3)
        return score if len(plan.settings.objectives) == 1 else (score, values["training.batch_size"])

    work(study, objective, trials, study_lock(plan.storage, plan.name))
    return [trial.params for trial in study.get_trials()]


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_resumes_as_if_it_had_not_stopped(name, plan_of, tmp_path):
    space = {"training.learning_rate": {"low": 0.001, "high": 0.003, "step": 0.001}, "training.batch_size": [32, 64]}
    sweep = {"sampler": name, "space": space} if name in ("GridSampler", "BruteForceSampler") else {"sampler": name}
    straight_plan = plan_of(f"journal:{tmp_path}/straight", **sweep)
    straight = run(open_study(straight_plan), straight_plan, 6)
    plan = plan_of(f"journal:{tmp_path}/stopped", **sweep)
    run(open_study(plan), plan, 4)
    assert run(open_study(plan), plan, 6) == straight
    drawn = {tuple(sorted(params.items())) for params in straight}
    # A grid and brute force visit every point once; the others draw from a continuous range.
    assert len(drawn) == 6


#: Options under which a sampler learns from the first trials on.
EAGER = {
    "TPESampler": [{"n_startup_trials": 2}, {"n_startup_trials": 2, "multivariate": True, "group": True}],
    "NSGAIISampler": [{"population_size": 2}],
    "NSGAIIISampler": [{"population_size": 2}],
    "CmaEsSampler": [{"n_startup_trials": 2}],
    "GPSampler": [{"n_startup_trials": 2}],
}


@pytest.mark.parametrize("default", [True, False], ids=["default first", "sampled"])
@pytest.mark.parametrize(("name", "options"), [(name, o) for name in SAMPLERS for o in EAGER.get(name, [{}])])
def test_a_study_that_is_killed_while_it_draws_draws_the_same(name, options, default, plan_of, tmp_path):
    """Every trial is killed before its first setting, between two, and after the last; each time another process goes on."""
    space = {
        "training.learning_rate": {"low": 0.001, "high": 0.003, "step": 0.001},
        "training.batch_size": [32, 64],
        "training.margin": {"low": 0.1, "high": 0.3, "step": 0.1, "when": {"training.batch_size": 32}},
    }
    sweep = {"sampler": {"name": name, **options}, "space": space, "include_default": default}
    plan = plan_of(f"journal:{tmp_path}/straight", **sweep)
    straight = run(open_study(plan), plan, 6)
    plan = plan_of(f"journal:{tmp_path}/killed", **sweep)
    lock = study_lock(plan.storage, plan.name)
    for number in range(6):
        for settings in range(len(space) + 1):
            study = open_study(plan)
            with lock():
                trial = begin(study)
            replace(plan.space, entries=dict(list(plan.space.entries.items())[:settings])).suggest(trial)
            assert trial.number == number
            trial.set_user_attr(WORKER, None)  # it was killed
            with lock():
                assert Watcher().requeue_lost(study) == [number]
        study = open_study(plan)
        params = run(study, plan, number + 1)
    assert params == straight
    assert [trial.state.name for trial in study.get_trials()] == ["COMPLETE"] * 6


def test_another_seed_draws_other_values(plan_of, tmp_path):
    plans = [plan_of(f"journal:{tmp_path}/{seed}", sampler_seed=seed, include_default=False) for seed in (0, 1)]
    first, second = (run(open_study(plan), plan, 3) for plan in plans)
    assert first != second


def test_the_experiments_own_settings_are_tried_first(plan_of):
    plan = plan_of()
    params = run(open_study(plan), plan, 2)
    assert params[0] == {"training.learning_rate": 0.003, "training.batch_size": 32}


@pytest.mark.parametrize("name", PRUNERS)
def test_every_pruner_can_be_named(name):
    options = {
        "PercentilePruner": {"percentile": 25.0},
        "ThresholdPruner": {"lower": 1.0},
        "PatientPruner": {"patience": 1, "wrapped_pruner": {"name": "MedianPruner", "n_warmup_steps": 3}},
    }
    pruner = make_pruner(Component(name=name, options=options.get(name, {})))
    assert type(pruner).__name__ == name
    if name == "PatientPruner":
        assert pruner._wrapped_pruner._n_warmup_steps == 3


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"sampler": "TPEsampler"}, "unknown sampler of Optuna 'TPEsampler'; did you mean 'TPESampler'"),
        ({"pruner": "MedianPrunner"}, "did you mean 'MedianPruner'"),
        (
            {"sampler": {"name": "TPESampler", "n_startup": 3}},
            "unknown option 'n_startup'; did you mean 'n_startup_trials'",
        ),
        ({"sampler": {"name": "TPESampler", "seed": 3}}, "unknown option 'seed'"),
        ({"sampler": {"name": "NSGAIISampler", "population_size": 0}}, "sampler NSGAIISampler"),
        ({"sampler": "CmaEsSampler", "objectives": ["rsum", "params"]}, "one objective only"),
        ({"sampler": "GridSampler"}, "range without a step"),
        ({"pruner": {"name": "PercentilePruner", "percentile": 400.0}}, "pruner PercentilePruner"),
    ],
)
def test_samplers_and_pruners_that_cannot_be(sweep, message, plan_of):
    with pytest.raises(ItmError, match=message):
        open_study(plan_of(**sweep))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"space": {**RANGE, "training.batch_size": [32, 64, 128]}}, "space.training.batch_size.choices"),
        (
            {"space": {**RANGE, "training.margin": {"low": 0.1, "high": 0.2}}},
            "space.training.margin.high = nothing, now it is 0.2",
        ),
        ({"objectives": ["rsum", "params"]}, "objectives.params_millions = nothing, now it is 'minimize'"),
        ({"at_most": {"latency": 5.0}}, "at_most"),
    ],
)
def test_a_study_that_changed_is_refused_and_its_trials_kept(changed, message, plan_of):
    plan = plan_of()
    run(open_study(plan), plan, 2)
    with pytest.raises(InvalidSpec, match=message) as refused:
        open_study(plan_of(**changed))
    assert "2 finished trials are kept" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(open_study(plan).get_trials()) == 2
    open_study(plan_of(sampler="RandomSampler", pruner="NopPruner"))  # how to search may change, what is sought may not


def test_a_foreign_study_of_the_same_name_is_left_alone(plan_of):
    plan = plan_of()
    foreign = optuna.create_study(study_name=plan.name, storage=open_storage(plan.storage), direction="maximize")
    foreign.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(InvalidSpec, match="was not made by itm sweep"):
        open_study(plan)


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("sqlite:////proc/nowhere/a.db", "cannot use the storage"),
        ("journal:/proc/nowhere/a.log", "cannot use the storage"),
        ("no-url-at-all", "cannot use the storage no-url-at-all"),
        ("oracle+nothing://x", "cannot use the storage"),
        ("postgresql+psycopg://u:secret@127.0.0.1:9/x", r"u:\*\*\*@127.0.0.1:9"),
    ],
)
def test_a_storage_out_of_reach_is_one_line(storage, message, plan_of):
    with pytest.raises(StorageUnavailable, match=message) as refused:
        open_study(plan_of(storage))
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_file_that_is_no_database_is_one_line(plan_of, tmp_path):
    (tmp_path / "text.db").write_text("not a database, and longer than the header of one is " * 20)
    with pytest.raises(StorageUnavailable, match="not a database"):
        open_study(plan_of(f"sqlite:///{tmp_path}/text.db"))


def test_constraints_reach_the_sampler(plan_of):
    plan = plan_of(at_most={"latency": 5.0, "params": 1.0})
    assert violations({"query_ms_p50": 7.0, "params_millions": 0.5}, plan.settings.at_most) == [2.0, -0.5]
    assert violations({}, plan.settings.at_most) == [0.0, 0.0]
    assert make_sampler(plan.settings, plan.space) is not None


def test_passwords_are_not_shown():
    assert shown_storage("postgresql+psycopg://me:pa$$@host/db") == "postgresql+psycopg://me:***@host/db"
    assert shown_storage("sqlite:////a/b.db") == "sqlite:////a/b.db"
