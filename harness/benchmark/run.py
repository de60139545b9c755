"""Runs the comparison and turns it into rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from harness.benchmark import cases, naive, training
from harness.benchmark.data import Size, make
from harness.benchmark.measure import Measured, interleave
from harness.metrics import ranks
from harness.scoring import product_backends, similarity_matrix

Row = dict[str, Any]
Say = Callable[[str], None]


def scoring_rows(case: cases.Case, say: Say) -> Iterator[Row]:
    """Times of all forms of a case, ratios to the limit and the goals, and each form's largest error."""
    say(f"{case.name}, {case.size}")
    images, texts = make(case.size)
    calls = {name: form(images, texts) for name, form in case.forms.items()}
    with torch.no_grad():
        results = {name: call() for name, call in calls.items()}
        measured = interleave(calls, {name: 1 if name in case.slow else case.samples for name in calls})
    medians = {name: m.timing.p50 for name, m in measured.items()}
    products = {name: p50 for name, p50 in medians.items() if name.startswith(cases.LIMIT)}
    if products:
        medians[cases.LIMIT] = min(products.values())
    reference = results.get("authors")
    for name, m in measured.items():
        yield {
            **_timing(case.name, case.size, name, m),
            "over_product": medians[name] / medians[cases.LIMIT] if products else None,
            "largest_error": _error(results[name], reference) if name != "authors" else None,
        }
    for goal in case.goals:
        if goal.form in medians and goal.over in medians:
            ratio = medians[goal.form] / medians[goal.over]
            yield _goal(case.name, str(case.size), f"{goal.form} / {goal.over}", ratio, str(goal), goal.met(ratio))


def training_rows(say: Say) -> Iterator[Row]:
    """Training steps of 256 pairs, ours and the authors', and the step that the naive form cannot take."""
    size = Size(256, 256, 36, 1024)
    steps: dict[str, training.Step] = {}
    for form in training.FORMS:
        say(f"training step, {form}, {size}")
        step = training.measure(form, size)
        yield _step(form, size, step)
        if isinstance(step, training.Step):
            steps[form] = step
    for scorer, share in training.GOALS.items():
        ours, authors = steps.get(f"{scorer}: ours"), steps.get(f"{scorer}: authors")
        if ours and authors:
            ratio = ours.mib / authors.mib
            what = "training memory, ours / authors"
            yield _goal(scorer, str(size), what, ratio, f"<= {share:.3f}", ratio <= share)
    large = Size(512, 512, 197, 512)
    say(f"training step, CHAN: ours, {large}")
    yield _step("CHAN: ours", large, training.measure("CHAN: ours", large))


def rank_rows(say: Say) -> Iterator[Row]:
    """Ranks of both directions against the authors' sorting, and against the time of scoring."""
    images, captions = 1000, 5000
    say(f"ranks, {images} x {captions}")
    owner = torch.arange(captions) // 5
    similarity = torch.rand(images, captions, generator=torch.Generator().manual_seed(0), dtype=torch.float64).float()
    by_sort = naive.argsort_ranks(similarity, owner)
    equal = all(torch.equal(torch.as_tensor(a), b) for a, b in zip(ranks(similarity, owner), by_sort, strict=True))
    size = Size(images, captions, 36, 256)
    pair = make(size)
    scorer = cases.create("chan", pooling="mean")
    calls: dict[str, Callable[[], object]] = {
        "ranks: ours": lambda: ranks(similarity, owner),
        "ranks: authors": lambda: naive.argsort_ranks(similarity, owner),
        "scoring": lambda: similarity_matrix(scorer, *pair),
    }
    measured = interleave(calls, {"ranks: ours": 7, "ranks: authors": 1, "scoring": 3})
    for name, m in measured.items():
        yield _timing("ranks", size, name, m)
    share = measured["ranks: ours"].timing.p50 / measured["scoring"].timing.p50
    yield _goal("ranks", str(size), "ranks / scoring", share, "<= 0.01 and equal to sorting", share <= 0.01 and equal)


def growth_rows(say: Say) -> Iterator[Row]:
    """Our times as the problem grows."""
    for case in cases.growth():
        yield from scoring_rows(case, say)


def all_rows(say: Say) -> Iterator[Row]:
    """The whole comparison."""
    for case in cases.cases():
        yield from scoring_rows(case, say)
    yield from rank_rows(say)
    yield from growth_rows(say)
    yield from training_rows(say)
    for operands, choice in product_backends().items():
        yield {"kind": "backend", "case": operands, "form": choice["backend"], "goal": str(choice["gflops"])}


def _timing(case: str, size: Size, form: str, measured: Measured) -> Row:
    return {
        "kind": "time",
        "case": case,
        "size": str(size),
        "form": form,
        "median_ms": measured.timing.p50,
        "iqr_ms": measured.timing.iqr,
        "minimum_ms": measured.timing.minimum,
        "samples": len(measured.timing.samples),
        "rejected": measured.rejected,
        "foreign_share": measured.foreign,
        "noisy": measured.noisy,
    }


def _goal(case: str, size: str, what: str, ratio: float, goal: str, met: bool) -> Row:
    return {"kind": "goal", "case": case, "size": size, "form": what, "ratio": ratio, "goal": goal, "met": met}


def _step(form: str, size: Size, step: training.Step | str) -> Row:
    row: Row = {"kind": "training", "case": "training", "size": str(size), "form": form}
    if isinstance(step, str):
        return {**row, "goal": step}
    return {**row, "median_ms": 1000 * step.seconds, "peak_mib": step.mib, "loss": step.loss}


def _error(scores: object, reference: object) -> float | None:
    if not isinstance(scores, torch.Tensor) or not isinstance(reference, torch.Tensor):
        return None
    return float((scores - reference).abs().max())
