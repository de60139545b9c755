"""Where a run comes from, for its record: which code defines it, and which settings its author did not choose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import registry
from harness.records import environment
from harness.records.parts import Code
from harness.settings.components import plain
from harness.settings.values import flatten
from harness.spec import Component, RunSpec, TrainingSpec, build


def code_of(scorer: str) -> Code:
    """The revision of the harness, the hash of its engine, and the plug-in of a scorer that is not the harness's own.

    A plug-in file below the working directory goes by its path from there, so that the record names no person's folder.
    """
    known: dict[str, str] = {"engine_sha256": registry.engine_sha256()}
    source = registry.sources().get(registry.split(scorer)[0])
    if source is not None and source.kind != "module":
        path, here = Path(source.target), Path.cwd()
        below = source.kind == "plugin" and path.is_relative_to(here)
        known["plugin"] = path.relative_to(here).as_posix() if below else source.target
    return environment.code_revision().model_copy(update=known)


def overridden(spec: RunSpec) -> dict[str, Any] | None:
    """The settings of a run that differ from its scorer's defaults and published training, with the scorer's own.

    Returns:
        The scorer's own value by dotted key: `{"training.epochs": 20}`. A variant's overrides count as differences, its
        published training does not. None for a run of given weights, which bring their settings.
    """
    if spec.weights:
        return None
    cls = registry.scorer_class(spec.scorer)
    config = plain(registry.resolve_config(spec.scorer, {}).resolved())
    training = build(TrainingSpec, registry.recipe(spec.label), f"recipe of scorer {spec.scorer}")
    own = {
        **_apart("config", config, plain(spec.config)),
        **_apart("training", training.model_dump(), spec.training.model_dump()),
    }
    for part, default, used in (("image", cls.default_image, spec.image), ("text", cls.default_text, spec.text)):
        if default is not None:
            own |= _apart(part, Component.model_validate(default).model_dump(), used.model_dump())
    return own


def _apart(part: str, own: Mapping[str, Any], used: Mapping[str, Any]) -> dict[str, Any]:
    there = flatten(used)
    return {f"{part}.{key}": value for key, value in flatten(own).items() if there.get(key) != value}
