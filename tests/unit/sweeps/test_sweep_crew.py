"""A study in workers: deaths count against the trial that caused them, kills do not, and the total is exact."""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence

import optuna
import pytest
from ended_workers import Ended
from optuna.trial import TrialState

from harness.errors import RunFailed, StorageUnavailable
from harness.executors import choice, crew
from harness.executors.base import Context, Executor, Job, Seat, Worker
from harness.executors.choice import Placement
from harness.records.store import RunStore
from harness.spec import load_experiment
from harness.sweeps import processes, telling
from harness.sweeps.folders import TrialFolders
from harness.sweeps.liveness import DEATHS, WORKER, Keeper, this_process, worker_name
from harness.sweeps.plan import StudyPlan, draft_study, with_data
from harness.sweeps.processes import TrialJob, check_reachable, executor_for, work_in_processes
from harness.sweeps.study import open_study
from harness.sweeps.worker import Census, begin, census
from harness.tracking.base import Tracker
from harness.tracking.observer import Observer, Step

CRASH = (-signal.SIGSEGV, "invalid memory access (SIGSEGV)")
KILL = (-signal.SIGKILL, "")
OURS = "command-ours"


class Script(Executor):
    """Its workers die in the middle of a trial as the script says; when that is over, they do their job.

    Args:
        study: in which they begin trials.
        deaths: exit code and cause of one worker after the other, and whether it came as far as a trial.
    """

    name = "script"

    def __init__(self, context: Context, study: optuna.Study, deaths: list[tuple[int, str, bool]]):
        super().__init__(context)
        self.study, self.deaths, self.started = study, deaths, 0
        self.drawn: list[tuple[int, float]] = []

    def seats(self, workers: int | None, device: str, threads: int, gpus: int = 1) -> list[Seat]:
        return [Seat(number + 1) for number in range(workers or 4)]

    def start(self, job: Job, seat: Seat) -> Worker:
        self.started += 1
        if not self.deaths:
            return Ended(seat, job(seat))
        code, cause, works = self.deaths.pop(0)
        if works:
            trial = begin(self.study, Keeper(OURS, seat.number, this_process()))
            self.drawn.append((trial.number, trial.suggest_float("x", 0, 1)))
        return Ended(seat, code, cause)

    def stop(self, workers: Sequence[Worker]) -> None:
        pass


