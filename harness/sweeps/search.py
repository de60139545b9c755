"""How a study searches: Optuna's samplers and pruners by name; an interrupted study draws what an uninterrupted one would."""

from __future__ import annotations

import contextlib
import inspect
import json
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from pydantic import ValidationError

from harness.errors import InvalidSpec, UnknownName, did_you_mean, one_line
from harness.settings.sweep import SweepSettings
from harness.spec import Component
from harness.sweeps.space import GRID_SAMPLER, Space

#: User attribute of a trial: what was measured of its cost.
COSTS = "cost"
#: Trials of a rehearsal: most samplers begin to learn after 10.
REHEARSALS = 12
#: System attributes of a trial in which Optuna's Gaussian-process sampler keeps what it drew.
GP_DRAWN = "gp:relative_params"
SAMPLERS = (
    "TPESampler", "NSGAIISampler", "NSGAIIISampler", "RandomSampler", GRID_SAMPLER, "CmaEsSampler", "GPSampler",
    "QMCSampler", "BruteForceSampler",
)  # fmt: skip
PRUNERS = (
    "MedianPruner", "PercentilePruner", "SuccessiveHalvingPruner", "HyperbandPruner", "ThresholdPruner",
    "PatientPruner", "WilcoxonPruner", "NopPruner",
)  # fmt: skip
#: They visit every point of their space. All they do after a trial is to stop `Study.optimize`, which is not used here.
EXHAUSTIVE = (GRID_SAMPLER, "BruteForceSampler")
#: They are the same for every trial: the seed decides the order of all their points.
_ONE_WHOLE = ("QMCSampler", GRID_SAMPLER)
#: Set by the harness, not by options.
_OURS = {"self", "seed", "search_space", "constraints_func"}


class NumberedSampler(BaseSampler):
    """A sampler whose random streams are those of the trial's number, and of the setting where settings are drawn singly.

    Workers never draw the same values. A study that is killed anywhere, between two settings of one trial too, draws
    the same values afterwards as one that never was.

    Args:
        make: the sampler of a stream.
        alone: the sampler, of a stream, for a setting that is drawn by itself; None = `make`'s of the trial.
        seed: of the study.
    """

    def __init__(self, make: Callable[[int], BaseSampler], alone: Callable[[int], BaseSampler] | None, seed: int):
        self._make, self._alone, self._seed = make, alone, seed
        self._inner = make(seed)

    def _stream(self, number: int) -> int:
        # Knuth's multiplicative hash keeps the streams of seeds 0, 1, 2 apart for any number of trials.
        return (self._seed * 2_654_435_761 + number) % 2**32

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Start the stream of this trial."""
        self._inner = self._make(self._stream(trial.number))
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, *arguments: Any) -> dict[str, BaseDistribution]:
        return self._inner.infer_relative_search_space(*arguments)

    def sample_relative(self, *arguments: Any) -> dict[str, Any]:
        return self._inner.sample_relative(*arguments)

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        sampler = self._inner
        if self._alone is not None:
            sampler = self._alone((self._stream(trial.number) + zlib.crc32(param_name.encode())) % 2**32)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, *arguments: Any) -> None:
        if type(self._inner).__name__ not in EXHAUSTIVE:
            self._inner.after_trial(*arguments)


class _ResumingGP(GPSampler):
    """Takes up what it drew for a trial before a kill. Optuna's would meet that draw as another worker's trial."""

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        pieces = [value for key, value in sorted(trial.system_attrs.items()) if key.startswith(GP_DRAWN)]
        with contextlib.suppress(ValueError):  # none, or cut off
            drawn = json.loads("".join(pieces))
            if drawn.keys() == search_space.keys():
                return drawn
        return super().sample_relative(study, trial, search_space)


class _NumberedQMC(QMCSampler):
    """Takes the point of the trial's number. Optuna counts points as they are asked for, so one is lost with each kill."""

    _number = 0

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._number = trial.number
        return super().sample_relative(study, trial, search_space)

    def _find_sample_id(self, study: Study, search_space: dict[str, BaseDistribution]) -> int:
        return max(self._number - 1, 0)  # the first trial is not drawn from the sequence


