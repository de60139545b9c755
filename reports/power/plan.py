"""From recorded runs or a stated guess to a plan: what seeds and images would see, and what the seeds would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.records.run import RunRecord
from harness.reports.runs.subjects import FOREIGN, Subject
from harness.reports.statistics.checks import number, whole
from harness.reports.statistics.errors import InvalidSetting
from harness.reports.statistics.hits import components as recalls_of
from harness.reports.statistics.planning import (
    Components,
    Pooled,
    Target,
    of_guess,
    of_runs,
    pool,
    sd_of_disagreement,
)

#: Numbers of seeds that are planned for; one is a claim about checkpoints.
SEEDS = (1, 3, 5, 10)
#: Multiples of the images.
TIMES = (1, 2, 5)
_GIVE = (
    "give runs that are recorded (a results folder, or --results of an experiment whose runs are there), or a guess: "
    "--sd-images with --sd-seeds in points, or --disagreement with --icc for a t2i recall"
)


@dataclass(frozen=True, kw_only=True)
class Guess:
    """What the user states of the variances; None = nothing. A stated value stands for the recorded one."""

    sd_images: float | None = None  # of the images' contributions to a difference, points
    sd_seeds: float | None = None  # of a method's score over seeds, points
    disagreement: float | None = None  # share of captions on which two methods disagree
    icc: float | None = None
    captions: int = 5

    def over_images(self, metric: str) -> float | None:
        """The SD over images, from one of the two ways of stating it.

        Raises:
            InvalidSetting: both ways, half of the second, or the second for another metric than a t2i recall.
        """
        if (self.disagreement is None) != (self.icc is None):
            raise InvalidSetting("--disagreement and --icc belong together; give both, or --sd-images")
        if self.disagreement is None or self.icc is None:
            return self.sd_images
        if self.sd_images is not None:
            raise InvalidSetting("--sd-images and --disagreement say the same; give one of them")
        if not metric.startswith("t2i_"):
            raise InvalidSetting(f"--disagreement is about captions that search images: --metric t2i_r1, not {metric}")
        return sd_of_disagreement(self.disagreement, self.icc, self.captions)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a plan is asked.

    Raises:
        InvalidSetting, UnknownName: a value out of its range, or no metric.
    """

    metric: str = "rsum"
    difference: float | None = None  # points; None = 5 for rSum, 1 for a recall
    alpha: float = 0.05
    power: float = 0.8
    comparisons: int | None = None  # None = all pairs of the methods
    guess: Guess = Guess()

    def __post_init__(self) -> None:
        recalls_of(self.metric)
        number(self.points, "the difference to find", above=0)
        Target(self.alpha, self.power, 1 if self.comparisons is None else self.comparisons)
        self.guess.over_images(self.metric)

    @property
    def points(self) -> float:
        """The difference to find."""
        return (5.0 if self.metric == "rsum" else 1.0) if self.difference is None else self.difference


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The set-up that is planned."""

    title: str  # for headings
    slug: str  # for folders
    images: int
    seeds: int | None = None  # None = not planned yet
    methods: int = 2


@dataclass(frozen=True)
class Cost:
    """What training took where runs are recorded."""

    seconds: float  # of one seed of every method
    methods: int  # of which that is known
    recorded: int  # runs behind it
    computed_on: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """A plan: what was asked, of what, and the variances that the answers rest on."""

    question: Question
    setup: Setup
    components: Components
    pairs: Mapping[tuple[str, str], Components]  # of recorded runs; empty for a guess
    pooled: Pooled | None  # None for a guess
    recorded_images: int | None
    recorded_seeds: tuple[int, ...] = ()
    stated: tuple[str, ...] = ()  # the guesses, spelled out
    cost: Cost | None = None
    run_ids: tuple[str, ...] = ()

    @property
    def comparisons(self) -> int:
        """Tests that are corrected together."""
        return self.question.comparisons or max(self.setup.methods * (self.setup.methods - 1) // 2, 1)

    @property
    def target(self) -> Target:
        """What is to be achieved."""
        return Target(self.question.alpha, self.question.power, self.comparisons)

    @property
    def knows_seeds(self) -> bool:
        """Whether anything can be said of methods, not checkpoints."""
        return self.components.seeds is not None

    @property
    def planned_seeds(self) -> tuple[int, ...]:
        """The numbers of seeds to show, those of the set-up among them; two carry no claim about methods."""
        if not self.knows_seeds:
            return (1,)
        own = [self.setup.seeds] if self.setup.seeds and self.setup.seeds != 2 else []
        return tuple(sorted({*SEEDS, *own}))

    def hours(self, seeds: int) -> float | None:
        """Hours of training of all methods with that many seeds, one run after the other."""
        return None if self.cost is None else seeds * self.cost.seconds / 3600.0


def plan_of_runs(subject: Subject, setup: Setup, question: Question, records: Sequence[RunRecord] = ()) -> Plan:
    """A plan from the recorded runs of a gallery, with guesses in the place of what they do not tell.

    Args:
        subject: two methods or more, or one or none where the guess says what a pair would tell.
        setup: what is planned.
        question: what is asked.
        records: the runs behind the methods, for what they cost.

    Raises:
        InvalidSetting: neither runs nor a guess say how images vary.
        InvalidComparison: runs that cannot be compared.
    """
    methods, metric = subject.methods, question.metric
    if len(methods) < 2:
        made = plan_of_guess(setup, question, f"{subject.title} has {len(methods) or 'no'} recorded method")
        return replace(made, cost=_cost(records))
    pairs = of_runs(methods, metric)
    pooled = pool(dict(pairs), methods, metric)
    found, stated = _with_guess(pooled.components, question)
    return Plan(
        question=question,
        setup=setup,
        components=found,
        pairs=pairs,
        pooled=pooled,
        recorded_images=len(methods[0].image_ids),
        recorded_seeds=tuple(len(runs.seeds) for runs in methods),
        stated=stated,
        cost=_cost(records),
        run_ids=tuple(dict.fromkeys(item.source for item in subject.evidence if item.source != FOREIGN)),
    )


def require_guess(question: Question, why: str) -> float:
    """The stated SD over images.

    Raises:
        InvalidSetting: none is stated; nothing is made up.
    """
    sd = question.guess.over_images(question.metric)
    if sd is None:
        raise InvalidSetting(f"{why}, so it is not known how much images vary; {_GIVE}")
    return sd


def plan_of_guess(setup: Setup, question: Question, why: str = "nothing is recorded") -> Plan:
    """A plan from a stated guess alone.

    Raises:
        InvalidSetting: see `require_guess`.
    """
    sd = require_guess(question, why)
    found, stated = _with_guess(of_guess(sd), question)
    return Plan(
        question=question,
        setup=setup,
        components=found,
        pairs={},
        pooled=None,
        recorded_images=None,
        stated=stated,
    )


def _with_guess(found: Components, question: Question) -> tuple[Components, tuple[str, ...]]:
    """The components with what the user states in the place of what was recorded."""
    guess, stated = question.guess, []
    sd = guess.over_images(question.metric)
    if sd is not None:
        found = replace(found, images=number(sd, "the SD over images", above=0) ** 2, interactions=(0.0, 0.0))
        source = "" if guess.disagreement is None else f" (disagreement {guess.disagreement:g}, ICC {guess.icc:g})"
        stated.append(f"SD over images {sd:.4g} points{source}")
    if guess.sd_seeds is not None:
        variance = number(guess.sd_seeds, "the SD over seeds", least=0) ** 2
        found = replace(found, seeds=(variance, variance))
        stated.append(f"SD over seeds {guess.sd_seeds:g} points")
    return found, tuple(stated)


def _cost(records: Sequence[RunRecord]) -> Cost | None:
    """The mean training time of each method, summed; None where no training was timed."""
    by_method: dict[str, list[float]] = {}
    timed = [record for record in records if record.origin == "measured" and record.training.seconds]
    for record in timed:
        by_method.setdefault(record.label, []).append(float(record.training.seconds or 0.0))
    if not by_method:
        return None
    machines = dict.fromkeys(record.environment.computed_on for record in timed)
    return Cost(sum(float(np.mean(v)) for v in by_method.values()), len(by_method), len(timed), "; ".join(machines))


def checked_images(images: int | None, known: int | None) -> int:
    """The images of the set-up: stated, else known.

    Raises:
        InvalidSetting: neither, or fewer than a test takes.
    """
    found = images if images is not None else known
    if found is None:
        raise InvalidSetting("how many test images? The data are not here: give --images N")
    return whole(found, "test images", least=30)
