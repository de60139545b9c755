"""Where a run comes from: which settings its scorer did not choose, and which file defines the scorer."""

from __future__ import annotations

import pytest

from harness import registry
from harness.runs.origins import code_of, overridden
from harness.runs.planning import plan
from harness.spec import load_experiment

PLUGIN = """
from harness.baselines.clip import Clip
class Mine(Clip):
    pass
"""


def planned(tiny, **scorers):
    (run,) = plan(load_experiment(tiny | {"scorers": scorers}))
    return run


def test_settings_of_a_variant_and_of_the_experiment_differ_from_the_scorers_own(tiny):
    own = overridden(planned(tiny, scan={"config": {"pooling": "mean"}}))
    recipe = registry.recipe("scan")
    assert own["config.pooling"] == "lse"
    assert own["training.epochs"] == recipe["epochs"] != tiny["training"]["epochs"]
    assert not {"config.direction", "training.margin", "image.width"} & own.keys()


def test_a_run_by_the_recipe_differs_in_nothing(tiny):
    run = planned({**tiny, "training": {}}, scan={})
    assert overridden(run) == {}


def test_a_variant_differs_in_what_it_sets(tiny):
    own = overridden(planned({**tiny, "training": {}}, **{"grm.no_uncertainty": {}}))
    assert own["config.uncertainty"] == registry.resolve_config("grm", {}).uncertainty
    assert not [key for key in own if key.startswith("training.")]


@pytest.mark.parametrize("below", [True, False])
def test_a_plugin_goes_by_its_path_from_here(tmp_path, monkeypatch, below):
    monkeypatch.setattr("harness.plugins.registered.registered", {})
    file = tmp_path / "methods" / "mine_of_test.py"
    file.parent.mkdir()
    file.write_text(PLUGIN)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path if below else elsewhere)
    registry.add_plugin(file)
    assert code_of("mine_of_test").plugin == ("methods/mine_of_test.py" if below else str(file))


def test_the_harness_own_scorers_name_no_plugin():
    assert "plugin" not in code_of("scan").model_dump()
