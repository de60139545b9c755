"""What a significance report says in words: the claim, the verdicts, the families, how to read it, what it rests on."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence

from harness import __version__
from harness.records.environment import package_versions
from harness.reports.document.text import fixed
from harness.reports.statistics.corrections import LABELS
from harness.reports.statistics.hits import components
from harness.reports.statistics.refusals import COMFORTABLE_IMAGES, MINIMUM_SEEDS
from harness.reports.statistics.results import Comparison, PairRow
from harness.reports.statistics.verdicts import verdicts

#: Distributions whose version can move a number or a picture of the report.
PACKAGES = ("numpy", "scipy", "statsmodels", "pandas", "matplotlib", "scikit-posthocs")
# More sentences than this are read by nobody: the rest goes into a table that opens.
MOST_VERDICTS = 12
_OUTCOMES = ("A better", "B better", "equivalent", "inconclusive", "same answers")
_LEVELS = {"holm": "family-wise error", "maxt": "family-wise error", "bh": "false discovery rate"}
_HOW = {
    "holm": "Holm's step-down correction of the raw p-values",
    "maxt": "step-down maxT: every pair against the joint distribution of the largest statistic",
    "bh": "Benjamini-Hochberg; exploratory, not evidence on its own",
}


def metric_name(metric: str) -> str:
    """`rSum` or `t2i R@1`."""
    if metric == "rsum":
        return "rSum"
    direction, k = components(metric)[0]
    return f"{direction} R@{k}"


def decimals(metric: str) -> int:
    """Decimals of points: 1 for rSum, 2 for a recall."""
    return 1 if metric == "rsum" else 2


def p_text(p: float) -> str:
    """`.012` or `< .001`, as papers print it; 1 is `1.000`."""
    return "< .001" if p < 0.0005 else f"{p:.3f}".removeprefix("0")


def outcome(row: PairRow) -> str:
    """A pair's verdict in two or three words."""
    if row.diagnostics.disagreement == 0.0:
        return "same answers"
    if row.significant and row.difference != 0.0:
        return "A better" if row.difference > 0 else "B better"
    return "equivalent" if row.equivalence is not None and row.equivalence.equivalent else "inconclusive"


def headline(comparison: Comparison) -> str:
    """How many pairs were told apart, in one sentence."""
    metric = comparison.primary
    rows = comparison.of_metric(metric)
    differ = sum(outcome(row) in ("A better", "B better") for row in rows)
    equal = sum(outcome(row) == "equivalent" for row in rows)
    parts = [f"{differ} {'differs' if differ == 1 else 'differ'} significantly"]
    parts += [f"{equal} {'is' if equal == 1 else 'are'} equivalent within the declared margin"] if equal else []
    open_pairs = len(rows) - differ - equal
    parts += [f"{open_pairs} {'is' if open_pairs == 1 else 'are'} inconclusive"] if open_pairs else []
    pairs = "1 pair of methods" if len(rows) == 1 else f"{len(rows)} pairs of methods"
    return f"Of {pairs} compared on {metric_name(metric)}, {', '.join(parts)}."


def claim_sentence(comparison: Comparison, *, by_default: bool) -> str:
    """What the tests are about, and why that."""
    counts = sorted(set(comparison.seeds))
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    if comparison.claim == "method":
        return (
            f"The claim is about the methods: what would be found on new images and with new training seeds ({seeds} seeds "
            "each)."
        )
    reason = ""
    if by_default:
        reason = f" A claim about methods needs {MINIMUM_SEEDS} seeds of each, better 5; the fewest here: {counts[0]}."
    return f"The claim is about these trained models only, on new images; it says nothing of retraining.{reason}"


def verdict_sentences(comparison: Comparison) -> tuple[list[str], list[str]]:
    """The verdicts to be read first, what was found before what stays open, and those left to a table if they are many.

    Of many, the best method's come first and the others are left.
    """
    metric = comparison.primary
    both = list(zip(verdicts(comparison, metric), comparison.of_metric(metric), strict=True))
    both.sort(key=lambda pair: _OUTCOMES.index(outcome(pair[1])))
    if len(both) > MOST_VERDICTS:
        best = comparison.methods[int(comparison.scores[:, comparison.metrics.index(metric)].argmax())]
        both.sort(key=lambda pair: best not in (pair[1].a, pair[1].b))
        own = sum(best in (row.a, row.b) for _, row in both)
        sentences = [sentence for sentence, _ in both]
        cut = min(own, MOST_VERDICTS)
        return sentences[:cut], sentences[cut:]
    return [sentence for sentence, _ in both], []


def method_sentences(comparison: Comparison) -> list[str]:
    """How intervals, tests and corrections were made."""
    return list(_method(comparison))


