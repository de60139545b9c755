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
    monkeypatch.setattr("harness.plugins.registered.registered", {})
    yield
    for name in [name for name in sys.modules if name.startswith("itm_plugin_")]:
        del sys.modules[name]


def _ones() -> Fragments:
    return Fragments(torch.ones(1, 1, 1), torch.ones(1, 1, dtype=torch.bool))


def test_names_are_known_without_importing_torch_or_a_scorer():
    code = (
        "import sys; from harness import registry; names = registry.names();"
        "assert {'scan', 'chan', 'clip'} <= set(names), names;"
        "assert not {'torch', 'harness.baselines.scan'} & set(sys.modules)"
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
    assert len(registry.source_sha256("mine")) == 64


def test_a_plugin_cannot_take_a_name(tmp_path):
    path = tmp_path / "scan.py"
    path.write_text(PLUGIN)
    with pytest.raises(DuplicateName, match=r"'scan' is claimed twice.*baselines\.scan.*rename"):
        registry.add_plugin(path)
    assert "scan" in registry.names()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1", "holds no part; expected one public class that extends Scorer, Dataset"),
        (PLUGIN + "\nclass Other(Mine): pass", "defines 2"),
        ("import nowhere_to_be_found", "ModuleNotFoundError"),
        ("def broken(:", "line 1: SyntaxError"),
        ("import sys\nsys.exit(0)", r"calls sys.exit\(0\)"),
        ("x = 1\nraise RuntimeError('boom')", "line 2: RuntimeError: boom"),
        (PLUGIN + "\n    Config = dict", "Config must be a subclass of ScorerConfig"),
        (PLUGIN + "\n    variants = ['a']", "variants must be a mapping"),
        (PLUGIN + "\n    variants = {'a.b': {}}", "must be a word"),
        (PLUGIN + "\n    variants = {'a': 3}", "'a' of Mine must be a mapping"),
        (PLUGIN + "\n    recipe = 3", "recipe must be a mapping"),
    ],
)
def test_plugins_that_cannot_be_used(tmp_path, source, message):
    path = tmp_path / "broken.py"
    path.write_text(source)
    with pytest.raises(InvalidPlugin, match=message):
        registry.create(registry.add_plugin(path))


def test_a_missing_plugin():
    with pytest.raises(InvalidPlugin, match="not a Python file"):
        registry.add_plugin("nowhere.py")


def test_unknown_names_are_answered_with_near_ones_and_the_list():
    with pytest.raises(UnknownName, match=r"did you mean 'scan'.*valid: blip_itm, chan, clip"):
        registry.create("scam")
    with pytest.raises(UnknownName, match="variant of scan"):
        registry.create("scan.nothing")
    with pytest.raises(InvalidSpec, match="did you mean 'pooling'"):
        registry.create("scan", poling="lse")


def test_entry_points_are_scorers(monkeypatch):
    from importlib.metadata import EntryPoint

    point = EntryPoint("outside", "harness.baselines.scan:Scan", "itm_harness.scorers")

    def installed(*points):
        found = {(p.name, p.value) for p in points}
        monkeypatch.setattr(
            "harness.plugins.registered.installed", lambda group: found if "scorers" in group else set()
        )

    installed(point)
    assert registry.sources()["outside"].kind == "entry point"
    assert type(registry.create("outside")).__name__ == "Scan"
    installed(point, EntryPoint("scan", "x:Y", "itm_harness.scorers"))
    with pytest.raises(DuplicateName):
        registry.names()


def _module(folder, name, text):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(text)


def test_the_source_of_a_plugin_reaches_what_it_imports_beside_it(tmp_path, monkeypatch):
    """An edit of the file, of a module beside it, or of one that this imports makes another source; others do not."""
    _module(tmp_path, "mine", PLUGIN + "\nfrom helper_of_mine import one\n")
    _module(tmp_path, "helper_of_mine", "import numpy\nfrom deeper_of_mine import two as one\n")
    _module(tmp_path, "deeper_of_mine", "two = 2\n")
    _module(tmp_path, "stranger", "three = 3\n")
    registry.add_plugin(tmp_path / "mine.py")
    seen = [registry.source_sha256("mine")]
    for name, differs in (("stranger", False), ("deeper_of_mine", True), ("helper_of_mine", True), ("mine", True)):
        path = tmp_path / f"{name}.py"
        path.write_text(path.read_text() + "# edited\n")
        seen.append(registry.source_sha256("mine"))
        assert (seen[-1] != seen[-2]) == differs, name
    (tmp_path / "mine.py").write_bytes((tmp_path / "mine.py").read_bytes().replace(b"\n", b"\r\n"))
    assert registry.source_sha256("mine") == seen[-1]


def test_a_plugin_leaves_nothing_beside_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    (tmp_path / "mine.py").write_text(PLUGIN)
    registry.add_plugin(tmp_path / "mine.py")
    registry.create("mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


def test_the_source_of_a_baseline_reaches_what_it_imports_from_methods_and_baselines():
    from harness.files.source_code import of_module

    reached = of_module("harness.baselines.clip", registry.SOURCE_FOLDERS)
    assert "harness.scorers.features" in reached
    assert all(name.startswith(registry.SOURCE_FOLDERS) for name in reached)
    assert {"harness.methods.grm.scorer", "harness.methods.grm.levels"} <= set(
        of_module("harness.methods.grm.scorer", registry.SOURCE_FOLDERS)
    )
    assert registry.source_sha256("scan") == registry.source_sha256("scan.t2i_avg")
    assert registry.source_sha256("scan") != registry.source_sha256("chan")
