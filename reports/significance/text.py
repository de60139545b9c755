"""What a significance report says in words: the claim, the verdicts, the families, how to read it, what it rests on."""

from __future__ import annotations

import platform
from collections.abc import Sequence

from harness import __version__
from harness.errors import counted
from harness.records.environment import package_versions
from harness.reports.document.text import fixed, listed
from harness.reports.statistics.corrections import LABELS
from harness.reports.statistics.hits import decimals, metric_name
from harness.reports.statistics.refusals import COMFORTABLE_IMAGES, MINIMUM_SEEDS, held_back
from harness.reports.statistics.results import Comparison, PairRow
from harness.reports.statistics.verdicts import verdict

# Distributions whose version can move a number or a picture of the report.
_PACKAGES = ("numpy", "scipy", "statsmodels", "pandas", "matplotlib", "scikit-posthocs")
# Nobody reads more sentences than this: the rest goes into a table that opens.
_MOST_VERDICTS = 12
# In the order of the verdicts: what was found before what stays open.
_OUTCOMES = ("A better", "B better", "equivalent", "inconclusive", "same answers")
#: How to read tiers, rank intervals and the critical-difference diagram.
RANKING_READING = (
    "A tier begins with a method that is significantly worse than the leader of the tier above; the order within a tier is "
    "not evidence. The rank interval runs from 1 + the number of methods that are significantly better to M − the number "
    "significantly worse.",
    "In the diagram, a bar joins methods that the corrected p-values do not tell apart (dots mark its members). The bars "
    "come from the tests on images, not from ranks over datasets: with few datasets Nemenyi's test cannot reject, and its "
    "verdict on two methods changes with who else is in the pool.",
)


def level(comparison: Comparison) -> str:
    """Of the intervals, such as `95 %`."""
    return f"{100 * (1 - comparison.alpha):g} %"


def headline(comparison: Comparison) -> str:
    """How many pairs were told apart, in one sentence."""
    found = [row.outcome for row in comparison.of_metric(comparison.primary)]
    differ, equal = found.count("A better") + found.count("B better"), found.count("equivalent")
    unclear = len(found) - differ - equal
    parts = [f"{differ} {'differs' if differ == 1 else 'differ'} significantly"]
    parts += [f"{equal} {'is' if equal == 1 else 'are'} equivalent within the declared margin"] if equal else []
    parts += [f"{unclear} {'is' if unclear == 1 else 'are'} inconclusive"] if unclear else []
    return f"Of {counted(len(found), 'pair')} compared on {metric_name(comparison.primary)}, {', '.join(parts)}."


def claim_sentence(comparison: Comparison, *, by_default: bool) -> str:
    """What the tests are about, and why that."""
    counts = sorted(set(comparison.seeds))
    if comparison.claim == "method":
        seeds = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
        return (
            f"The claim is about the methods: what would be found on new images and with new training seeds ({seeds} seeds "
            "each)."
        )
    reason = ""
    if by_default:
        reason = f" A claim about methods needs {MINIMUM_SEEDS} seeds of each, better 5; the fewest here: {counts[0]}."
        if few := held_back(comparison.methods, comparison.seeds):
            reason += f" Those with too few: {listed(few)}; --pairs A:B compares two of the others as methods."
    return f"The claim is about these trained models only, on new images; it says nothing about retraining.{reason}"


def verdict_sentences(comparison: Comparison) -> tuple[list[str], list[str]]:
    """The verdicts to be read first, and those left to a table if they are many: then the best method's come first."""
    rows = sorted(comparison.of_metric(comparison.primary), key=lambda row: _OUTCOMES.index(row.outcome))
    cut = len(rows)
    if len(rows) > _MOST_VERDICTS:
        scores = comparison.scores[:, comparison.metrics.index(comparison.primary)]
        best = comparison.methods[int(scores.argmax())]
        rows.sort(key=lambda row: best not in (row.a, row.b))
        cut = min(sum(best in (row.a, row.b) for row in rows), _MOST_VERDICTS)
    sentences = [verdict(comparison, row) for row in rows]
    return sentences[:cut], sentences[cut:]


