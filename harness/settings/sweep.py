"""What a sweep seeks and how: objectives, constraints, sampler, pruner and seeds, as an experiment's `sweep:` says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from harness.errors import did_you_mean
from harness.settings.base import Spec
from harness.settings.components import Component

Direction = Literal["maximize", "minimize"]
RSUM = "rsum"


@dataclass(frozen=True)
class SweepObjective:
    """A figure that a trial can be judged by."""

    direction: Direction  #: which way is better
    title: str  #: as axes and tables name it, with its unit


#: By the key of the validation metric or of the cost (`harness.measure.cost.measure_cost`).
OBJECTIVES = {
    RSUM: SweepObjective("maximize", "validation rSum"),
    "query_ms_p50": SweepObjective("minimize", "query p50 (ms)"),
    "query_ms_p95": SweepObjective("minimize", "query p95 (ms)"),
    "encode_image_ms_p50": SweepObjective("minimize", "image encoding p50 (ms)"),
    "encode_text_ms_p50": SweepObjective("minimize", "caption encoding p50 (ms)"),
    "train_step_ms_p50": SweepObjective("minimize", "training step p50 (ms)"),
    "pairs_per_second": SweepObjective("maximize", "pairs scored per second"),
    "peak_memory_mib": SweepObjective("minimize", "peak memory (MiB)"),
    "index_bytes_per_image": SweepObjective("minimize", "index (bytes per image)"),
    "params_millions": SweepObjective("minimize", "parameters (millions)"),
}
ALIASES = {"latency": "query_ms_p50", "memory": "peak_memory_mib", "params": "params_millions"}


def objective_name(name: str) -> str:
    """The key of an objective from its key or alias; `ValueError` with near matches for any other name.

    >>> objective_name("latency")
    'query_ms_p50'
    """
    name = ALIASES.get(name, name)
    if name not in OBJECTIVES:
        raise ValueError(f"unknown objective '{name}'{did_you_mean(name, [*OBJECTIVES, *ALIASES])}")
    return name


def _cost_names(limits: dict[str, float]) -> dict[str, float]:
    named = {objective_name(name): limit for name, limit in limits.items()}
    for name in named:
        if OBJECTIVES[name].direction == "maximize":
            raise ValueError(f"at_most bounds a cost from above, but more of {name} is better")
    return named


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Objectives = Annotated[tuple[Annotated[str, AfterValidator(objective_name)], ...], BeforeValidator(_several)]
Limits = Annotated[dict[str, Annotated[float, Field(gt=0)]], AfterValidator(_cost_names)]


class SweepSettings(Spec):
    """The `sweep:` of an experiment; `itm sweep` overrides it from its options."""

    space: dict[str, Any] = Field(default_factory=dict, description="training.*, image.*, text.* of every scorer")
    scorers: dict[str, dict[str, Any]] = Field(default_factory=dict, description="an entry's own part of the space")
    replace: bool = Field(False, description="take only the spaces given here, none of the declared ones")
    objectives: Objectives = Field((RSUM,), description="figures that trials are judged by; rsum is always one")
    #: Each limit holds for what one trial measured: a time taken beside busy neighbours may break it.
    at_most: Limits = Field(default_factory=dict, description="constraints: cost -> largest value")
    sampler: Component = Field(Component(name="TPESampler"), description="of optuna.samplers, with its options")
    pruner: Component | None = Field(None, description="of optuna.pruners; None = MedianPruner for one objective")
    seeds: int = Field(1, ge=1, description="training runs per trial: the first seeds of the experiment")
    sampler_seed: int = Field(0, ge=0, lt=2**32, description="random seed of the sampler")
    include_default: bool = Field(True, description="the first trial has the experiment's own settings")

    @model_validator(mode="after")
    def _possible(self) -> SweepSettings:
        if RSUM not in self.objectives:
            raise ValueError(f"rsum must be among the objectives, got {', '.join(self.objectives) or 'none'}")
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError(f"objectives {', '.join(self.objectives)} repeat")
        if len(self.objectives) > 1 and self.pruner is not None and self.pruner.name != "NopPruner":
            raise ValueError(
                f"{self.pruner.name} cannot prune by several objectives; leave the pruner or an objective out"
            )
        return self

    @property
    def directions(self) -> dict[str, Direction]:
        """Of the objectives, in their order."""
        return {name: OBJECTIVES[name].direction for name in self.objectives}

    @property
    def effective_pruner(self) -> Component:
        """The pruner that runs: the one asked for, or the median rule after two epochs where there is one objective."""
        if self.pruner is not None:
            return self.pruner
        if len(self.objectives) > 1:
            return Component(name="NopPruner")
        return Component(name="MedianPruner", options={"n_warmup_steps": 2})
