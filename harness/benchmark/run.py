"""Runs the comparison within a time and turns it into rows."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from harness.benchmark import frozen, naive, products, training
from harness.benchmark.cases import ANOTHER_SCORE, LIMIT, MAX_SIM, REFERENCES, Case, scoring_cases
from harness.benchmark.data import Size, make
from harness.benchmark.measure import LONG_ENOUGH_MS, Measured, interleave
from harness.measure.timing import synchronize
from harness.metrics import ranks
from harness.registry import create
from harness.scoring import StreamedScores, product_backends
from harness.training.products.choice import ADVANTAGE

Row = dict[str, Any]
Say = Callable[[str], None]
#: Of a whole run and of a quick one, by default: a quiet machine of two cores needs less.
SECONDS, QUICK_SECONDS = 480.0, 60.0
#: Scoring and ranking from the whole matrix and tile by tile, and the most that the second may take of the first's time.
MATRIX, TILES, STREAMED = "by the matrix", "tile by tile", 1.05


@dataclass(frozen=True)
class Section:
    """A part of the comparison.

    Args:
        name: for the row that says it was left out.
        seconds: that its samples may take on a machine without hurry.
        rows: of its own allowance in seconds.
    """

    name: str
    seconds: float
    rows: Callable[[float], Iterator[Row]]


def sections(say: Say, quick: bool, device: str = "cpu") -> list[Section]:
    """All parts of the comparison; `quick` takes small sizes and leaves out the growth."""
    found = [
        Section(f"{case.name}, {case.size}", case.seconds, partial(scoring_rows, case, say))
        for case in scoring_cases(device, quick)
    ]
    if device == "cpu":
        found.append(Section("ranks", 15.0, partial(rank_rows, say, images=200 if quick else 1000)))
        found.append(Section("frozen tower", 30.0, partial(frozen_rows, say, images=16 if quick else 128)))
        found.append(Section("training products", 40.0, partial(product_rows, say, pairs=16 if quick else 128)))
        found.append(Section("training", 150.0, partial(training_rows, say, pairs=64 if quick else 256)))
    return found


def all_rows(say: Say, seconds: float = SECONDS, quick: bool = False, device: str = "cpu") -> Iterator[Row]:
    """The comparison within a time.

    Args:
        say: told what is being measured.
        seconds: of the whole. What is left is shared out among the sections that are left, in proportion to what they
            would like; a section still takes its fewest samples of each form, so it may end later. When nothing is left,
            sections are left out, with a row that says so.
        quick: small sizes only.
        device: "cpu" or "cuda".
    """
    end = time.monotonic() + seconds
    waiting = sections(say, quick, device)
    while waiting:
        section, left, wanted = waiting[0], end - time.monotonic(), sum(one.seconds for one in waiting)
        waiting = waiting[1:]
        if left > 0:
            yield from section.rows(min(section.seconds, left * section.seconds / wanted))
        else:
            yield {"kind": "skipped", "case": section.name, "goal": f"not measured: the {seconds:g} s were used up"}
    for operands, choice in product_backends().items():
        yield {"kind": "backend", "case": operands, "form": choice["backend"], "goal": str(choice["gflops"])}


def scoring_rows(case: Case, say: Say, seconds: float = math.inf) -> Iterator[Row]:
    """Times of all forms of a case, ratios to the limit and the goals, and each form's largest error; within `seconds`."""
    say(f"{case.name}, {case.size}")
    images, texts = make(case.size, device=case.device, dtype=case.dtype)
    with torch.no_grad():
        calls = {name: _finished(form(images, texts), case.device) for name, form in case.forms.items()}
        wanted = {name: 1 if name in case.slow else case.samples for name in calls}
        long_enough = LONG_ENOUGH_MS if case.device == "cpu" else math.inf
        measured, results = interleave(calls, wanted, seconds, long_enough)
        peaks = {name: _gpu_peak(call, case.device) for name, call in calls.items()}
    medians = {name: m.timing.p50 for name, m in measured.items()}
    limits = [p50 for name, p50 in medians.items() if name.startswith(LIMIT)]
    if limits:
        medians[LIMIT] = min(limits)
    against = next((name for name in REFERENCES if name in results), "")
    for name, m in measured.items():
        comparable = name != against and name not in ANOTHER_SCORE
        yield {
            **_timing(case.name, case.size, name, m),
            "over_product": medians[name] / medians[LIMIT] if limits else None,
            "peak_mib": peaks[name],
            "largest_error": _error(results[name], results.get(against)) if comparable else None,
        }
    for goal in case.goals:
        if goal.form in medians and goal.over in medians:
            ratio = medians[goal.form] / medians[goal.over]
            yield _goal(case.name, case.size, f"{goal.form} / {goal.over}", ratio, str(goal), goal.met(ratio))


