"""`--slurm KEY=VALUE`: what is passed on to sbatch, what is refused, and the script that submitit writes."""

from __future__ import annotations

import pytest

from harness.errors import InvalidSpec
from harness.executors.base import Seat
from harness.executors.batch_options import minutes, parse
from harness.executors.slurm import sbatch_parameters


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        (["partition"], "is not KEY=VALUE"),
        (["partition="], "is not KEY=VALUE"),
        (["partition=a\nrm -r /"], "is not KEY=VALUE"),
        (["=gpu"], "unknown key ''"),
        (["partitoin=gpu"], "did you mean 'partition'"),
        (["array=0-9"], "unknown key 'array'"),
        (["partition=a", "partition=b"], "came twice"),
        (["cluster=local", "cluster=slurm"], "came twice"),
        (["cluster=locl"], "did you mean 'local'"),
        (["time=soon"], "no time limit"),
        (["time=0"], "no time limit"),
        (["time=1:2:3:4"], "no time limit"),
        (["cluster=local", "partition=gpu"], "which cluster=local does not call"),
        (["cluster=debug", "time=10"], "which cluster=debug does not call"),
        (["cluster=debug", "setup=module load cuda"], "starts none"),
    ],
)
def test_what_is_refused(pairs, reason):
    with pytest.raises(InvalidSpec, match="--slurm") as caught:
        parse(pairs)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_keep_their_values():
    options = parse(["gpus_per_node=a100:1", "setup=module load cuda", "setup=source env", "mail-type=END,FAIL"])
    assert options.sbatch == {"gpus-per-node": "a100:1", "mail-type": "END,FAIL"}
    assert options.setup == ("module load cuda", "source env")
    assert options.minutes is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5", 5), ("0:30", 0.5), ("2:00:00", 120), ("1-0", 1440), ("2-3:15", 3075), ("0-0:0:30", 0.5)],
)
def test_time_limits(text, expected):
    assert minutes(text) == expected


@pytest.mark.parametrize(
    ("pairs", "device", "lines", "absent"),
    [
        ([], "cpu", ["--cpus-per-task=3", "--job-name=itm-2", "--signal=USR2@90"], ["--time", "--gpus", "--partition"]),
        ([], "cuda", ["--gpus-per-node=1"], []),
        (["gres=gpu:a100:1"], "cuda", ["--gres=gpu:a100:1"], ["--gpus-per-node"]),
        (
            ["partition=long", "time=2:00:00", "setup=module load cuda"],
            "cpu",
            ["--partition=long", "--time=2:00:00"],
            [],
        ),
        (["time=1"], "cpu", ["--signal=USR2@30"], []),
    ],
)
def test_the_script_of_a_job(tmp_path, pairs, device, lines, absent):
    slurm = pytest.importorskip("submitit.slurm.slurm")
    options = parse(pairs)
    text = slurm._make_sbatch_string("work", tmp_path, **sbatch_parameters(options, Seat(2, device, threads=3)))
    for line in lines:
        assert f"#SBATCH {line}\n" in text
    for option in absent:
        assert option not in text
    assert "srun --unbuffered" in text
    assert "--cpus-per-task=3 work" in text
    assert all(f"\n{command}\n" in text for command in options.setup)


def test_a_job_asks_for_the_gpus_of_its_runs():
    asked = sbatch_parameters(parse([]), Seat(1, "cuda", gpus=4))["additional_parameters"]
    assert asked == {"gpus-per-node": "4"}
