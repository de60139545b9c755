"""What a run's page says in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from harness.errors import counted
from harness.records.run import RunRecord
from harness.records.ties import KS
from harness.reports.document.text import duration, fixed, listed, single_line
from harness.reports.runs.evidence import UNKNOWN, bonus_sentence, checkpoint_selected_on

_RULE = {
    "pessimistic": "Wrong items with the same score as the best correct one count as ranked before it.",
    "optimistic": "Wrong items with the same score as the best correct one count as ranked after it, which flatters.",
    "expected": "All orders of items with the same score count alike: recalls are probabilities, ranks are means.",
}


def title(record: RunRecord) -> str:
    """The heading of a run's page."""
    return f"{record.title} on {record.dataset}"


def headline(record: RunRecord) -> list[str]:
    """What the run reached, how it was trained, and where."""
    if record.status == "failed":
        return [
            f"{record.title} on {record.dataset} failed: {single_line(record.error) or 'the record does not say why'}."
        ]
    made = _added(record) if record.source is not None else [*_trained(record), *_computed(record)]
    return [*_reached(record), *made, *_tuned(record)]


def reading(record: RunRecord) -> Iterator[str]:
    """How to read the numbers."""
    yield (
        "R@K is the percentage of queries with at least one correct item among the first K; rSum is the sum of R@1, R@5 and "
        f"R@10 in both directions, at most 600. {_RULE[record.ties]}"
    )
    yield "One run is one seed. The leaderboard says how far another seed, or other images, would move these numbers."
    repeats = record.evaluation.duplicate_captions
    if repeats and repeats.get("across_images"):
        yield (
            f"{counted(int(repeats['across_images']), 'caption')} of the test split have the text of another image's "
            "caption, so that they tie whatever the method."
        )


def selected_epoch(record: RunRecord) -> int | None:
    """Number of the epoch whose weights were kept, from 1; None for a run without training."""
    epoch = record.validation.get("epoch")
    return epoch if isinstance(epoch, int) and not isinstance(epoch, bool) and epoch > 0 else None


def seconds(record: RunRecord) -> float | None:
    """From its start to its end; None where the record does not say."""
    try:
        span = datetime.fromisoformat(record.finished) - datetime.fromisoformat(record.started)
    except ValueError:
        return None
    return span.total_seconds()


def _reached(record: RunRecord) -> Iterator[str]:
    for protocol, values in record.metrics.items():
        if "rsum" not in values and record.has_ranks:
            continue
        known = {
            name: [f"R@{k} {fixed(values[key], 1)}" for k in KS if (key := f"{direction}_r{k}") in values]
            for direction, name in (("i2t", "image to text"), ("t2i", "text to image"))
        }
        recalls = "; ".join(f"{name}: {', '.join(found)}" for name, found in known.items() if found)
        place = f"{record.dataset} {record.split}, protocol {protocol}"
        rsum = f"rSum {fixed(values['rsum'], 1)}" if "rsum" in values else "no known rSum"
        yield f"{record.title} {'reaches' if 'rsum' in values else 'has'} {rsum} on {place} ({recalls})."


def _added(record: RunRecord) -> Iterator[str]:
    """Of a foreign run: where its ranks come from, and what its author says of it."""
    source = record.source
    assert source is not None
    files = listed([file.name for file in source.files]) or "files that the record does not name"
    said = "".join(f", {key} {value}" for key, value in source.reading.items())
    what = "ranks" if record.has_ranks else "averages"
    yield f"Its {what} come from {files}: {source.shape}{said}; added on {record.started[:10]}."
    for direction, depth in source.depths.items():
        yield f"Its {direction} lists are cut: what stands beyond place {depth} of some query is not known."
    chosen = checkpoint_selected_on(record)
    yield (
        "Its author does not say what the checkpoint was chosen on."
        if chosen == UNKNOWN
        else (f"By its author, the checkpoint was chosen on: {chosen}.")
    )


def _trained(record: RunRecord) -> Iterator[str]:
    training, epoch = record.training, selected_epoch(record)
    if record.evaluation.ensemble:
        yield f"It averages the scores of {counted(len(record.evaluation.ensemble), 'run')}."
    elif not training.epochs:
        yield "It was evaluated without training."
    else:
        took = "" if training.seconds is None else f" in {duration(training.seconds)}"
        steps = f" ({counted(training.steps, 'step')})" if training.steps else ""
        rsum = record.validation.get("rsum")
        best = f", rSum {fixed(rsum, 1)} there" if isinstance(rsum, int | float) else ""
        kept = f"; the weights of epoch {epoch} were kept, the best on the validation split{best}" if epoch else ""
        yield f"It was trained for {counted(training.epochs, 'epoch')}{steps}{took}{kept}."
        if bonus := bonus_sentence([record]):
            yield f"The test split was watched: {bonus}."


def no_course(record: RunRecord) -> str:
    """Why a run has no course of a training to show; of other code's results it is seldom known whether there was one."""
    if record.training.epochs:
        return "The record does not hold the course of the training."
    if record.evaluation.ensemble:
        several = counted(len(record.evaluation.ensemble), "run")
        return f"This run averages the scores of {several}; their pages show how they were trained."
    if record.origin != "measured" and record.selected_on != "nothing":
        return "How this result was trained is not recorded."
    return "This run was evaluated without training."


def _computed(record: RunRecord) -> Iterator[str]:
    whole = seconds(record)
    took = f"; the whole run took {duration(whole)}" if whole else ""
    yield f"Computed on {record.environment.computed_on}, on {record.started[:10]}{took}."


def _tuned(record: RunRecord) -> Iterator[str]:
    tuning = record.tuning
    if not tuning.trials:
        return
    study = f" of study {tuning.study}" if tuning.study else ""
    budget = (
        f", which took {counted(tuning.budget.steps, 'step')} and {duration(tuning.budget.seconds)}"
        if tuning.budget
        else ""
    )
    yield f"Its settings were found in {counted(tuning.trials, 'tuning trial')}{study}{budget}."
