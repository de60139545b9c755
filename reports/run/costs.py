"""What a run cost, with the noise of each figure."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from harness.records import noise
from harness.records.run import RunRecord
from harness.reports.document.model import Column, Table
from harness.reports.document.text import fixed

#: key -> what it is and its unit; `_p50` has a `_p95` beside it where that was measured.
_FIGURES = {
    "encode_image_ms_p50": ("encode one image", "ms"),
    "encode_text_ms_p50": ("encode one caption", "ms"),
    "encode_images_per_second": ("images encoded", "per second"),
    "encode_texts_per_second": ("captions encoded", "per second"),
    "query_ms_p50": ("answer one query", "ms"),
    "pairs_per_second": ("pairs scored, both encoded", "per second"),
    "train_step_ms_p50": ("training step", "ms"),
    "train_waiting_percent": ("training steps waited for their batch", "% of their time"),
    "train_energy_wh": ("energy of the training", "Wh"),
    "energy_wh_per_million_pairs": ("energy of scoring", "Wh per million pairs"),
    "params_millions": ("parameters", "millions"),
    "trainable_params_millions": ("trainable parameters", "millions"),
    "index_bytes_per_image": ("index", "bytes per image"),
    "peak_rss_mib": ("peak memory of the process", "MiB"),
    "peak_gpu_allocated_mib": ("peak GPU memory, allocated", "MiB"),
    "peak_gpu_reserved_mib": ("peak GPU memory, reserved", "MiB"),
    "gpu_in_use_mib": ("GPU memory in use, of all processes", "MiB"),
}
#: Said in sentences, or the same as another figure.
_ELSEWHERE = {"other_cpu_percent", "train_other_cpu_percent", "gallery_images", "timed_pairs", "peak_memory_mib"}
_COLUMNS = (
    Column("what", "Cost", pinned=True),
    Column("median", "Median or value", "significant", 4, noise="noisy"),
    Column(
        "p95", "95th percentile", "significant", 4, noise="noisy", help="a twentieth of the repetitions took longer"
    ),
    Column("unit", "Unit"),
)


def cost_table(record: RunRecord) -> Table | None:
    """The costs of a run, one row each; None if none was measured."""
    figures = record.cost.figures
    rows = []
    for key, value in figures.items():
        if key in _ELSEWHERE or (key.endswith("_p95") and key.replace("_p95", "_p50") in figures):
            continue
        what, unit = _FIGURES.get(key, (key, ""))
        p95 = figures.get(key.replace("_p50", "_p95")) if key.endswith("_p50") else None
        # An encoding time is disturbed by whatever disturbs the others, also where no page marks it elsewhere.
        noisy = noise.is_noisy([record.cost], key)
        rows.append({"key": key, "what": what, "median": value, "p95": p95, "unit": unit, "noisy": noisy})
    if not rows:
        return None
    order = list(_FIGURES)
    rows.sort(key=lambda row: order.index(row["key"]) if row["key"] in order else len(order))
    return Table(pd.DataFrame(rows), _COLUMNS, "Cost in use and of training", "cost", for_paper=False)


def cost_sentences(record: RunRecord) -> Iterator[str]:
    """What the times rest on, and how far they can be trusted."""
    cost = record.cost
    if cost.gallery_images is not None and cost.query_ms_p50 is not None:
        yield f"A query is answered against {cost.gallery_images:,.0f} images that are encoded already."
    for what, covered in (
        ("training", cost.train_energy_covers if cost.train_energy_wh is not None else None),
        ("scoring", cost.energy_covers if cost.energy_wh_per_million_pairs is not None else None),
    ):
        if covered:
            yield f"The energy of {what} is that of: {covered}, with all that ran there; nothing else was measured."
    for said, load in (
        ("the times were taken", cost.other_cpu_percent),
        ("training steps were timed", cost.train_other_cpu_percent),
    ):
        if load is not None:
            trust = "they are marked" if load > noise.BUSY_PERCENT else "little enough to rely on them"
            yield f"While {said}, other processes took {fixed(load, 1)} % of the CPUs: {trust}."
    if any(noise.is_noisy([cost], key) for key in noise.TIMES):
        yield noise.LEGEND
    if any(noise.is_unknown([cost], key) for key in noise.TIMES):
        yield "The record does not say how busy the machine was; its times are neither marked nor confirmed."
