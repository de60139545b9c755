"""Ray and SLURM (by submitit's executors for one machine): the records of one process, whoever is killed on the way."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from contextlib import closing

import pytest
import torch
import yaml
from outcomes import files, state

#: A method that kills a process once in its second epoch, where a file says which one: a worker, or what started it.
MORTAL = """
import os, signal, time
from pathlib import Path
from harness.baselines.chan import Chan

TARGET = Path(__file__).with_suffix(".target")
STEPS = 0

class Mortal(Chan):
    def losses(self, images, texts, image_ids):
        global STEPS
        STEPS += 1
        if STEPS == 9 and TARGET.exists():
            target = TARGET.read_text()
            TARGET.unlink()
            os.kill(os.getpid() if target == "worker" else os.getppid(), signal.SIGKILL)
            time.sleep(600)  # a worker without its node ends with the command
        return super().losses(images, texts, image_ids)
"""
RAY = pytest.param(
    ("--executor", "ray"),
    id="ray",
    marks=pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra 'ray'"),
)
SUBMITIT = [pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="needs the extra 'slurm'")]
LOCAL = pytest.param(("--executor", "slurm", "--slurm", "cluster=local"), id="submitit local", marks=SUBMITIT)
DEBUG = pytest.param(("--executor", "slurm", "--slurm", "cluster=debug"), id="submitit debug", marks=SUBMITIT)


@pytest.fixture
def leaderboard(itm, tiny, tmp_path):
    """Run two methods with two seeds in a results folder, two epochs each."""
    (tmp_path / "mortal.py").write_text(MORTAL)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**tiny, "scorers": ["scan", "mortal"], "seeds": 2}))

    def run(results, *options: object) -> tuple[int, str]:
        command = ("leaderboard", tmp_path / "tiny.yaml", "--plugin", tmp_path / "mortal.py", "--results", results)
        code, _, err = itm(*command, "--no-mlflow", *options)
        assert "Traceback" not in err
        return code, err

    return run


_ALONE: list[tuple[object, object]] = []


@pytest.fixture
def alone(leaderboard, tmp_path):
    """Records and files of one process; made once."""
    if not _ALONE:
        assert leaderboard(tmp_path / "alone", "--workers", 1)[0] == 0
        _ALONE.append((state(tmp_path / "alone"), files(tmp_path / "alone")))
    return _ALONE[0]


@pytest.mark.parametrize("options", [RAY, LOCAL, DEBUG])
def test_the_records_are_those_of_one_process_though_a_worker_is_killed(leaderboard, alone, tmp_path, options):
    debug = options[-1] == "cluster=debug"
    if not debug:  # where the worker is this process
        (tmp_path / "mortal.target").write_text("worker")
    code, err = leaderboard(tmp_path / "cluster", "--workers", 2, *options)
    assert code == 0, err
    assert "[4/4]" in err
    assert not (tmp_path / "mortal.target").exists()
    assert state(tmp_path / "cluster") == alone[0]
    kept = {name for name in files(tmp_path / "cluster") if not name.startswith("slurm-logs/")}
    assert kept == alone[1]


@pytest.mark.parametrize("options", [RAY])
def test_without_rays_node_the_command_ends_in_one_line_and_the_next_one_continues(
    leaderboard, alone, tmp_path, options
):
    (tmp_path / "mortal.target").write_text("node")
    code, err = leaderboard(tmp_path / "cluster", "--workers", 2, *options)
    assert code == 1
    assert err.splitlines()[-1].startswith("itm: error: the Ray node of this machine is gone")
    assert leaderboard(tmp_path / "cluster", "--workers", 1)[0] == 0
    assert state(tmp_path / "cluster") == alone[0]


def free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ("--executor", "ray", "--ray-address", "127.0.0.1:{port}"),
            "no Ray cluster can be reached at 127.0.0.1:{port}",
        ),
        (("--executor", "ray", "--ray-address", "ray://head:10001"), "--ray-address auto"),
        (("--executor", "ray", "--ray-address", "head"), "neither HOST:PORT nor auto nor local"),
        (("--executor", "slurm", "--workers", "2"), "SLURM is not on this machine (no sbatch)"),
        (("--executor", "slurm", "--slurm", "cluster=local"), "needs --workers"),
        (("--executor", "slurm", "--slurm", "partitoin=gpu"), "did you mean 'partition'"),
        (("--ray-address", "auto"), "--ray-address is an option of --executor ray"),
        (("--slurm", "partition=gpu"), "--slurm is an option of --executor slurm"),
        (("--executor", "kubernetes"), "'kubernetes'"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(leaderboard, tmp_path, monkeypatch, options, expected):
    for module in {"ray": ["ray"], "slurm": ["submitit"]}.get(options[1], []):
        pytest.importorskip(module)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ITM_WORKERS")
    port = free_port()
    code, err = leaderboard(tmp_path / "results", *(option.format(port=port) for option in options))
    assert code == 2
    assert expected.format(port=port) in err.splitlines()[-1]
    assert not list((tmp_path / "results").glob("runs/*/record.json"))


def test_a_mistyped_option_of_slurm_is_told_before_data_are_read(leaderboard, tmp_path):
    code, err = leaderboard(
        tmp_path / "results", "--executor", "slurm", "--workers", "2", "--slurm", "partitoin=gpu", "--dry-run"
    )
    assert (code, len(err.splitlines())) == (2, 1), err
    assert "did you mean 'partition'" in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("executor", [LOCAL, DEBUG])
def test_a_job_without_the_gpu_that_it_asked_for_fails_no_run(leaderboard, tmp_path, executor):
    code, err = leaderboard(tmp_path / "results", *executor, "--workers", "1", "--device", "cuda")
    assert code != 0
    assert "0 GPUs that torch can use, where a run needs 1" in err
    assert not list((tmp_path / "results").glob("runs/*/record.json")), "no run is recorded as failed"


@pytest.mark.parametrize(("executor", "module", "extra"), [("ray", "ray", "ray"), ("slurm", "submitit", "slurm")])
def test_an_extra_that_is_missing_is_named(leaderboard, tmp_path, monkeypatch, executor, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    code, err = leaderboard(tmp_path / "results", "--executor", executor, "--workers", 2)
    assert code == 2
    assert err.splitlines()[-1].endswith(f"pip install -e '.[{extra}]'")


def test_the_address_of_the_environment_is_rays_only(leaderboard, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    assert leaderboard(tmp_path / "results", "--workers", 1)[0] == 0
    code, err = leaderboard(tmp_path / "others", "--executor", "ray")
    assert (code, "no Ray cluster can be reached" in err) == (2, True) or importlib.util.find_spec("ray") is None


def test_the_command_line_loads_neither(tmp_path):
    """Both are large, and most users have no cluster."""
    script = "import sys, harness.cli.options, harness.executors.choice; print({'ray', 'submitit'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout == "set()\n"