def rank_rows(say: Say, seconds: float = math.inf, images: int = 1000) -> Iterator[Row]:
    """Ranks of both directions, 5 captions per image: against the authors' sorting, against the time of scoring, and
    counted tile by tile against counted in the matrix."""
    size = Size(images, 5 * images, 36, 256)
    say(f"ranks, {size.images} x {size.texts}")
    owner = torch.arange(size.texts) // 5
    generator = torch.Generator().manual_seed(0)
    similarity = torch.rand(images, size.texts, generator=generator, dtype=torch.float64).float()
    by_sort = naive.argsort_ranks(similarity, owner)
    equal = all(torch.equal(torch.as_tensor(a), b) for a, b in zip(ranks(similarity, owner), by_sort, strict=True))
    scorer, sides = create("chan", pooling="mean").eval(), make(size)
    matrix = MAX_SIM(*sides)
    calls: dict[str, Callable[[], object]] = {
        "ranks: ours": lambda: ranks(similarity, owner),
        "ranks: authors": lambda: naive.argsort_ranks(similarity, owner),
        "scoring": matrix,
        MATRIX: lambda: ranks(matrix(), owner),
        TILES: lambda: ranks(StreamedScores(scorer, *sides), owner),
    }
    samples = dict.fromkeys(calls, 3) | {"ranks: ours": 7, "ranks: authors": 1}
    measured, found = interleave(calls, samples, seconds)
    for name, m in measured.items():
        yield _timing("ranks", size, name, m)
    share = measured["ranks: ours"].timing.p50 / measured["scoring"].timing.p50
    yield _goal("ranks", size, "ranks / scoring", share, "<= 0.01 and equal to sorting", share <= 0.01 and equal)
    ratio = measured[TILES].timing.p50 / measured[MATRIX].timing.p50
    streamed, whole = (np.concatenate(cast(tuple[np.ndarray, ...], found[name])) for name in (TILES, MATRIX))
    same = np.array_equal(streamed, whole)
    goal = f"<= {STREAMED:g} and the same ranks"
    yield _goal("ranks", size, f"{TILES} / {MATRIX}", ratio, goal, ratio <= STREAMED and same)


def frozen_rows(say: Say, seconds: float = math.inf, images: int = 128) -> Iterator[Row]:
    """The image side of a training step with a frozen tower, from the feature store and with the tower; see `frozen`."""
    say(f"frozen tower, {images} images")
    with tempfile.TemporaryDirectory(prefix="itm-bench-") as folder:
        measured, _ = interleave(
            frozen.calls(Path(folder), images), {frozen.FROM_STORE: 7, frozen.TOWER_RUNS: 1}, seconds
        )
    for name, one in measured.items():
        yield {**_timing("frozen tower", Size(images, 0, 0, 0), name, one), "size": f"{images} images"}
    ratio = measured[frozen.FROM_STORE].timing.p50 / measured[frozen.TOWER_RUNS].timing.p50
    what = f"{frozen.FROM_STORE} / {frozen.TOWER_RUNS}"
    goal = _goal("frozen tower", Size(images, 0, 0, 0), what, ratio, f"<= {frozen.GOAL:g}", ratio <= frozen.GOAL)
    yield {**goal, "size": f"{images} images"}


