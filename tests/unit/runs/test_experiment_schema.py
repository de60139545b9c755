"""The schema for editors agrees with the loader: what one refuses by its keys or types, the other refuses."""

from __future__ import annotations

import re

import pytest
from jsonschema import Draft202012Validator

from harness import registry
from harness.backbones import BACKBONES
from harness.datasets import DATASETS
from harness.errors import ItmError
from harness.files import strict_yaml
from harness.runs.experiment_schema import experiment_schema
from harness.runs.planning import check
from harness.spec import builtin_experiments, load_experiment

BASE = {"name": "x", "dataset": "scenes", "scorers": ["scan"]}


@pytest.fixture(scope="module")
def schema():
    return experiment_schema()


@pytest.fixture(scope="module")
def validator(schema):
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("name", builtin_experiments())
def test_built_in_experiments_are_valid(validator, name):
    validator.validate(strict_yaml.read_file(builtin_experiments()[name]))


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": {"name": "scenes", "train_images": 40}},
        {"dataset": {"root": "anywhere"}},
        {"dataset": {"name": "karpathy", "root": "anywhere"}},
        {"seeds": 3},
        {"seeds": [4, 7]},
        {"protocols": ["full", "human@3.5"]},
        {"evaluation": {"metrics": ["mrr"]}},
        {"scorers": "scan"},
        {"scorers": {"scan": None}},
        {"scorers": {"scan": {"config": {"pooling": "mean"}}}},
        {"scorers": {"mine": {"name": "scan", "config": {"pooling": "mean"}}}},
        {"scorers": [{"name": "grm.no_uncertainty", "config": {"regions": 4}, "training": {"epochs": 2}}]},
        {"scorers": [{"name": "clip", "image": "patches", "text": {"name": "bigru", "width": 64}}]},
        {"image": {"name": "patches", "options": {"width": 64}}},
        {"training": {"epochs": 0, "micro_batch": None}},
        {"evaluation": {"streaming": True}, "threads": 2, "features": {"store": False}, "feeding": {"workers": 2}},
        {"sweep": {"objectives": "rsum", "at_most": {"latency": 5}, "sampler": "TPESampler", "pruner": None}},
        {"sweep": {"sampler": {"name": "TPESampler", "multivariate": True}}},
    ],
    ids=str,
)
def test_what_the_loader_takes_is_valid(validator, changes):
    load_experiment(BASE | changes)
    validator.validate(BASE | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"sed": 3},
        {"seeds": "three"},
        {"training": {"epoch": 3}},
        {"training": {"epochs": -1}},
        {"training": {"objective": "hinge"}},
        {"dataset": "scene"},
        {"dataset": {"name": "scenes", "trian_images": 3}},
        {"image": {"name": "patch"}},
        {"text": {"name": "bigru", "width": "wide"}},
        {"protocols": ["fulll"]},
        {"evaluation": {"metrics": ["mmr"]}},
        {"scorers": []},
        {"scorers": {"scan": {"config": {"poling": "lse"}}}},
        {"scorers": [{"name": "scan", "config": {"pooling": "median"}}]},
        {"scorers": [{"name": "grm.no_uncertainty", "config": {"region": 4}}]},
        {"scorers": [{"key": "mine"}]},
        {"evaluation": {"ties": "random"}},
        {"sweep": {"objective": "rsum"}},
    ],
    ids=str,
)
def test_what_is_invalid_the_loader_or_the_check_of_a_plan_refuses(validator, changes):
    assert list(validator.iter_errors(BASE | changes))
    with pytest.raises(ItmError):
        check(load_experiment(BASE | changes))


def test_every_option_of_every_part_is_there(schema):
    """Completion offers them all, with what they mean where the class says so."""
    known = schema["$defs"]
    for side, parts in [("dataset", DATASETS), *BACKBONES.items()]:
        forms = {form["properties"]["name"]["const"]: form for form in known[side]["anyOf"] if "properties" in form}
        assert set(forms) == set(parts)
        for name in parts:
            assert {*parts.get(name).Config.model_fields, "name", "options"} == set(forms[name]["properties"])
    for name in registry.names():
        fields = registry.scorer_class(name).Config.model_fields
        assert set(fields) == set(known[f"config of {name}"]["properties"])
    assert known["training"]["properties"]["epochs"]["description"].startswith("passes over")


def test_descriptions_are_one_paragraph(schema):
    def walk(node):
        if isinstance(node, dict):
            if isinstance(node.get("description"), str):
                yield node["description"]
            for child in node.values():
                yield from walk(child)
        elif isinstance(node, list):
            for child in node:
                yield from walk(child)

    texts = list(walk(schema))
    assert len(texts) > 100
    assert not [text for text in texts if "\n" in text or ">>>" in text]


def test_every_reference_leads_somewhere(schema):
    found = set(re.findall(r'"#/\$defs/([^"]+)"', str(schema).replace("'", '"')))
    assert found <= set(schema["$defs"])


def test_every_setting_says_what_it_means(schema):
    def settings(node, where):
        for key, value in node.get("properties", {}).items():
            if key not in ("name", "options"):  # of a part: its name, and another way to write its options
                yield f"{where}.{key}", value

    known = schema["$defs"]
    places = {"": schema, **{name: known[name] for name in known if "anyOf" not in known[name]}}
    for side in ("dataset", "image", "text"):
        places |= {
            f"{side}: {form['properties']['name']['const']}": form
            for form in known[side]["anyOf"][1:]
            if "properties" in form
        }
    found = {key: value for where, node in places.items() for key, value in settings(node, where)}
    assert len(found) > 150
    assert not [key for key, value in found.items() if not value.get("description")]
