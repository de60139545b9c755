"""What is remembered of a file holds until the file changes, whatever its name, length and date say."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.datasets.store import facts


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ITM_CACHE", str(folder))
    monkeypatch.setattr(facts, "SETTLED_SECONDS", -1)
    return folder


class Reader:
    """Finds a file's content and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, path: Path) -> list[str]:
        self.asked.append(path.name)
        return [path.read_text(), "x"]

    def read(self, *paths: Path) -> list[list[str]]:
        self.asked.clear()
        return facts.remembered("kind", paths, [facts.signature(path) for path in paths], self, "reading")


@pytest.fixture
def files(tmp_path) -> tuple[Path, Path]:
    for name in "ab":
        (tmp_path / name).write_text(f"content {name}")
    return tmp_path / "a", tmp_path / "b"


def test_each_file_is_asked_once(files):
    read = Reader()
    expected = [["content a", "x"], ["content b", "x"]]
    assert read.read(*files) == expected
    assert sorted(read.asked) == ["a", "b"]
    assert read.read(*files) == expected
    assert read.read(*files[::-1]) == expected[::-1]
    assert read.asked == []


def _in_place(path: Path) -> None:
    path.write_text("CONTENT a")


def _under_the_old_date(path: Path) -> None:
    before = path.stat()
    path.write_text("CONTENT a")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _renamed_over(path: Path) -> None:
    before = path.stat()
    other = path.with_name("other")
    other.write_text("CONTENT a")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)


@pytest.mark.parametrize("change", [_in_place, _under_the_old_date, _renamed_over])
def test_another_content_of_the_same_length_is_seen(files, change):
    read = Reader()
    read.read(*files)
    change(files[0])
    assert read.read(*files) == [["CONTENT a", "x"], ["content b", "x"]]
    assert read.asked == ["a"]


def test_a_file_that_changed_just_now_is_not_remembered(files, monkeypatch):
    monkeypatch.setattr(facts, "SETTLED_SECONDS", 3600)
    read = Reader()
    read.read(*files)
    read.read(*files)
    assert sorted(read.asked) == ["a", "b"]


@pytest.mark.parametrize("harm", ["{", "[]", '{"a": 3}', "\xff"])
def test_a_damaged_memory_is_made_again(files, cache, harm):
    read = Reader()
    read.read(*files)
    for path in cache.rglob("*.json"):
        path.write_text(harm)
    assert read.read(*files) == [["content a", "x"], ["content b", "x"]]
    assert sorted(read.asked) == ["a", "b"]
    read.read(*files)
    assert read.asked == []


def test_a_cache_that_cannot_be_written_is_told_and_costs_time_only(files, cache, caplog):
    shutil.rmtree(cache)
    cache.write_text("")
    assert Reader().read(*files) == [["content a", "x"], ["content b", "x"]]
    assert "cannot write the cache" in caplog.text


def test_arrays_are_made_once_and_anew_for_another_content(files, cache):
    def made(value: int) -> int:
        mark = facts.signature(files[0])
        found = facts.remembered_arrays("kind", files[0], mark, lambda: {"value": np.array([value])})
        return int(found["value"][0])

    assert [made(1), made(2)] == [1, 1]
    _under_the_old_date(files[0])
    assert made(3) == 3
    for path in cache.rglob("*.npz"):
        path.write_bytes(b"damaged")
    assert made(4) == 4
