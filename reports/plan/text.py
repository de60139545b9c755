"""What a plan says in words: what its numbers rest on, and what it needs."""

from __future__ import annotations

from harness.records.plan import PlanDocument
from harness.reports.document.text import duration, listed, size
from harness.reports.plan.tables import needed_by, state_of, what_of


def how_measured(document: PlanDocument) -> list[str]:
    """What was timed, what was extrapolated from it, and what is left out."""
    measured = [entry for entry in document.entries if entry.measurement and not entry.measurement.problem]
    failed = [entry for entry in document.entries if entry.measurement and entry.measurement.problem]
    notes = [f"{entry.key} was not measured: {entry.measurement.problem}." for entry in failed if entry.measurement]
    if not measured:
        return notes
    on = listed(list(dict.fromkeys(entry.measurement.data for entry in measured if entry.measurement)))
    notes.append(f"Timed here on {on}, with random weights: trained ones take as long.")
    partly = [e for e in measured if e.estimate and e.epochs and e.estimate.measured_batch != e.batch_size]
    if partly:
        batches = sorted({entry.estimate.measured_batch or 0 for entry in partly if entry.estimate})
        notes.append(
            f"Steps of {listed([entry.key for entry in partly])} are extrapolated from batches of up to "
            f"{listed([str(batch) for batch in batches])}: a fixed part and a part per pair, and the loss of all pairs of "
            "a batch, timed by itself, with the square of the batch. --seconds allows larger ones."
        )
    if document.threads == 1 and not document.device_is_gpu:
        notes.append(
            "Times are CPU times of one thread: what a run takes on a core of its own, without waits for the disk."
        )
    notes += [
        f"Stored once for all runs: {store.tower}, {duration(store.seconds)} and {size(store.bytes)}, unless it is there."
        for store in document.stores
    ]
    if document.gallery is not None and any(entry.evaluation for entry in document.entries):
        matrix = next(entry.evaluation.matrix_bytes for entry in document.entries if entry.evaluation)
        notes.append(
            f"The evaluation of {document.gallery.images:,} x {document.gallery.captions:,} is extrapolated from small blocks: "
            "encoding grows with the items, scoring with the pairs; memory and disk are those of this machine's free memory. "
            f"Saved scores would take {size(matrix)} of disk more. It uses one device and begins anew when it is killed."
        )
    notes.append(
        "A run is its epochs with their validation, and one evaluation on the test split. Not included: reading and "
        "checking the data, timing a model's cost in use, reports."
    )
    return notes


def files_in_brief(document: PlanDocument) -> list[str]:
    """A line for each place from which files are needed, and one for the files that are here."""
    groups: dict[tuple[str, str], list[str]] = {}
    for file in sorted((file for file in document.files if file.state != "here"), key=lambda file: not file.required):
        who = needed_by(file, document)
        told = f"{file.name} ({what_of(file)}{'' if who == 'all' else f'; for {who}'})"
        groups.setdefault((state_of(file), file.where), []).append(told)
    lines = [f"- {state}: {', '.join(names)}. From {where}" for (state, where), names in groups.items()]
    here = [file.name for file in document.files if file.state == "here"]
    return [*lines, *([f"- here: {', '.join(here)}"] if here else [])]


def backbones_in_brief(document: PlanDocument) -> list[str]:
    """The pairs of backbones, each with its entries."""
    pairs: dict[str, list[str]] = {}
    for entry in document.entries:
        pairs.setdefault(f"{entry.image} + {entry.text}", []).append(entry.key)
    if len(pairs) == 1:
        return [f"Backbones: {next(iter(pairs))}."]
    return [f"Backbones {pair}: {', '.join(keys)}." for pair, keys in pairs.items()]