def _method(comparison: Comparison) -> Iterator[str]:
    level = f"{100 * (1 - comparison.alpha):g} %"
    yield (
        "The unit is the image: its own query, all its captions, all recalls and all seeds move together. Counting captions "
        "one by one would call equal methods different far more often than alpha says."
    )
    yield (
        "The gallery counts as it is. Where all runs keep their scores (evaluation.save_scores=true), the standard error of "
        "each pair is computed a second time with every image counted as a query and as a rival of other queries; a "
        "warning says where that is more than 15 % larger."
    )
    if comparison.claim == "method":
        yield (
            f"Interval and raw p: t with Satterthwaite's degrees of freedom on V = s²(images)/N + s²(seeds of A)/S + "
            f"s²(seeds of B)/S; {level} intervals. Seeds are not paired across methods."
        )
    else:
        yield (
            f"Raw p: two-sided sign flip of the image differences, p = (b + 1)/(R + 1) with R = {comparison.resamples:,}; "
            f"one sign matrix serves all pairs and metrics. {level} intervals: mean ± t(N − 1) · sd/√N."
        )
    families = ", ".join(dict.fromkeys(LABELS[f.correction] for f in comparison.families))
    yield (
        "An interval in brackets stands for one pair alone; the simultaneous interval holds for all pairs of its family "
        "together (being single-step, it may include 0 where a step-down correction rejects)."
    )
    yield (
        f"Significant means: p after correction ({families}) at most {comparison.alpha:g}. Not significant never means no "
        "difference: only an equivalence test within a declared margin says that."
    )
    yield (
        f"Seed of the resampling: {comparison.seed}; R = {comparison.resamples:,} (raised where the corrections need it). "
        "The same seed gives the same bytes."
    )


def family_rows(comparison: Comparison) -> list[dict[str, object]]:
    """The families, declared before the data were looked at, one row each."""
    return [
        {
            "family": family.name,
            "metrics": ", ".join(map(metric_name, family.metrics)),
            "m": family.m,
            "correction": LABELS[family.correction],
            "controls": f"{_LEVELS[family.correction]} ≤ {comparison.alpha:g}",
            "how": _HOW[family.correction],
        }
        for family in comparison.families
    ]


def ranking_reading(comparison: Comparison) -> list[str]:
    """How to read tiers, rank intervals and the critical-difference diagram."""
    return [
        "A tier begins with a method that is significantly worse than the leader of the tier above; the order within a "
        "tier is not evidence. The rank interval runs from 1 + the methods that are significantly better to M − those "
        "significantly worse.",
        "In the diagram, a bar joins methods that the corrected p-values do not tell apart (dots mark its members). The "
        "bars come from the tests on images, not from ranks over datasets: with few datasets Nemenyi's test cannot reject, "
        "and its verdict on two methods changes with who else is in the pool.",
    ]


def variance_sentences(comparison: Comparison) -> list[str]:
    """Images against seeds, and the advice that follows."""
    rows = comparison.of_metric(comparison.primary)
    if comparison.claim == "checkpoint":
        return [
            "A claim about checkpoints has one source of uncertainty, the sampling of test images; more images narrow it. "
            f"How much the seeds would add is known from {MINIMUM_SEEDS} seeds a method on."
        ]
    known = [row for row in rows if row.variance.advice()]
    if len(known) <= 3:
        return [f"{row.a} against {row.b}: {row.variance.advice()}" for row in known]
    shares = sorted(100 * row.variance.seed_share for row in known)
    by_advice: dict[str, int] = {}
    for row in known:
        by_advice[short_advice(row)] = by_advice.get(short_advice(row), 0) + 1
    spelled = "; ".join(f"{advice} ({count} of {len(known)} pairs)" for advice, count in sorted(by_advice.items()))
    return [
        f"Seeds make up {fixed(shares[0], 0)} to {fixed(shares[-1], 0)} % of the variance of a difference, the test "
        f"images the rest. To know more: {spelled}."
    ]


def short_advice(row: PairRow) -> str:
    """What to add to tell a pair apart: the end of the engine's advice."""
    return row.variance.advice().rpartition(": ")[2].rstrip(".")


def power_sentences(comparison: Comparison) -> list[str]:
    """What the set-up could have found."""
    rows = comparison.of_metric(comparison.primary)
    smallest, largest = (f(row.detectable_corrected for row in rows) for f in (min, max))
    digits = decimals(rows[0].metric)
    span = fixed(smallest, digits) if len(rows) == 1 else f"{fixed(smallest, digits)} to {fixed(largest, digits)}"
    return [
        f"With {comparison.images:,} images, a true difference of {span} points of {metric_name(rows[0].metric)} would be "
        "found with 80 % power after correction. This is for planning: the power at the observed difference is not "
        "computed, it says nothing that p does not."
    ]


def warning_sentences(comparison: Comparison, remarks: Sequence[str], published: Sequence[str]) -> list[str]:
    """What a reader must be warned of."""
    found = [notice.message for notice in comparison.notices] + list(remarks)
    if len(set(comparison.seeds)) > 1:
        spelled = ", ".join(f"{m} {s}" for m, s in zip(comparison.methods, comparison.seeds, strict=True))
        found.append(f"Methods have different numbers of seeds ({spelled}), as was allowed explicitly.")
    if published:
        found.append(
            f"Not tested, since only published averages exist: {', '.join(published)}. A test needs every query's rank."
        )
    return found or [f"None: at least {COMFORTABLE_IMAGES} images, equally many captions an image and seeds a method."]


def versions() -> dict[str, str]:
    """Versions of the harness, Python and the libraries that numbers come from."""
    return {"itm-harness": __version__, "python": platform.python_version(), **package_versions(PACKAGES)}
