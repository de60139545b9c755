"""Ablations: which cells answer "what does each component contribute", planned over a scorer's declared variants.

A variant that takes a component away is data (a dict of config overrides), so a plan is only a list of experiment
entries: the executor, the records and the leaderboard know nothing of ablations.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from harness import registry
from harness.errors import InvalidSpec, UnknownName
from harness.runs.planning import entry_of
from harness.spec import Experiment, RunSpec, ScorerEntry

Kind = Literal["one_at_a_time", "add_one_in", "grid"]
LARGEST_GRID = 64


@dataclass(frozen=True)
class AblatedModel:
    """One model of an ablation: the key of its entry, and the variants whose overrides are merged into it (none = full).

    The others are compared with the reference.
    """

    key: str
    removed: tuple[str, ...]
    reference: bool = False


@dataclass(frozen=True)
class AblationPlan:
    """The experiment to run and what its entries mean, in the order of the report."""

    experiment: Experiment
    scorer: str
    kind: Kind
    models: tuple[AblatedModel, ...]

    @property
    def reference(self) -> AblatedModel:
        """The model that the others are compared with: the full one, or the bare one when components are added."""
        return next(model for model in self.models if model.reference)

    def run_ids(self, cells: Sequence[RunSpec]) -> list[list[str]]:
        """The runs of each model, from the planned cells: all entries of a seed, then those of the next."""
        return [[cell.run_id for cell in cells[place :: len(self.models)]] for place in range(len(self.models))]


def plan_ablation(
    experiment: Experiment, scorer: str, kind: Kind = "one_at_a_time", variants: Sequence[str] = ()
) -> AblationPlan:
    """The cells of an ablation.

    Args:
        experiment: gives the data, backbones, training and seeds.
        scorer: key of an entry of the experiment, or a registered name (then with its defaults).
        kind: "one_at_a_time" = the full model and each variant of it; "add_one_in" = all variants taken together, and
            that with each one put back; "grid" = every subset.
        variants: names of variants; default the scorer's `components`, or all its variants if it names none.

    Raises:
        UnknownName: unknown scorer or variant.
        InvalidSpec: the scorer declares no variants, a grid is too large, or variants contradict each other.
    """
    if kind not in get_args(Kind):
        raise UnknownName("ablation plan", kind, get_args(Kind))
    entry = entry_of(experiment, scorer)
    name, base_variant = registry.split(entry.name)
    if base_variant:
        raise InvalidSpec(f"ablate the scorer, not its variant: --scorer {name} instead of {entry.name}")
    chosen = _chosen(name, variants)
    models = _MODELS[kind](name, chosen)
    entries = tuple(_ablated_entry(experiment, entry, name, model) for model in models)
    planned = experiment.model_copy(
        update={"name": f"{experiment.name}-ablate-{name}", "scorers": entries, "description": f"{kind} of {name}"}
    )
    return AblationPlan(planned, name, kind, tuple(models))


def _chosen(name: str, variants: Sequence[str]) -> tuple[str, ...]:
    cls = registry.scorer_class(name)
    if not cls.variants:
        raise InvalidSpec(f"scorer {name} declares no variants, so there is nothing to ablate")
    for variant in variants:
        if variant not in cls.variants:
            raise UnknownName(f"variant of {name}", variant, cls.variants)
    return tuple(variants) or tuple(cls.components) or tuple(cls.variants)


def _one_at_a_time(name: str, variants: Sequence[str]) -> list[AblatedModel]:
    return [AblatedModel(name, (), True), *(AblatedModel(f"{name}.{v}", (v,)) for v in variants)]


def _add_one_in(name: str, variants: Sequence[str]) -> list[AblatedModel]:
    added = [
        AblatedModel(f"{name}+{v.removeprefix('no_')}", tuple(other for other in variants if other != v))
        for v in variants
    ]
    return [AblatedModel(f"{name} bare", tuple(variants), True), *added, AblatedModel(name, ())]


def _grid(name: str, variants: Sequence[str]) -> list[AblatedModel]:
    if 2 ** len(variants) > LARGEST_GRID:
        raise InvalidSpec(
            f"a grid over {len(variants)} variants has {2 ** len(variants):,} models, more than {LARGEST_GRID}; "
            f"name fewer with --variants ({', '.join(variants)})"
        )
    subsets = [s for size in range(len(variants) + 1) for s in itertools.combinations(variants, size)]
    return [AblatedModel("-".join((name, *(v.removeprefix("no_") for v in s))), s, not s) for s in subsets]


_MODELS = {"one_at_a_time": _one_at_a_time, "add_one_in": _add_one_in, "grid": _grid}


def _ablated_entry(experiment: Experiment, entry: ScorerEntry, name: str, model: AblatedModel) -> ScorerEntry:
    """The entry with the variants' overrides on top; a single variant keeps its registered name, and so its recipe."""
    overrides = _merged(name, model.removed)
    if len(model.removed) == 1:
        kept = {key: value for key, value in entry.config.items() if key not in overrides}
        full_name, config = f"{name}.{model.removed[0]}", kept
    else:
        full_name, config = name, {**entry.config, **overrides}
    try:
        registry.resolve_config(full_name, config)
    except InvalidSpec as error:
        raise InvalidSpec(
            f"the variants {', '.join(model.removed)} of {name} cannot be combined ({error}); choose with --variants"
        ) from None
    recipes = registry.scorer_class(name).variant_recipes
    several = model.removed if len(model.removed) > 1 else ()
    recipe = {key: value for variant in several for key, value in recipes.get(variant, {}).items()}
    training = {key: value for key, value in recipe.items() if key not in experiment.training} | entry.training
    return entry.model_copy(update={"key": model.key, "name": full_name, "config": config, "training": training})


def _merged(name: str, variants: Sequence[str]) -> dict[str, Any]:
    declared = registry.variants(name)
    merged: dict[str, Any] = {}
    for variant in variants:
        both = merged.keys() & declared[variant].keys()
        conflicts = sorted(key for key in both if merged[key] != declared[variant][key])
        if conflicts:
            raise InvalidSpec(
                f"variants {', '.join(variants)} of {name} set {', '.join(conflicts)} to different values; "
                "choose with --variants"
            )
        merged |= declared[variant]
    return merged
