"""What is asked of a gallery and what the engine answers: the step between the runs and the report."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.errors import ItmError, UnknownName
from harness.reports.published.rows import published_rows_for
from harness.reports.runs.subjects import Evidence, Subject
from harness.reports.statistics.comparison import compare
from harness.reports.statistics.corrections import Correction
from harness.reports.statistics.errors import InvalidComparison, InvalidSetting
from harness.reports.statistics.hierarchical.model import require_library
from harness.reports.statistics.hierarchical.reading import SecondReading, second_reading
from harness.reports.statistics.hits import METRICS, components, image_columns, primary_metric
from harness.reports.statistics.ranking import RankedMethod, tiers
from harness.reports.statistics.refusals import Claim, default_claim, refuse_aggregate_only
from harness.reports.statistics.results import Comparison
from harness.reports.statistics.runs import MethodRuns
from harness.reports.statistics.settings import check_choices, checked_margins, checked_metrics
from harness.reports.statistics.telling import Tell, silent

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of every gallery; see `harness.reports.statistics.comparison.compare` for the meaning of each."""

    metrics: tuple[str, ...] = METRICS
    pairs: str = "all"  # or `A:B,C:D`
    reference: str = ""  # compare every other method with this one
    claim: Claim | None = None  # None takes `method` where every method has 3 seeds or more, else `checkpoint`
    equivalence: Mapping[str, float] = field(default_factory=dict)  # points by metric; "" is the primary metric
    alpha: float = 0.05
    correction: Correction = "holm"
    resamples: int = 10_000
    seed: int = 0
    allow_unequal_seeds: bool = False
    bayes: bool = False  # read claims about methods a second time, by the hierarchical model

    def __post_init__(self) -> None:
        # Before any file is read: nothing of this depends on what was recorded.
        if self.reference and self.pairs != "all":
            raise InvalidSetting("--pairs and --reference exclude each other: name the pairs, or one reference for all")
        names = checked_metrics(self.metrics)
        check_choices(self.claim or "checkpoint", self.correction, self.alpha, self.resamples, self.seed)
        primary = primary_metric(names)
        if "" in self.equivalence and primary in self.equivalence:
            raise InvalidSetting(f"{primary} is the primary metric and has two equivalence margins; declare one")
        if self.bayes and self.claim == "checkpoint":
            raise InvalidSetting("--bayes reads claims about methods; leave out --claim checkpoint, or --bayes")
        if self.bayes:
            require_library()
        checked_margins({metric or primary: delta for metric, delta in self.equivalence.items()}, names, primary)

    @property
    def depth(self) -> int:
        """Largest K that any metric looks at."""
        return max((k for metric in self.metrics for _, k in components(metric)), default=1)


@dataclass(frozen=True, eq=False)
class Result:
    """The comparison of one gallery, and what a report needs beside it."""

    subject: Subject
    methods: tuple[MethodRuns, ...]  # those compared, best first
    comparison: Comparison
    ranking: tuple[RankedMethod, ...]  # empty unless all pairs were compared with a family-wise correction
    claim_by_default: bool  # nobody asked for the claim
    reading: SecondReading | None = None  # by the hierarchical model, where it was asked for

    @property
    def warnings(self) -> list[str]:
        """What a reader must be warned of: by the statistics, then of the files."""
        return [*(notice.message for notice in self.comparison.notices), *self.subject.remarks]

    @property
    def evidence(self) -> list[Evidence]:
        """The files behind the methods that were compared."""
        return [item for item in self.subject.evidence if item.method in self.comparison.methods]


