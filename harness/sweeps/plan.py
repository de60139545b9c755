"""The plan of a study: one entry of an experiment, its checked space, and what it seeks. Pure data, picklable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import backbones, registry
from harness.datasets.base import Dataset
from harness.errors import InvalidSpec, UnknownName
from harness.files.names import safe_name
from harness.runs import building, planning
from harness.settings.sweep import SweepSettings
from harness.settings.values import flatten
from harness.spec import Component, Experiment, RunSpec, ScorerEntry, TrainingSpec, build
from harness.sweeps.fitting import Target, check_space
from harness.sweeps.search import rehearse
from harness.sweeps.space import GRID_SAMPLER, TRAINING_SPACE, Space, Values, merged

LONGEST_NAME = 200
#: The only split that a trial is judged by.
VALIDATION_SPLIT = "val"
#: What of a run's specification does not decide what a trial measures.
_NOT_IDENTITY = {"seed", "protocols", "evaluation"}


@dataclass(frozen=True)
class StudyPlan:
    """Everything that a worker needs to know."""

    name: str  #: of the study, in its storage and on disk
    experiment: str  #: its name
    entry: ScorerEntry  #: what is tuned
    base: RunSpec  #: the entry before tuning, resolved, for the first seed
    seeds: tuple[int, ...]  #: of the training runs of a trial
    space: Space  #: what varies
    settings: SweepSettings  #: what is sought and how
    storage: str  #: URL of Optuna's storage, or `journal:PATH`
    default: Values  #: the values before tuning by path; empty if the space does not hold them
    plugins: tuple[str, ...] = ()  #: plug-in files that a worker must register

    def candidate(self, values: Values) -> RunSpec:
        """The run that these values make.

        Raises:
            InvalidSpec: the values conflict with each other.
        """
        parts, entry, base = _by_part(values), self.entry, self.base
        training = {**base.training.model_dump(), **parts["training"]}
        return base.model_copy(
            update={
                "config": registry.resolve_config(entry.name, {**entry.config, **parts["config"]}),
                "training": build(TrainingSpec, training, f"training of scorer '{entry.key}'"),
                "image": backbones.IMAGE_BACKBONES.resolve(base.image.changed(parts["image"])),
                "text": backbones.TEXT_BACKBONES.resolve(base.text.changed(parts["text"])),
            }
        )

    def tuned_entry(self, values: Values, tuning: dict[str, Any]) -> ScorerEntry:
        """The experiment's entry with these values in it: what a user may write into an experiment file."""
        parts = _by_part(values)
        update: dict[str, Any] = {
            "config": {**self.entry.config, **parts["config"]},
            "training": {**self.entry.training, **parts["training"]},
            "tuning": tuning,
        }
        for kind in ("image", "text"):
            if parts[kind]:
                update[kind] = getattr(self.base, kind).changed(parts[kind])
        return self.entry.model_copy(update=update)

    @property
    def identity(self) -> dict[str, Any]:
        """What is tuned: the entry before tuning, and the data."""
        return entry_identity(self.base)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What must not change between the calls that continue a study."""
        return {
            "space": self.space.dump(),
            "objectives": self.settings.directions,
            "at_most": self.settings.at_most,
            "seeds": list(self.seeds),
            "entry": self.identity,
        }


def draft_study(
    experiment: Experiment,
    scorer: str,
    results: Path,
    *,
    storage: str | None = None,
    name: str | None = None,
    plugins: tuple[str, ...] = (),
) -> StudyPlan:
    """A plan with all that can be checked before data are read or generated; its `base` does not know their hash.

    Args:
        experiment: gives the data, the entry, and in `sweep` the space and what is sought.
        scorer: key of an entry of the experiment, or a registered name (then with its defaults).
        results: the results folder; holds the default storage.
        storage: URL of the storage; default `<results>/sweeps/optuna.db`.
        name: of the study; default `<experiment>.<entry>`.
        plugins: plug-in files.

    Raises:
        UnknownName, InvalidSpec: the scorer, a setting of the sweep or its space.
    """
    entry = planning.entry_of(experiment, scorer)
    if entry.weights:
        raise InvalidSpec(f"scorer '{entry.key}' has given weights ({entry.weights}), so there is nothing to tune")
    if experiment.devices > 1:
        raise InvalidSpec(
            f"a sweep trains each trial on one device, and devices is {experiment.devices}; set devices=1, and "
            "training.micro_batch if a batch does not fit into memory; --workers runs several trials at once"
        )
    settings = _sweep_settings(experiment)
    drafts = planning.check(experiment)
    base = drafts.get(entry.key) or planning.draft(experiment, entry, next(iter(drafts.values())).dataset)
    if settings.seeds > len(experiment.seeds):
        raise InvalidSpec(
            f"sweep.seeds asks for {settings.seeds} training runs per trial, but experiment '{experiment.name}' has "
            f"{len(experiment.seeds)} seeds"
        )
    targets = _targets(entry, base)
    space = check_space(_raw_space(entry, settings), targets, f"sweep space of scorer '{entry.key}'")
    rehearse(settings, space)
    before = {path: targets[part].values.get(key) for path in space.entries for part, key in [path.split(".", 1)]}
    usable = settings.include_default and settings.sampler.name != GRID_SAMPLER and space.contains(before)
    return StudyPlan(
        name=_checked_name(study_name(experiment, entry) if name is None else name),
        experiment=experiment.name,
        entry=entry,
        base=base,
        seeds=experiment.seeds[: settings.seeds],
        space=space,
        settings=settings,
        storage=_default_storage(results) if storage is None else storage,
        default=before if usable else {},
        plugins=plugins,
    )


def with_data(draft: StudyPlan) -> StudyPlan:
    """The plan of a draft, with its data opened and checked. The test split is not opened.

    Raises:
        InvalidDataset: the train or validation split cannot be used.
    """
    dataset = building.open_checked(draft.base.dataset)
    building.require_training_data(dataset)
    return replace(draft, base=with_validation_data(draft.base, dataset))


def with_validation_data(draft: RunSpec, dataset: Dataset) -> RunSpec:
    """A drafted run that knows its data, checked on the validation split alone."""
    return planning.with_data(draft, dataset, dataset.split(VALIDATION_SPLIT))


def study_name(experiment: Experiment, entry: ScorerEntry) -> str:
    """The name of an entry's study unless another is asked for."""
    return f"{experiment.name}.{entry.key}"


