"""A record told to a tracker: its settings, numbers, course of training and files.

Nothing is lost when that fails: the record and its files are the source of truth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.records.run import RunRecord
from harness.spec import sha256_json
from harness.tracking.tracker import Tracker, logger

ARTIFACTS = ("record.json", "config.yaml", "ranks.npz")


def mirror_record(tracker: Tracker, record: RunRecord, folder: Path) -> None:
    """Tell a tracker all of a run that has ended; one that it has already is left alone.

    Args:
        tracker: with an experiment started.
        record: of the run; nothing is done for one that is still running.
        folder: where its files lie; those of `ARTIFACTS` that exist are attached.
    """
    if record.status == "running":
        return
    try:
        _mirror(tracker, record, folder)
    except Exception as error:  # a record that is odd inside, from another version say
        logger.warning("run %s is not mirrored: %s: %s", record.run_id, type(error).__name__, error)
        tracker.end_run("failed")


def _mirror(tracker: Tracker, record: RunRecord, folder: Path) -> None:
    name = record.title
    if not tracker.start_run(name, record.run_id, record.spec, _tags(record), _time(record.started)):
        return
    for prefix, values in [*record.metrics.items(), ("validation", record.validation), ("cost", record.cost.figures)]:
        tracker.metrics(_numbers(values, prefix))
    tracker.metrics(_numbers(record.training.model_dump(exclude={"history"}), "training"))
    for epoch in record.training.history:
        # step n = after n epochs, as in `validation/epoch`
        tracker.metrics(_numbers(epoch.model_dump(exclude={"epoch"}), "epoch"), epoch.epoch + 1)
    for file in ARTIFACTS:
        if (folder / file).is_file():
            tracker.artifact(folder / file)
    tracker.end_run("failed" if record.status == "failed" else "finished", _time(record.finished))


def _tags(record: RunRecord) -> dict[str, str]:
    """Labels to search by, and the record's hash, which tells a changed record from the same one."""
    dump = json.dumps(record.model_dump(mode="json"), sort_keys=True, default=str)
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
        "itm.record_sha256": sha256_json(dump),
    }


def _numbers(values: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """The numbers among nested values, by `prefix/key/key`."""
    found: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _numbers(value, f"{prefix}/{key}")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[f"{prefix}/{key}"] = float(value)
    return found


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