def examine(subject: Subject, request: Request, tell: Tell = silent) -> Result:
    """Compare the methods of one gallery.

    Args:
        subject: the methods.
        request: what is asked of them.
        tell: told of how far it is.

    Raises:
        InvalidComparison: one of its subclasses.
        UnknownName: a metric or method that does not exist.
    """
    methods = {run.name: run for run in subject.methods}
    everything = not request.reference and request.pairs == "all"
    pairs = [] if everything or request.reference else parse_pairs(request.pairs, list(methods))
    named = [name for pair in pairs for name in pair] or [request.reference] * bool(request.reference)
    unknown = [name for name in named if name not in methods]
    # A name that only the published figures have gets the reason, not a list of other names.
    refuse_aggregate_only([name for name in unknown if name in subject.published])
    refuse_aggregate_only([n for n in unknown if len(published_rows_for(subject.dataset, subject.protocol, n))])
    for name in unknown:
        if name in subject.too_short:
            raise InvalidSetting(
                f"{name} has {subject.too_short[name]}, which decide no rSum; add it with lists of 10 or more in both directions"
            )
        raise UnknownName("method", name, methods)
    if len(methods) < 2:
        refuse_aggregate_only(subject.published)
    chosen = [run for run in subject.methods if not pairs or run.name in named]
    if len(chosen) < 2:
        have = f"only '{chosen[0].name}'" if chosen else "no method"
        raise InvalidSetting(f"a comparison needs 2 methods, there is {have} on {subject.title}; record or add another")
    primary = primary_metric(request.metrics)
    # Best first, so that most differences are positive; the order given for equal scores.
    chosen.sort(key=lambda run: -round(float(image_columns([run], [primary]).scores[0, 0]), 9))
    comparison = compare(
        chosen,
        metrics=request.metrics,
        claim=request.claim or default_claim(chosen),
        correction=request.correction,
        alpha=request.alpha,
        resamples=request.resamples,
        seed=request.seed,
        equivalence={metric or primary: delta for metric, delta in request.equivalence.items()} or None,
        pairs=request.reference or pairs or "all",
        allow_unequal_seeds=request.allow_unequal_seeds,
        tell=tell,
    )
    ranking = tiers(comparison, primary) if everything and request.correction != "bh" else ()
    reading = None
    if request.bayes:
        reading = second_reading(
            chosen,
            primary,
            pairs=[(row.a, row.b) for row in comparison.of_metric(primary)],
            margins={metric or primary: delta for metric, delta in request.equivalence.items()},
            alpha=request.alpha,
            seed=request.seed,
        )
    return Result(subject, tuple(chosen), comparison, ranking, request.claim is None, reading)


def examine_all(
    subjects: Sequence[Subject], request: Request, tell: Tell = silent
) -> tuple[list[Result], dict[str, ItmError]]:
    """The comparisons that can be made, and the refusals of the others by title; without any the first is raised."""
    done, refused = [], dict[str, ItmError]()
    for subject in subjects:
        if len(subjects) > 1 and len(subject.methods) < 2 and not subject.published:
            logger.info("%s has one method: nothing to compare", subject.title)
            continue
        try:
            done.append(examine(subject, request, tell))
        except (InvalidComparison, UnknownName) as error:
            refused[subject.title] = error
    if not done:
        nothing = InvalidComparison("every dataset and protocol has one method: nothing to compare")
        raise next(iter(refused.values()), nothing)
    return done, refused


def parse_pairs(spelled: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """`A:B,C:D` as pairs; names of methods may themselves hold commas and colons.

    Args:
        spelled: what the user wrote.
        names: the methods there are; the longest that fits is taken.

    Raises:
        InvalidSetting: not pairs at all.

    >>> parse_pairs("scan:chan (pooling=lse, x:1)", ["scan", "chan (pooling=lse, x:1)"])
    [('scan', 'chan (pooling=lse, x:1)')]
    """
    pairs, rest = [], spelled.strip()
    while rest:
        first, rest = _take(rest, ":", names)
        second, rest = _take(rest, ",", names)
        if not first or not second:
            raise InvalidSetting(f"--pairs must be 'all' or A:B,C:D, got '{spelled}'")
        pairs.append((first, second))
    return pairs


def _take(rest: str, end: str, names: Sequence[str]) -> tuple[str, str]:
    """A name and what follows it and its end sign."""
    for name in sorted(names, key=len, reverse=True):
        if rest == name or rest.startswith(name + end):
            return name, rest[len(name) + 1 :].lstrip()
    name, _, rest = rest.partition(end)
    return name.strip(), rest.strip()
