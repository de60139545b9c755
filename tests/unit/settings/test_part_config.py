"""No option of a part can overwrite a key that stands around it: such a config class cannot be defined."""

from __future__ import annotations

import pickle
from collections import Counter

import pytest
from pydantic import Field, ValidationError

from harness import registry
from harness.backbones import BACKBONES
from harness.backbones.base import BackboneConfig
from harness.datasets import DATASETS
from harness.datasets.base import DatasetConfig
from harness.errors import DuplicateName, InvalidPlugin, InvalidSpec
from harness.runs.building import build_scorer, open_dataset
from harness.runs.planning import plan
from harness.scorer import ScorerConfig
from harness.settings import components
from harness.settings.components import Catalogue, Source
from harness.spec import Component, PartConfig, load_experiment


@pytest.mark.parametrize("base", [DatasetConfig, BackboneConfig, ScorerConfig])
@pytest.mark.parametrize("key", ["name", "options"])
def test_an_option_called_like_a_key_of_the_part_is_refused(base, key):
    with pytest.raises(TypeError, match=f"Bad declares the option {key}, which would overwrite"):
        type("Bad", (base,), {"__annotations__": {key: str}, key: ""})


@pytest.mark.parametrize("key", ["image_encoder", "text_encoder"])
def test_an_option_called_like_a_keyword_of_create_is_refused(key):
    with pytest.raises(TypeError, match=f"the option {key}"):
        type("Bad", (ScorerConfig,), {"__annotations__": {key: int}, key: 0})
    assert type("Good", (BackboneConfig,), {"__annotations__": {key: int}, key: 0})


@pytest.mark.parametrize("alias", ["alias", "validation_alias", "serialization_alias"])
def test_an_alias_is_a_name_too(alias):
    with pytest.raises(TypeError, match="the option name"):

        class Bad(DatasetConfig):
            title: str = Field("", **{alias: "name"})


def test_all_such_options_are_named():
    with pytest.raises(TypeError, match="the options name, options"):

        class Bad(DatasetConfig):
            name: str = ""
            options: int = 0


def test_a_plugin_with_such_an_option_is_refused_by_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.plugins.registered.registered", {})
    path = tmp_path / "shadow.py"
    path.write_text(
        "from harness.scorer import Scorer, ScorerConfig\n"
        "class Config(ScorerConfig):\n    name: str = ''\n"
        "class Shadow(Scorer):\n    Config = Config\n"
    )
    with pytest.raises(InvalidPlugin, match="line 2: TypeError: Config declares the option name") as caught:
        registry.add_plugin(path)
    assert "\n" not in str(caught.value)


def test_every_part_of_the_harness_goes_through_json_and_back():
    components = [
        *(DATASETS.resolve(Component(name=n, options={} if n == "scenes" else {"root": "x"})) for n in DATASETS),
        *(parts.resolve(name) for parts in BACKBONES.values() for name in parts),
    ]
    for component in components:
        assert Component.model_validate_json(component.model_dump_json()) == component
    for name in registry.names():
        assert issubclass(registry.scorer_class(name).Config, PartConfig)


@pytest.mark.parametrize("options", [{"name": "x"}, {"options": {}}, "text", [1]])
def test_options_that_would_hide_the_part_are_refused(options):
    with pytest.raises(ValidationError, match=r"options (may not hold|must be a mapping)"):
        Component.model_validate({"name": "precomp", "options": options})


def test_a_resolved_part_is_typed_written_as_plain_values_and_plain_in_another_process():
    resolved = DATASETS.resolve({"name": "scenes", "seed": 3})
    assert isinstance(resolved.options, DATASETS.get("scenes").Config)
    assert resolved.model_dump() == {"name": "scenes", **resolved.plain}
    sent = pickle.loads(pickle.dumps(resolved))
    assert sent.options == resolved.plain
    assert sent == resolved
    assert hash(sent) == hash(resolved)


def test_a_component_is_validated_once_on_its_way_from_the_experiment_to_the_scorer(tiny, monkeypatch):
    validated = Counter()
    build = components.build
    monkeypatch.setattr(components, "build", lambda *args: validated.update([args[2]]) or build(*args))
    cell = plan(load_experiment({**tiny, "scorers": ["scan"]}))[0]
    build_scorer(cell, open_dataset(cell.dataset))
    assert set(validated) >= {"dataset scenes", "image backbone regions", "text backbone bigru", "scorer scan"}
    assert set(validated.values()) == {1}, validated


def test_an_option_that_changes_is_validated_again():
    resolved = DATASETS.resolve("scenes")
    assert resolved.changed({}) is resolved
    with pytest.raises(InvalidSpec, match="dataset scenes: unknown key 'sed'"):
        DATASETS.resolve(resolved.changed({"sed": 1}))


def test_the_name_of_a_part_can_change_and_its_options_are_set_one_by_one():
    component = Component(name="karpathy", options={"root": "x"})
    assert component.changed({"name": "laps", "images": "y"}).model_dump() == {
        "name": "laps",
        "root": "x",
        "images": "y",
    }
    for key, value in (("options", 3), ("name", 7)):
        with pytest.raises(
            InvalidSpec, match=f"'{key}' of a part cannot be set to {value}; set its options one by one"
        ):
            component.changed({key: value})


def test_a_name_is_claimed_once():
    catalogue = Catalogue("codec", {"json": "json:JSONDecoder"})
    catalogue.require_free("json", Source("module", "json:JSONDecoder"))
    with pytest.raises(
        DuplicateName, match=r"codec 'json' is claimed twice: by module json:JSONDecoder and by plug-in x\.py"
    ):
        catalogue.require_free("json", Source("plug-in", "x.py"))
