"""Workers: together they run exactly the trials asked for, whoever dies on the way, on every kind of storage."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from harness.errors import ResultsNotWritable, StorageUnavailable
from harness.executors import local
from harness.executors.base import Seat
from harness.executors.deaths import OUT_OF_MEMORY, cause_of_death
from harness.executors.local import LocalWorker
from harness.files.owners import this_machine
from harness.sweeps.liveness import (
    DEATHS,
    MOST_DEATHS,
    PULSE,
    WORKER,
    TakenOver,
    Watcher,
    bury,
    pulse,
    requeue,
    require_hold,
    this_process,
    worker_name,
)
from harness.sweeps.storage import open_storage, study_lock
from harness.sweeps.worker import Census, census, has_ended, work

optuna.logging.set_verbosity(optuna.logging.ERROR)
SEGMENTATION = "invalid memory access (SIGSEGV)"
#: What a worker of a command that lives says of it.
KEPT = {"command": "command-a", "seat": 2, "parent": this_process()}


@pytest.fixture(params=["sqlite", "journal"])
def storage(request, tmp_path) -> str:
    return {"sqlite": f"sqlite:///{tmp_path}/a.db", "journal": f"journal:{tmp_path}/a.log"}[request.param]


@pytest.fixture
def lock(storage):
    return study_lock(storage, "s")


def study_at(storage: str, create: bool = False) -> optuna.Study:
    backend = open_storage(storage)
    sampler = optuna.samplers.RandomSampler(seed=0)
    if create:
        return optuna.create_study(study_name="s", storage=backend, direction="maximize", sampler=sampler)
    return optuna.load_study(study_name="s", storage=backend, sampler=sampler)


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


def begun(study: optuna.Study, **worker) -> optuna.Trial:
    """A running trial of a worker."""
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.set_user_attr(WORKER, {"machine": this_machine(), **worker} if worker else worker_name())
    return trial


def ended(study) -> list:
    return [trial for trial in study.get_trials() if has_ended(trial)]


@pytest.fixture(scope="module")
def dead() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


# How many --------------------------------------------------------------------------------------------------------------


def test_the_number_of_trials_is_a_total(storage, lock):
    study = study_at(storage, create=True)
    work(study, objective, 3, lock)
    work(study, objective, 3, lock)
    assert len(ended(study)) == 3
    work(study_at(storage), objective, 5, lock)
    assert len(ended(study)) == len(study.get_trials()) == 5


def test_workers_at_the_same_time_do_exactly_the_trials_asked_for(storage, lock):
    study_at(storage, create=True)
    together = threading.Barrier(4)
    numbers: list[int] = []
    errors: list[BaseException] = []

    def meets(trial: optuna.Trial) -> float:
        numbers.append(trial.number)
        if trial.number < 4:
            together.wait(60)  # all four workers are in the middle of a trial
        return objective(trial)

    def one() -> None:
        try:
            work(study_at(storage), meets, 7, lock)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not errors
    trials = study_at(storage).get_trials()
    assert sorted(numbers) == [trial.number for trial in trials] == list(range(7))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}


# What fails ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
        (MemoryError("9 GiB"), "MemoryError: 9 GiB"),
        (SystemExit(3), "SystemExit: 3"),
        (OSError(errno.ENOENT, "no such picture"), "FileNotFoundError: [Errno 2] no such picture"),
        (float("nan"), "the trial's value is not finite: nan"),
        (float("inf"), "the trial's value is not finite: inf"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value)[:3],
)
def test_a_trial_that_fails_counts_keeps_its_reason_and_does_not_stop_the_others(storage, lock, error, reason):
    study = study_at(storage, create=True)

    def breaks(trial: optuna.Trial) -> float:
        if trial.number % 2 and isinstance(error, BaseException):
            raise error
        return error if trial.number % 2 else objective(trial)

    work(study, breaks, 4, lock)
    states = [(trial.state, trial.user_attrs.get("error")) for trial in study.get_trials()]
    assert states == [(TrialState.COMPLETE, None), (TrialState.FAIL, reason)] * 2


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        ResultsNotWritable("cannot write checkpoint.pt: No space left on device"),
        StorageUnavailable("gone"),
        OSError(errno.ENOSPC, "No space left on device"),
        OperationalError("UPDATE", {}, Exception("the server closed the connection")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_stops_the_command_is_no_fault_of_the_trial_which_waits_for_the_next_call(storage, lock, error):
    study = study_at(storage, create=True)

    def stopped(trial: optuna.Trial) -> float:
        value = objective(trial)
        if trial.number == 1:
            trial.report(value, 0)
            raise error
        return value

    with pytest.raises(type(error)):
        work(study, stopped, 3, lock)
    assert census(study) == Census(ended=1, running=0, waiting=1)
    before = study.get_trials()[1]
    work(study, objective, 3, lock)
    trials = study.get_trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    assert trials[1].params == before.params
    assert trials[1].intermediate_values == before.intermediate_values == {0: before.params["x"]}


# Whose trial it is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["process gone", "its parent too", "another process has its id", "killed as it began"])
def test_a_lost_trial_resumes_under_its_number_with_its_settings(storage, lock, dead, how):
    study = study_at(storage, create=True)
    worker = {
        "process gone": {"pid": dead},
        "its parent too": {"pid": dead, "parent": {"pid": dead, "born": "1"}},
        "another process has its id": {"pid": os.getpid(), "born": "1"},
        "killed as it began": {},
    }[how]
    trial = begun(study, **worker)
    trial.set_user_attr("source", "default")
    if not worker:
        trial.set_user_attr(WORKER, None)
    work(study, objective, 2, lock, grace=3600)
    trials = study.get_trials()
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 2
    assert trials[0].params == trial.params
    assert trials[0].user_attrs["source"] == "default"
    assert DEATHS not in trials[0].user_attrs


@pytest.mark.parametrize(
    "parent",
    [{"pid": os.getpid()}, this_process(), {"machine": "elsewhere", "pid": 1}],
    ids=["0.2", "here", "elsewhere"],
)
def test_a_child_of_a_living_parent_is_left_to_it(storage, dead, parent):
    """One that is elsewhere may live, so the grace period decides."""
    study = study_at(storage, create=True)
    begun(study, pid=dead, parent=parent)
    now = [100.0]
    watcher = Watcher(grace=10, clock=lambda: now[0])
    assert watcher.requeue_lost(study) == []
    now[0] += 11
    assert watcher.requeue_lost(study) == [0]


def test_a_worker_elsewhere_is_given_the_grace_period_after_each_sign_of_life(storage):
    study = study_at(storage, create=True)
    trial = begun(study, machine="elsewhere", pid=1)
    now = [100.0]
    watcher = Watcher(grace=10, clock=lambda: now[0])
    assert watcher.requeue_lost(study) == []  # first seen
    now[0] += 9
    assert watcher.requeue_lost(study) == []
    trial.set_user_attr(PULSE, 4)
    now[0] += 9
    assert watcher.requeue_lost(study) == []  # it lives
    now[0] += 11
    assert watcher.requeue_lost(study) == [0]
    assert watcher.requeue_lost(study) == []
    assert census(study) == Census(ended=0, running=0, waiting=1)


def test_a_worker_that_slept_too_long_lets_go_of_its_trial(storage, lock):
    study = study_at(storage, create=True)
    done: list[int] = []

    def taken_over(trial: optuna.Trial) -> float:
        value = objective(trial)
        if trial.number == 0 and not done:
            other = study_at(storage)
            with lock():
                requeue(other, other.get_trials()[0])
            other_trial = other.ask()
            other_trial.set_user_attr(WORKER, worker_name())
            with pytest.raises(TakenOver):
                require_hold(trial)
            done.append(other_trial.number)
            other.tell(other_trial, 0.25)
        return value

    told: list[int] = []
    work(study, taken_over, 2, lock, after_trial=told.append)
    assert [(t.state, t.value == 0.25) for t in study.get_trials()] == [
        (TrialState.COMPLETE, True),
        (TrialState.COMPLETE, False),
    ]
    assert told == [1]


def test_a_pulse_beats_until_its_block_ends():
    beats: list[int] = []
    third = threading.Event()

    def beat(number: int) -> None:
        beats.append(number)
        if number == 3:
            third.set()
        if number == 2:
            raise OSError("a storage that is busy")

    with pulse(beat, 0.001):
        assert third.wait(60)
    assert not any(thread.name == "itm-sweep-pulse" for thread in threading.enumerate())
    assert beats == list(range(1, len(beats) + 1))


def test_a_killed_worker_process_is_noticed_at_once(tmp_path):
    storage = f"sqlite:///{tmp_path}/a.db"
    study = study_at(storage, create=True)
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "import optuna\n"
        "from harness.sweeps.storage import open_storage, study_lock\n"
        "from harness.sweeps.worker import work\n"
        "study = optuna.load_study(study_name='s', storage=open_storage(sys.argv[1]))\n"
        "def objective(trial):\n"
        "    trial.suggest_float('x', 0, 1); print('begun', flush=True); sys.stdin.read()\n"
        "work(study, objective, 2, study_lock(sys.argv[1], 's'))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, storage, os.getcwd()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (lost,) = study.get_trials(states=(TrialState.RUNNING,))
    work(study, objective, 2, study_lock(storage, "s"), grace=86_400)  # the process is known to be gone
    assert study.get_trials()[0].params == lost.params
    assert len(ended(study)) == len(study.get_trials()) == 2


# How it died ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kernel_killed", "cause"),
    [
        (-signal.SIGSEGV, False, SEGMENTATION),
        (-signal.SIGBUS, False, "memory that could not be accessed (SIGBUS)"),
        (-signal.SIGABRT, False, "abort (SIGABRT)"),
        (-signal.SIGKILL, True, OUT_OF_MEMORY),
        (-signal.SIGKILL, False, ""),
        (-signal.SIGTERM, True, ""),
        (-signal.SIGHUP, True, ""),
        (-signal.SIGINT, True, ""),
        (-99, True, ""),
        (130, True, ""),
        (1, True, ""),
        (0, True, ""),
        (None, True, ""),
    ],
)
def test_only_what_a_process_causes_itself_counts(code, kernel_killed, cause):
    assert cause_of_death(code, kernel_killed) == cause


@pytest.mark.parametrize(("before", "after", "ours"), [(3, 4, True), (3, 3, False), (None, 4, False), (3, None, False)])
def test_a_sigkill_is_the_kernels_when_it_counted_one(storage, lock, dead, monkeypatch, before, after, ours):
    study = study_at(storage, create=True)
    begun(study, pid=dead, **KEPT)
    monkeypatch.setattr(local, "kernel_kills", lambda: before)
    worker = LocalWorker(Seat(2), SimpleNamespace(exitcode=-signal.SIGKILL, pid=dead))
    monkeypatch.setattr(local, "kernel_kills", lambda: after)
    assert bury(study, "command-a", 2, worker.cause_of_death())
    (trial,) = study.get_trials()
    assert trial.state == TrialState.WAITING
    assert trial.user_attrs[DEATHS] == ([OUT_OF_MEMORY] if ours else [])


@pytest.mark.parametrize(
    ("causes", "message"),
    [
        ([SEGMENTATION] * MOST_DEATHS, f"these settings ended their worker 3 times: {SEGMENTATION}"),
        (
            [OUT_OF_MEMORY, "", SEGMENTATION, "", "", OUT_OF_MEMORY],
            f"these settings ended their worker 3 times: {OUT_OF_MEMORY}; {SEGMENTATION}; {OUT_OF_MEMORY}",
        ),
        ([""] * 17, None),
        ([*[""] * 17, OUT_OF_MEMORY, OUT_OF_MEMORY, *[""] * 13], None),
    ],
    ids=["always", "mixed", "17 kills", "30 kills and 2 deaths"],
)
def test_settings_that_end_their_worker_are_given_up_and_kills_never_count(storage, lock, dead, causes, message):
    study = study_at(storage, create=True)
    for cause in causes:
        trial = begun(study, pid=dead, **KEPT)
        assert not bury(study, "command-a", 1, SEGMENTATION)  # its neighbour's
        assert not bury(study, "command-b", 2, SEGMENTATION)  # another command's
        assert bury(study, "command-a", 2, cause)
    assert not bury(study, "command-a", 2, SEGMENTATION)  # it holds none any more
    (only,) = study.get_trials()
    assert only.user_attrs.get("error") == message
    assert census(study) == Census(ended=int(message is not None), running=0, waiting=int(message is None))
    work(study, objective, 2, lock)
    first, second = study.get_trials()
    assert first.params == trial.params
    assert [first.state, second.state] == [TrialState.FAIL if message else TrialState.COMPLETE, TrialState.COMPLETE]
