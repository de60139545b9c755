"""Options of `--executor slurm`: `cluster`, `setup`, and options of SLURM's own `sbatch`, by their long names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.errors import InvalidSpec, did_you_mean, one_line

#: Where submitit submits to: SLURM; processes of this machine; this process.
CLUSTERS = ("slurm", "local", "debug")
#: Of `sbatch`, https://slurm.schedmd.com/sbatch.html; those that name the job's place, size, limits and bill.
SBATCH = (
    "account",
    "begin",
    "cluster-constraint",
    "clusters",
    "comment",
    "constraint",
    "cpus-per-gpu",
    "deadline",
    "exclude",
    "export",
    "gpus-per-node",
    "gres",
    "licenses",
    "mail-type",
    "mail-user",
    "mem",
    "mem-per-cpu",
    "mem-per-gpu",
    "nice",
    "nodelist",
    "partition",
    "priority",
    "qos",
    "reservation",
    "threads-per-core",
    "time",
    "tmp",
    "wckey",
)
#: Those that ask for GPUs; without one of them, a worker on a GPU asks for one.
GPU_OPTIONS = ("gpus-per-node", "gres")
_TIME = re.compile(r"(?:(?P<days>\d+)-(?P<clock>\d+(?::\d+){0,2}))|(?P<plain>\d+(?::\d+){0,2})")


@dataclass(frozen=True)
class BatchOptions:
    """How jobs are submitted.

    Args:
        cluster: one of `CLUSTERS`.
        setup: shell commands that run before the worker.
        sbatch: options by their names.
    """

    cluster: str = "slurm"
    setup: tuple[str, ...] = ()
    sbatch: dict[str, str] = field(default_factory=dict)

    @property
    def minutes(self) -> float | None:
        """The time limit; None = that of the partition."""
        return minutes(self.sbatch["time"]) if "time" in self.sbatch else None


def parse(pairs: Iterable[str]) -> BatchOptions:
    """Options from `KEY=VALUE` texts; `setup` may come several times.

    Raises:
        InvalidSpec: an unknown or repeated key, no value, or an option that the cluster cannot keep.

    >>> parse(["partition=gpu", "time=4:00:00"]).sbatch
    {'partition': 'gpu', 'time': '4:00:00'}
    """
    cluster, setup, sbatch = "", [], {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip().replace("_", "-")
        if not equals or not value.strip() or not value.isprintable():
            raise InvalidSpec(f"--slurm '{one_line(pair)}' is not KEY=VALUE, for example partition=gpu")
        if key == "setup":
            setup.append(value)
        elif key not in ("cluster", *SBATCH):
            raise InvalidSpec(f"unknown key '{key}' of --slurm{did_you_mean(key, ('cluster', 'setup', *SBATCH))}")
        elif key in sbatch or (key == "cluster" and cluster):
            raise InvalidSpec(f"--slurm {key}=... came twice")
        elif key == "cluster":
            cluster = value
        else:
            sbatch[key] = value
    options = BatchOptions(cluster or CLUSTERS[0], tuple(setup), sbatch)
    _check(options)
    return options


def minutes(time: str) -> float:
    """SLURM's notation of a time limit, in minutes.

    >>> [minutes(text) for text in ("90", "30:30", "1:30:00", "1-12", "1-12:30")]
    [90.0, 30.5, 90.0, 2160.0, 2190.0]

    Raises:
        InvalidSpec: another notation, or no time at all.
    """
    match = _TIME.fullmatch(time)
    total = 0.0
    if match and match["plain"]:
        parts = [int(part) for part in match["plain"].split(":")]
        hours, minute, second = {1: (0, *parts, 0), 2: (0, *parts), 3: tuple(parts)}[len(parts)]
        total = hours * 60 + minute + second / 60
    elif match:
        hours, minute, second = (*map(int, match["clock"].split(":")), 0, 0)[:3]
        total = int(match["days"]) * 24 * 60 + hours * 60 + minute + second / 60
    if not total:
        raise InvalidSpec(f"--slurm time={time} is no time limit; write MINUTES, HH:MM:SS or DAYS-HH:MM:SS")
    return total


def _check(options: BatchOptions) -> None:
    if options.cluster not in CLUSTERS:
        raise InvalidSpec(f"unknown cluster '{options.cluster}' of --slurm{did_you_mean(options.cluster, CLUSTERS)}")
    if "time" in options.sbatch:
        minutes(options.sbatch["time"])
    known = {"slurm": SBATCH, "local": ("time",), "debug": ()}[options.cluster]
    for key in options.sbatch:
        if key not in known:
            raise InvalidSpec(
                f"--slurm {key}=... is an option of sbatch, which cluster={options.cluster} does not call"
            )
    if options.setup and options.cluster == "debug":
        raise InvalidSpec("--slurm setup=... runs before a worker's process, and cluster=debug starts none")
