"""Records to mirror, and what MLflow itself finds of them."""

from harness.records.run import RunRecord
from harness.tracking import mirror as mirroring
from harness.tracking import tracker as tracking
from harness.tracking.mirror import mirror_record
from harness.tracking.tracker import create_tracker

STARTED, FINISHED = "2026-03-01T10:00:00+00:00", "2026-03-01T10:05:00+00:00"


def record(seed=0, **changes) -> RunRecord:
    values = {
        "run_id": f"{seed:016x}",
        "scorer": "scan",
        "variant": "t2i_avg",
        "backbone": "regions+bigru",
        "dataset": "scenes",
        "protocols": ("full", "coco_1k"),
        "seed": seed,
        "metrics": {"full": {"rsum": 300.0 + seed, "i2t_r1": 40.0}, "coco_1k": {"rsum": 333.0}},
        "validation": {"rsum": 310.0, "epoch": 2},
        "cost": {"query_ms_p50": 1.5, "peak_memory_mib": 700.0, "train_waiting_percent": 4.0},
        "training": {
            "epochs": 2,
            "seconds": 20.0,
            "history": [
                {"epoch": 0, "losses": {"matching": 9.0}, "validation": {"rsum": 200.0}, "learning_rate": 0.1},
                {"epoch": 1, "losses": {"matching": 5.0}, "validation": {"rsum": 310.0}, "learning_rate": 0.01},
            ],
        },
        "data_sha256": "ab" * 32,
        "code": {"revision": "c0ffee", "dirty": False},
        "spec": {"scorer": "scan", "config": {"pooling": "mean"}, "training": {"decay_epochs": [15, 20]}},
        "status": "finished",
        "started": STARTED,
        "finished": FINISHED,
    }
    return RunRecord(**(values | changes))


class Store:
    """What MLflow itself finds in a results folder."""

    def __init__(self, results):
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(f"sqlite:///{results / 'mlflow.db'}")

    def runs(self):
        experiment = self.client.get_experiment_by_name(tracking.MLFLOW_EXPERIMENT)
        return list(self.client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"]))

    def parents(self):
        return [run for run in self.runs() if "mlflow.parentRunId" not in run.data.tags]

    def children(self):
        return [run for run in self.runs() if "mlflow.parentRunId" in run.data.tags]


def mirror(results, folder, *records, name="quickstart"):
    tracker = create_tracker(results)
    tracker.start_experiment(name, {"itm.experiment": name})
    for each in records:
        mirror_record(tracker, each, folder)
    tracker.close()


def warnings_of(caplog):
    return [log.getMessage() for log in caplog.records if log.name in (tracking.__name__, mirroring.__name__)]
