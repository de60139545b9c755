"""Workers: together they run exactly the trials asked for, whoever dies on the way, on every kind of storage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import optuna
import pytest
from optuna.trial import TrialState

from harness.sweeps.liveness import MOST_ATTEMPTS, PULSE, WORKER, Pulse, Watcher, this_machine
from harness.sweeps.study import open_storage
from harness.sweeps.worker import census, has_ended, work

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture(params=["sqlite", "journal"])
def storage(request, tmp_path) -> str:
    return {"sqlite": f"sqlite:///{tmp_path}/a.db", "journal": f"journal:{tmp_path}/a.log"}[request.param]


def study_at(storage: str, create: bool = False) -> optuna.Study:
    backend = open_storage(storage)
    sampler = optuna.samplers.RandomSampler(seed=0)
    if create:
        return optuna.create_study(study_name="s", storage=backend, direction="maximize", sampler=sampler)
    return optuna.load_study(study_name="s", storage=backend, sampler=sampler)


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


def ended(study) -> list:
    return [trial for trial in study.get_trials() if has_ended(trial)]


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_number_of_trials_is_a_total(storage):
    study = study_at(storage, create=True)
    work(study, objective, 3)
    work(study, objective, 3)
    assert len(ended(study)) == 3
    work(study_at(storage), objective, 5)
    assert len(ended(study)) == len(study.get_trials()) == 5


def test_workers_at_the_same_time_do_not_overshoot(storage):
    study_at(storage, create=True)
    begun = []

    def slow(trial: optuna.Trial) -> float:
        begun.append(trial.number)
        time.sleep(0.05)
        return objective(trial)

    errors: list[BaseException] = []

    def one() -> None:
        try:
            work(study_at(storage), slow, 7)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    study = study_at(storage)
    assert len(ended(study)) == 7
    assert len(begun) == 7  # a surplus trial is stopped before it costs anything


def test_failed_trials_count_keep_their_reason_and_do_not_stop_the_others(storage):
    study = study_at(storage, create=True)

    def breaks(trial: optuna.Trial) -> float:
        if trial.number % 2:
            raise ZeroDivisionError("by zero")
        return objective(trial)

    work(study, breaks, 4)
    states = [(trial.state, trial.user_attrs.get("error")) for trial in study.get_trials()]
    assert states == [(TrialState.COMPLETE, None), (TrialState.FAIL, "ZeroDivisionError: by zero")] * 2


@pytest.mark.parametrize("mine", [True, False], ids=["process gone", "silent elsewhere"])
def test_a_lost_trial_is_done_again_with_its_settings(storage, mine):
    study = study_at(storage, create=True)
    trial = study.ask()
    x = trial.suggest_float("x", 0, 1)
    trial.set_user_attr("source", "default")
    trial.set_user_attr(WORKER, {"machine": this_machine() if mine else "elsewhere", "pid": dead_process()})
    trial.set_user_attr(PULSE, 3)
    now = [100.0]
    watcher = Watcher(grace=10, clock=lambda: now[0])
    if not mine:
        assert watcher.redo_lost(study) == []  # first seen
        now[0] += 9
        assert watcher.redo_lost(study) == []
        trial.set_user_attr(PULSE, 4)
        now[0] += 9
        assert watcher.redo_lost(study) == []  # it lives
        now[0] += 11
    assert watcher.redo_lost(study) == [0]
    assert watcher.redo_lost(study) == []
    assert census(study).waiting == 1
    work(study, objective, 2)
    again = ended(study)
    assert [t.state for t in again] == [TrialState.COMPLETE] * 2
    assert again[0].params == {"x": x}
    assert again[0].user_attrs["redo_of"] == 0
    assert again[0].user_attrs["source"] == "default"


def test_a_setting_that_always_kills_its_worker_is_given_up(storage):
    study = study_at(storage, create=True)
    for _ in range(MOST_ATTEMPTS):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        trial.set_user_attr(WORKER, {"machine": this_machine(), "pid": dead_process()})
        assert Watcher().redo_lost(study) == [trial.number]
    assert census(study).waiting == 0
    (given_up,) = ended(study)
    assert "died 3 times" in given_up.user_attrs["error"]
    assert len({str(t.params) for t in study.get_trials()}) == 1


def test_an_interrupted_trial_waits_for_the_next_call(storage):
    study = study_at(storage, create=True)

    def interrupted(trial: optuna.Trial) -> float:
        if trial.number == 1:
            trial.suggest_float("x", 0, 1)
            raise KeyboardInterrupt
        return objective(trial)

    with pytest.raises(KeyboardInterrupt):
        work(study, interrupted, 3)
    assert census(study) == type(census(study))(ended=1, running=0, waiting=1)
    work(study, objective, 3)
    trials = study.get_trials()
    assert len(ended(study)) == 3
    assert trials[2].params == trials[1].params


def test_a_worker_that_slept_too_long_lets_go_of_its_trial(storage):
    study = study_at(storage, create=True)

    def taken_over(trial: optuna.Trial) -> float:
        value = objective(trial)
        if trial.number == 0:
            other = study_at(storage)
            trial.set_user_attr(WORKER, {"machine": this_machine(), "pid": dead_process()})
            assert Watcher().redo_lost(other) == [0]
        return value

    work(study, taken_over, 2)
    assert [t.state for t in study.get_trials()] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]


def test_a_pulse_beats_until_its_block_ends():
    beats: list[int] = []
    with Pulse(beats.append, 0.01):
        time.sleep(0.15)
    count = len(beats)
    assert beats == list(range(1, count + 1))
    assert count > 3
    time.sleep(0.05)
    assert len(beats) == count


def test_a_killed_worker_process_is_noticed_at_once(tmp_path):
    storage = f"sqlite:///{tmp_path}/a.db"
    study = study_at(storage, create=True)
    code = (
        "import sys, time; sys.path[:0] = sys.argv[2:]\n"
        "import optuna\n"
        "from harness.sweeps.study import open_storage\n"
        "from harness.sweeps.worker import work\n"
        "study = optuna.load_study(study_name='s', storage=open_storage(sys.argv[1]))\n"
        "def objective(trial):\n"
        "    trial.suggest_float('x', 0, 1); print('begun', flush=True); time.sleep(600)\n"
        "work(study, objective, 2)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, storage, os.getcwd()], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (lost,) = study.get_trials(states=(TrialState.RUNNING,))
    started = time.monotonic()
    work(study, objective, 2, grace=3600)
    assert time.monotonic() - started < 30  # not after the grace period: the process is known to be gone
    assert ended(study)[0].params == lost.params
    assert len(ended(study)) == 2
