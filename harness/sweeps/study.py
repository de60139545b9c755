"""Optuna's side of a study: its storage, its sampler and pruner by Optuna's own names, and that it is still the same."""

from __future__ import annotations

import inspect
import json
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from harness.errors import InvalidSpec, StorageUnavailable, UnknownName, did_you_mean
from harness.spec import Component, canonical_json
from harness.sweeps.plan import StudyPlan

FINGERPRINT = "itm_fingerprint"
COSTS = "cost"
JOURNAL = "journal:"
#: Seconds: for a lock of a local file that other workers hold, for a server to answer, and for a study's creator to
#: say what it is about.
LOCK_SECONDS, CONNECT_SECONDS, CREATOR_SECONDS = 60, 10, 15
SAMPLERS = (
    "TPESampler", "NSGAIISampler", "NSGAIIISampler", "RandomSampler", "GridSampler", "CmaEsSampler", "GPSampler",
    "QMCSampler", "BruteForceSampler",
)  # fmt: skip
PRUNERS = (
    "MedianPruner", "PercentilePruner", "SuccessiveHalvingPruner", "HyperbandPruner", "ThresholdPruner",
    "PatientPruner", "WilcoxonPruner", "NopPruner",
)  # fmt: skip
#: The seed decides the order of all their points, so it must be the same for every trial.
_ONE_WHOLE = ("QMCSampler", "GridSampler")
#: Set by the harness, not by options.
_OURS = {"self", "seed", "search_space", "constraints_func"}


class NumberedSampler(BaseSampler):
    """A sampler whose random stream is that of the trial's number.

    Workers never draw the same values, and a study that is stopped and resumed goes on as if it never was.

    Args:
        make: a sampler from a seed.
        seed: of the study.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int):
        self._make, self._seed = make, seed
        self._inner = make(seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Start the stream of this trial."""
        # Knuth's multiplicative hash keeps the streams of seeds 0, 1, 2 apart for any number of trials.
        self._inner = self._make((self._seed * 2_654_435_761 + trial.number) % 2**32)
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._inner.after_trial(study, trial, state, values)


def open_study(plan: StudyPlan) -> Study:
    """The study of a plan, made if it is not there.

    Raises:
        StorageUnavailable: the storage cannot be reached or written.
        InvalidSpec: the study is there, but about something else; or an impossible sampler or pruner.
    """
    sampler, pruner = make_sampler(plan), make_pruner(plan.settings.effective_pruner)
    with _storage_errors(plan.storage):
        storage = _open_beside_others(plan.storage)
        try:
            study = optuna.create_study(
                study_name=plan.name,
                storage=storage,
                sampler=sampler,
                pruner=pruner,
                directions=list(plan.settings.directions),
            )
        except optuna.exceptions.DuplicatedStudyError:
            study = optuna.load_study(study_name=plan.name, storage=storage, sampler=sampler, pruner=pruner)
            check_unchanged(study, plan)
        else:
            study.set_user_attr(FINGERPRINT, canonical_json(plan.fingerprint))
            if plan.default:
                study.enqueue_trial(plan.default, user_attrs={"source": "default"})
    return study


