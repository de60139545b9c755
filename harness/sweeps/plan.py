"""The plan of a study: one entry of an experiment, its checked space, and what it seeks. Pure data, picklable."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import backbones, registry
from harness.datasets.base import Dataset
from harness.errors import InvalidSpec, UnknownName
from harness.files.names import safe_name
from harness.runs import building, planning
from harness.settings.sweep import SweepSettings
from harness.spec import Component, Experiment, RunSpec, ScorerEntry, TrainingSpec, build
from harness.sweeps.search import rehearse
from harness.sweeps.space import TRAINING_SPACE, Space, Target, Values, base_value, check_space, merged

LONGEST_NAME = 200
#: What of a run's specification does not decide what a trial measures.
_NOT_IDENTITY = ("seed", "protocols", "evaluation")


@dataclass(frozen=True)
class StudyPlan:
    """Everything that a worker needs to know.

    Args:
        name: of the study, in its storage and on disk.
        experiment: of the experiment.
        entry: what is tuned.
        base: the entry before tuning, resolved, for the first seed.
        seeds: of the training runs of a trial.
        space: what varies.
        settings: what is sought and how.
        storage: URL of Optuna's storage, or `journal:PATH`.
        default: the values before tuning by path; empty if the space does not hold them.
        plugins: files of plug-in scorers that a worker must register.
    """

    name: str
    experiment: str
    entry: ScorerEntry
    base: RunSpec
    seeds: tuple[int, ...]
    space: Space
    settings: SweepSettings
    storage: str
    default: Values
    plugins: tuple[str, ...] = ()

    def candidate(self, values: Values) -> RunSpec:
        """The run that these values make.

        Raises:
            InvalidSpec: the values conflict with each other.
        """
        parts = split_values(values)
        entry, base = self.entry, self.base
        config = registry.resolve_config(entry.name, {**entry.config, **parts["config"]})
        training = {**base.training.model_dump(), **parts["training"]}
        return base.model_copy(
            update={
                "config": config,
                "training": build(TrainingSpec, training, f"training of scorer '{entry.key}'"),
                "image": backbones.IMAGE_BACKBONES.resolve(base.image.changed(parts["image"])),
                "text": backbones.TEXT_BACKBONES.resolve(base.text.changed(parts["text"])),
            }
        )

    def tuned_entry(self, values: Values, tuning: dict[str, Any]) -> ScorerEntry:
        """The experiment's entry with these values in it: what a user may write into an experiment file."""
        parts = split_values(values)
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
        """What must not change while a study goes on."""
        return {
            "space": self.space.dump(),
            "objectives": dict(zip(self.settings.objectives, self.settings.directions, strict=True)),
            "at_most": self.settings.at_most,
            "seeds": list(self.seeds),
            "entry": self.identity,
        }