def make_sampler(settings: SweepSettings, space: Space) -> BaseSampler:
    """The sampler of a study, with a stream for each trial.

    Raises:
        UnknownName, InvalidSpec: no such sampler or option; one that cannot do what is asked.
    """
    name = settings.sampler.name
    cls, options = _class_and_options(optuna.samplers, "sampler", settings.sampler, SAMPLERS)
    if name == "CmaEsSampler" and len(settings.objectives) > 1:
        raise InvalidSpec("CmaEsSampler seeks one objective only; use TPESampler or NSGAIISampler for several")
    if name in EXHAUSTIVE:
        grid = space.grid(name)
        options |= {"search_space": grid} if name == GRID_SAMPLER else {}
    # Optuna 5 takes constraints from the trial itself (`set_constraint`), earlier versions ask the sampler.
    if settings.at_most and not hasattr(optuna.Trial, "set_constraint"):
        if "constraints_func" not in inspect.signature(cls).parameters:
            raise InvalidSpec(f"{name} knows no constraints; use TPESampler or NSGAIISampler with at_most")
        options["constraints_func"] = lambda trial: violations(trial.user_attrs.get(COSTS, {}), settings.at_most)
    cls = {"QMCSampler": _NumberedQMC, "GPSampler": _ResumingGP}.get(name, cls)

    def make(seed: int) -> BaseSampler:
        return _constructed(cls, {**options, "seed": seed}, f"sampler {name}")

    seed = settings.sampler_seed
    if name not in _ONE_WHOLE:
        return NumberedSampler(make, make, seed)
    alone = None if name == GRID_SAMPLER else (lambda stream: RandomSampler(seed=stream))
    return NumberedSampler(lambda _: make(seed), alone, seed)


def make_pruner(component: Component) -> optuna.pruners.BasePruner:
    """A pruner by Optuna's name.

    Raises:
        UnknownName, InvalidSpec: no such pruner or option.

    >>> type(make_pruner(Component(name="MedianPruner", options={"n_warmup_steps": 3}))).__name__
    'MedianPruner'
    """
    cls, options = _class_and_options(optuna.pruners, "pruner", component, PRUNERS)
    wrapped = options.get("wrapped_pruner")
    if wrapped is not None:
        try:
            options["wrapped_pruner"] = make_pruner(Component.model_validate(wrapped))
        except ValidationError:
            raise InvalidSpec(
                f"wrapped_pruner must be a pruner's name or a mapping with name, got {wrapped!r:.60}"
            ) from None
    return _constructed(cls, options, f"pruner {component.name}")


def violations(cost: Mapping[str, float], at_most: Mapping[str, float]) -> list[float]:
    """By how much each limit is exceeded; 0 or less is kept, and so is one whose cost was not measured.

    >>> violations({"query_ms_p50": 7.0}, {"query_ms_p50": 5.0, "params_millions": 1.0})
    [2.0, 0.0]
    """
    return [cost[key] - limit if key in cost else 0.0 for key, limit in at_most.items()]


def rehearse(settings: SweepSettings, space: Space) -> None:
    """Draw a few trials from the space in memory, since Optuna looks at most options only when a trial runs.

    Raises:
        UnknownName, InvalidSpec: what `make_sampler` and `make_pruner` refuse, or options that break in a trial.
    """
    sampler, pruner = make_sampler(settings, space), make_pruner(settings.effective_pruner)
    directions, count = list(settings.directions.values()), REHEARSALS
    if settings.sampler.name in EXHAUSTIVE:
        count = min(count, space.points(settings.sampler.name))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with _experimental_is_fine():
            study = optuna.create_study(sampler=sampler, pruner=pruner, directions=directions)
            for value in range(count):
                trial = study.ask()
                space.suggest(trial)
                if len(directions) == 1:
                    trial.report(float(value), 0)
                    trial.should_prune()
                study.tell(trial, [float(value)] * len(directions))
    except Exception as error:
        names = f"sampler {settings.sampler.name} and pruner {settings.effective_pruner.name}"
        reason = one_line(error) or type(error).__name__
        raise InvalidSpec(f"{names} break on this sweep space: {reason}; check their options") from None


@contextmanager
def _experimental_is_fine() -> Iterator[None]:
    """Without Optuna's remarks that an option is experimental or on its way out: the user chose it by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _class_and_options(
    module: Any, kind: str, component: Component, classes: Sequence[str]
) -> tuple[Any, dict[str, Any]]:
    if component.name not in classes:
        raise UnknownName(f"{kind} of Optuna", component.name, classes)
    cls, options = getattr(module, component.name), component.plain
    known = [name for name in inspect.signature(cls).parameters if name not in _OURS]
    for name in options:
        if name not in known:
            raise InvalidSpec(f"{kind} {component.name}: unknown option '{name}'{did_you_mean(name, known)}")
    return cls, options


def _constructed(cls: Any, options: Mapping[str, Any], what: str) -> Any:
    try:
        with _experimental_is_fine():
            return cls(**options)
    except ImportError as error:
        raise InvalidSpec(f"{what} needs a package that is missing: {one_line(error)}") from None
    except (TypeError, ValueError, AssertionError) as error:
        raise InvalidSpec(f"{what}: {one_line(error) or 'impossible options'}") from None
