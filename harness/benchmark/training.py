"""Time and peak memory of one training step, each in a process of its own (Linux: the peak is read from /proc)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.benchmark import naive
from harness.benchmark.data import Size, make
from harness.benchmark.forms import Score, training_loss, with_gradients
from harness.measure.system import peak_memory
from harness.measure.timing import Stopwatch
from harness.registry import create

MIB = 1024**2

FORMS: dict[str, Callable[[], Score]] = {
    "CHAN: ours": lambda: create("chan", pooling="mean").score,
    "CHAN: authors": lambda: naive.chan,
    "SCAN t2i: ours": lambda: create("scan").score,
    "SCAN t2i: authors": lambda: naive.scan_t2i,
    "SCAN i2t: ours": lambda: create("scan", direction="i2t").score,
    "SCAN i2t: authors": lambda: naive.scan_i2t,
}
#: Largest share of the authors' memory that ours may take: a goal of the engine.
GOALS = {"CHAN": 1 / 5, "SCAN t2i": 1 / 6, "SCAN i2t": 1 / 6}


@dataclass(frozen=True)
class Step:
    """One step: seconds of forward and backward, peak memory over the inputs, and the loss as a check."""

    seconds: float
    mib: float
    loss: float


def measure(form: str, size: Size, seconds: float | None = None) -> Step | str:
    """One step of `form` in a fresh process; a text says why it failed (killed for its memory or its time, ...)."""
    arguments = [str(n) for n in (size.images, size.texts, size.regions, size.width)]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "harness.benchmark.training", form, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return f"stopped after {seconds:.0f} s"
    if done.returncode:
        return f"exit {done.returncode}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"
    return Step(**json.loads(done.stdout.splitlines()[-1]))


def _step(form: str, size: Size) -> Step:
    score = FORMS[form]()
    training_loss(score, *with_gradients(*make(Size(4, 4, 4, size.width))))  # loads the libraries
    sides = with_gradients(*make(size))
    before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    with peak_memory() as peak, Stopwatch() as watch:
        loss = training_loss(score, *sides)
    return Step(watch.ms / 1000, peak["peak_rss_mib"] - before / MIB, float(loss))


if __name__ == "__main__":
    name, *numbers = sys.argv[1:]
    print(json.dumps(_step(name, Size(*map(int, numbers))).__dict__))