def plan_study(
    experiment: Experiment,
    scorer: str,
    results: Path,
    *,
    storage: str | None = None,
    name: str | None = None,
    plugins: tuple[str, ...] = (),
) -> StudyPlan:
    """Check everything that can be known to be wrong before a trial is run. The test split is not opened.

    Args:
        experiment: gives the data, the entry, and in `sweep` the space and what is sought.
        scorer: key of an entry of the experiment, or a registered name (then with its defaults).
        results: the results folder; holds the default storage.
        storage: URL of the storage; default `<results>/sweeps/optuna.db`.
        name: of the study; default `<experiment>.<entry>`.
        plugins: files of plug-in scorers.

    Raises:
        UnknownName, InvalidSpec: the scorer, a setting of the sweep or its space.
        InvalidDataset: the train or validation split cannot be used.
    """
    draft = draft_study(experiment, scorer, results, storage=storage, name=name, plugins=plugins)
    return with_data(draft)


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

    Args and errors are those of `plan_study`, but for the data.
    """
    entry = planning.entry_of(experiment, scorer)
    if entry.weights:
        raise InvalidSpec(f"scorer '{entry.key}' has given weights ({entry.weights}), so there is nothing to tune")
    settings = sweep_settings(experiment)
    drafts = planning.check(experiment)
    base = drafts.get(entry.key) or planning.draft(experiment, entry, next(iter(drafts.values())).dataset)
    if settings.seeds > len(experiment.seeds):
        raise InvalidSpec(
            f"sweep.seeds asks for {settings.seeds} training runs a trial, but experiment '{experiment.name}' has "
            f"{len(experiment.seeds)} seeds"
        )
    targets = _targets(entry, base)
    space = check_space(_raw_space(experiment, entry, settings), targets, f"sweep space of scorer '{entry.key}'")
    rehearse(settings, space)
    before = {path: base_value(path, targets) for path in space.entries}
    usable = settings.include_default and settings.sampler.name != "GridSampler" and space.contains(before)
    return StudyPlan(
        name=_checked_name(study_name(experiment, entry) if name is None else name),
        experiment=experiment.name,
        entry=entry,
        base=base,
        seeds=experiment.seeds[: settings.seeds],
        space=space,
        settings=settings,
        storage=default_storage(results) if storage is None else storage,
        default=before if usable else {},
        plugins=plugins,
    )


def with_data(draft: StudyPlan) -> StudyPlan:
    """The plan of a draft, with its data opened and checked.

    Raises:
        InvalidDataset: the train or validation split cannot be used.
    """
    dataset = building.open_checked(draft.base.dataset)
    building.require_training_data(dataset)
    return replace(draft, base=planning.with_data(draft.base, dataset, validation_split(dataset)))


def _checked_name(name: str) -> str:
    """A study's name, which stands in a database, in tables and as a folder's name.

    Raises:
        InvalidSpec: empty, a path, too long, or with characters that cannot be printed.
    """
    problem = ""
    if not name.strip() or name != name.strip():
        problem = "is empty" if not name.strip() else "begins or ends with a blank"
    elif "/" in name or "\\" in name or name.startswith("."):
        problem = "is a path"
    elif not name.isprintable():
        problem = "holds characters that cannot be printed"
    elif len(name) > LONGEST_NAME:
        problem = f"has {len(name)} characters, at most {LONGEST_NAME} are taken"
    if problem:
        raise InvalidSpec(f"the study's name {name!r:.60} {problem}; give a plain name with --study, such as my-study")
    return name


def sweep_settings(experiment: Experiment) -> SweepSettings:
    """What the experiment says of its sweep.

    Raises:
        InvalidSpec: an unknown key or an impossible value.
        UnknownName: a part of the space for an entry that the experiment does not have.
    """
    settings = build(SweepSettings, experiment.sweep, f"sweep of experiment '{experiment.name}'")
    keys = {key for entry in experiment.scorers for key in (entry.key, entry.name)}
    for key in settings.scorers:
        if key not in keys:
            raise UnknownName("scorer entry in sweep.scorers", key, keys)
    for path in settings.space:
        if path.startswith("config."):
            raise InvalidSpec(f"sweep.space holds for every scorer; write '{path}' below sweep.scorers.<entry>")
    return settings


def study_name(experiment: Experiment, entry: ScorerEntry) -> str:
    """The name of an entry's study unless another is asked for."""
    return f"{experiment.name}.{entry.key}"


def default_storage(results: Path) -> str:
    """One SQLite file for all studies of a results folder."""
    return f"sqlite:///{(Path(results).resolve() / 'sweeps' / 'optuna.db').as_posix()}"


def study_folder(results: Path, name: str) -> Path:
    """Where the summary and the report of a study lie."""
    return Path(results) / "sweeps" / safe_name(name)


def validation_split(dataset: Dataset) -> Any:
    """The only split that a trial is judged by."""
    return dataset.split("val")


def entry_identity(base: RunSpec) -> dict[str, Any]:
    """What of a resolved entry decides the results of its trials; where the data lie does not."""
    identity = base.model_dump(mode="json", exclude=set(_NOT_IDENTITY))
    identity["dataset"].pop("root", None)
    return identity


def split_values(values: Values) -> dict[str, Values]:
    """Values by path as values by part and name."""
    parts: dict[str, Values] = {"config": {}, "training": {}, "image": {}, "text": {}}
    for path, value in values.items():
        part, _, name = path.partition(".")
        parts[part][name] = value
    return parts


def _raw_space(experiment: Experiment, entry: ScorerEntry, settings: SweepSettings) -> dict[str, Any]:
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
