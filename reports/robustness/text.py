"""What a robustness report says in words: verdicts, what they rest on, and what they do not show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.errors import counted
from harness.reports.document.text import fixed, listed
from harness.reports.robustness.quantities import Findings, Quantity
from harness.reports.robustness.tables import p_phrase
from harness.reports.robustness.testing import Tested
from harness.reports.statistics.outcomes.comparison import Difference

#: Pairs of a family in its sentences; the rest is in the table of pairs.
_MOST = 6
_KEPT = ("images", "captions", "regions")
#: How families are called.
TITLES = {
    "images": "Perturbed pictures",
    "captions": "Perturbed captions",
    "regions": "Perturbed regions",
    "clutter": "Clutter",
    "strata": "Strata of the test split",
    "composition": "Composition",
    "grounding": "Grounding",
    "truth": "Many-to-many truth",
}
#: Pairs that a headline names.
_NAMED = 3
_CLOSING = {"method": "on new pictures and new seeds", "checkpoint": "on new pictures, for these trained models only"}


def verdicts(tested: Tested) -> list[str]:
    """The primary differences in words: a sentence for each that was found, and one for those that were not."""
    said = []
    for quantity in tested.findings.of_role("primary"):
        rows = tested.of(quantity)
        found = [row for row in rows if row.outcome != "inconclusive"]
        said += [verdict(tested, quantity, row) for row in sorted(found, key=lambda row: row.p_adjusted)[:_MOST]]
        if len(found) > _MOST:
            said.append(f"{quantity.title}: {len(found) - _MOST} more pairs were told apart; the table has them.")
        said += _open(tested, quantity, [row for row in rows if row.outcome == "inconclusive"])
    if tested.untested and any(one.scores for one in tested.findings.quantities):
        said.append(f"Not tested: {tested.untested}.")
    return said


def _open(tested: Tested, quantity: Quantity, rows: Sequence[Difference]) -> list[str]:
    """The pairs that were not told apart, with what their differences may be."""
    if not rows:
        return []
    if len(rows) == 1:
        return [verdict(tested, quantity, rows[0])]
    digits = quantity.digits
    shown = [f"{row.a} − {row.b} {fixed(row.low, digits)} to {fixed(row.high, digits)}" for row in rows[:_MOST]]
    more = f"; {len(rows) - _MOST} more in the table" if len(rows) > _MOST else ""
    return [
        f"{quantity.title}: not told apart, with {100 * (1 - tested.alpha):g} % intervals of the difference: {'; '.join(shown)}"
        f"{more}. With 80 % power this set-up detects {_detectable(rows, digits)}; not told apart does not mean equal."
    ]


def _detectable(rows: Sequence[Difference], digits: int) -> str:
    """What would be found of the easiest pair and of the hardest: some pairs vary much more than others."""
    return " to ".join(dict.fromkeys(fixed(edge(row.detectable for row in rows), digits) for edge in (min, max)))


def verdict(tested: Tested, quantity: Quantity, row: Difference) -> str:
    """One difference in a sentence: who has more of what, how sure that is, and about what.

    A difference that is not significant is never called no difference.
    """
    digits, family = quantity.digits, tested.findings.family
    both = _both(quantity, row, family)
    if row.outcome == "same answers":
        return f"{both}: no picture tells them apart; are the runs the same?"
    what = "difference of slopes" if family == "clutter" else "difference"
    sure = (
        f"{100 * (1 - tested.alpha):g} % CI of the {what} {fixed(row.low, digits)} to {fixed(row.high, digits)}; "
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
    if family in _KEPT:
        return f"{TITLES[family]}, {quantity.title}: {row.a} keeps {a} % of its clean rSum, {row.b} {b} %"
    unit = f" {quantity.unit}" if quantity.unit else ""
    return f"{quantity.title}: {row.a} {a}{unit}, {row.b} {b}{unit}"


def _moves(slope: float, digits: int) -> str:
    return f"{'loses' if slope <= 0 else 'gains'} {fixed(abs(slope), digits)}"


def headlines(tested: Tested) -> list[str]:
    """One sentence per primary quantity: all methods' numbers, and which of them are told apart."""
    said = [headline(tested, one) for one in tested.findings.of_role("primary") if one.scores][:2]
    return said + list(ends(tested.findings))[:1]


