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


#: A method whose trainings wait in their second epoch while the gate is closed.
PAUSED = """
import os, time
from pathlib import Path
from harness.baselines.scan import Scan

GATE = Path({gate!r})

class Paused(Scan):
    steps = 0

    def losses(self, images, texts, image_ids):
        self.steps += 1
        if self.steps == 9:
            (GATE / f"{{os.getpid()}}.waits").touch()
            patience = 12_000
            while (GATE / "closed").exists() and (patience := patience - 1):
                time.sleep(0.01)
        return super().losses(images, texts, image_ids)
"""


@pytest.fixture
def start(forks, tiny, tmp_path):
    """Start `itm leaderboard` on two methods and two seeds."""
    tiny |= {"scorers": ["paused", "chan"], "seeds": 2, "training": {**tiny["training"], "epochs": 3}}
    path, plugin = tmp_path / "tiny.yaml", tmp_path / "paused.py"
    path.write_text(yaml.safe_dump(tiny))
    plugin.write_text(PAUSED.format(gate=str(tmp_path)))
    numbers = itertools.count()

    def start(results: Path, workers: int) -> Fork:
        options = ["--plugin", plugin, "--results", results, "--workers", workers, "--no-mlflow"]
        return forks.start("leaderboard", path, *options, log=tmp_path / f"log-{next(numbers)}")

    return start


def until(condition: Callable[[], object], process: Fork | None = None) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process is None or process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def waiting(process: Fork, gate: Path) -> list[int]:
    """The two workers of a command, once both wait at the gate."""
    until(lambda: len(list(gate.glob("*.waits"))) == 2, process)
    marks = list(gate.glob("*.waits"))
    for mark in marks:
        mark.unlink()
    return [int(mark.stem) for mark in marks]


def test_the_numbers_are_those_of_one_process_whoever_is_killed(start, tmp_path):
    alone, together, gate = tmp_path / "alone", tmp_path / "together", tmp_path / "closed"
    finish(start(alone, 1))
    for mark in tmp_path.glob("*.waits"):
        mark.unlink()

    gate.touch()
    process = start(together, 2)
    workers = waiting(process, tmp_path)  # each at a run of its own
    process.kill()
    process.communicate()
    until(lambda: not any(map(is_alive, workers)))  # nothing works on in the background
    assert len(list(together.glob("runs/*/checkpoint.pt"))) == 2, "what was trained is kept"

    process = start(together, 2)
    os.kill(waiting(process, tmp_path)[0], signal.SIGKILL)
    gate.unlink()
    text = finish(process)
    assert sorted(re.findall(r"paused seed \d: epoch 2/3", text)) == [
        f"paused seed {seed}: epoch 2/3" for seed in (0, 1)
    ]
    assert not re.search(r"paused seed \d: epoch 1/3", text), "what was trained is used"
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
