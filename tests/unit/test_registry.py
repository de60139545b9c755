"""The registry: names without imports, plug-ins, and the message for every mistake."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from harness import registry
from harness.errors import DuplicateName, InvalidPlugin, InvalidSpec, UnknownName
from harness.fragments import Fragments

PLUGIN = """
import torch
from harness.scorer import Scorer, ScorerConfig

class Config(ScorerConfig):
    scale: float = 1.0

class Mine(Scorer):
    Config = Config
    variants = {"double": {"scale": 2.0}}

    def score(self, images, texts):
        return self.config.scale * images.features.sum((1, 2))[:, None] * texts.features.sum((1, 2))[None]
"""


@pytest.fixture(autouse=True)
def no_plugins(monkeypatch):
    monkeypatch.setattr(registry, "_plugins", {})
    yield
    for name in [name for name in sys.modules if name.startswith("itm_plugin_")]:
        del sys.modules[name]


def _ones() -> Fragments:
    return Fragments(torch.ones(1, 1, 1), torch.ones(1, 1, dtype=torch.bool))


def test_names_are_known_without_importing_torch_or_a_scorer():
    code = (
        "import sys; from harness import registry; names = registry.names();"
        "assert {'scan', 'chan', 'clip'} <= set(names), names;"
        "assert not {'torch', 'baselines.scan'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_plugin_file_is_a_scorer(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    assert registry.add_plugin(path) == "mine"
    assert registry.add_plugin(path) == "mine"  # the same file again is no conflict
    assert "mine" in registry.names()
    assert registry.variants("mine") == {"double": {"scale": 2.0}}
    assert registry.create("mine.double").score(_ones(), _ones()).item() == 2.0
    assert registry.create("mine.double", scale=3.0).score(_ones(), _ones()).item() == 3.0
    assert len(registry.plugin_sha256("mine")) == 64
    assert registry.plugin_sha256("scan") == ""


def test_a_plugin_cannot_take_a_name(tmp_path):
    path = tmp_path / "scan.py"
    path.write_text(PLUGIN)
    with pytest.raises(DuplicateName, match=r"'scan' is claimed twice.*baselines\.scan.*rename"):
        registry.add_plugin(path)
    assert "scan" in registry.names()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1", "defines 0 public Scorer subclasses"),
        (PLUGIN + "\nclass Other(Mine): pass", "defines 2"),
        ("import nowhere_to_be_found", "ModuleNotFoundError"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_plugins_that_cannot_be_used(tmp_path, source, message):
    path = tmp_path / "broken.py"
    path.write_text(source)
    registry.add_plugin(path)
    with pytest.raises(InvalidPlugin, match=message):
        registry.create("broken")


def test_a_missing_plugin():
    with pytest.raises(InvalidPlugin, match="not a Python file"):
        registry.add_plugin("nowhere.py")


def test_unknown_names_are_answered_with_near_ones_and_the_list():
    with pytest.raises(UnknownName, match=r"did you mean 'scan'.*valid: chan, clip"):
        registry.create("scam")
    with pytest.raises(UnknownName, match="variant of scan"):
        registry.create("scan.nothing")
    with pytest.raises(InvalidSpec, match="did you mean 'pooling'"):
        registry.create("scan", poling="lse")


def test_entry_points_are_scorers(monkeypatch):
    from importlib.metadata import EntryPoint

    point = EntryPoint("outside", "baselines.scan:Scan", registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    assert registry.sources()["outside"].kind == "entry point"
    assert type(registry.create("outside")).__name__ == "Scan"
    monkeypatch.setattr(registry, "entry_points", lambda group: [point, EntryPoint("scan", "x:Y", group)])
    with pytest.raises(DuplicateName):
        registry.names()
