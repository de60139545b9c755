"""What a profile says in words: advice, what the numbers rest on, and which of them are not to be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.records.profile import Profile
from harness.reports.document.text import fixed, listed, significant
from harness.reports.profile.budget import Limit, best_within
from harness.reports.profile.rows import Row, noisy_scenarios, scenario_rows

#: Latencies at which advice is given: the tightest that is met by something, and the others where the answer changes.
STEPS_MS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)
SUM_CHECK_PERCENT = 10.0
_MOST_NAMED = 6


def advice(rows: Sequence[Row], gallery: int) -> list[str]:
    """The best choice under each latency, as long as it changes; then what is dominated. Noisy points decide nothing."""
    rows = [row for row in rows if not row["is_fine"]]
    quiet = [row for row in rows if not row["noisy"]]
    left_out = noise_sentence(rows)
    if not quiet:
        return left_out
    return [*left_out, *_advice(quiet, gallery)]


def noise_sentence(rows: Sequence[Row]) -> list[str]:
    """How many points are noisy, and what follows; nothing where none is."""
    noisy = sum(row["noisy"] for row in rows)
    if not noisy:
        return []
    if noisy == len(rows):
        return [
            f"All {len(rows)} points were timed on a busy machine (marked ~), so nothing is advised and no point is called "
            "dominated in time: run the same command on a quiet machine."
        ]
    return [
        f"{noisy} of {len(rows)} points were timed on a busy machine (marked ~) and are left out of the advice below: run the "
        "same command on a quiet machine."
    ]


def _advice(rows: Sequence[Row], gallery: int) -> list[str]:
    best = max(rows, key=lambda row: (row["rsum"], -row["t2i_ms"]))
    sentences, named = [], set()
    for step in STEPS_MS:
        admitted = [row for row in rows if row["t2i_ms"] <= step]
        if not admitted:
            continue
        chosen = max(admitted, key=lambda row: (row["rsum"], -row["t2i_ms"]))
        if chosen["label"] in named:
            continue
        named.add(chosen["label"])
        sentences.append(_choice(chosen, best, f"Under {significant(step, 1)} ms a query at {gallery:,} images"))
        if chosen is best:
            break
    beaten = [row["label"] for row in rows if not row["fronts"]]
    if beaten:
        more = [f"{len(beaten) - _MOST_NAMED} more"] if len(beaten) > _MOST_NAMED else []
        shown = listed([*beaten[:_MOST_NAMED], *more])
        sentences.append(
            f"{shown} {'is' if len(beaten) == 1 else 'are'} dominated on every chart: another point is at least as accurate "
            "and cheaper, whatever the cost."
        )
    return sentences


def budget_sentence(rows: Sequence[Row], limits: Sequence[Limit]) -> str:
    """The best admissible point of a budget, or what stands in the way."""
    rows = [row for row in rows if not row["is_fine"]]
    wanted = " and ".join(limit.text for limit in limits)
    timed = [f"noisy_{column}" for limit in limits for column in ("t2i_ms", "i2t_ms", "pairs_per_second")
             if limit.quantity.column.startswith(column)]  # fmt: skip
    known = [row for row in rows if not any(row[key] for key in timed)]
    left_out = f" ({len(rows) - len(known)} points with noisy times left out)" if len(known) < len(rows) else ""
    if not known:
        return f"Whether a point satisfies {wanted} is unknown: all {len(rows)} were timed on a busy machine; measure again."
    chosen = best_within(known, limits)
    best = max(known, key=lambda row: row["rsum"])
    if chosen is not None:
        return _choice(dict(chosen), best, f"Within {wanted}{left_out}")
    failing = [f"{limit.text} by {sum(not limit.admits(row) for row in known)} of {len(known)}" for limit in limits]
    return (
        f"No point satisfies {wanted}{left_out}: violated are {listed(failing)}; relax the tightest limit or train a smaller "
        "model."
    )


def opening(profile: Profile) -> str:
    """What was measured, where, how."""
    return (
        f"{len(profile.points)} points of {len({point.base for point in profile.points})} trained scorers, seed "
        f"{profile.seed}, on {profile.device}: accuracy on the {profile.images:,} images and {profile.captions:,} captions "
        f"of {profile.dataset} {profile.split}, protocol {profile.protocol}; cost at a gallery of {profile.gallery:,}, in "
        f"{profile.rounds} interleaved rounds."
    )


def warnings(profile: Profile) -> Iterator[str]:
    """What a reader must not miss: notes of the measurement, noise, sums that do not add up."""
    yield from profile.notes
    noisy = noisy_scenarios(profile)
    measured = sum(not r.whole.extrapolated for point in profile.points for r in point.scenarios.values())
    if noisy:
        label, scenario, measure = max(noisy, key=lambda item: item[2].spread_percent or 0.0)
        yield (
            f"Noisy: {len(noisy)} of {measured} scenarios, because their rounds differ by more than 15 % or other processes "
            f"took more than 6 % of the CPUs; worst: {label}, {scenario}, rounds {fixed(measure.spread_percent or 0.0, 0)} % "
            "apart. Measure again on a quiet machine."
        )
    off = [
        row for row in scenario_rows(profile)
        if row["parts_percent"] is not None and abs(row["parts_percent"] - 100) > SUM_CHECK_PERCENT
    ]  # fmt: skip
    checked = sum(row["parts_percent"] is not None for row in scenario_rows(profile))
    if off:
        worst = max(off, key=lambda row: abs(row["parts_percent"] - 100))
        yield (
            f"Sum check: the parts of {len(off)} of {checked} scenarios do not add up to the whole within 10 % (worst: "
            f"{worst['label']}, {worst['scenario']}, {fixed(worst['parts_percent'], 0)} %)."
        )
    elif checked:
        yield f"Sum check: the parts of all {checked} scenarios that have parts add up to the whole within 10 %."


READING = (
    "A query starts with a caption's tokens or an image's pixels or regions in memory and ends with the ten best items; "
    "encoding is part of it. Accuracy belongs to the test split, latency to the reference gallery: larger galleries are "
    "real test fragments drawn again with a little noise, from which no accuracy is read.",
    "rSum intervals (95 %) cover new images for these trained weights, not new seeds; those of times lie between order "
    "statistics of all samples. A percentile that the samples do not support is left out: p95 needs 20 samples, p99 1,000.",
    "bf16 stores the index in bfloat16 and multiplies in it; int8 keeps one scale a fragment and is decoded to float32 for "
    "every query, so it saves memory, not time. Halved patches or words are those of the largest norm, or evenly spaced "
    "ones where all norms are alike; encoders stay in float32.",
    "cascade(coarse, fine, k): the coarse scorer picks k items, the fine one re-ranks them, in both directions; with all "
    "items it is the fine scorer. The same k is a smaller share of a larger gallery, so a cascade loses more there than its "
    "accuracy on the test split says.",
    "Memory to serve queries is weights, image index of the reference gallery and working memory of one query; the process "
    "as a whole (interpreter, libraries) is in the scenario table.",
    "FLOPs are those of matrix products, convolutions and attention; achieved rates are set against a matrix product of "
    "288 x 4096 x 1024 timed in the same rounds.",
)


def _choice(chosen: Row, best: Row, when: str) -> str:
    said = f"{when}: {chosen['label']}, rSum {fixed(chosen['rsum'], 1)}, {significant(chosen['t2i_ms'], 2)} ms"
    if chosen["label"] == best["label"]:
        return f"{said}; nothing here is more accurate."
    ratio = best["t2i_ms"] / chosen["t2i_ms"]
    speed = f"{significant(ratio, 2)}x faster" if ratio >= 1 else f"{significant(1 / ratio, 2)}x slower"
    return f"{said}; {fixed(best['rsum'] - chosen['rsum'], 1)} points below the best ({best['label']}), {speed}."