@pytest.fixture
def plan(tiny, tmp_path) -> StudyPlan:
    space = {"training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}
    sweep = {"replace": True, "space": space, "include_default": False}
    values = {**tiny, "seeds": 2, "scorers": ["chan"], "sweep": sweep}
    return with_data(draft_study(load_experiment(values), "chan", tmp_path, storage=f"journal:{tmp_path}/log"))


@pytest.fixture
def run(plan, tmp_path, monkeypatch):
    """Runs a study of three trials, whose trainings are replaced by a number."""
    monkeypatch.setattr(crew, "POLL_SECONDS", 0)
    monkeypatch.setattr(processes, "open_tuning_splits", lambda dataset: None)
    monkeypatch.setattr(processes, "TrialRunner", lambda *_: lambda trial: trial.suggest_float("x", 0, 1))
    study = open_study(plan)

    def run(deaths: list[tuple[int, str, bool]], workers: int = 1):
        executor = Script(Context(tmp_path, OURS), study, deaths)
        job = TrialJob(plan, 3, 60.0, TrialFolders(None), OURS, this_process())
        work_in_processes(study, job, executor, Placement(workers=workers), lambda: None)
        return executor, study.get_trials()

    run.study = study
    return run


def test_workers_run_exactly_the_trials_of_the_study(run):
    executor, trials = run([], workers=8)
    assert executor.started == 3  # no more workers than trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3


def test_a_trial_that_crashes_its_workers_is_given_up_and_the_others_run(run, caplog):
    with caplog.at_level(logging.WARNING):
        executor, trials = run([(*CRASH, True)] * 3)
    assert executor.started == 4
    assert [trial.state for trial in trials] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert trials[0].user_attrs["error"] == f"these settings ended their worker 3 times: {CRASH[1]}"
    assert caplog.messages.count(f"a trial ended its worker: {CRASH[1]}") == 3


def test_a_trial_whose_worker_is_killed_resumes_in_the_next_with_its_settings(run, caplog):
    executor, trials = run([(*KILL, True), (*CRASH, True), (*KILL, True)])
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    assert len(executor.drawn) == 3
    assert all(trials[number].params["x"] == x for number, x in executor.drawn)
    assert caplog.messages.count("worker 1 is gone; trial 0 resumes from its last epoch") == 2
    assert [cause for trial in trials for cause in trial.user_attrs.get(DEATHS, [])] == [CRASH[1]]  # kills do not count


@pytest.mark.parametrize("death", [KILL, CRASH], ids=["killed", "crashed"])
def test_workers_that_die_before_they_get_to_a_trial_end_the_command(run, death):
    with pytest.raises(
        RunFailed, match=r"the workers ended early \(exit codes -\d+\) with 0 of 3 trials of study 'tiny.chan' done"
    ):
        run([(*death, False)] * 99)
    assert census(run.study) == Census(ended=0, running=0, waiting=0)


@pytest.mark.parametrize(
    ("workers", "trials", "here"), [(1, 3, True), (4, 1, True), (4, 0, True), (2, 3, False), (None, 0, True)]
)
def test_one_trial_at_a_time_needs_no_other_process(plan, tmp_path, workers, trials, here):
    assert (executor_for(plan, tmp_path, trials, Placement(workers=workers)) is None) is here


@pytest.mark.parametrize(
    ("storage", "fits"),
    [("sqlite:///a.db", False), ("journal:a.log", True), ("postgresql+psycopg://me@db/optuna", True)],
)
def test_workers_on_other_machines_need_a_storage_that_they_reach(tmp_path, storage, fits):
    check_reachable(storage, Placement(), tmp_path)
    for options in ({"executor": "ray"}, {"executor": "slurm", "options": {"options": ("cluster=local",)}}):
        check_reachable(storage, Placement(**options), tmp_path)
    if fits:
        check_reachable(storage, Placement("slurm"), tmp_path)
        return
    with pytest.raises(StorageUnavailable, match="--executor ray may start"):
        check_reachable(storage, Placement("ray", options={"address": "head:6379"}), tmp_path)
    with pytest.raises(StorageUnavailable) as error:
        check_reachable(storage, Placement("slurm"), tmp_path)
    assert str(error.value) == (
        "--executor slurm may start workers on other machines, which cannot share the SQLite file a.db; name a storage "
        f"that they reach, for example --storage journal:{tmp_path}/sweeps/optuna.log"
    )


def test_an_executor_elsewhere_is_asked_for_a_single_trial_too(plan, tmp_path, monkeypatch):
    monkeypatch.setitem(choice.EXECUTORS, "script", f"{__name__}:Elsewhere")
    found = executor_for(plan, tmp_path, 1, Placement("script", workers=1))  # its storage is a journal
    assert isinstance(found, Elsewhere)
    assert found.context.results == RunStore(tmp_path).results.resolve()


class Elsewhere(Script):
    def __init__(self, context: Context):
        super().__init__(context, None, [])


# What is told --------------------------------------------------------------------------------------------------------------


class Heard(Observer):
    def __init__(self) -> None:
        self.news: list[tuple[object, ...]] = []

    def started(self, piece: str, steps: int, worker: str = "") -> None:
        self.news.append(("started", piece, steps, worker))

    def stepped(self, piece: str, step: Step) -> None:
        self.news.append(("stepped", piece, step.number, step.short, step.text))

    def stopped(self, piece: str) -> None:
        self.news.append(("stopped", piece))

    def ended(self, piece: str, text: str, all_left: float | None = None) -> None:
        self.news.append(("ended", piece, text))

    def take(self) -> list[tuple[object, ...]]:
        news, self.news = self.news, []
        return news


@pytest.mark.parametrize(
    ("keeper", "worker"),
    [(Keeper(OURS, 2), "worker 2"), (Keeper(OURS), ""), (Keeper("command-theirs", 1), "another command")],
)
def test_trials_are_told_of_while_they_run_whoever_has_them(plan, keeper, worker):
    study, heard = open_study(plan), Heard()
    teller = telling.Teller(study, plan, Tracker(), heard, OURS)
    teller.begin(3)
    teller.tell()
    assert heard.take() == []
    trial = begin(study, keeper)
    teller.tell()
    trial.report(100.0, 0)
    trial.report(120.0, 1)
    teller.tell()
    teller.tell()
    assert heard.take() == [("started", "trial 0", 2, worker), ("stepped", "trial 0", 2, "rSum 120.0", "")]
    assert processes.liveness.bury(study, keeper.command, keeper.seat, "")
    teller.tell()
    assert heard.take() == [("stopped", "trial 0")]
    again = study.ask()
    again.set_user_attr(WORKER, worker_name(keeper))
    study.tell(again, state=TrialState.PRUNED)
    teller.tell()
    assert heard.take() == [("ended", "trial 0", "trial 0: no epoch PRUNED (), 0 s")]
