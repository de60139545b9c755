"""The mirror in MLflow, read back through a client of its own."""

import logging
import os
from datetime import UTC, datetime

import pytest
from mirrored import FINISHED, STARTED, Store, mirror, record, warnings_of

from harness.records.parts import Training
from harness.tracking import mirror as mirroring
from harness.tracking.base import TrackedRun, Tracker
from harness.tracking.mirror import mirror_record
from harness.tracking.tracker import create_tracker

# What is mirrored ---------------------------------------------------------------------------------------------------


def test_a_record_is_mirrored_whole(results, folder, caplog):
    mirror(results, folder, record(seed=3))
    assert warnings_of(caplog) == []
    store = Store(results)
    (parent,), (run,) = store.parents(), store.children()
    assert (parent.info.run_name, parent.info.status) == ("quickstart", "FINISHED")
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert (run.info.run_name, run.info.status) == ("scan.t2i_avg seed 3", "FINISHED")
    assert datetime.fromtimestamp(run.info.start_time / 1000, UTC).isoformat() == STARTED
    assert datetime.fromtimestamp(run.info.end_time / 1000, UTC).isoformat() == FINISHED
    assert run.data.params == {"scorer": "scan", "config.pooling": "mean", "training.decay_epochs": "[15, 20]"}
    assert run.data.metrics == {
        "full/rsum": 303.0,
        "full/i2t_r1": 40.0,
        "coco_1k/rsum": 333.0,
        "validation/rsum": 310.0,
        "validation/epoch": 2.0,
        "cost/query_ms_p50": 1.5,
        "cost/peak_memory_mib": 700.0,
        "cost/train_waiting_percent": 4.0,
        "training/epochs": 2.0,
        "training/seconds": 20.0,
        "epoch/losses/matching": 5.0,
        "epoch/validation/rsum": 310.0,
        "epoch/learning_rate": 0.01,
    }
    told = {
        "scorer": "scan",
        "variant": "t2i_avg",
        "backbone": "regions+bigru",
        "dataset": "scenes",
        "seed": "3",
        "run_id": f"{3:016x}",
        "data_sha256": "ab" * 32,
        "revision": "c0ffee",
        "dirty": "False",
    }
    assert told.items() <= run.data.tags.items()


def test_curves_are_by_epoch(results, folder):
    mirror(results, folder, record())
    store = Store(results)
    curve = store.client.get_metric_history(store.children()[0].info.run_id, "epoch/losses/matching")
    assert [(point.step, point.value) for point in curve] == [(1, 9.0), (2, 5.0)]


def test_the_small_files_of_a_run_are_attached(results, folder, tmp_path):
    mirror(results, folder, record())
    store = Store(results)
    run = store.children()[0].info.run_id
    assert sorted(file.path for file in store.client.list_artifacts(run)) == sorted(mirroring.ARTIFACTS)
    for name in mirroring.ARTIFACTS:
        assert (results / "mlartifacts" / run / "artifacts" / name).read_bytes() == name.encode() * 10


def test_a_failed_run_is_shown_as_failed_and_a_running_one_not_at_all(results, folder):
    failed = record(1, status="failed", error="the loss became NaN", metrics={}, cost={}, validation={}, training={})
    mirror(results, folder, failed, record(2, status="running", finished=""))
    (run,) = Store(results).children()
    assert (run.info.status, run.data.tags["error"]) == ("FAILED", "the loss became NaN")
    assert run.data.metrics == {}


