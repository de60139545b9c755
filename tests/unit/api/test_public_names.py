"""The public names and their signatures, as callers rely on them: a change here is a change for every notebook."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import harness as itm

ROOT = Path(__file__).parents[3]
#: name -> its parameters; keyword-only ones stand after the star.
SIGNATURES = {
    "compare": "results, *, protocol, **settings",
    "create": "name, *, like, image, text, **config",
    "evaluate": "model, dataset, *, scores, split, protocols, ties, name, seed, results",
    "fit": "name, dataset, *, seed, **settings",
    "list_datasets": "",
    "list_protocols": "",
    "list_scorers": "",
    "load_dataset": "source, **options",
    "load_run": "run_id, results",
    "ranks_df": "results",
    "results_df": "results",
    "Method.experiment": "self, dataset, *, seed, protocols, **training",
    "Method.fit": "self, dataset, *, seed, results, device, protocols, progress, **training",
    "Model.scores": "self, dataset, split",
    "Result.interval": "self, metric, protocol",
    "Result.to_frame": "self",
    "Comparison.plot": "self",
    "Comparison.save": "self, folder",
    "Comparison.to_frame": "self",
}
CLASSES = {
    "Comparison": {"examined", "plot", "report", "save", "to_frame", "verdicts"},
    "ItmError": {"exit_code"},
    "Method": {"config", "experiment", "fit", "image", "like", "name", "text"},
    "Model": {"folder", "path", "record", "run_id", "scorer", "scores", "search", "store"},
    "Result": {
        "interval", "intervals", "metrics", "name", "of_run", "protocol", "record", "report", "run_id", "tables", "to_frame",
    },
}  # fmt: skip


def parameters(function: object) -> str:
    spelled, starred = [], False
    for parameter in inspect.signature(function).parameters.values():  # type: ignore[arg-type]
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            spelled.append("*")
            starred = True
        spelled.append(f"**{parameter.name}" if parameter.kind is parameter.VAR_KEYWORD else parameter.name)
    return ", ".join(spelled)


def named(path: str) -> object:
    name, _, attribute = path.partition(".")
    return getattr(getattr(itm, name), attribute) if attribute else getattr(itm, name)


def test_the_names_are_these():
    functions = {path for path in SIGNATURES if "." not in path}
    assert set(itm.__all__) == functions | CLASSES.keys()


@pytest.mark.parametrize("path", SIGNATURES)
def test_signatures_stay(path):
    assert parameters(named(path)) == SIGNATURES[path]


@pytest.mark.parametrize("name", CLASSES)
def test_attributes_stay(name):
    kind = getattr(itm, name)
    attributes = {*vars(kind), *getattr(kind, "__dataclass_fields__", ())}
    assert {attribute for attribute in attributes if not attribute.startswith("_")} == CLASSES[name]


@pytest.mark.parametrize("name", [*(path for path in SIGNATURES if "." not in path), *CLASSES])
def test_each_name_says_what_it_is_for(name):
    assert len((inspect.getdoc(getattr(itm, name)) or "").splitlines()[0]) > 20


def test_the_stub_names_what_is_exported_and_the_wheel_says_that_it_is_typed():
    (listed,) = (
        node.value
        for node in ast.parse((ROOT / "harness" / "__init__.pyi").read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
    )
    assert ast.literal_eval(listed) == sorted(itm.__all__)
    assert (ROOT / "harness" / "py.typed").is_file()


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import harness", {"torch", "pandas", "numpy"}),
        ("from harness import results_df, compare, Result; Result.of_run", {"torch", "mlflow"}),
    ],
)
def test_what_stays_out(code, heavy):
    check = f"import sys; {code}; bad = {heavy!r} & set(sys.modules); assert not bad, bad"
    assert not subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False).stderr
