"""Runs as a pandas frame: one row per run, flat typed columns whose names carry the unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from harness.records.run import RunRecord
from harness.records.units import unit_of

_TEXTS = ("run_id", "scorer", "variant", "backbone", "dataset", "split", "origin", "status", "error")


def results_frame(records: Sequence[RunRecord]) -> pd.DataFrame:
    """One row per run, in their order.

    Args:
        records: at least one.

    Returns:
        Columns: `run_id`, `scorer`, `variant`, `seed`, `dataset`, `split`, ... as text and int64; `started`, `finished` as
        UTC times; `PROTOCOL.METRIC` such as `full.t2i_r1_percent`, `full.rsum`, `full.t2i_medr_rank`; `cost.KEY` such as
        `cost.query_ms_p50`; `training.seconds`. A number that a run does not have is NaN.
    """
    frame = pd.DataFrame([_row(record) for record in records])
    for key in _TEXTS:
        frame[key] = frame[key].astype("string")
    frame["seed"] = frame["seed"].astype("int64")
    for key in ("started", "finished"):
        frame[key] = pd.to_datetime(frame[key], utc=True, errors="coerce", format="ISO8601")
    numbers = [key for key in frame.columns if "." in key and not isinstance(_first(frame[key]), str)]
    return frame.astype(dict.fromkeys(numbers, "float64"))


def _row(record: RunRecord) -> dict[str, Any]:
    suffixes = {"percent": "_percent", "rank, from 1": "_rank"}
    return {
        **{key: getattr(record, key) for key in _TEXTS},
        "seed": record.seed,
        "started": record.started or None,
        "finished": record.finished or None,
        **{
            f"{protocol}.{metric}{suffixes.get(unit_of(metric), '')}": value
            for protocol, metrics in record.metrics.items()
            for metric, value in metrics.items()
        },
        **{f"cost.{key}": value for key, value in record.cost.figures.items()},
        "training.epochs": record.training.epochs,
        "training.seconds": record.training.seconds,
    }


def _first(column: pd.Series) -> Any:
    present = column.dropna()
    return present.iloc[0] if len(present) else None