def test_names_and_values_outside_mlflows_limits_are_made_to_fit(results, folder, caplog):
    spec = {"config": {"mask[0]=x": 1, "prompt": "w" * 10_000}, "many": {f"k{i}": i for i in range(250)}}
    metrics = {"full": {"R@1 (%)": 5.0, "../up": 1.0, "": 2.0, "nan": float("nan")}}
    history = [{"epoch": epoch, "losses": {f"l{i}": 1.0 * epoch for i in range(30)}} for epoch in range(70)]
    odd = record().model_copy(update={"spec": spec, "metrics": metrics, "training": Training(history=history)})
    mirror(results, folder, odd)
    assert warnings_of(caplog) == []
    store = Store(results)
    (run,) = store.children()
    assert run.info.status == "FINISHED"
    assert run.data.params["config.mask_0__x"] == "1"
    assert run.data.params["config.prompt"] == "w" * 6000
    assert sum(key.startswith("many.") for key in run.data.params) == 250
    assert run.data.metrics["full/R_1 ___"] == 5.0
    assert run.data.metrics["up"] == 1.0
    assert run.data.metrics["full"] == 2.0
    assert len(store.client.get_metric_history(run.info.run_id, "epoch/losses/l29")) == 70


# Again --------------------------------------------------------------------------------------------------------------


def test_the_same_experiment_again_adds_only_what_is_new(results, folder):
    mirror(results, folder, record(0))
    (first,) = Store(results).children()
    mirror(results, folder, record(0), record(1))
    store = Store(results)
    assert len(store.parents()) == 1
    assert sorted(run.data.tags["seed"] for run in store.children()) == ["0", "1"]
    assert first.info.run_id in {run.info.run_id for run in store.children()}


def test_a_record_told_twice_to_one_tracker_is_mirrored_once(results, folder):
    mirror(results, folder, record(0), record(0))
    assert len(Store(results).children()) == 1


def test_a_run_that_was_done_again_replaces_its_mirror(results, folder):
    mirror(results, folder, record(0))
    mirror(results, folder, record(0, cost={"query_ms_p50": 9.0}))
    (run,) = Store(results).children()
    assert run.data.metrics["cost/query_ms_p50"] == 9.0
    assert "cost/peak_memory_mib" not in run.data.metrics


def kill(tracker):
    """What the system does when the owner is killed."""
    tracker._alive.close()


@pytest.fixture
def half_told(results, folder, monkeypatch):
    """A tracker that was killed while it told of a run, between its first file and its end."""
    tracker = create_tracker(results)
    tracker.start_experiment("quickstart", {"itm.experiment": "quickstart"})
    attach = tracker._client.log_artifact

    def attach_and_die(*args):
        attach(*args)
        raise OSError("killed")

    monkeypatch.setattr(tracker._client, "log_artifact", attach_and_die)
    mirror_record(tracker, record(0), folder)
    kill(tracker)
    (run,) = Store(results).children()
    assert run.info.status == "RUNNING"
    assert (results / "mlartifacts" / run.info.run_id).is_dir()
    return run


@pytest.mark.parametrize("name", ["quickstart", "another experiment"])
def test_a_mirror_that_was_cut_off_is_removed_by_the_next_command_and_told_anew_by_its_own(
    results, folder, half_told, name
):
    mirror(results, folder, name=name)
    assert Store(results).children() == []
    assert not (results / "mlartifacts" / half_told.info.run_id).exists()
    mirror(results, folder, record(0))
    (run,) = Store(results).children()
    assert (run.info.status, run.data.metrics["full/rsum"]) == ("FINISHED", 300.0)


def test_what_a_killed_command_left_open_is_closed_by_the_next_of_any_experiment(results, folder):
    killed, alive = create_tracker(results), create_tracker(results)
    for name, tracker in (("killed", killed), ("alive", alive)):
        tracker.start_experiment(name)
    kill(killed)
    mirror(results, folder, record(1), name="next")
    assert {run.info.run_name: run.info.status for run in Store(results).runs()} == {
        "scan.t2i_avg seed 1": "FINISHED",
        "killed": "KILLED",
        "alive": "RUNNING",
        "next": "FINISHED",
    }


def test_an_interrupted_experiment_is_closed_as_killed(results):
    tracker = create_tracker(results)
    tracker.start_experiment("e")
    tracker.close("killed")
    assert {run.info.status for run in Store(results).runs()} == {"KILLED"}


