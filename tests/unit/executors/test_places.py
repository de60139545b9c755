"""A worker refuses a folder that is not the command's, and code that is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import ClusterUnavailable
from harness.executors.base import Context, Seat
from harness.executors.reach import Arriving, Place, code_sha256, mark


@pytest.fixture
def place(tmp_path) -> Place:
    (tmp_path / "method.py").write_text("")
    return mark(Context(tmp_path / "results", "command-1", plugins=(str(tmp_path / "method.py"),)))


def test_the_right_place(place):
    assert place.problem(patience=0) == ""
    assert Arriving(place, lambda seat: seat.number)(Seat(3)) == 3


def test_a_folder_of_the_same_name_on_another_disk(place, tmp_path):
    elsewhere = replace(place, context=replace(place.context, results=tmp_path / "local-disk"))
    (tmp_path / "local-disk").mkdir()
    assert "local-disk is not the command's results folder there" in elsewhere.problem(patience=0)
    assert not list((tmp_path / "local-disk").iterdir()), "nothing is written in the wrong place"


def test_a_plug_in_that_the_node_does_not_have(place):
    elsewhere = replace(place, context=replace(place.context, plugins=("/nowhere/method.py",)))
    assert "plug-in /nowhere/method.py is not there" in elsewhere.problem(patience=0)


def test_other_code(place, monkeypatch):
    job = Arriving(replace(place, code="0" * 64), lambda seat: 0)
    with pytest.raises(ClusterUnavailable, match="install the same version") as caught:
        job(Seat(1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("device", "gpus", "found", "said"),
    [
        ("cuda", 1, 0, "0 GPUs that torch can use, where a run needs 1"),
        ("cuda", 2, 1, "1 GPU that torch can use, where a run needs 2"),
        ("cuda", 2, 2, ""),
        ("cpu", 1, 0, ""),
        ("auto", 1, 0, ""),
    ],
)
def test_a_node_without_the_gpus_of_a_run_refuses_before_a_run_fails(place, monkeypatch, device, gpus, found, said):
    monkeypatch.setattr("torch.cuda.device_count", lambda: found)
    job = Arriving(place, lambda seat: 0)
    if not said:
        assert job(Seat(1, device, gpus=gpus)) == 0
        return
    with pytest.raises(ClusterUnavailable, match=said):
        job(Seat(1, device, gpus=gpus))


def test_the_code_is_that_of_the_methods_too(tmp_path, monkeypatch):
    root = tmp_path / "harness" / "files"
    root.mkdir(parents=True)
    wing = tmp_path / "methods"
    wing.mkdir()
    (wing / "mine.py").write_text("a = 1\n")
    (tmp_path / "harness" / "methods").symlink_to(wing)
    monkeypatch.setattr("harness.files.source_code.__file__", str(root / "source_code.py"))
    before = code_sha256()
    assert code_sha256() == before
    (wing / "mine.py").write_text("a = 2\n")
    assert code_sha256() != before
