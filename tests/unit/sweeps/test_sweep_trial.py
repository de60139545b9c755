"""A trial: what it sees of the data, that its numbers are those of the training, and what it keeps when it ends early."""

from __future__ import annotations

import itertools

import optuna
import pytest
import torch
from optuna.trial import TrialState

from harness.datasets.scenes.dataset import Scenes
from harness.errors import InvalidDataset, RunFailed, TrainingDiverged
from harness.measure.cost import parameters
from harness.records.study import TrialSummary, best_of, pareto_front, read_summary, summaries
from harness.runs.building import build_scorer, open_dataset
from harness.spec import load_experiment
from harness.sweeps import trial as trial_module
from harness.sweeps.folders import TrialFolders
from harness.sweeps.liveness import requeue
from harness.sweeps.plan import draft_study, with_data
from harness.sweeps.run import run_study
from harness.sweeps.splits import TuningSplits, open_tuning_splits
from harness.sweeps.storage import study_lock
from harness.sweeps.study import open_study
from harness.sweeps.summary import trial_summary
from harness.sweeps.trial import Course, TrialRunner
from harness.sweeps.worker import work
from harness.training import loop as training
from harness.training.checkpoint import Checkpoint
from harness.training.schedule import steps_per_epoch
from harness.training.steps import Steps