def test_two_commands_that_tell_of_one_run_write_it_once(results, folder):
    """Both opened the experiment before either told of the run."""
    trackers = [create_tracker(results) for _ in range(2)]
    for tracker in trackers:
        tracker.start_experiment("e")
    for tracker in trackers:
        mirror_record(tracker, record(0), folder)
        tracker.close()
    assert len(Store(results).children()) == 1
    assert len(Store(results).parents()) == 1


def test_another_experiment_has_a_parent_of_its_own(results, folder):
    mirror(results, folder, record(0), name="quickstart")
    mirror(results, folder, record(0), name="flickr8k")
    store = Store(results)
    assert sorted(run.info.run_name for run in store.parents()) == ["flickr8k", "quickstart"]
    assert len({run.data.tags["mlflow.parentRunId"] for run in store.children()}) == 2


def test_one_tracker_serves_one_experiment_after_the_other(results, folder):
    tracker = create_tracker(results)
    for name in ("first", "second"):
        tracker.start_experiment(name)
        mirror_record(tracker, record(0), folder)
    tracker.close()
    mirror_record(tracker, record(1), folder)  # after the end
    store = Store(results)
    names = {run.info.run_id: run.info.run_name for run in store.parents()}
    assert sorted(names[run.data.tags["mlflow.parentRunId"]] for run in store.children()) == ["first", "second"]
    assert {run.info.status for run in store.runs()} == {"FINISHED"}


# Apart from others --------------------------------------------------------------------------------------------------


def test_two_trackers_at_once_do_not_mix_and_mlflows_global_state_is_untouched(results):
    import mlflow

    uri = mlflow.get_tracking_uri()
    trackers = [create_tracker(results), create_tracker(results)]
    for number, tracker in enumerate(trackers):
        tracker.start_experiment(f"e{number}")
    for step in range(3):
        for number, tracker in enumerate(trackers):
            tracker.tell(
                TrackedRun(f"r{number} {step}", f"{number}{step}", metrics={step: {"value": 10 * number + step}})
            )
    assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == uri
    for tracker in trackers:
        tracker.close()
    store = Store(results)
    names = {run.info.run_id: run.info.run_name for run in store.parents()}
    values = {
        run.info.run_name: (names[run.data.tags["mlflow.parentRunId"]], run.data.metrics["value"])
        for run in store.children()
    }
    assert values == {
        f"r{number} {step}": (f"e{number}", 10.0 * number + step) for number in (0, 1) for step in range(3)
    }


def test_mlflows_news_of_migrations_are_not_heard_and_its_loggers_are_as_before(empty_store):
    assert empty_store[1] == []
    assert logging.getLogger("mlflow").level == logging.INFO, "as MLflow itself sets it"


def test_mlflow_is_told_to_be_quick_and_quiet_only_while_it_is_called(results, monkeypatch):
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")  # the user's own
    tracker, seen = create_tracker(results), {}
    tracker._attempt(lambda: seen.update(os.environ))
    assert seen["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert seen["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"


def test_the_base_listens_to_nothing(tmp_path):
    tracker = create_tracker(tmp_path / "results", enabled=False)
    assert type(tracker) is Tracker
    tracker.start_experiment("e")
    mirror_record(tracker, record(), tmp_path)
    tracker.close()
    assert not (tmp_path / "results").exists()


def test_a_run_costs_seven_calls_of_mlflow(results, folder, monkeypatch):
    """However many settings, figures and epochs it has: on a local store a fraction of a second."""
    tracker = create_tracker(results)
    tracker.start_experiment("e")
    calls = []

    class Counting:
        def __getattr__(self, name, client=tracker._client):
            calls.append(name)
            return getattr(client, name)

    monkeypatch.setattr(tracker, "_client", Counting())
    mirror_record(tracker, record(), folder)
    assert calls == ["search_runs", "create_run", "log_batch", *["log_artifact"] * 3, "set_terminated"]
    mirror_record(tracker, record(), folder)
    assert len(calls) == 7, "a run that is known costs none"
    tracker.close()