def study_folder(results: Path, name: str) -> Path:
    """Where the summary and the report of a study lie."""
    return Path(results) / "sweeps" / safe_name(name)


def entry_identity(base: RunSpec) -> dict[str, Any]:
    """What of a resolved entry decides the results of its trials; where the data lie does not."""
    identity = base.model_dump(mode="json", exclude=_NOT_IDENTITY)
    identity["dataset"].pop("root", None)
    return identity


def first_difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """The path of the first difference between two nested mappings, and both values in words; None if there is none.

    >>> first_difference({"space": {"a": 1}}, {"space": {"a": 1, "b": [2]}})
    ('space.b', 'nothing', '[2]')
    """
    before, after = flatten(then), flatten(now)
    for path in {**before, **after}:
        if path not in before or path not in after or before[path] != after[path]:
            was, is_now = (repr(side[path]) if path in side else "nothing" for side in (before, after))
            return path, was, is_now
    return None


def _checked_name(name: str) -> str:
    """A study's name, which is used in a database, in tables and as a folder's name."""
    problems = {
        "is empty": not name.strip(),
        "begins or ends with a blank": name != name.strip(),
        "is a path": "/" in name or "\\" in name or name.startswith("."),
        "holds characters that cannot be printed": not name.isprintable(),
        f"has {len(name)} characters, at most {LONGEST_NAME} are taken": len(name) > LONGEST_NAME,
    }
    for problem, found in problems.items():
        if found:
            raise InvalidSpec(
                f"the study's name {name!r:.60} {problem}; give a plain name with --study, such as my-study"
            )
    return name


def _sweep_settings(experiment: Experiment) -> SweepSettings:
    """The experiment's settings of sweeps, if they name entries and settings that it has."""
    settings = experiment.sweep
    keys = {key for entry in experiment.scorers for key in (entry.key, entry.name)}
    for key in settings.scorers:
        if key not in keys:
            raise UnknownName("scorer entry in sweep.scorers", key, keys)
    for path in settings.space:
        if path.startswith("config."):
            raise InvalidSpec(f"sweep.space holds for every scorer; write '{path}' below sweep.scorers.<entry>")
    return settings


def _default_storage(results: Path) -> str:
    """One SQLite file for all studies of a results folder."""
    return f"sqlite:///{(Path(results).resolve() / 'sweeps' / 'optuna.db').as_posix()}"


def _by_part(values: Values) -> dict[str, Values]:
    """Values by path as values by part and name."""
    parts: dict[str, Values] = {"config": {}, "training": {}, "image": {}, "text": {}}
    for path, value in values.items():
        part, _, name = path.partition(".")
        parts[part][name] = value
    return parts


def _raw_space(entry: ScorerEntry, settings: SweepSettings) -> dict[str, Any]:
    cls = registry.scorer_class(entry.name)
    _, variant = registry.split(entry.name)
    # What a variant is named for is not to be tuned away.
    kept = {f"config.{name}" for name in cls.variants.get(variant, {})}
    declared = {} if settings.replace else merged(TRAINING_SPACE, cls.search_space)
    declared = {path: value for path, value in declared.items() if path not in kept}
    own = settings.scorers.get(entry.key, settings.scorers.get(entry.name, {}))
    return merged(declared, settings.space, own)


def _targets(entry: ScorerEntry, base: RunSpec) -> dict[str, Target]:
    config = registry.resolve_config(entry.name, entry.config)
    targets = {
        "config": Target(type(config), config.model_dump(), f"scorer {entry.name}"),
        "training": Target(TrainingSpec, base.training.model_dump(), f"training of scorer '{entry.key}'"),
    }
    for kind, parts in backbones.BACKBONES.items():
        component: Component = getattr(base, kind)
        targets[kind] = Target(parts.get(component.name).Config, component.plain, f"{parts.kind} {component.name}")
    return targets