SPACE = {"training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}


def plan_study(*arguments, **options):
    """A plan with its data opened."""
    return with_data(draft_study(*arguments, **options))


@pytest.fixture
def plan_of(tiny, tmp_path):
    def make(seeds=1, **sweep):
        settings = {"replace": True, "space": SPACE, "seeds": seeds, **sweep}
        values = {**tiny, "seeds": 2, "scorers": ["chan"], "sweep": settings}
        return plan_study(load_experiment(values), "chan", tmp_path, storage=f"journal:{tmp_path}/log")

    return make


@pytest.fixture(autouse=True)
def quick_cost(monkeypatch, request):
    """Sizes only, since latencies take seconds; tests about the cost measure it."""
    if "measured_cost" not in request.fixturenames:
        monkeypatch.setattr(trial_module, "cost_of", lambda scorer, *_, **__: parameters(scorer))


@pytest.fixture
def measured_cost():
    """Asks for the real measurement."""


@pytest.fixture
def no_test_split(monkeypatch):
    """A dataset whose test split must not even be asked for."""
    known = Scenes.split

    def split(self, name):
        assert name != "test", "the test split was opened"
        return known(self, name)

    monkeypatch.setattr(Scenes, "split", split)


def test_a_trial_has_no_way_to_the_test_split(plan_of):
    splits = open_tuning_splits(plan_of().base.dataset)
    with pytest.raises(InvalidDataset, match="split 'test' is out of reach of a sweep's trial"):
        splits.split("test")
    held = vars(splits)["_splits"]
    assert set(vars(splits)) == {"_splits", "_title", "_digests"}
    assert isinstance(splits.title, str)
    assert set(vars(splits)["_digests"]) == {"train", "val"}
    assert {name: split.name for name, split in held.items()} == {"train": "train", "val": "val"}
    test_ids = set(open_dataset(plan_of().base.dataset).split("test").image_ids)
    assert not test_ids & {i for split in held.values() for i in split.image_ids}


def test_planning_running_and_summarising_never_open_the_test_split(plan_of, no_test_split, tmp_path):
    plan = plan_of()
    with pytest.raises(AssertionError, match="was opened"):
        open_dataset(plan.base.dataset).split("test")
    summary = run_study(plan, tmp_path, 2)
    assert summary.count("complete") == 2


@pytest.mark.usefixtures("measured_cost")
def test_the_value_is_the_mean_of_the_best_epochs_and_the_work_is_counted(plan_of):
    plan = plan_of(seeds=2)
    study = open_study(plan)
    work(study, TrialRunner(plan, open_tuning_splits(plan.base.dataset), "cpu"), 1, study_lock(plan.storage, plan.name))
    (trial,) = study.get_trials()
    dataset = open_dataset(plan.base.dataset)
    train, validation = dataset.split("train"), dataset.split("val")
    best, curves, steps = [], [], 0
    for seed in (0, 1):
        spec = plan.candidate(trial.params).model_copy(update={"seed": seed})
        result = training.fit(build_scorer(spec, dataset), train, validation, spec.training, seed=seed)
        best.append(result.best["rsum"])
        curves.append([epoch.validation["rsum"] for epoch in result.history])
        steps += result.steps
    assert trial.value == pytest.approx(sum(best) / 2)
    summary = trial_summary(trial, plan)
    assert summary.curves == curves
    assert summary.steps == steps > 0
    assert summary.rsum == trial.value
    assert summary.cost.params_millions > 0
    assert {"query_ms_p50", "peak_memory_mib", "train_step_ms_p50"} <= set(summary.cost.figures)
    assert [step for step, _ in sorted(trial.intermediate_values.items())] == [0, 1, 2, 3]
    assert trial.intermediate_values[2] == pytest.approx((max(curves[0]) + curves[1][0]) / 2)


class Killed(BaseException):
    """As SIGKILL would: nothing after it runs."""


@pytest.mark.usefixtures("measured_cost")
@pytest.mark.parametrize(
    ("owner", "name", "call", "epochs_left"),
    [
        (Steps, "run_epoch", 2, 3),
        (Checkpoint, "save", 2, 2),
        (optuna.Trial, "report", 3, 1),
        (optuna.Trial, "should_prune", 3, 1),
        (trial_module, "cost_of", 1, 0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_trial_resumes_from_its_last_epoch_and_ends_the_same(
    plan_of, monkeypatch, tmp_path, owner, name, call, epochs_left
):
    plan = plan_of(seeds=2)  # of two epochs each
    splits = open_tuning_splits(plan.base.dataset)

    def run(study, trial, folder):
        value = TrialRunner(plan, splits, "cpu", TrialFolders(folder))(trial)
        study.tell(trial, value)
        (ended,) = study.get_trials()
        return ended

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    whole = run(study, study.ask(), tmp_path / "whole")

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    known, calls = getattr(owner, name), []

    def killed(*arguments, **named):
        calls.append(1)
        if len(calls) == call and name in ("run_epoch", "cost_of"):
            raise Killed
        found = known(*arguments, **named)
        if len(calls) == call:
            raise Killed
        return found

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, killed)
        with pytest.raises(Killed):
            TrialRunner(plan, splits, "cpu", TrialFolders(tmp_path / "killed"))(study.ask())
    requeue(study, study.get_trials()[0])
    epochs = []
    run_epoch = Steps.run_epoch
    monkeypatch.setattr(Steps, "run_epoch", lambda loop, number: (epochs.append(number), run_epoch(loop, number))[1])
    resumed = run(study, study.ask(), tmp_path / "killed")
    assert len(epochs) == epochs_left  # of four
    assert (resumed.number, resumed.params, resumed.value) == (0, whole.params, whole.value)
    assert resumed.intermediate_values == whole.intermediate_values
    for key in ("curves", "steps"):
        assert resumed.user_attrs[key] == whole.user_attrs[key]
    # A sitting that trained nothing cannot tell how busy the machine was: then that is unknown.
    costs = [set(found.user_attrs["cost"]) - {"train_other_cpu_percent"} for found in (resumed, whole)]
    assert costs[0] == costs[1]
    assert resumed.user_attrs["seconds"] > 0


def test_a_hopeless_trial_is_pruned_in_its_first_seed_and_says_why(plan_of):
    plan = plan_of(seeds=2, pruner={"name": "ThresholdPruner", "lower": 601.0})
    study = open_study(plan)
    work(study, TrialRunner(plan, open_tuning_splits(plan.base.dataset), "cpu"), 1, study_lock(plan.storage, plan.name))
    summary = trial_summary(study.get_trials()[0], plan)
    assert summary.state == "pruned"
    assert summary.reason.startswith("ThresholdPruner after 1 epoch: validation rSum")
    assert [len(curve) for curve in summary.curves] == [1]
    assert summary.steps == steps_per_epoch(open_dataset(plan.base.dataset).split("train"), plan.base.training)


def test_the_last_epoch_is_never_pruned(plan_of):
    plan = plan_of(pruner={"name": "ThresholdPruner", "lower": 601.0, "n_warmup_steps": 1})
    study = open_study(plan)
    work(study, TrialRunner(plan, open_tuning_splits(plan.base.dataset), "cpu"), 1, study_lock(plan.storage, plan.name))
    assert study.get_trials()[0].state == TrialState.COMPLETE


@pytest.mark.parametrize(("objectives", "state"), [(["rsum"], "pruned"), (["rsum", "params"], "failed")])
def test_a_diverged_trial_is_kept_with_its_reason(plan_of, monkeypatch, objectives, state):
    def diverges(*_, **__):
        raise TrainingDiverged("step 3 has loss nan")

    monkeypatch.setattr(trial_module.loop, "fit", diverges)
    plan = plan_of(objectives=objectives)
    study = open_study(plan)
    work(study, TrialRunner(plan, open_tuning_splits(plan.base.dataset), "cpu"), 1, study_lock(plan.storage, plan.name))
    summary = trial_summary(study.get_trials()[0], plan)
    assert summary.state == state
    assert "step 3 has loss nan" in summary.reason
    assert summary.rsum is None


def test_all_trials_failing_is_one_line_and_they_are_kept(plan_of, monkeypatch, tmp_path):
    def breaks(*_, **__):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(trial_module.loop, "fit", breaks)
    plan = plan_of()
    with pytest.raises(
        RunFailed, match=r"none of the 2 trials .* 2 failed, 0 were pruned; the first: ZeroDivisionError"
    ):
        run_study(plan, tmp_path, 2)
    (kept,) = summaries(tmp_path, "tiny")
    assert [trial.state for trial in kept.trials] == ["failed", "failed"]


def test_a_trial_outside_of_the_constraints_is_not_recommended(plan_of, tmp_path):
    plan = plan_of(at_most={"params": 1e-6})
    with pytest.raises(RunFailed, match=r"2 broke the constraints \(params_millions <= 1e-06\)"):
        run_study(plan, tmp_path, 2)
    summary = read_summary(tmp_path / "sweeps" / "tiny.chan")
    assert summary is not None
    assert summary.best_trial is None
    assert all(trial.violation > 0 for trial in summary.trials)


def test_several_objectives_have_a_pareto_set_and_the_best_of_it(plan_of, tmp_path):
    space = {"image.width": [8, 16], "text.width": {"tied": "image.width"}}
    summary = run_study(plan_of(objectives=["rsum", "params"], space=space), tmp_path, 4)
    sizes = {trial.params["image.width"]: trial.values["params_millions"] for trial in summary.trials}
    assert sizes[8] < sizes[16]
    assert summary.best_trial in summary.pareto
    best = summary.trial(summary.best_trial)
    assert best.rsum == max(trial.rsum for trial in summary.trials)
    assert summary.best_entry["text"]["width"] == summary.best_entry["image"]["width"] == best.params["image.width"]


def test_a_mean_so_far_takes_finished_seeds_at_their_best():
    course = Course(curves=[[10.0, 30.0, 20.0], [40.0, 35.0]])
    assert course.latest == (30 + 35) / 2
    assert course.rsum == (30 + 40) / 2


def _trial(number, rsum, cost, state="complete", violation=0.0):
    values = {"rsum": rsum, "query_ms_p50": cost}
    return TrialSummary(number=number, state=state, values=values, rsum=rsum, violation=violation)


def test_the_pareto_set_is_optunas():
    generator = torch.Generator().manual_seed(0)
    points = torch.randint(0, 6, (40, 2), generator=generator).tolist()
    study = optuna.create_study(directions=["maximize", "minimize"])
    for point in points:
        study.add_trial(optuna.create_trial(values=point))
    trials = [_trial(number, *point) for number, point in enumerate(points)]
    directions = {"rsum": "maximize", "query_ms_p50": "minimize"}
    assert sorted(pareto_front(trials, directions)) == sorted(trial.number for trial in study.best_trials)


def test_the_best_is_complete_feasible_and_the_earliest_of_equals():
    trials = [
        _trial(0, 300, 1),
        _trial(1, 320, 1),
        _trial(2, 320, 1),
        _trial(3, 400, 1, state="pruned"),
        _trial(4, 400, 1, violation=0.5),
    ]
    for order in itertools.permutations(trials, 5):
        assert best_of(order).number == 1
    assert best_of(trials[3:]) is None


def test_splits_hold_two_and_refuse_any_other_name():
    splits = TuningSplits("a", "b")  # type: ignore[arg-type]
    assert (splits.split("train"), splits.split("val")) == ("a", "b")
    for name in ("test", "Test", "restval", ""):
        with pytest.raises(InvalidDataset, match="out of reach"):
            splits.split(name)


def test_a_trial_that_was_timed_on_a_busy_machine_neither_dominates_nor_is_dominated():
    """Trial 1 is better in both objectives, but its latency was measured beside a busy neighbour."""
    directions = {"rsum": "maximize", "query_ms_p50": "minimize"}

    def timed(number, rsum, ms, other):
        cost = {"query_ms_p50": ms, "other_cpu_percent": other}
        return TrialSummary(
            number=number, state="complete", values={"rsum": rsum, "query_ms_p50": ms}, rsum=rsum, cost=cost
        )

    trials = [timed(0, 300.0, 5.0, 1.0), timed(1, 400.0, 1.0, 40.0), timed(2, 200.0, 9.0, 1.0)]
    assert pareto_front(trials, directions) == [0]
    assert pareto_front(trials, {"rsum": "maximize"}) == [1]  # where no time decides, it takes part
