"""Where a run comes from, for its record: which code defines it, and which settings its author did not choose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import plugins, registry
from harness.backbones import IMAGE_BACKBONES, TEXT_BACKBONES
from harness.datasets import DATASETS
from harness.files import source_code
from harness.metrics.catalogue import METRICS
from harness.plugins import Source
from harness.plugins.importing import shown
from harness.plugins.registered import FILE
from harness.protocols import PROTOCOLS
from harness.records import environment
from harness.records.parts import Code, FurtherMetric
from harness.settings.components import plain
from harness.settings.values import flatten
from harness.spec import Component, RunSpec, TrainingSpec, build


def code_of(scorer: str, spec: RunSpec | None = None) -> Code:
    """The revision of the harness, the hash of its engine, and the plug-ins of what is not the harness's own.

    A plug-in file below the working directory goes by its path from there, so that the record names no person's folder.

    Args:
        scorer: its name.
        spec: of the run, for its other parts.
    """
    known: dict[str, Any] = {"engine_sha256": registry.engine_sha256()}
    source = registry.sources().get(registry.split(scorer)[0])
    if source is not None and source.kind != "module":
        known["plugin"] = _named(source)
    if spec is not None:
        known["plugins"] = {part: _named(source) for part, source in _added(spec).items()}
    return environment.code_revision().model_copy(update=known)


def plugins_sha256(spec: RunSpec) -> dict[str, str]:
    """SHA-256 of the source of each part of a run, but for its scorer, that a plug-in defines.

    Raises:
        InvalidPlugin: a source cannot be read.
    """
    return {part: source_code.sha256(plugins.source_files(source)) for part, source in _added(spec).items()}


def further_metrics_of(names: Sequence[str]) -> dict[str, FurtherMetric]:
    """What records say of further metrics: which values are better, and by which source they were computed.

    >>> further_metrics_of(["mrr"])["mrr"].better
    'higher'

    Raises:
        UnknownName: no such metric.
        InvalidPlugin: a source cannot be read.
    """
    found = {}
    for name in names:
        metric, source = METRICS.get(name), METRICS.sources[name]
        told: dict[str, str] = {"better": metric.better, "description": metric.description}
        if source.kind != "module":
            told |= {"plugin": _named(source), "sha256": source_code.sha256(plugins.source_files(source))}
        found[name] = FurtherMetric(**told)
    return found


def _added(spec: RunSpec) -> dict[str, Source]:
    """The parts of a run that plug-ins define, but for its scorer."""
    found: dict[str, Source | None] = {
        "dataset": DATASETS.sources.get(spec.dataset.name),
        "image": IMAGE_BACKBONES.sources.get(spec.image.name),
        "text": TEXT_BACKBONES.sources.get(spec.text.name),
    }
    found |= _protocols(spec.protocols)
    found |= {f"metric.{name}": METRICS.sources.get(name) for name in spec.evaluation.metrics}
    return _not_ours(found)


def protocol_plugins(names: Iterable[str]) -> dict[str, str]:
    """The plug-ins of some protocols, as `code.plugins` of a record names them; none for those of the harness."""
    return {part: _named(source) for part, source in _not_ours(_protocols(names)).items()}


def dataset_plugin(name: str) -> dict[str, str]:
    """The plug-in of a dataset, likewise."""
    return {part: _named(source) for part, source in _not_ours({"dataset": DATASETS.sources.get(name)}).items()}


def _protocols(names: Iterable[str]) -> dict[str, Source | None]:
    return {f"protocol.{name}": PROTOCOLS.sources.get(name) for name in (one.partition("@")[0] for one in names)}


def _not_ours(found: Mapping[str, Source | None]) -> dict[str, Source]:
    return {part: source for part, source in found.items() if source is not None and source.kind != "module"}


def _named(source: Source) -> str:
    """A plug-in as a record names it."""
    return shown(Path(source.target)) if source.kind == FILE else source.target


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
