"""The plug-in that the README shows keeps the contract."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from harness import registry
from harness.conformance import run_contract

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_plugin_of_the_readme_keeps_the_contract(tmp_path, monkeypatch):
    (source,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    path = tmp_path / "mean_max.py"
    path.write_text(source, encoding="utf-8")
    monkeypatch.setattr("harness.plugins.registered.registered", {})
    registry.add_plugin(path)
    try:
        broken = [f"{result.name}: {result.detail}" for result in run_contract("mean_max") if not result.passed]
    finally:
        sys.modules.pop("itm_plugin_mean_max", None)
    assert not broken
