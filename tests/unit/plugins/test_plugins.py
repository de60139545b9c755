"""Plug-ins of every kind: what a file holds, folders, names that clash, and what is said of a broken one."""

import pickle
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from harness import plugins
from harness.backbones import BACKBONES
from harness.datasets import DATASETS
from harness.errors import DuplicateName, InvalidPlugin
from harness.plugins import KINDS

SCORER = """
from harness.scorer import Scorer
class {name}(Scorer):
    def score(self, images, texts): ...
"""
DATASET = """
from harness.datasets.base import Dataset
class {name}(Dataset):
    title = "mine"
"""
ENCODERS = """
from harness.backbones.base import ImageEncoder, TextEncoder
class Pictures(ImageEncoder): ...
class Words(TextEncoder): ...
"""
PROTOCOL = """
from dataclasses import replace
from harness.protocols.folds import FULL
MINE = replace(FULL, name="{name}")
"""
TEXTS = {
    "scorer": SCORER.format(name="Mine"),
    "dataset": DATASET.format(name="Mine"),
    "protocol": PROTOCOL.format(name="mine_of_test"),
}


@pytest.fixture(autouse=True)
def no_plugins(monkeypatch):
    monkeypatch.setattr("harness.plugins.registered.registered", {})
    yield
    for name in [name for name in sys.modules if name.startswith("itm_plugin_")]:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path):
    """Writes a file below the test's folder."""

    def written(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return written


def test_the_kinds_are_known_without_importing_torch():
    code = "import sys, harness.plugins; assert not {'torch', 'pydantic', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_kind_leads_to_its_base_and_its_catalogue(kind):
    from harness.plugins.kinds import attribute

    assert kind.parts().kind == kind.name
    assert isinstance(attribute(kind.base), type)
    for name in kind.parts().own:
        part = kind.parts().get(name)
        assert kind.made(part) if kind.is_object else kind.holds(part)


@pytest.mark.parametrize("kind", TEXTS)
def test_a_file_is_of_the_kind_that_it_holds(write, kind):
    path = write("mine_of_test.py", TEXTS[kind])
    assert [(found.kind, found.name) for found in plugins.add(path)] == [(kind, "mine_of_test")]
    assert plugins.files() == (str(path),)
    assert KINDS[kind].parts().source("mine_of_test").target == str(path)
    assert KINDS[kind].parts().get("mine_of_test") is not None


def test_a_file_may_hold_parts_of_several_kinds_under_its_name(write):
    found = plugins.add(write("pair_of_test.py", ENCODERS))
    assert {part.kind for part in found} == {"image backbone", "text backbone"}
    assert [parts.get("pair_of_test").__name__ for parts in BACKBONES.values()] == ["Pictures", "Words"]


def test_files_of_one_name_hold_parts_of_different_kinds(write):
    plugins.add(write("one/mine_of_test.py", TEXTS["scorer"]))
    plugins.add(write("two/mine_of_test.py", TEXTS["dataset"]))
    assert KINDS["scorer"].parts().get("mine_of_test").__mro__[1].__name__ == "Scorer"
    assert DATASETS.get("mine_of_test").title == "mine"


def test_a_name_that_is_taken_is_refused_with_both_places(write):
    first = write("one/mine_of_test.py", TEXTS["dataset"])
    plugins.add(first)
    plugins.add(first)  # the same file again is no clash
    with pytest.raises(DuplicateName) as caught:
        plugins.add(write("two/mine_of_test.py", TEXTS["dataset"]))
    assert all(f"plug-in {first.parents[1]}/{place}/mine_of_test.py" in str(caught.value) for place in ("one", "two"))
    with pytest.raises(DuplicateName, match=r"dataset 'scenes' is claimed twice: by module harness\.datasets\.scenes"):
        plugins.add(write("scenes.py", TEXTS["dataset"]))


def test_a_folder_brings_all_its_plugins_or_none(write, tmp_path, caplog):
    caplog.set_level("INFO")
    for name, text in (
        ("all/first_of_test.py", TEXTS["scorer"]),
        ("all/second_of_test.py", TEXTS["dataset"]),
        ("all/test_first_of_test.py", "raise RuntimeError"),
        ("all/_shared.py", "raise RuntimeError"),
        ("all/conftest.py", "raise RuntimeError"),
        ("all/helper_in_folder.py", "one = 1"),
        ("all/notes.txt", "no Python"),
    ):
        write(name, text)
    assert [found.name for found in plugins.add(tmp_path / "all")] == ["first_of_test", "second_of_test"]
    assert "helper_in_folder.py holds no part and is left out" in caplog.text
    write("some/third_of_test.py", TEXTS["scorer"])
    write("some/scan.py", TEXTS["scorer"])
    with pytest.raises(DuplicateName):
        plugins.add(tmp_path / "some")
    assert "third_of_test" not in KINDS["scorer"].parts()


def test_a_folder_without_plugins_is_refused(tmp_path):
    with pytest.raises(InvalidPlugin, match="holds no plug-in; expected Python files, each with one public class"):
        plugins.add(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n\nhidden(x)", r"^plug-in broken_of_test\.py, line 3: NameError: name 'hidden' is not defined$"),
        ("x = (\n1", r"^plug-in broken_of_test\.py, line 1: SyntaxError: '\(' was never closed$"),
        (
            "def f():\n    return 1 / 0\n\nf()",
            r"^plug-in broken_of_test\.py, line 2: ZeroDivisionError: division by zero$",
        ),
        (
            "import sys\nsys.exit(3)",
            r"^plug-in broken_of_test\.py, line 2: it calls sys\.exit\(3\) when it is imported",
        ),
        (DATASET.format(name="One") + DATASET.format(name="Two"), r"defines 2 public Dataset subclasses \(One, Two\)"),
        (PROTOCOL.format(name="other"), r"holds the protocol 'other'; give it the file's name, 'broken_of_test'"),
        ("from harness.protocols.folds import FULL", "holds no part; expected one public class that extends Scorer"),
        (DATASET.format(name="Mine") + "    Config = dict", "Mine.Config must be a subclass of DatasetConfig"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_its_place(write, tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    path = write("broken_of_test.py", text)
    with pytest.raises(InvalidPlugin, match=message) as caught:
        DATASETS.get(plugins.add(path)[0].name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_file_whose_name_is_no_word_is_refused(write):
    with pytest.raises(InvalidPlugin, match=r"'mine\.v2' must be a word"):
        plugins.add(write("mine.v2.py", TEXTS["scorer"]))


def test_a_module_beside_a_plugin_is_imported_unless_its_name_leads_elsewhere(write):
    write("own/neighbour_of_test.py", "WORD = 'mine'")
    plugins.add(write("own/mine_of_test.py", DATASET.format(name="Mine") + "    from neighbour_of_test import WORD"))
    assert DATASETS.get("mine_of_test").WORD == "mine"
    write("other/neighbour_of_test.py", "WORD = 'another'")
    with pytest.raises(InvalidPlugin, match=r"imports 'neighbour_of_test', which is .*own.* here and not .*other"):
        plugins.add(write("other/next_of_test.py", "import neighbour_of_test\n" + TEXTS["dataset"]))
    del sys.modules["neighbour_of_test"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.name != "scorer"], ids=lambda kind: kind.name)
def test_a_package_brings_parts_of_every_kind_by_entry_points(monkeypatch, kind):
    if not kind.parts().own:  # sections all come from plug-ins
        made = plugins.Source("module", "harness.cli.templates.section.example:Example")
        monkeypatch.setattr(kind.parts(), "own", {"example": made})
    own = next(iter(kind.parts().own))
    target = kind.parts().own[own].target
    points = {kind.group: {("outside", target), ("wrong", "harness.errors:ItmError")}}
    monkeypatch.setattr("harness.plugins.registered.installed", lambda group: points.get(group, ()))
    assert str(kind.parts().source("outside")) == f"entry point {target}"
    if not kind.is_object:  # an object says its own name
        assert kind.parts().get("outside") is kind.parts().get(own)
    with pytest.raises(InvalidPlugin, match=f"expected a {kind.base_name}"):
        kind.parts().get("wrong")
    points[kind.group] = {(own, "x:Y")}
    with pytest.raises(DuplicateName, match=f"'{own}' is claimed twice: by module .* and by entry point x:Y"):
        list(kind.parts())


def test_entry_points_are_read_from_what_is_installed(monkeypatch):
    from harness.plugins import registered

    points = [EntryPoint("outside", "a:B", "itm_harness.datasets")]
    monkeypatch.setattr(registered, "entry_points", lambda group: points)
    registered.installed.cache_clear()
    assert registered.installed("itm_harness.datasets") == (("outside", "a:B"),)
    registered.installed.cache_clear()


def test_another_process_registers_the_plugins_before_it_sees_their_objects(write):
    """What loader processes get: an object of a class that a plug-in file defines."""
    plugins.add(write("mine_of_test.py", DATASET.format(name="Mine") + "    def __init__(self): pass\n"))
    content = pickle.dumps((plugins.Registered(plugins.files()), DATASETS.get("mine_of_test")()))
    code = "import pickle, sys; print(pickle.loads(sys.stdin.buffer.read())[1].title)"
    done = subprocess.run([sys.executable, "-c", code], input=content, capture_output=True, check=False)
    assert done.stdout.decode().strip() == "mine", done.stderr.decode()