def open_storage(url: str) -> Any:
    """Optuna's storage behind a URL of a database, or `journal:PATH` for a file that machines share."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what a failed trial says is kept in the trial and told by us
    if url.startswith(JOURNAL):
        from optuna.storages.journal import JournalFileBackend

        path = Path(url.removeprefix(JOURNAL))
        path.parent.mkdir(parents=True, exist_ok=True)
        return optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    arguments: dict[str, Any] = {}
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        arguments = {"timeout": LOCK_SECONDS}
    elif url.startswith("postgresql"):
        arguments = {"connect_timeout": CONNECT_SECONDS}
    return optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": arguments, "pool_pre_ping": True})


def _open_beside_others(url: str) -> Any:
    """The storage, also where another worker is making its tables this moment: Optuna does not wait for that."""
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    for pause in (0.5, 1.0, 2.0, 4.0):
        try:
            return open_storage(url)
        except (IntegrityError, OperationalError, ProgrammingError) as error:
            if not re.search(
                "already exists|duplicate|UNIQUE|no such table|relation .* does not exist", str(error.orig)
            ):
                raise
        time.sleep(pause)
    return open_storage(url)


def check_unchanged(study: Study, plan: StudyPlan) -> None:
    """Refuse a study that another plan began.

    Raises:
        InvalidSpec: with the first difference.
    """
    text = _fingerprint(study)
    finished = sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))
    kept = f"its {finished} finished trials are kept; put that back, or choose another name with --study"
    if text is None:
        raise InvalidSpec(f"study '{study.study_name}' is in the storage but was not made by itm sweep; {kept}")
    before, now = _flat(json.loads(text)), _flat(json.loads(canonical_json(plan.fingerprint)))
    if before != now:
        path = next(path for path in [*before, *now] if before.get(path) != now.get(path))
        was, is_now = (repr(side[path]) if path in side else "nothing" for side in (before, now))
        raise InvalidSpec(f"study '{study.study_name}' was begun with {path} = {was}, now it is {is_now}; {kept}")


def make_sampler(plan: StudyPlan) -> BaseSampler:
    """The sampler of a plan, with a stream for each trial.

    Raises:
        UnknownName, InvalidSpec: no such sampler or option; one that cannot do what is asked.
    """
    component, settings = plan.settings.sampler, plan.settings
    cls = _class(optuna.samplers, "sampler", component.name, SAMPLERS)
    if component.name == "CmaEsSampler" and len(settings.objectives) > 1:
        raise InvalidSpec("CmaEsSampler seeks one objective only; use TPESampler or NSGAIISampler for several")
    options = _options(cls, component, "sampler")
    if component.name == "GridSampler":
        options["search_space"] = plan.space.grid()
    # Optuna 5 takes constraints from the trial itself (`set_constraint`), earlier versions ask the sampler.
    if settings.at_most and not hasattr(optuna.Trial, "set_constraint"):
        if "constraints_func" not in inspect.signature(cls).parameters:
            raise InvalidSpec(f"{component.name} knows no constraints; use TPESampler or NSGAIISampler with at_most")
        options["constraints_func"] = lambda trial: violations(trial.user_attrs.get(COSTS, {}), settings.at_most)

    def make(seed: int) -> BaseSampler:
        with _experimental_is_fine():
            return _construct(cls, {**options, "seed": seed}, f"sampler {component.name}")

    if component.name in _ONE_WHOLE:
        return make(settings.sampler_seed)
    return NumberedSampler(make, settings.sampler_seed)


def make_pruner(component: Component) -> optuna.pruners.BasePruner:
    """A pruner by Optuna's name.

    Raises:
        UnknownName, InvalidSpec: no such pruner or option.
    """
    cls = _class(optuna.pruners, "pruner", component.name, PRUNERS)
    options = _options(cls, component, "pruner")
    if "wrapped_pruner" in options and options["wrapped_pruner"] is not None:
        options["wrapped_pruner"] = make_pruner(Component.model_validate(options["wrapped_pruner"]))
    with _experimental_is_fine():
        return _construct(cls, options, f"pruner {component.name}")


def violations(cost: Mapping[str, float], at_most: Mapping[str, float]) -> list[float]:
    """By how much each limit is exceeded; 0 or less is kept, and so is one whose cost was not measured."""
    return [cost[key] - limit if key in cost else 0.0 for key, limit in at_most.items()]


def shown_storage(url: str) -> str:
    """The URL without a password."""
    return re.sub(r"(//[^/:@\s]*):[^/@\s]+@", r"\1:***@", url)


@contextmanager
def _storage_errors(url: str) -> Iterator[None]:
    from sqlalchemy.exc import SQLAlchemyError

    advice = "nothing of the study is lost; mend it or choose another with --storage"
    try:
        yield
    except ImportError as error:
        hint = "; pip install 'itm-harness[postgresql]'" if url.startswith("postgresql") else ""
        reason = f"the driver is missing ({' '.join(str(error).split()):.120}){hint}"
        raise StorageUnavailable(f"cannot use the storage {shown_storage(url)}: {reason}") from None
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError) as error:
        cause: Any = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
        reason = shown_storage(" ".join(str(getattr(cause, "orig", None) or cause or error).split()))
        raise StorageUnavailable(f"cannot use the storage {shown_storage(url)}: {reason:.200}; {advice}") from None


storage_errors = _storage_errors


@contextmanager
def _experimental_is_fine() -> Iterator[None]:
    """Without Optuna's remarks that an option is experimental or on its way out: the user chose it by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _fingerprint(study: Study) -> str | None:
    """What the study's creator wrote; another worker may be creating it this moment."""
    deadline = time.monotonic() + CREATOR_SECONDS
    while True:
        text = study.user_attrs.get(FINGERPRINT)
        # A study that has trials and no fingerprint will never get one.
        if text is not None or time.monotonic() > deadline or study.get_trials(deepcopy=False):
            return text
        time.sleep(0.1)


def _class(module: Any, kind: str, name: str, known: Sequence[str]) -> Any:
    if name not in known:
        raise UnknownName(f"{kind} of Optuna", name, known)
    return getattr(module, name)


def _options(cls: Any, component: Component, kind: str) -> dict[str, Any]:
    known = [name for name in inspect.signature(cls).parameters if name not in _OURS]
    for name in component.options:
        if name not in known:
            raise InvalidSpec(f"{kind} {component.name}: unknown option '{name}'{did_you_mean(name, known)}")
    return dict(component.options)


def _construct(cls: Any, options: Mapping[str, Any], what: str) -> Any:
    try:
        return cls(**options)
    except ImportError as error:
        raise InvalidSpec(f"{what} needs a package that is missing: {' '.join(str(error).split()):.150}") from None
    except (TypeError, ValueError, AssertionError) as error:
        raise InvalidSpec(f"{what}: {' '.join(str(error).split()) or 'impossible options'}") from None


def _flat(values: Any, path: str = "") -> dict[str, Any]:
    if isinstance(values, Mapping) and values:
        return {k: v for key, value in values.items() for k, v in _flat(value, f"{path}{key}.").items()}
    return {path.rstrip("."): values}