def method_sentences(comparison: Comparison) -> list[str]:
    """How intervals, tests and corrections were made."""
    made = {
        "method": (
            f"Interval and raw p: t with Satterthwaite's degrees of freedom on V = s²(images)/N + s²(seeds of A)/S + s²(seeds "
            f"of B)/S; {level(comparison)} intervals. Seeds are not paired across methods."
        ),
        "checkpoint": (
            f"Raw p: two-sided sign flip of the image differences, p = (b + 1)/(R + 1) with R = {comparison.resamples:,}; one "
            f"sign matrix serves all pairs and metrics. {level(comparison)} intervals: mean ± t(N − 1) · sd/√N."
        ),
    }
    families = ", ".join(dict.fromkeys(LABELS[f.correction] for f in comparison.families))
    return [
        "The unit is the image: its own query, all its captions, all recalls and all seeds move together. Counting captions "
        "one by one would call equal methods different far more often than alpha says.",
        "The gallery counts as it is. Where all runs keep their scores (evaluation.save_scores=true), the standard error of "
        "each pair is computed a second time with every image counted as a query and as a rival of other queries. A warning "
        "says where that is more than 15 % larger.",
        made[comparison.claim],
        "An interval in brackets holds for one pair alone; the simultaneous interval holds for all pairs of its family "
        "together. It is single-step, so it may include 0 where a step-down correction rejects.",
        f"Significant means: p after correction ({families}) at most {comparison.alpha:g}. Not significant never means no "
        "difference: only an equivalence test within a declared margin says that.",
        f"Seed of the resampling: {comparison.seed}; R = {comparison.resamples:,} (raised where the corrections need it). The "
        "same seed gives the same bytes.",
    ]


def variance_sentences(comparison: Comparison) -> list[str]:
    """Images against seeds, and the advice that follows."""
    if comparison.claim == "checkpoint":
        return [
            "A claim about checkpoints has one source of uncertainty, the sampling of test images; more images reduce it. "
            f"How much the seeds would add is known from {MINIMUM_SEEDS} seeds per method on."
        ]
    known = [row for row in comparison.of_metric(comparison.primary) if row.variance.advice()]
    if len(known) <= 3:
        return [f"{row.a} against {row.b}: {row.variance.advice()}" for row in known]
    shares = [100 * row.variance.seed_share for row in known]
    advice = [short_advice(row) for row in known]
    spelled = "; ".join(f"{text} ({advice.count(text)} of {len(known)} pairs)" for text in sorted(set(advice)))
    return [
        f"Seeds make up {fixed(min(shares), 0)} to {fixed(max(shares), 0)} % of the variance of a difference, the test "
        f"images the rest. To know more: {spelled}."
    ]


def short_advice(row: PairRow) -> str:
    """What to add to tell a pair apart: the end of the engine's advice."""
    return row.variance.advice().rpartition(": ")[2].rstrip(".")


def power_sentences(comparison: Comparison) -> list[str]:
    """What the set-up could have found."""
    points = [row.detectable_corrected for row in comparison.of_metric(comparison.primary)]
    shown = [fixed(value, decimals(comparison.primary)) for value in (min(points), max(points))]
    few = " How little few seeds tell of their own variance is counted." if comparison.claim == "method" else ""
    return [
        f"With {comparison.images:,} images, a true difference of {shown[0] if len(points) == 1 else ' to '.join(shown)} "
        f"points of {metric_name(comparison.primary)} would be found with 80 % power after correction.{few} This is for "
        "planning: the power at the observed difference is not computed, as it says nothing that p does not."
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
    return found or [
        f"None: at least {COMFORTABLE_IMAGES} images, as many captions for every image and as many seeds for every method."
    ]


def versions() -> dict[str, str]:
    """Versions of the harness, Python and the libraries that numbers come from."""
    return {"itm-harness": __version__, "python": platform.python_version(), **package_versions(_PACKAGES)}
