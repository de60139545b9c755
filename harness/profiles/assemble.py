"""From measured scenarios to the points of a profile record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.measure.cost import MIB, parameters
from harness.profiles import scenarios as make
from harness.profiles import work
from harness.profiles.cascade import Direction
from harness.profiles.plan import DIRECTIONS
from harness.profiles.points import Use
from harness.profiles.scaling import extrapolate, growth
from harness.profiles.subjects import Subject
from harness.records.profile import Measure, Point, ScenarioResult

#: (point, scenario) -> what was measured; the empty point is the machine.
Key = tuple[str, str]


def point_of(
    use: Use,
    metrics: Mapping[str, float],
    results: Mapping[Key, ScenarioResult],
    memory: Mapping[Key, Mapping[str, float]],
    index: Mapping[str, tuple[float, float]],
    galleries: Sequence[int],
    reference: int,
) -> Point:
    """The record of a point.

    Args:
        use: the point.
        metrics: its accuracy.
        results: of all points' scenarios.
        memory: peaks, MiB, likewise.
        index: bytes an image and a caption by point.
        galleries: sizes that were asked for; those that were not measured are extrapolated.
        reference: gallery of the points.
    """
    own = {
        scenario: result.model_copy(update={"memory": dict(memory[key, scenario])})
        for (key, scenario), result in results.items()
        if key == use.key
    }
    if use.coarse is not None and not own:  # nothing is left out: the fine scorer alone
        own = {make.query_key(d, reference): _borrowed(results, memory, use, d, reference) for d in DIRECTIONS}
    growths = {}
    if use.kind == "base":
        for direction in DIRECTIONS:
            latency = {
                r.gallery: r.whole.p50 for key, r in own.items() if key.startswith(f"query {direction}") and r.gallery
            }
            fitted = growth(latency)
            if fitted is not None:
                growths[direction] = fitted
            own |= _beyond(direction, latency, galleries)
    bytes_image, bytes_text = index[use.key]
    involved = [use.subject] if use.coarse is None else [use.coarse, use.subject]
    weights = sum(_weights_mib(subject) for subject in involved)
    working = own[make.query_key("t2i", reference)].memory.get("working_mib")
    return Point(
        key=use.key,
        label=use.key,
        kind=use.kind,
        base=use.subject.key,
        settings=use.settings,
        run_ids=tuple(subject.record.run_id for subject in involved),
        metrics=dict(metrics),
        scenarios=own,
        growth=growths,
        index_bytes_per_image=bytes_image,
        index_bytes_per_text=bytes_text,
        memory_mib=None if working is None else weights + reference * bytes_image / MIB + working,
        sizes=_sizes(use, own),
    )


def _borrowed(
    results: Mapping[Key, ScenarioResult],
    memory: Mapping[Key, Mapping[str, float]],
    use: Use,
    direction: Direction,
    reference: int,
) -> ScenarioResult:
    key = (use.subject.key, make.query_key(direction, reference))
    return results[key].model_copy(update={"memory": dict(memory[key])})


def _beyond(direction: Direction, latency: Mapping[int, float], sizes: Sequence[int]) -> dict[str, ScenarioResult]:
    """The sizes that were not measured, extrapolated and marked so."""
    made = {}
    for size in sizes:
        if size > max(latency):
            value = extrapolate(latency, size)
            if value is not None:
                whole = Measure(samples=0, p50=value, extrapolated=True)
                made[make.query_key(direction, size)] = ScenarioResult(whole=whole, gallery=size)
    return made


def _sizes(use: Use, own: Mapping[str, ScenarioResult]) -> dict[str, float]:
    """Parameters, operations and achieved rates; what cannot be counted is absent."""
    subject = use.subject
    found = parameters(subject.scorer)
    if use.coarse is not None:
        extra = parameters(use.coarse.scorer)
        return {key: value + extra[key] for key, value in found.items()}
    counts: dict[str, Any] = {"pair_flops": work.pair_flops(subject.scorer, use.images, use.texts)}
    if use.kind == "base":
        for key, direction in (("encode_image_flops", "i2t"), ("encode_text_flops", "t2i")):
            encode: Callable[[int], object] = make.Queries(subject, direction).encode  # type: ignore[arg-type]
            counts[key] = work.flops(lambda encode=encode: encode(0))  # type: ignore[misc]
    rate = own[make.PAIRS].per_second("pairs")
    if counts["pair_flops"]:
        counts["achieved_gflops"] = counts["pair_flops"] * rate / 1e9
    return found | {key: float(value) for key, value in counts.items() if value is not None}


def _weights_mib(subject: Subject) -> float:
    tensors = [*subject.scorer.parameters(), *subject.scorer.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / MIB
