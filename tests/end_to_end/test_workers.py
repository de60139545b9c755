"""Worker processes: the records of one process, whatever is killed on the way."""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from forks import Fork
from outcomes import files, finish, state

from harness.files.owners import is_alive

PATIENCE = 120.0


@pytest.fixture
def start(forks, tiny, tmp_path):
    """Start `itm leaderboard` on two methods and two seeds."""
    tiny |= {"scorers": ["scan", "chan"], "seeds": 2, "training": {**tiny["training"], "epochs": 25}}
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny))
    numbers = itertools.count()

    def start(results: Path, workers: int) -> Fork:
        command = ["leaderboard", path, "--results", results, "--workers", workers, "--no-mlflow"]
        return forks.start(*command, log=tmp_path / f"log-{next(numbers)}")

    return start


def until(condition: Callable[[], object], process: Fork | None = None) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process is None or process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """The workers of a command: its child processes but the one that tracks multiprocessing's resources."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            worker = "spawn_main" in (folder / "cmdline").read_text()
        except (OSError, ValueError):
            continue
        if parent == pid and worker:
            found.append(int(folder.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the workers of a command in /proc")
def test_the_numbers_are_those_of_one_process_whoever_is_killed(start, tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    finish(start(alone, 1))

    process = start(together, 2)
    until(lambda: len(list(together.glob("runs/*/checkpoint.pt"))) == 2, process)  # each worker is at a run of its own
    workers = children(process.pid)
    assert len(workers) == 2
    process.kill()
    process.communicate()
    until(lambda: not any(map(is_alive, workers)))  # nothing works on in the background
    assert list(together.glob("runs/*/checkpoint.pt")), "what was trained is kept"

    seen = {path: path.stat().st_mtime_ns for path in together.glob("runs/*/progress.json")}
    process = start(together, 2)
    until(lambda: any(path.exists() and path.stat().st_mtime_ns > seen[path] for path in seen), process)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    text = finish(process)
    assert state(together) == state(alone)
    assert files(together) == files(alone)
    assert not list(together.rglob(".*"))
    assert "[4/4]" in text


PLUGIN = """
import os
from harness.baselines.chan import Chan

class Crash(Chan):
    def losses(self, images, texts, image_ids):
        os.abort()
"""


def test_a_run_that_ends_its_workers_is_given_up_and_the_others_are_kept(itm, tiny, tmp_path, monkeypatch):
    (tmp_path / "crash.py").write_text(PLUGIN)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**tiny, "scorers": ["crash", "chan"]}))
    command = ["leaderboard", tmp_path / "tiny.yaml", "--plugin", tmp_path / "crash.py", "--workers", 2, "--no-mlflow"]
    code, out, err = itm(*command)
    assert code == 1
    # 4 where the other worker has nothing else left, and takes the run before the command has seen its third worker end.
    assert re.search(r"crash seed 0 failed: these settings ended their worker [34] times: abort \(SIGABRT\)\n", err), (
        err
    )
    assert "chan seed 0: full rSum" in err
    assert "chan" in out


@pytest.mark.parametrize("value", ["0", "-1", "two"])
def test_a_number_of_workers_that_is_none_is_refused(itm, value):
    code, _, err = itm("leaderboard", "quickstart", "--workers", value)
    assert code == 2
    assert "--workers" in err
    assert len(err.splitlines()) == 1
