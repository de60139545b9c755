"""A leaderboard that is killed again and again ends as one that never was: same files, no leftovers, a whole mirror.

`ITM_KILLS=30 pytest tests/end_to_end/test_kills.py` is the full run; two kills stand for it otherwise. They strike at
moments drawn from all at which something changes on the disk, see `moments.py`.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from pathlib import Path

import pytest
import yaml
from forks import Fork
from outcomes import files, finish, mirrored, state

KILLS = int(os.environ.get("ITM_KILLS", "2"))


@pytest.fixture
def command(forks, tiny, tmp_path):
    """Start `itm leaderboard`, which kills itself at a moment of its results folder; -1 = counts the moments, 0 = neither."""
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump({**tiny, "scorers": ["scan", "chan"]}))
    numbers = itertools.count()

    def start(results: Path, moment: int = 0) -> Fork:
        before = [("moments", "kill_at", moment, str(results))] if moment else []
        log = tmp_path / f"log-{next(numbers)}"
        return forks.start("leaderboard", path, "--results", results, log=log, before=before)

    return start


def test_kills_change_nothing(command, tmp_path):
    straight = tmp_path / "straight"
    moments = int(finish(command(straight, -1)).rpartition("moments: ")[2])
    expected, names = state(straight), files(straight)
    assert len(expected) == 2
    assert mirrored(straight) == [("chan seed 0", "FINISHED"), ("scan seed 0", "FINISHED"), ("tiny", "FINISHED")]

    draw = random.Random(12)
    results, struck = tmp_path / "killed-0", 0
    while struck < KILLS:
        process = command(results, draw.randint(1, moments))
        process.communicate(timeout=300)
        if process.returncode == -signal.SIGKILL:
            struck += 1
        else:  # came to its end first: once more from the start
            assert (state(results), files(results), mirrored(results)) == (expected, names, mirrored(straight))
            results = tmp_path / f"killed-{struck}-{draw.random()}"
    finish(command(results))
    assert state(results) == expected
    assert files(results) == names
    assert mirrored(results) == mirrored(straight)


def test_three_commands_on_one_folder_do_the_work_once_and_all_show_the_whole(command, tmp_path):
    results = tmp_path / "shared"
    texts = [finish(process) for process in [command(results) for _ in range(3)]]
    tables = [text[text.index("Tier") :] for text in texts]
    assert tables[0] == tables[1] == tables[2]
    ended = [line for text in texts for line in text.splitlines() if line.startswith("[")]
    already = sum(int(text.partition(" already recorded")[0].rpartition(" ")[2]) for text in texts)
    ours = [line for line in ended if "by another command" not in line]
    assert len(ours) == 2, ended
    assert len(ended) + already == 3 * 2
    assert mirrored(results) == [("chan seed 0", "FINISHED"), ("scan seed 0", "FINISHED"), ("tiny", "FINISHED")]
    assert not list(results.rglob(".*"))


@pytest.mark.parametrize(
    ("numbers", "code"), [([signal.SIGTERM], 143), ([signal.SIGINT, signal.SIGINT], 130)], ids=["SIGTERM", "two SIGINT"]
)
def test_a_signal_ends_a_command_in_order(command, tiny, tmp_path, numbers, code):
    long = yaml.safe_load((tmp_path / "tiny.yaml").read_text())
    long["training"]["epochs"] = 2000
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(long))
    results = tmp_path / "results"
    process = command(results)
    deadline = time.monotonic() + 240
    while not list(results.glob("runs/*/checkpoint.pt")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.02)  # two signals that wait at once would be one
    text, _ = process.communicate(timeout=60)
    assert process.returncode == code, text
    assert "Traceback" not in text
    assert text.splitlines()[-1] == "itm: interrupted; the same command continues where it stopped"
    assert mirrored(results) == [("tiny", "KILLED")]
    assert not list(results.rglob(".*"))
