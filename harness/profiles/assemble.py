"""From measured scenarios to the points of a profile record."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from harness.measure.cost import parameters
from harness.measure.system import MIB
from harness.profiles import work
from harness.profiles.galleries import DIRECTIONS
from harness.profiles.plan import Cost
from harness.profiles.scenarios import PAIRS, Queries, query_key
from harness.profiles.uses import Use
from harness.records.profile import Growth, Measure, Point, ScenarioResult

#: (use, scenario) -> what was measured; the empty use is the machine.
Results = Mapping[tuple[str, str], ScenarioResult]


def point_of(
    use: Use,
    metrics: Mapping[str, float],
    results: Results,
    cost: Cost,
    galleries: Sequence[int],
    reference: int,
) -> Point:
    """The record of a use, from the results of all uses.

    `cost` is that of its index; sizes of `galleries` that were not measured are extrapolated; `reference` is
    the gallery at which points are compared.
    """
    own = {scenario: result for (key, scenario), result in results.items() if key == use.key}
    if use.coarse is not None and not own:  # nothing is left out: the fine scorer alone
        own = {key: results[use.trained.key, key] for key in (query_key(d, reference) for d in DIRECTIONS)}
    growths, beyond = _scaling(own, galleries) if use.kind == "base" else ({}, {})
    own |= beyond
    involved = [use.trained] if use.coarse is None else [use.coarse, use.trained]
    tensors = itertools.chain(*([*t.scorer.parameters(), *t.scorer.buffers()] for t in involved))
    weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors) / MIB
    working = own[query_key("t2i", reference)].memory.get("working_mib")
    return Point(
        key=use.key,
        label=use.key,
        kind=use.kind,
        base=use.trained.key,
        settings=use.settings,
        run_ids=tuple(trained.record.run_id for trained in involved),
        metrics=dict(metrics),
        scenarios=own,
        growth=growths,
        index_bytes_per_image=cost.bytes_per_item["t2i"],
        index_bytes_per_text=cost.bytes_per_item["i2t"],
        index_build_ms={
            f"{direction} {size}": ms for direction, by_size in cost.build_ms.items() for size, ms in by_size.items()
        },
        memory_mib=None if working is None else weights + reference * cost.bytes_per_item["t2i"] / MIB + working,
        sizes=_sizes(use, own),
    )


def _scaling(
    own: Mapping[str, ScenarioResult], galleries: Sequence[int]
) -> tuple[dict[str, Growth], dict[str, ScenarioResult]]:
    """Growth by direction, and the queries of the sizes that were not measured, extrapolated and marked so."""
    growths: dict[str, Growth] = {}
    beyond: dict[str, ScenarioResult] = {}
    for direction in DIRECTIONS:
        queries = [result for key, result in own.items() if key.startswith(f"query {direction}")]
        latency = {result.gallery: result.whole.p50 for result in queries if result.gallery}
        fitted = growth(latency)
        if fitted is not None:
            growths[direction] = fitted
        for size in galleries:
            ms = extrapolate(latency, size) if size > max(latency) else None
            if ms is not None:
                whole = Measure(samples=0, p50=ms, extrapolated=True)
                beyond[query_key(direction, size)] = ScenarioResult(whole=whole, gallery=size)
    return growths, beyond


def _sizes(use: Use, own: Mapping[str, ScenarioResult]) -> dict[str, float]:
    """Parameters, operations and achieved rates; what cannot be counted is absent."""
    found = parameters(use.trained.scorer)
    if use.coarse is not None:
        extra = parameters(use.coarse.scorer)
        return {key: value + extra[key] for key, value in found.items()}
    counts = {"pair_flops": work.pair_flops(use.trained.scorer, use.images, use.texts)}
    if use.kind == "base":
        image, text = Queries(use.trained, "i2t"), Queries(use.trained, "t2i")
        counts["encode_image_flops"] = work.flops(lambda: image.encode(0))
        counts["encode_text_flops"] = work.flops(lambda: text.encode(0))
    if counts["pair_flops"]:
        counts["achieved_gflops"] = counts["pair_flops"] * own[PAIRS].per_second("pairs") / 1e9
    return found | {key: float(value) for key, value in counts.items() if value is not None}


def growth(latency: Mapping[int, float], confidence: float = 0.95) -> Growth | None:
    """Fit ms ~ gallery ** exponent by least squares of the logarithms.

    Args:
        latency: ms by gallery size, all positive.
        confidence: of the exponent's interval.

    Returns:
        The exponent with its t interval over n - 2 degrees of freedom; None with fewer than two sizes.

    >>> round(growth({1_000: 2.0, 10_000: 20.0}).exponent, 6)
    1.0
    """
    sizes = sorted(latency)
    if len(sizes) < 2:
        return None
    x, y = np.log(sizes), np.log([latency[size] for size in sizes])
    if len(sizes) < 3:
        return Growth(exponent=float(np.polyfit(x, y, 1)[0]), sizes=tuple(sizes))
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    half = stats.t.ppf(0.5 + confidence / 2, len(sizes) - 2) * np.sqrt(covariance[0, 0])
    return Growth(exponent=float(slope), low=float(slope - half), high=float(slope + half), sizes=tuple(sizes))


def extrapolate(latency: Mapping[int, float], size: int) -> float | None:
    """Latency of a larger gallery, on the line through the last two sizes that were measured (logarithms of both).

    Args:
        latency: ms by measured gallery size.
        size: larger than all of them.

    Returns:
        Milliseconds, never fewer than the largest gallery took; None with fewer than two sizes. The last two alone, since
        a fixed cost per query bends the small end.

    >>> round(extrapolate({1_000: 5.0, 5_000: 10.0, 25_000: 50.0}, 100_000), 6)
    200.0
    """
    sizes = sorted(latency)
    if len(sizes) < 2:
        return None
    low, high = sizes[-2:]
    slope = float(np.log(latency[high] / latency[low]) / np.log(high / low))
    return latency[high] * (size / high) ** max(slope, 0.0)
