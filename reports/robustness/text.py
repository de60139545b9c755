"""What a robustness report says in words: verdicts, what they rest on, and what they do not show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.errors import counted
from harness.reports.document.text import fixed, listed
from harness.reports.robustness.quantities import Findings, Quantity
from harness.reports.robustness.tables import p_phrase
from harness.reports.robustness.testing import Tested
from harness.reports.statistics.outcomes.comparison import Difference

#: Verdicts of a family in its sentences; the rest is in the table of pairs.
_MOST = 6
_CLOSING = {"method": "on new pictures and new seeds", "checkpoint": "on new pictures, for these trained models only"}


def verdicts(tested: Tested) -> list[str]:
    """The primary differences in words, those that were found first; at most a few."""
    said = []
    for quantity in tested.findings.of_role("primary"):
        rows = sorted(tested.of(quantity), key=lambda row: (row.outcome == "same answers", not row.significant))
        said += [verdict(tested, quantity, row) for row in rows[:_MOST]]
        if len(rows) > _MOST:
            clear = sum(row.significant for row in rows)
            said.append(
                f"{quantity.title}: of {len(rows)} pairs {clear} differ significantly; the table has all of them."
            )
    if tested.untested and any(one.scores for one in tested.findings.quantities):
        said.append(f"Not tested: {tested.untested}.")
    return said


def verdict(tested: Tested, quantity: Quantity, row: Difference) -> str:
    """One difference in a sentence: who has more of what, how sure that is, and about what.

    A difference that is not significant is never called no difference.
    """
    digits, family = quantity.digits, tested.findings.family
    both = _both(quantity, row, family)
    if row.outcome == "same answers":
        return f"{both}: no picture tells them apart; are the runs the same?"
    sure = (
        f"{100 * (1 - tested.alpha):g} % CI of the difference {fixed(row.low, digits)} to {fixed(row.high, digits)}; "
        f"{p_phrase(row)}, {counted(row.m, 'comparison')}"
    )
    if row.outcome == "inconclusive":
        least = fixed(row.detectable, digits)
        return f"{both}: not told apart ({sure}); this set-up detects {least} or more with 80 % power."
    return f"{both} ({sure}), {_CLOSING[tested.claim]}."


def _both(quantity: Quantity, row: Difference, family: str) -> str:
    a, b = (fixed(score, quantity.digits) for score in (row.a_score, row.b_score))
    if family == "clutter":
        step = quantity.unit.removeprefix("rSum per ")
        return f"{row.a} {_moves(row.a_score, quantity.digits)} rSum per {step}, {row.b} {_moves(row.b_score, quantity.digits)}"
    if family in ("images", "captions", "regions"):
        return f"Of its clean rSum {row.a} keeps {a} %, {row.b} {b} % ({_kind(family, quantity)})"
    percent = " %" if quantity.unit == "points" else ""
    return f"{quantity.title}: {row.a} {a}{percent}, {row.b} {b}{percent}"


def _moves(slope: float, digits: int) -> str:
    return f"{'loses' if slope <= 0 else 'gains'} {fixed(abs(slope), digits)}"


def _kind(family: str, quantity: Quantity) -> str:
    thing = {"images": "pictures", "captions": "captions", "regions": "regions"}[family]
    return f"perturbed {thing}, {quantity.title}"


def opening(tested: Tested) -> list[str]:
    """How much was asked."""
    found = tested.findings
    sizes = []
    for probe in found.asked:
        counts = {name: number for name, number in probe.about.counts.items() if number}
        sizes.append(", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in counts.items()))
    distinct = list(dict.fromkeys(filter(None, sizes)))
    probes = counted(len(found.asked), "probe")
    shown = f" of {distinct[0]}" if len(distinct) == 1 else f"; {found.pictures:,} pictures in all"
    return [f"{probes}{shown}."]


def remarks(found: Findings) -> Iterator[str]:
    """What a reader must know of a family: partial answers, contamination, methods without numbers, notes."""
    said: dict[str, list[str]] = {}
    for probe in found.asked:
        for remark in probe.remarks:
            said.setdefault(remark, []).append(probe.title)
    for remark, titles in said.items():
        of_all = len(titles) == len(found.asked)
        yield f"{remark}." if of_all else f"{listed(titles)}: {remark}."
    yield from found.notes


def at_chance(found: Findings, alpha: float) -> Iterator[str]:
    """Which scores are not told from chance."""
    for quantity in found.quantities:
        if quantity.chance is None or quantity.role == "shown":
            continue
        names = []
        for method, score in quantity.scores.items():
            if score.pictures >= 2:
                ends = score.interval(alpha)
                if ends.low <= quantity.chance <= ends.high:
                    names.append(method)
        if names:
            level = "0" if quantity.chance == 0 else f"{fixed(quantity.chance, 1)} %"
            yield f"At chance ({level}) on {quantity.title}: {listed(names)}, whose interval contains it."


READING = {
    "perturbed": (
        "Kept: the area under the curve of rSum over severity, from the unchanged input (severity 0) to the largest severity "
        "by trapezoids, as percent of what the unchanged rSum would give; 100 = nothing is lost. The mean over kinds gives "
        "every kind one voice.",
        "Every method answered the same perturbed inputs, drawn once.",
    ),
    "captions": (
        "A wrong attribute makes a caption false: a method should then score it lower. What it keeps there is what it does "
        "not notice, so it is no part of the mean over kinds, and less is better.",
    ),
    "clutter": (
        "The slope is the least-squares line of rSum over the levels, each with equal weight: points per step. The targets "
        "are the same at every level and the gallery is of one size; items that are true of a query without being its own are "
        "left out of its gallery.",
        "A method that finds little among few objects has little to lose: read the slope beside the rSum at the first level "
        "and the share that is left at the last.",
    ),
    "strata": (
        "All queries search the gallery of the whole split; the strata differ in their queries. A difference between strata "
        "may have other causes than what they are named after.",
    ),
    "composition": (
        "Right means: the true one scores strictly higher than every wrong one; a tie is wrong. Chance is that of scores "
        "that know nothing. The mean of a suite gives every kind one voice, whatever its size.",
    ),
    "grounding": (
        "Uniform: what a map that looks at all fragments alike would hit, word by word; random: a map drawn at random. The "
        "gain over uniform is tested word by word and clustered by picture. Maps of two methods may have other fragments: "
        "a finer grid makes other baselines, so compare gains.",
    ),
    "truth": (
        "A level is a definition of what is correct: `own` are the dataset's own pairs. Unlabelled truth: of the first items "
        "that are not the query's own, the share that is correct all the same.",
    ),
}  # fmt: skip


def method_sentences(tested: Sequence[Tested]) -> list[str]:
    """How intervals and tests were made."""
    alpha = tested[0].alpha if tested else 0.05
    return [
        "The unit is the picture: all its captions, examples or words, all levels and all seeds move together. Ratios, slopes "
        "and areas are linearised per picture (delta method); intervals are mean ± t(N − 1) · SE, with the variance between "
        "seeds where there are several.",
        "Each section is one declared family of tests for its headline (Holm) and one for everything else (maxT), with a "
        f"level of {alpha:g}. For trained models p is that of a sign flip of the pictures' differences, for methods (from "
        "three seeds on) of a t with Satterthwaite's degrees of freedom.",
        "Not significant never means no difference.",
    ]
