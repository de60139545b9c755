"""The JSON Schema of an experiment, for editors: every key with its type, its default and what it means.

The schema knows every named part that is registered, plug-ins too, with the options of each. It is no stricter than
`harness.spec.load_experiment` (any option of a part may come from `--set`, so none is required here), which also sees
what a schema cannot say: that a folder exists, that the heads divide the width.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from harness import registry
from harness.backbones import BACKBONES
from harness.datasets import DATASETS
from harness.metrics.catalogue import METRICS
from harness.protocols import PROTOCOLS
from harness.settings.components import Parts
from harness.settings.sweep import ALIASES, OBJECTIVES
from harness.spec import Experiment, TrainingSpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


def experiment_schema() -> Schema:
    """The schema of the YAML file that `itm leaderboard` takes (JSON Schema, draft 2020-12).

    >>> schema = experiment_schema()
    >>> schema["$defs"]["training"]["properties"]["epochs"]["default"]
    25
    """
    schema = _of(Experiment)
    kept = schema.pop("$defs")
    del kept["Component"]
    kept.pop("PartConfig", None)
    parts: dict[str, Any] = {
        "dataset": _component(DATASETS, inferred=True),
        "image": _component(BACKBONES["image"]),
        "text": _component(BACKBONES["text"]),
        # Of Optuna, whose classes say themselves what they take.
        "optuna": {"anyOf": [{"type": "string"}, {"type": "object", "required": ["name"]}]},
    }
    training = _of(TrainingSpec)
    training.pop("$defs", None)
    entry = kept["ScorerEntry"]
    own = entry["properties"]
    own |= {key: {**_described(own[key]), "anyOf": [_ref(key), {"type": "null"}]} for key in ("image", "text")}
    own["training"] = {**_described(own["training"]), **_ref("training")}
    own["name"] |= _names_of_scorers()
    entry["allOf"] = [_if_named(name) for name in registry.names()]
    del entry["required"]  # an entry by key has its name from there
    sweep = kept["SweepSettings"]["properties"]
    sweep["sampler"] = {**_described(sweep["sampler"]), **_ref("optuna")}
    sweep["pruner"] = {**_described(sweep["pruner"]), "anyOf": [_ref("optuna"), {"type": "null"}]}
    figure = {"enum": [*OBJECTIVES, *ALIASES]}
    sweep["objectives"] = {**_described(sweep["objectives"]), "anyOf": [figure, _several(figure)]}
    sweep["at_most"]["propertyNames"] = figure
    # human@3.5 has a threshold of its own, which the protocol judges.
    protocol = {"anyOf": [{"enum": list(PROTOCOLS)}, {"type": "string", "pattern": "^[^@]+@[0-9.]+$"}]}
    metrics = kept["EvaluationSpec"]["properties"]["metrics"]
    metrics["items"] = {"enum": list(METRICS)}
    properties = schema["properties"]
    del properties["again"]  # a file of settings that a run has left, not one that people write
    properties |= {
        **{key: {**_described(properties[key]), **_ref(key)} for key in ("dataset", "image", "text", "training")},
        "protocols": {**_described(properties["protocols"]), **_several(protocol)},
        "seeds": {
            **_described(properties["seeds"]),
            "anyOf": [{"type": "integer", "minimum": 1}, {"type": "array", "items": {"type": "integer", "minimum": 0}}],
        },
        "scorers": {**_described(properties["scorers"]), **_entries()},
    }
    return {
        "$schema": DIALECT,
        **schema,
        "title": "Experiment of itm-harness",
        "$defs": {**kept, **parts, "training": training, **{_key(name): _config(name) for name in registry.names()}},
    }


def _of(model: type[BaseModel]) -> Schema:
    """A model's schema without the titles that repeat its keys, and with one sentence for each class."""
    schema: Schema = _tidied(model.model_json_schema(mode="validation"))
    return schema


def _tidied(node: Any, is_names: bool = False) -> Any:
    """The same schema; `is_names`: the keys of this mapping are names of settings, not words of JSON Schema."""
    if isinstance(node, list):
        return [_tidied(each) for each in node]
    if not isinstance(node, dict):
        return node
    tidy = {
        key: _tidied(value, key in ("properties", "$defs") and not is_names)
        for key, value in node.items()
        if is_names or key != "title"
    }
    if not is_names and isinstance(tidy.get("description"), str):
        tidy["description"] = " ".join(re.split(r"\n\s*\n", tidy["description"])[0].split())
    return tidy


def _component(parts: Parts[Any], inferred: bool = False) -> Schema:
    """A part by name alone, or by name and options; `inferred`: its folder may stand for its name."""
    forms: list[Schema] = [{"enum": list(parts)}]
    defs: Schema = {}
    for name in parts:
        part = parts.get(name)
        options = _of(part.Config)
        defs |= options.pop("$defs", {})
        forms.append(
            {
                **options,
                "description": (part.__doc__ or "").strip().split("\n")[0],
                "properties": {"name": {"const": name}, "options": {"type": "object"}, **options.get("properties", {})},
                "required": ["name"],
            }
        )
    if inferred:
        forms.append({"type": "object", "required": ["root"], "not": {"required": ["name"]}})
    return {"anyOf": forms, **({"$defs": defs} if defs else {})}


def _key(name: str) -> str:
    return f"config of {name}"


def _config(name: str) -> Schema:
    return {**_of(registry.scorer_class(name).Config), "required": []}


def _if_named(name: str) -> Schema:
    """`config` of an entry whose name is this scorer or a variant of it."""
    named = {"name": {"pattern": _pattern(name)}}
    return {"if": {"properties": named, "required": ["name"]}, "then": {"properties": {"config": _ref(_key(name))}}}


def _pattern(name: str) -> str:
    return rf"^{re.escape(name)}(\..+)?$"


def _entries() -> Schema:
    """One name, entries as a list, or entries by key: without a name of its own, such an entry has that of its key."""
    name, entry = _names_of_scorers(), _ref("ScorerEntry")
    by_key = {
        _pattern(scorer): {
            "if": {"type": "object", "not": {"required": ["name"]}},
            "then": {"properties": {"config": _ref(_key(scorer))}},
        }
        for scorer in registry.names()
    }
    return {
        "anyOf": [
            name,
            {"type": "array", "items": {"anyOf": [name, {**entry, "required": ["name"]}]}, "minItems": 1},
            {
                "type": "object",
                "patternProperties": by_key,
                "allOf": [{"additionalProperties": {"anyOf": [{"type": "null"}, entry]}}],
                "minProperties": 1,
            },
        ],
    }


def _names_of_scorers() -> Schema:
    """Names and variants for completion. Any other text is left to the loader, which knows plug-ins and near matches."""
    known = [
        name for each in registry.names() for name in (each, *(f"{each}.{key}" for key in registry.variants(each)))
    ]
    return {"type": "string", "examples": known}


def _several(item: Mapping[str, Any]) -> Schema:
    return {"type": "array", "items": dict(item), "minItems": 1, "uniqueItems": True}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _described(field: Mapping[str, Any]) -> Schema:
    return {key: field[key] for key in ("description", "default") if key in field}