def product_rows(say: Say, seconds: float = math.inf, pairs: int = 128) -> Iterator[Row]:
    """Training steps on region features by torch's matrix product and by oneDNN's, and what `training.product` should be."""
    for name in products.SCORERS:
        size = Size(pairs, pairs, products.REGIONS, products.WIDTH)
        case = f"training step, {name}"
        say(f"{case}, {size}")
        calls = products.calls(name, size)
        measured, _ = interleave(calls, dict.fromkeys(calls, 3), seconds / len(products.SCORERS))
        for form, one in measured.items():
            yield _timing(case, size, form, one)
        if len(measured) > 1:
            ratio = measured[products.ONEDNN].timing.p50 / measured[products.TORCH].timing.p50
            what = f"{products.ONEDNN} / {products.TORCH}"
            taken = "onednn" if ratio * ADVANTAGE < 1 else "torch"
            yield {"kind": "products", "case": case, "size": str(size), "form": what, "ratio": ratio, "goal": taken}


def training_rows(say: Say, seconds: float = math.inf, pairs: int = 256) -> Iterator[Row]:
    """Training steps, ours and the authors', and the step at twice the batch on 197 patches that the naive form cannot take.

    Args:
        say: told what is being measured.
        seconds: for all steps; a process that has not ended by then is stopped.
        pairs: of a step.
    """
    end = time.monotonic() + seconds
    small, large = Size(pairs, pairs, 36, 1024), Size(2 * pairs, 2 * pairs, 197, 512)
    mib: dict[str, float] = {}

    def row(form: str, size: Size) -> Row:
        say(f"training step, {form}, {size}")
        step = training.measure(form, size, None if math.isinf(end) else max(1.0, end - time.monotonic()))
        told: Row = {"kind": "training", "case": "training", "size": str(size), "form": form}
        if isinstance(step, str):
            return {**told, "goal": step}
        mib[form] = step.mib
        return {**told, "median_ms": 1000 * step.seconds, "peak_mib": step.mib, "loss": step.loss}

    for form in training.FORMS:
        yield row(form, small)
    for scorer, share in training.GOALS.items():
        if {f"{scorer}: ours", f"{scorer}: authors"} <= mib.keys():
            ratio, what = mib[f"{scorer}: ours"] / mib[f"{scorer}: authors"], "training memory, ours / authors"
            yield _goal(scorer, small, what, ratio, f"<= {share:.3f}", ratio <= share)
    yield row("CHAN: ours", large)


def _finished(call: Callable[[], Any], device: str) -> Callable[[], Any]:
    """The call with the work that it gave to a GPU finished."""

    def run() -> Any:
        result = call()
        synchronize(torch.device(device))
        return result

    return run


def _gpu_peak(call: Callable[[], Any], device: str) -> float | None:
    """MiB that a call takes of a GPU's memory at its peak, its result included."""
    if device == "cpu":
        return None
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def _timing(case: str, size: Size, form: str, measured: Measured) -> Row:
    return {
        "kind": "time",
        "case": case,
        "size": str(size),
        "form": form,
        "median_ms": measured.timing.p50,
        "iqr_ms": measured.timing.iqr if len(measured.timing.samples) > 1 else None,
        "minimum_ms": measured.timing.minimum,
        "samples": len(measured.timing.samples),
        "rejected": measured.rejected,
        "foreign_share": measured.foreign,
        "noisy": measured.noisy,
    }


def _goal(case: str, size: Size, what: str, ratio: float, goal: str, met: bool) -> Row:
    return {"kind": "goal", "case": case, "size": str(size), "form": what, "ratio": ratio, "goal": goal, "met": met}


def _error(scores: object, reference: object) -> float | None:
    if not isinstance(scores, torch.Tensor) or not isinstance(reference, torch.Tensor):
        return None
    return float((scores - reference).abs().max())
