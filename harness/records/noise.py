"""Which measured times can be trusted: a time that other processes disturbed is marked in its cell and decides nothing."""

from __future__ import annotations

from collections.abc import Iterable

from harness.records.parts import Cost

#: Percent of all CPUs taken by other processes, above which times move with the neighbours.
BUSY_PERCENT = 6.0
#: Stands before a noisy figure in every medium.
MARK = "~"
LEGEND = (
    f"{MARK} marks a time or rate that was measured while other processes took more than {BUSY_PERCENT:.0f} % of the CPUs, or "
    "whose repetitions disagree: it may be off by any factor. Measure again on a quiet machine before you rely on it."
)
UNKNOWN = (
    "Some runs do not say how busy the machine was while they were timed; their times are neither marked nor confirmed."
)

TIMES = (
    "encode_image_ms_p50",
    "encode_text_ms_p50",
    "query_ms_p50",
    "query_ms_p95",
    "pairs_per_second",
    "train_step_ms_p50",
)
#: Energies, with the keys that say what they are of: of a CPU package, other processes' share is in them.
ENERGIES = {"train_energy_wh": "train_energy_covers", "energy_wh_per_million_pairs": "energy_covers"}


def load(cost: Cost, key: str) -> float | None:
    """Percent of the CPUs that other processes took while a time was measured; None where the record does not say."""
    return cost.train_other_cpu_percent if key.startswith("train_") else cost.other_cpu_percent


def is_noisy(costs: Iterable[Cost], key: str) -> bool:
    """Whether any of the records that a figure comes from was disturbed while it was measured.

    >>> is_noisy([Cost(query_ms_p50=2.0, other_cpu_percent=40.0)], "query_ms_p50")
    True
    >>> is_noisy([Cost(train_energy_wh=2.0, train_energy_covers="gpu", train_other_cpu_percent=40.0)], "train_energy_wh")
    False
    """
    if key in ENERGIES:
        costs = [cost for cost in costs if "cpu" in (getattr(cost, ENERGIES[key]) or "")]
    elif key not in TIMES:
        return False
    return any((load(cost, key) or 0.0) > BUSY_PERCENT for cost in costs if key in cost.figures)


def is_unknown(costs: Iterable[Cost], key: str) -> bool:
    """Whether a record gives a time without saying how busy the machine was."""
    return key in TIMES and any(load(cost, key) is None for cost in costs if key in cost.figures)
