"""Two processes that start at once on a cold cache: one does the work, and the other waits for it and says so."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from karpathy_files import karpathy, whole
from small_scenes import scenes

from harness.datasets.photographs import files
from harness.datasets.store import facts
from harness.datasets.store.turns import turn, version


def pixels(root: Path, works: Callable[[], None]) -> np.ndarray:
    decode = files.decode_bytes

    def decoded(content, path):
        works()
        return decode(content, path)

    dataset = karpathy(root)
    dataset.check()  # reads the files: what is told of them is another case
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(files, "decode_bytes", decoded)
        return dataset.split("test").images.pixels([1, 0], 12)


def digests(root: Path, works: Callable[[], None]) -> list[str]:
    def find(path):
        works()
        return [facts.sha256_of(path.read_bytes())]

    paths = sorted((root / "images").iterdir())
    found = facts.remembered("kind", paths, [facts.signature(path) for path in paths], find, "reading images")
    return [sha256 for [sha256] in found]


def array(root: Path, works: Callable[[], None]) -> np.ndarray:
    def find():
        works()
        return {"bytes": np.frombuffer(path.read_bytes(), np.uint8)}

    path = root / "images" / "0.png"
    return facts.remembered_arrays("kind", path, facts.signature(path), find)["bytes"]


def generated(root: Path) -> np.ndarray:
    return scenes(train_images=3).split("train").images.pixels([0, 2], 32)


#: What is wanted, and what a process says while another one makes it.
WORK = {
    "decoded pixels": (pixels, "another process is decoding images to 12 px; waiting for it"),
    "facts": (digests, "another process is reading images; waiting for it"),
    "arrays of a file": (array, "another process is reading 0.png; waiting for it"),
}


def until(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} never came"
        time.sleep(0.01)


class Said(logging.Handler):
    """Keeps the lines of a process in a file, and tells the other one that it waits."""

    def __init__(self, desk: Path, who: str):
        super().__init__()
        self.desk, self.who = desk, who

    def emit(self, record: logging.LogRecord) -> None:
        with (self.desk / f"{self.who}.log").open("a") as file:
            file.write(record.getMessage() + "\n")
        if "waiting for it" in record.getMessage():
            (self.desk / "waiting").touch()


def worker(name: str, root: Path, desk: Path, who: str) -> None:
    os.environ["ITM_CACHE"] = str(desk / "cache")
    facts.SETTLED_SECONDS = -1
    logging.getLogger("harness").setLevel(logging.INFO)
    logging.getLogger("harness").addHandler(Said(desk, who))

    def works():
        (desk / f"{who}.work").touch()
        if who == "first":
            until(desk / "waiting")

    if who == "second":
        until(desk / "first.work")
    np.save(desk / f"{who}.npy", np.asarray(WORK[name][0](root, works)))


@pytest.mark.parametrize("name", WORK)
def test_of_two_processes_one_does_the_work(tmp_path, name):
    root, desk = whole(tmp_path), tmp_path / "desk"
    desk.mkdir()
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=worker, args=(name, root, desk, who)) for who in ("first", "second")]
    for process in both:
        process.start()
    for process in both:
        process.join(90)
    assert [process.exitcode for process in both] == [0, 0]
    first, second = np.load(desk / "first.npy"), np.load(desk / "second.npy")
    np.testing.assert_array_equal(first, second)
    assert WORK[name][1] in (desk / "second.log").read_text().splitlines()
    assert (desk / "first.work").exists()
    assert not (desk / "second.work").exists()
    assert not list((desk / "cache").rglob("*.lock"))


def test_scenes_are_generated_by_one_of_two(tmp_path, monkeypatch, caplog):
    """The second one comes between the look and the turn of the first."""
    monkeypatch.setenv("ITM_CACHE", str(tmp_path))
    expected = generated(tmp_path).copy()
    other = tmp_path / "other"
    monkeypatch.setenv("ITM_CACHE", str(other))
    from harness.datasets.scenes import dataset as module

    def overtaken(path, what):
        monkeypatch.setattr(module, "turn", turn)
        generated(tmp_path)  # as another process would
        monkeypatch.setattr(module.Scenes, "_generated", lambda *_: pytest.fail("generated twice"))
        return turn(path, what)

    monkeypatch.setattr(module, "turn", overtaken)
    np.testing.assert_array_equal(generated(tmp_path), expected)


def test_a_cache_that_cannot_be_written_makes_nobody_wait(tmp_path):
    (tmp_path / "folder").write_text("in the way")
    with turn(tmp_path / "folder" / "file.npy", "reading"):
        pass
    assert (tmp_path / "folder").read_text() == "in the way"


def test_a_file_that_is_made_anew_is_another_version(tmp_path):
    path = tmp_path / "file"
    assert version(path) is None
    path.write_text("one")
    first = version(path)
    assert version(path) == first is not None
    (tmp_path / "new").write_text("two")
    os.replace(tmp_path / "new", path)
    assert version(path) != first
