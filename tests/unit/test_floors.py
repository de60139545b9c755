"""The house has floors: imports go down only, no file imports its importer, and families live in rooms.

A room is a folder or a file that lies directly in `harness/`, or one of the wings `methods`, `baselines` and `reports`.
An import counts wherever it stands: at the top of a file, for type checkers only, or inside a function.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WINGS = ("methods", "baselines", "reports")
#: From the ground up. A room imports rooms of lower floors only; a new room has to be given a floor here.
FLOORS = (
    ("errors",),
    ("files", "machine"),
    ("plugins",),
    ("settings",),
    ("spec",),
    ("records",),
    ("reports", "fragments", "losses"),
    ("metrics", "similarity", "alignment", "sections"),
    ("datasets", "protocols"),
    ("backbones",),
    ("scorer", "features", "description"),
    ("registry", "scoring"),
    ("scorers",),
    ("methods", "baselines", "measure", "conformance"),
    ("training", "tracking", "outputs", "executors"),
    ("runs",),
    ("profiles", "sweeps", "benchmark", "estimates", "exhibits"),
    ("alignments",),
    ("probes",),
    ("grounding", "composition"),
    ("robustness",),
    ("cli", "api"),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
#: What a method's author meets at the front door; every other module lives in a room.
LOOSE = {"__init__", "errors", "spec", "fragments", "scorer", "losses", "registry", "conformance", "alignment"}
#: What reports may know of the harness: they read what lies on disk.
READ_BY_REPORTS = {"errors", "files", "settings", "spec", "records", "reports"}


def name_of(path: Path) -> str:
    """`reports/runs/loading.py` -> `harness.reports.runs.loading`; a package goes by its folder's name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "harness" else ("harness", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for wing in ("harness", *WINGS) for path in (ROOT / wing).rglob("*.py")}


def imports(module: str) -> Iterator[str]:
    """The files of the house that a file imports; `from harness.x import y` is y's file where y is a module."""
    face = FILES[module].with_suffix(".pyi")
    for node in ast.walk(ast.parse(face.read_text(encoding="utf-8"))) if face.is_file() else ():
        if isinstance(node, ast.ImportFrom):  # what a lazy face hands on; relative, as lazy_loader wants it
            yield f"{module}.{node.module}"
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            named = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in FILES else str(node.module) for name in named)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


#: file -> the files of the house that it imports; `harness` itself holds the version and nothing else.
GRAPH = {module: {i for i in imports(module) if i in FILES and i != "harness"} for module in FILES}


def room(module: str) -> str:
    """`harness.backbones.base` -> `backbones`."""
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("module", sorted(FILES))
def test_every_import_of_the_house_exists(module):
    assert not {i for i in imports(module) if i.split(".")[0] == "harness"} - set(FILES)


@pytest.mark.parametrize("module", sorted(FILES))
def test_imports_go_down(module):
    here = room(module)
    assert here in FLOOR or not here, f"give {here} a floor"
    for imported in sorted(GRAPH[module]):
        target = room(imported)
        if not here:  # the front door hands on names of the API, and the error that all others are
            assert target in ("api", "errors")
            continue
        assert target == here or FLOOR[target] < FLOOR[here], f"{module} imports {imported}, which is not below it"


def reached(module: str) -> set[str]:
    """All that a file imports, directly or through others."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        new = GRAPH[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def test_no_file_imports_its_importer():
    circles = {module: sorted(i for i in GRAPH[module] if module in reached(i)) for module in GRAPH}
    assert not {module: back for module, back in circles.items() if back}


@pytest.mark.parametrize("module", sorted(m for m in FILES if room(m) == "reports"))
def test_reports_know_records_only(module):
    assert {room(imported) for imported in GRAPH[module]} <= READ_BY_REPORTS


@pytest.mark.parametrize("module", sorted(m for m in FILES if room(m) in ("methods", "baselines")))
def test_a_method_imports_no_other_method(module):
    own = ".".join(module.split(".")[:3])
    for imported in GRAPH[module]:
        assert room(imported) not in ("methods", "baselines") or imported.startswith(own), (
            f"{module} imports {imported}: what methods share lies in harness/scorers"
        )


@pytest.mark.parametrize("module", sorted(m for m in FILES if room(m) not in ("methods", "baselines")))
def test_methods_are_found_by_the_registry_only(module):
    assert not {i for i in GRAPH[module] if room(i) in ("methods", "baselines")}


def test_nothing_else_lies_loose():
    assert {path.stem for path in (ROOT / "harness").glob("*.py")} <= LOOSE


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in FILES.values()}), ids=lambda p: str(p.relative_to(ROOT))
)
def test_families_are_packages(folder):
    """Three files that share their first word are a package; a leading underscore hides a file in no room."""
    stems = [path.stem for path in folder.glob("*.py") if path.stem != "__init__"]
    assert not [stem for stem in stems if stem.startswith("_")]
    words = Counter(stem.partition("_")[0] for stem in stems)
    assert not [word for word, count in words.items() if count > 2], f"{folder}: {words.most_common(3)}"


@pytest.mark.parametrize("module", sorted(m for m, path in FILES.items() if path.name == "__init__.py"))
def test_the_face_of_a_room_does_nothing(module):
    """`__init__.py` is a docstring, and at most imports that name what a caller needs."""
    for node in ast.parse(FILES[module].read_text(encoding="utf-8")).body:
        text = ast.unparse(node)
        allowed = isinstance(node, ast.Import | ast.ImportFrom | ast.Expr) or text.startswith(
            ("__all__ = ", "__version__ = ", "__getattr__, __dir__, __all__ = ", "(__getattr__, __dir__, __all__) = ")
        )
        assert allowed, f"{module}: {text}"


def _loads(code: str, heavy: set[str]) -> str:
    code = f"import sys; {code}; bad = {heavy!r} & set(sys.modules); assert not bad, bad"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize(
    "face", sorted(m for m, path in FILES.items() if path.name == "__init__.py" and m.count(".") < 2)
)
def test_faces_are_light(face):
    if room(face) in ("methods", "baselines"):
        return
    assert not _loads(f"import {face}", {"torch", "mlflow", "optuna", "matplotlib.pyplot"})


def test_reports_load_no_engine():
    names = sorted(m for m in FILES if room(m) == "reports")
    heavy = {"torch", "mlflow", "optuna", "matplotlib.pyplot"}
    assert not _loads(f"import importlib; [importlib.import_module(n) for n in {names!r}]", heavy)
