"""The examples in docstrings are executed, and every public name of the contract has one.

`pytest --doctest-modules harness/metrics` runs those of one room alone.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: What code outside the harness calls.
PUBLIC = (
    "harness.fragments:Fragments",
    "harness.metrics:ranks",
    "harness.metrics:retrieval_metrics",
    "harness.registry:create",
    "harness.registry:names",
    "harness.registry:variants",
    "harness.scorer:Scorer",
    "harness.scoring:similarity_matrix",
    "harness.spec:load_experiment",
    "harness.records.store:RunStore",
)


def _with_examples() -> list[str]:
    found = []
    for wing in ("harness", "methods", "baselines", "reports"):
        for path in sorted((ROOT / wing).rglob("*.py")):
            if ">>> " in path.read_text(encoding="utf-8"):
                parts = path.relative_to(ROOT).with_suffix("").parts
                parts = parts if wing == "harness" else ("harness", *parts)
                found.append(".".join(parts).removesuffix(".__init__"))
    return found


@pytest.mark.parametrize("module", _with_examples())
def test_examples_do_what_they_show(module):
    result = doctest.testmod(
        importlib.import_module(module), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_show_an_example(name):
    module, _, attribute = name.partition(":")
    assert ">>> " in (inspect.getdoc(getattr(importlib.import_module(module), attribute)) or "")
