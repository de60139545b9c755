"""What a profile says in words: advice, what the numbers rest on, and which of them cannot be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.errors import counted
from harness.records.noise import BUSY_PERCENT
from harness.records.profile import NOISY_SPREAD_PERCENT, Profile
from harness.reports.document.text import fixed, listed, significant
from harness.reports.profile.budget import Limit, best_within
from harness.reports.profile.rows import Row, best, scenario_rows

#: Latencies at which advice is given: the tightest that is met by something, and the others where the answer changes.
STEPS_MS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)
SUM_CHECK_PERCENT = 10.0
_MOST_NAMED = 6

READING = (
    "A query starts with a caption's tokens or an image's pixels or regions in memory and ends with the ten best items; "
    "encoding is part of it, packing the gallery is not: that is done once, and has a table of its own. Accuracy belongs to "
    "the test split, latency to the reference gallery: larger galleries are "
    "real test fragments drawn again with a little noise, from which no accuracy is read.",
    "rSum is the sum of R@1, R@5 and R@10 in both directions. Its intervals (95 %) cover new images for these trained "
    "weights, not new seeds; those of times lie between order statistics of all samples. A percentile that the samples do "
    "not support is left out: p95 needs 20 samples, p99 1,000.",
    "bf16 keeps the index in bfloat16 and multiplies in it; int8 keeps codes with one scale per fragment and multiplies "
    "those, the query's, too. 'int8, exact' also keeps the features, by which it ranks the 100 best of the codes again. "
    "Scorers without a packed form decode the index for every query instead. Halved patches or words are those of the "
    "largest norm, or evenly "
    "spaced ones where all norms are alike; encoders stay in float32.",
    "cascade(coarse, fine, k): the coarse scorer picks k items, the fine one re-ranks them, in both directions; with all "
    "items it is the fine scorer. The same k is a smaller share of a larger gallery, so a cascade loses more there than its "
    "accuracy on the test split says.",
    "Memory to serve queries is weights, image index of the reference gallery and working memory of one query; the process "
    "as a whole (interpreter, libraries) is in the scenario table.",
    "FLOPs are those of matrix products, convolutions and attention; achieved rates are set against a matrix product of "
    "288 x 4096 x 1024 timed in the same rounds.",
)


def advice(rows: Sequence[Row], gallery: int) -> list[str]:
    """The best choice under each latency where it changes, then what is dominated. Noisy points decide nothing."""
    rows = [row for row in rows if not row["is_fine"]]
    quiet = [row for row in rows if not row["noisy"]]
    sentences = _noise(len(rows) - len(quiet), len(rows))
    top = best(quiet)
    if top is None:
        return sentences
    named: list[str] = []
    for step in STEPS_MS:
        chosen = best(row for row in quiet if row["t2i_ms"] <= step)
        if chosen is None or chosen["label"] in named:
            continue
        named.append(chosen["label"])
        sentences.append(_choice(chosen, top, f"Under {significant(step, 1)} ms per query at {gallery:,} images"))
        if chosen is top:
            break
    beaten = [row["label"] for row in quiet if not row["fronts"]]
    if beaten:
        more = [f"{len(beaten) - _MOST_NAMED} more"] if len(beaten) > _MOST_NAMED else []
        sentences.append(
            f"{listed([*beaten[:_MOST_NAMED], *more])} {'is' if len(beaten) == 1 else 'are'} dominated on every chart: "
            "another point is at least as accurate and cheaper, whatever the cost."
        )
    return sentences


def budget_sentence(rows: Sequence[Row], limits: Sequence[Limit]) -> str:
    """The best point that satisfies a budget, or what stands in the way."""
    rows = [row for row in rows if not row["is_fine"]]
    wanted = " and ".join(limit.text for limit in limits)
    timed = [
        f"noisy_{name}"
        for name in ("t2i_ms", "i2t_ms", "pairs_per_second")
        if any(limit.column.startswith(name) for limit in limits)
    ]
    known = [row for row in rows if not any(row[key] for key in timed)]
    top = max(known, key=lambda row: row["rsum"], default=None)
    if top is None:
        return f"Whether a point satisfies {wanted} is unknown: all {len(rows)} were timed on a busy machine; measure again."
    noisy = len(rows) - len(known)
    left_out = f" ({counted(noisy, 'point')} with noisy times left out)" if noisy else ""
    chosen = best_within(known, limits)
    if chosen is not None:
        return _choice(chosen, top, f"Within {wanted}{left_out}")
    failing = [f"{limit.text} by {sum(not limit.admits(row) for row in known)} of {len(known)}" for limit in limits]
    return (
        f"No point satisfies {wanted}{left_out}: violated are {listed(failing)}; relax the tightest limit or train a smaller "
        "model."
    )


def opening(profile: Profile) -> str:
    """What was measured, where, how."""
    return (
        f"{counted(len(profile.points), 'point')} of {counted(len({p.base for p in profile.points}), 'trained scorer')}, "
        f"seed {profile.seed}, on {profile.device}: accuracy on the {profile.images:,} images and {profile.captions:,} "
        f"captions of {profile.dataset} {profile.split}, protocol {profile.protocol}; cost at a gallery of "
        f"{profile.gallery:,}, in {profile.rounds} interleaved rounds."
    )


def warnings(profile: Profile) -> Iterator[str]:
    """What a reader must not miss: notes of the measurement, noise, sums that do not add up."""
    yield from profile.notes
    scenarios = scenario_rows(profile)
    if noisy := [row for row in scenarios if row["noisy"]]:
        worst = max(noisy, key=lambda row: row["spread_percent"] or 0.0)
        yield (
            f"Noisy: {len(noisy)} of {sum(not row['extrapolated'] for row in scenarios)} scenarios, because their rounds "
            f"differ by more than {NOISY_SPREAD_PERCENT:g} % or other processes took more than {BUSY_PERCENT:g} % of the CPUs; "
            f"worst: {worst['label']}, {worst['scenario']}, rounds {fixed(worst['spread_percent'] or 0.0, 0)} % apart. Measure "
            "again on a quiet machine."
        )
    checked = [row for row in scenarios if row["parts_percent"] is not None]
    if wrong := [row for row in checked if _off(row) > SUM_CHECK_PERCENT]:
        worst = max(wrong, key=_off)
        yield (
            f"Sum check: the parts of {len(wrong)} of {len(checked)} scenarios do not add up to the whole within 10 % (worst: "
            f"{worst['label']}, {worst['scenario']}, {fixed(worst['parts_percent'], 0)} %)."
        )
    elif checked:
        yield f"Sum check: the parts of all {len(checked)} scenarios that have parts add up to the whole within 10 %."


def _off(row: Row) -> float:
    return abs(float(row["parts_percent"]) - 100)


def _noise(noisy: int, points: int) -> list[str]:
    timed = "timed on a busy machine (marked ~)"
    if noisy and noisy == points:
        return [
            f"All {points} points were {timed}, so nothing is advised and no point is called dominated in time: run the same "
            "command on a quiet machine."
        ]
    if noisy:
        return [
            f"{noisy} of {points} points {'was' if noisy == 1 else 'were'} {timed} and left out of the advice below: run the "
            "same command on a quiet machine."
        ]
    return []


def _choice(chosen: Row, top: Row, when: str) -> str:
    said = f"{when}: {chosen['label']}, rSum {fixed(chosen['rsum'], 1)}, {significant(chosen['t2i_ms'], 2)} ms"
    if chosen["label"] == top["label"]:
        return f"{said}; no point is more accurate."
    ratio = top["t2i_ms"] / chosen["t2i_ms"]
    speed = f"{significant(ratio, 2)}x faster" if ratio >= 1 else f"{significant(1 / ratio, 2)}x slower"
    return f"{said}; {fixed(top['rsum'] - chosen['rsum'], 1)} points below the best ({top['label']}), {speed}."
