"""Files of a results folder: names that stay in it, and claims that end with their owners."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import ResultsNotWritable
from harness.files import locks, names
from harness.files.locks import claim, is_claimed
from harness.files.names import LONGEST, is_safe_name, safe_name
from harness.files.owners import this_machine
from harness.files.writing import atomic_path, require_inside, set_aside

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
import sys
from harness.files.locks import claim
with claim(sys.argv[1], "cell") as ours:
    print(ours, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def owner(tmp_path):
    """Another process that holds the claim `cell`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
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


def test_waiting_has_an_end(tmp_path, owner, monkeypatch):
    acquire, asked = locks.FileLock.acquire, []

    def spied(lock, timeout, **options):
        asked.append(timeout)
        return acquire(lock, timeout, **options)

    monkeypatch.setattr(locks.FileLock, "acquire", spied)
    with claim(tmp_path, "cell", wait=0.3) as ours:
        assert not ours
    assert asked == [0.3]


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


def test_a_folder_of_locks_that_another_owner_removes_meanwhile_is_made_again(tmp_path, monkeypatch):
    """`mkdir` finds the folder there, then not: it says that it exists, and it does not."""
    make, seen = Path.mkdir, []

    def overtaken(path, *args, **kwargs):
        seen.append(path)
        if len(seen) == 1:
            raise FileExistsError(17, "File exists")
        make(path, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", overtaken)
    with claim(tmp_path, "cell", wait=0) as ours:
        assert ours


def test_a_file_in_the_place_of_the_locks_is_named(tmp_path):
    (tmp_path / locks.FOLDER).write_text("no folder")
    with pytest.raises(ResultsNotWritable, match="is not a folder"), claim(tmp_path, "cell"):
        pass


def test_a_disk_without_locks_is_said_once_and_does_not_stop_the_work(tmp_path, monkeypatch, caplog):
    def no_locks(*_, **__):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks.FileLock, "acquire", no_locks)
    for name in ("a", "b"):
        with claim(tmp_path, name, wait=0) as ours:
            assert ours
    assert [log.getMessage() for log in caplog.records if "has no locks" in log.getMessage()]
    assert len(caplog.records) == 1


# Writing --------------------------------------------------------------------------------------------------------------

FULL = """
import resource, sys
from pathlib import Path
import numpy as np, torch
from safetensors.torch import save_file
from harness.errors import ItmError
from harness.files.writing import atomic_path
writers = {
    "text": lambda path: path.write_text("x" * 10_000),
    "numpy": lambda path: np.save(path.open("wb"), np.zeros(10_000)),
    "npz": lambda path: np.savez_compressed(path.open("wb"), np.random.default_rng(0).random(10_000)),
    "torch": lambda path: torch.save({"a": torch.zeros(10_000)}, path),
    "safetensors": lambda path: save_file({"a": torch.zeros(10_000)}, path),
}
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
for name, write in writers.items():
    try:
        with atomic_path(Path(sys.argv[1]) / name) as path:
            write(path)
    except ItmError as error:
        print(error)
"""


def test_a_full_disk_is_named_whoever_writes(tmp_path):
    """A limit of the file size stands for a full disk: writing stops in the middle, with an error of the system."""
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("cannot write") and line.endswith(": File too large") for line in lines), lines
    assert list(tmp_path.iterdir()) == []


def test_the_next_write_removes_what_a_killed_one_left(tmp_path):
    machine = this_machine()
    dead = tmp_path / f".a.json.{machine}-99999999-0123abcd"
    alive = tmp_path / f".a.json.{machine}-{os.getpid()}-0123abcd"
    foreign, old = tmp_path / ".a.json.ffffff-1-0123abcd", tmp_path / ".a.json.ffffff-2-0123abcd"
    another = tmp_path / f".b.json.{machine}-99999999-0123abcd"
    mine = tmp_path / ".hidden.json"
    for path in (dead, alive, foreign, old, another, mine):
        path.write_text("half")
    os.utime(old, (0, 0))
    with atomic_path(tmp_path / "a.json") as path:
        path.write_text("whole")
    assert not dead.exists()
    assert not old.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", alive.name, foreign.name, another.name, mine.name}


def test_two_damages_of_one_file_are_both_kept(tmp_path):
    for content in ("first", "second"):
        (tmp_path / "a.json").write_text(content)
        assert set_aside(tmp_path / "a.json", "no JSON") is not None
    assert {path.read_text() for path in tmp_path.iterdir()} == {"first", "second"}


def test_a_link_that_leads_out_of_a_folder_is_refused(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link").symlink_to(tmp_path)
    require_inside(tmp_path / "inside" / "new", tmp_path / "inside")
    with pytest.raises(ResultsNotWritable, match="is a link to"):
        require_inside(tmp_path / "inside" / "link", tmp_path / "inside")
