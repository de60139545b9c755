"""Files of a results folder: names that stay in it, and claims that end with their owners."""

from __future__ import annotations

import doctest
import subprocess
import sys
import time

import pytest

from harness.files import locks, names
from harness.files.locks import claim, is_claimed
from harness.files.names import LONGEST, is_safe_name, safe_name

# Names ----------------------------------------------------------------------------------------------------------------

HOSTILE = (
    "/../../../EVIL",
    "..",
    ".",
    "",
    "...",
    "a/b",
    "a\\b",
    "a\0b",
    "C:x",
    "con",
    "NUL.txt",
    "x" * 5000,
    "é",
    "a b",
    ".hid",
    "a.",
)


def test_the_documented_names():
    assert doctest.testmod(names).failed == 0


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_from_data_is_one_plain_file(text, tmp_path):
    name = safe_name(text)
    assert len(name) <= LONGEST
    assert is_safe_name(name), "a safe name stays as it is"
    assert not is_safe_name(text)
    (tmp_path / name).write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_no_two_texts_share_a_name():
    texts = [*HOSTILE, "a-b", "EVIL", "unnamed", "con-", "x" * 4999, "flickr8k-full"]
    assert len({safe_name(text).lower() for text in texts}) == len(texts)


@pytest.mark.parametrize("text", ["flickr8k", "scan.t2i_lse", "A-b_c.1", "0123456789abcdef"])
def test_a_plain_name_is_kept(text):
    assert safe_name(text) == text


@pytest.mark.parametrize("value", [3, None, ["a"], b"a"])
def test_only_a_text_is_a_name(value):
    assert not is_safe_name(value)


# Claims ---------------------------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from harness.files.locks import claim
with claim(sys.argv[1], "cell") as ours:
    print(ours, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def owner(tmp_path):
    """Another process that holds the claim `cell`."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    yield process
    process.kill()
    process.wait()


def test_a_claim_is_held_by_one_and_ends_with_its_owner_however_it_dies(tmp_path, owner):
    assert is_claimed(tmp_path, "cell")
    with claim(tmp_path, "cell", wait=0) as ours:
        assert not ours
    with claim(tmp_path, "another", wait=0) as ours:
        assert ours
    owner.kill()
    with claim(tmp_path, "cell", wait=30) as ours:
        assert ours
        assert is_claimed(tmp_path, "cell")
    assert not is_claimed(tmp_path, "cell")
    assert list(tmp_path.iterdir()) == [], "nothing is left behind, the killed owner's file included"


def test_waiting_has_an_end(tmp_path, owner):
    start = time.monotonic()
    with claim(tmp_path, "cell", wait=0.3) as ours:
        assert not ours
    assert time.monotonic() - start >= 0.3


def test_an_error_in_the_block_frees_the_claim(tmp_path):
    with pytest.raises(ValueError, match="mine"), claim(tmp_path, "cell"):
        raise ValueError("mine")
    assert not is_claimed(tmp_path, "cell")


COUNT = """
import sys
from pathlib import Path
from harness.files.locks import claim
root = Path(sys.argv[1])
for _ in range(100):
    with claim(root, "count"):
        number = int((root / "n").read_text())
        (root / "n").write_text(str(number + 1))
"""


def test_no_update_is_lost_between_processes(tmp_path):
    """The file of a claim is removed when it is freed; nobody may hold a removed one beside a new one."""
    (tmp_path / "n").write_text("0")
    workers = [subprocess.Popen([sys.executable, "-c", COUNT, str(tmp_path)]) for _ in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert (tmp_path / "n").read_text() == "300"


def test_a_disk_without_locks_is_said_once_and_does_not_stop_the_work(tmp_path, monkeypatch, caplog):
    def no_locks(*_, **__):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks.FileLock, "acquire", no_locks)
    for name in ("a", "b"):
        with claim(tmp_path, name, wait=0) as ours:
            assert ours
    assert [log.getMessage() for log in caplog.records if "has no locks" in log.getMessage()]
    assert len(caplog.records) == 1
