"""What workers and sleeping threads bring: run `python -m tests.studies.scale`.

Times `itm leaderboard quickstart`, shortened, in several arrangements, in turn, so that a passing load hits all of them,
and prints ratios within a round. About 8 minutes on two quiet CPUs. What else ran on the machine stands beside each figure:
above 6 % it is not to be trusted.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from harness.machine.cpus import usable_cpus
from harness.measure.system import cpu_seconds

#: Seconds that a command may take.
LONGEST = 1800
SPIN = {"OMP_WAIT_POLICY": "active"}


@dataclass(frozen=True)
class Arrangement:
    """How the same runs are made.

    Args:
        threads: compute threads of each run.
        workers: processes; 0 = as many as the command takes by itself.
        beside: busy processes that compute on the same machine, one CPU each.
        environment: variables that the command is given.
    """

    threads: int = 1
    workers: int = 0
    beside: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, results: Path, epochs: int, seeds: int) -> list[str]:
        """The command, which keeps its runs in a folder of its own."""
        settings = (f"threads={self.threads}", f"training.epochs={epochs}", f"seeds={seeds}", "scorers=[scan,clip]")
        count = ["--workers", str(self.workers)] if self.workers else []
        main = [sys.executable, "-m", "harness.cli.main", "leaderboard", "quickstart", "--no-mlflow", *count]
        return [*main, "--results", str(results), *(part for value in settings for part in ("--set", value))]


@dataclass(frozen=True)
class Sample:
    """One command: its seconds, and the share of all CPUs that neither it nor our busy processes took, in percent."""

    seconds: float
    other: float


@dataclass(frozen=True)
class Claim:
    """A ratio of the seconds of two arrangements.

    Args:
        text: what it says.
        upper, lower: names of the arrangements: seconds of the first one over those of the second one.
        goal: which the ratio should reach, or stay below.
        least: whether it is the smallest ratio that is wanted, or the largest.
    """

    text: str
    upper: str
    lower: str
    goal: float
    least: bool = True


def arrangements(cpus: int) -> dict[str, Arrangement]:
    """What is timed on a machine of so many CPUs."""
    return {
        f"1 worker, {cpus} threads that spin": Arrangement(cpus, 1, environment=SPIN),
        f"1 worker, {cpus} threads": Arrangement(cpus, 1),
        "1 worker, 1 thread": Arrangement(1, 1),
        f"{cpus} workers, 1 thread each": Arrangement(1, cpus),
        "default": Arrangement(),
        "default beside 1 busy process": Arrangement(beside=1),
        f"1 worker, {cpus} threads beside 1 busy process": Arrangement(cpus, 1, beside=1),
        f"1 worker, {cpus} threads that spin beside 1 busy process": Arrangement(cpus, 1, beside=1, environment=SPIN),
    }


def claims(cpus: int) -> list[Claim]:
    """What the ratios should be."""
    shared = f"1 worker, {cpus} threads"
    workers = f"{cpus} workers, 1 thread each"
    beside = "beside 1 busy process"
    return [
        Claim(f"throughput of {workers} over one process of {cpus} threads", shared, workers, 1.7),
        Claim("the same, over threads that spin", f"{shared} that spin", workers, 1.7),
        Claim(f"throughput of {workers} over one process of one thread", "1 worker, 1 thread", workers, 0.9 * cpus),
        Claim("time beside one busy process over quiet time", f"default {beside}", "default", 1.6, least=False),
        Claim(f"the same, one process of {cpus} threads", f"{shared} {beside}", shared, 1.6, least=False),
        Claim("the same, threads that spin", f"{shared} that spin {beside}", f"{shared} that spin", 1.6, least=False),
    ]


def ratios(claim: Claim, rounds: Sequence[Mapping[str, Sample]]) -> list[float]:
    """The claim's ratio in each round, in rising order."""
    return sorted(samples[claim.upper].seconds / samples[claim.lower].seconds for samples in rounds)


def table(rounds: Sequence[Mapping[str, Sample]]) -> Iterator[str]:
    """Seconds and other load of each arrangement: median, smallest and largest."""
    for name in rounds[0]:
        seconds = sorted(samples[name].seconds for samples in rounds)
        other = max(samples[name].other for samples in rounds)
        yield f"{name:<55} {median(seconds):7.1f} s ({seconds[0]:.1f} to {seconds[-1]:.1f}); others up to {other:.0f} %"


def verdicts(claims: Sequence[Claim], rounds: Sequence[Mapping[str, Sample]]) -> Iterator[str]:
    """Each claim with its ratio and its goal."""
    for claim in claims:
        found = ratios(claim, rounds)
        reached = median(found) >= claim.goal if claim.least else median(found) <= claim.goal
        goal = f"goal {'>=' if claim.least else '<='} {claim.goal:.2f}: {'reached' if reached else 'MISSED'}"
        yield f"{claim.text}: {median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f}); {goal}"


def timed(arrangement: Arrangement, epochs: int, seeds: int) -> Sample:
    """Run a command from an empty results folder."""
    kept = {name: value for name, value in os.environ.items() if name not in (*SPIN, "ITM_WORKERS", "OMP_NUM_THREADS")}
    before, own = cpu_seconds(), _children()
    with tempfile.TemporaryDirectory() as folder, busy(arrangement.beside):
        command = arrangement.command(Path(folder), epochs, seeds)
        start = time.perf_counter()
        done = subprocess.run(
            command, env={**kept, **arrangement.environment}, capture_output=True, text=True, timeout=LONGEST
        )
        seconds = time.perf_counter() - start
    after, own = cpu_seconds(), _children() - own
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    if before is None or after is None:
        return Sample(seconds, float("nan"))
    return Sample(seconds, max(0.0, 100 * (after[0] - before[0] - own) / (after[1] - before[1])))


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes compute meanwhile."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _children() -> float:
    """CPU seconds of the child processes that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="of all arrangements")
    parser.add_argument("--epochs", type=int, default=3, help="of each run; the quickstart has 8")
    parser.add_argument("--seeds", type=int, default=2, help="of two scorers: the runs are twice as many")
    options = parser.parse_args()
    cpus = max(2, usable_cpus())
    timed(Arrangement(1, 1), 1, 1)  # makes the data, and reads torch into memory
    rounds: list[dict[str, Sample]] = []
    for number in range(options.rounds):
        rounds.append({})
        order = list(arrangements(cpus).items())
        for name, arrangement in order if number % 2 == 0 else reversed(order):
            found = rounds[-1][name] = timed(arrangement, options.epochs, options.seeds)
            print(f"round {number + 1}: {name}: {found.seconds:.1f} s; others {found.other:.0f} %", file=sys.stderr)
    for line in (*table(rounds), *verdicts(claims(cpus), rounds)):
        print(line)


if __name__ == "__main__":
    main()
