"""From the settings of one run, as its `config.yaml` holds them, back to an experiment that makes the same run again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.settings.base import build, canonical_json
from harness.settings.experiment import FeatureSpec
from harness.settings.run import RunSpec
from harness.settings.values import flatten

#: Characters of a value in a line on what differs.
_LONGEST_VALUE = 60


def is_run(values: Mapping[str, Any]) -> bool:
    """Whether a file holds the settings of a run, rather than an experiment.

    >>> is_run({"scorer": "scan", "data_sha256": "0f3a", "seed": 0}), is_run({"name": "flickr8k", "scorers": ["scan"]})
    (True, False)
    """
    return "scorers" not in values and {"scorer", "data_sha256"} <= values.keys()


def experiment_of(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """An experiment of one run, whose plan is that run wherever data, code and files are the same.

    Training settings stand at the experiment, so that `--set training.…` reaches them; all are written out, so that no
    recipe fills one in.

    Args:
        values: the settings of a run.
        where: they come from, for the message.

    Raises:
        InvalidSpec: not the settings of a run of this version; names the first key.
    """
    run = build(RunSpec, values, where)
    parts = {} if run.weights else {part: values[part] for part in ("config", "image", "text")}
    entry = {"name": run.label, "weights": run.weights, "tuning": run.tuning, **parts}
    training = {} if run.weights else {name: getattr(run.training, name) for name in type(run.training).model_fields}
    stored = FeatureSpec() if run.features in (None, "live") else FeatureSpec(dtype=run.features)
    return {
        "name": f"run-{run.run_id}",
        "description": f"run {run.run_id} ({run.title}) again",
        **{key: values[key] for key in ("dataset", "protocols")},
        "seeds": [run.seed],
        "training": training,
        "evaluation": run.evaluation.model_dump(mode="json"),
        "features": stored.model_copy(update={"store": run.features != "live"}).model_dump(mode="json"),
        "feeding": run.feeding.model_dump(mode="json"),
        "threads": run.threads,
        "devices": run.devices,
        "scorers": {run.label: entry},
        "again": dict(values),
    }


def differences(before: RunSpec, now: RunSpec) -> list[str]:
    """What tells two runs apart, of all that decides their numbers; one text per setting.

    >>> settings = {"scorer": "scan", "config": {}, "image": "regions", "text": "bigru", "dataset": "scenes"}
    >>> run = RunSpec(**settings, data_sha256="0f3a", protocols=["full"], seed=0, training={})
    >>> differences(run, run.model_copy(update={"seed": 1}))
    ['seed was 0, is 1']
    """
    was, is_now = flatten(before.identity), flatten(now.identity)
    keys = [key for key in {**was, **is_now} if was.get(key) != is_now.get(key)]
    return [f"{key} was {_text(was, key)}, is {_text(is_now, key)}" for key in keys]


def _text(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return "not set"
    text = canonical_json(values[key])
    text = text[:13] + '"' if key.endswith("sha256") or key.startswith(("files_sha256.", "plugins_sha256.")) else text
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
