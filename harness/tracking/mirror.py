"""A record as a run of a tracker: its settings, numbers, course of training and files."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from pathlib import Path

from harness.records.run import RunRecord
from harness.spec import sha256_json
from harness.tracking.base import TrackedRun, Tracker

ARTIFACTS = ("record.json", "config.yaml", "ranks.npz")
logger = logging.getLogger(__name__)


def mirror_record(tracker: Tracker, record: RunRecord, folder: Path) -> None:
    """Tell a tracker all of a run that has ended.

    Args:
        tracker: with an experiment started.
        record: of the run; nothing is done for one that is still running.
        folder: where its files lie; those of `ARTIFACTS` that exist are attached.
    """
    if record.status == "running":
        return
    try:
        run = _as_run(record, folder)
    except Exception as error:  # a record that is odd inside, from another version say
        logger.warning("run %s is not mirrored: %s: %s", record.run_id, type(error).__name__, error)
        return
    tracker.tell(run)


def _as_run(record: RunRecord, folder: Path) -> TrackedRun:
    training = record.training.model_dump(exclude={"history"})
    figures = {**record.metrics, "validation": record.validation, "cost": record.cost.figures, "training": training}
    # step n = after n epochs, as in `validation/epoch`
    course = {epoch.epoch + 1: {"epoch": epoch.model_dump(exclude={"epoch"})} for epoch in record.training.history}
    return TrackedRun(
        record.title,
        record.run_id,
        params=record.spec,
        tags=_tags(record),
        metrics={0: figures, **course},
        artifacts=[folder / name for name in ARTIFACTS if (folder / name).is_file()],
        status="failed" if record.status == "failed" else "finished",
        started=_time(record.started),
        finished=_time(record.finished),
    )


def _tags(record: RunRecord) -> dict[str, str]:
    """Labels to search by, and the record's hash, which tells a changed record from the same one."""
    return {
        "scorer": record.scorer,
        "variant": record.variant,
        "code_origin": record.code_origin,
        "backbone": record.backbone,
        "dataset": record.dataset,
        "seed": str(record.seed),
        "run_id": record.run_id,
        "data_sha256": record.data_sha256,
        "revision": record.code.revision,
        "dirty": str("unknown" if record.code.dirty is None else record.code.dirty),
        "device": record.environment.gpu or record.environment.processor or "unknown",
        "error": record.error,
        "itm.record_sha256": sha256_json(json.dumps(record.model_dump(mode="json"), sort_keys=True)),
    }


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