def headline(tested: Tested, quantity: Quantity) -> str:
    """The numbers of all methods on a quantity, and which pairs differ."""
    better = quantity.better != "lower"
    order = sorted(quantity.scores, key=lambda method: quantity.scores[method].mean, reverse=better)
    unit = "%" if quantity.unit.startswith("percent") else quantity.unit
    values = [f"{method} {fixed(quantity.scores[method].mean, quantity.digits)}" for method in order]
    family = tested.findings.family
    name = f"{TITLES[family]}, {quantity.title}{', clean rSum kept' if family in _KEPT else ''}"
    said = f"{name}: {', '.join(values)}{f' {unit}' if unit else ''}."
    rows = tested.of(quantity)
    if not rows:
        return said
    apart = [row for row in rows if row.outcome in ("A higher", "B higher")]
    named = [
        f"{above} above {below} ({p_phrase(row)})"
        for row in sorted(apart, key=lambda row: row.p_adjusted)[:_NAMED]
        for above, below in [(row.a, row.b) if row.difference > 0 else (row.b, row.a)]
    ]
    more = f" and {len(apart) - _NAMED} more" if len(apart) > _NAMED else ""
    if not apart:
        return (
            f"{said} No pair is told apart; with 80 % power this set-up detects {_detectable(rows, quantity.digits)}."
        )
    others = len(rows) - len(apart)
    rest = f"; {counted(others, 'pair')} not told apart" if others else ""
    return f"{said} Told apart: {', '.join(named)}{more}{rest}."


def ends(found: Findings) -> Iterator[str]:
    """rSum at the first and last level of every probe of clutter: who has little loses little."""
    for probe in found.asked if found.family == "clutter" else ():
        levels = found.levels_of(probe.about.name)
        if len(levels) > 1:
            first, last = levels[0], levels[-1]
            left = found.get(f"{found.family}/{probe.about.name}/left")
            shares = left.scores if left is not None else {}  # seed by seed, as in the table
            values = [
                f"{method} {fixed(first.scores[method].mean, 1)} to {fixed(last.scores[method].mean, 1)} "
                f"({fixed(shares[method].mean, 0)} % left)"
                for method in sorted(shares, key=lambda method: -last.scores[method].mean)
            ]
            if not values:
                continue
            yield f"rSum from {first.level} to {last.level}, {probe.title}: {', '.join(values)}."


def noticed(found: Findings) -> Iterator[str]:
    """What captions that were made false cost, in words."""
    for quantity in found.quantities:
        if (
            quantity.better == "lower"
            and quantity.role == "secondary"
            and found.family == "captions"
            and quantity.scores
        ):
            values = [f"{method} keeps {fixed(score.mean, 1)} %" for method, score in quantity.scores.items()]
            yield f"Captions made false ({quantity.title}): {', '.join(values)}; the more is kept, the less was noticed."


def opening(tested: Tested) -> list[str]:
    """How much was asked."""
    found = tested.findings
    sizes = []
    for probe in found.asked:
        counts = {name: number for name, number in probe.about.counts.items() if number}
        sizes.append(", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in counts.items()))
    distinct = list(dict.fromkeys(filter(None, sizes)))
    probes = counted(len(found.asked), "probe")
    if not found.quantities:
        return [f"{probes}, of which no method could be asked."]
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
            holds = "whose interval contains it" if len(names) == 1 else "whose intervals contain it"
            yield f"Not told from chance ({level}) on {quantity.title}: {listed(names)}, {holds}."


READING = {
    "perturbed": (
        "Kept: the area under the curve of rSum over severity, from the unchanged input (severity 0) to the largest severity "
        "by trapezoids, as percent of what the unchanged rSum would give; 100 = nothing is lost. The unchanged input weighs half "
        "of the first step, so a method that loses all from severity 1 to 5 still keeps 10. The mean over kinds gives every "
        "kind one voice.",
        "Every method answered the same perturbed inputs, drawn once.",
    ),
    "captions": (
        "A wrong attribute makes a caption false: a method should then score it lower. What it keeps there is what it does "
        "not notice, so it is no part of the mean over kinds, and less is better.",
    ),
    "clutter": (
        "The slope is that of the least-squares line of rSum over the levels, each with equal weight. The targets are the "
        "same at every level, and so is the gallery of a query: what is true of it at any level without being its own is left "
        "out of it at all levels.",
        "A method that finds little among few objects has little to lose: read the slope beside the rSum at the first level "
        "and the share that is left at the last. The rSum at the last level is tested too, among the secondary ones.",
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
        "that are not the query's own, the share that is correct all the same. A better method makes fewer errors, and those "
        "that are left may be of another kind: neither more nor less is better. A random item says how much of the gallery is "
        "true of such queries.",
    ),
}  # fmt: skip


def method_sentences(tested: Sequence[Tested]) -> list[str]:
    """How intervals and tests were made."""
    alpha = tested[0].alpha if tested else 0.05
    return [
        "The unit is the picture: all its captions, examples or words, all levels and all seeds move together. Ratios, slopes "
        "and areas are linearised per picture (delta method); intervals are mean ± t · SE with N − 1 degrees of freedom or, "
        "where there are several seeds, with the variance between them and Satterthwaite's degrees of freedom.",
        "Each section is one declared family of tests for its headline (Holm) and one for everything else (maxT), with a "
        f"level of {alpha:g}. For trained models p is that of a sign flip of the pictures' differences, for methods (from "
        "three seeds on) of a t with Satterthwaite's degrees of freedom.",
        "Not significant never means no difference.",
    ]
