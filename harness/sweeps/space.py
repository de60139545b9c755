"""Search spaces as data: what may vary.

A space maps a setting's path to its values:

    "training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}
    "config.pooling": ["lse", "mean"]
    "config.temperature": {"low": 0.02, "high": 0.5, "log": True, "when": {"config.pooling": ["lse"]}}
    "text.width": {"tied": "image.width"}

The paths are those of an experiment's entry: `config.` the scorer's own settings, `training.`, `image.` and `text.` the
options of its backbones. A whole number is drawn where the config holds one. `when` names settings, tuned or not, and the
values under which the setting means anything; without them it keeps the experiment's value.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field, field_validator, model_validator

from harness.errors import InvalidSpec
from harness.spec import Spec

Scalar = bool | int | float | str | None
Values = dict[str, Any]
#: Points of a grid: all of them are listed in memory.
LARGEST_GRID = 100_000
#: Ends of ranges: whole numbers beyond it are no longer exact where Optuna keeps them.
LARGEST_NUMBER = 2.0**53
GRID_SAMPLER = "GridSampler"

#: What every scorer is trained with; a scorer's own `search_space` may replace a line or take it out (None).
TRAINING_SPACE: Mapping[str, Any] = {
    "training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "training.weight_decay": [0.0, 1e-4, 1e-2, 0.2],
    "training.batch_size": [32, 64, 128],
    "training.margin": {"low": 0.05, "high": 0.4, "when": {"training.objective": "triplet"}},
    "training.temperature": {"low": 0.02, "high": 0.2, "log": True, "when": {"training.objective": "infonce"}},
}


class _Conditional(Spec):
    when: dict[str, tuple[Scalar, ...]] = Field(default_factory=dict)

    @field_validator("when", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {k: tuple(v) if isinstance(v, (list, tuple)) else (v,) for k, v in value.items()}


class Range(_Conditional):
    """Numbers from `low` to `high`, both included."""

    low: float = Field(gt=-LARGEST_NUMBER, lt=LARGEST_NUMBER)
    high: float = Field(gt=-LARGEST_NUMBER, lt=LARGEST_NUMBER)
    log: bool = False
    step: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _possible(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"the range is empty: low {self.low:g} is not below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range must begin above 0, got low {self.low:g}")
        if self.log and self.step is not None:
            raise ValueError("a range is either logarithmic or has a step, not both")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError(f"step {self.step:g} is wider than the range {self.low:g} to {self.high:g}")
        return self

    def holds(self, value: Any) -> bool:
        """Whether a trial could draw this value."""
        if not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return False
        return not self.step or math.isclose((value - self.low) / self.step % 1.0, 0.0, abs_tol=1e-9)


class Choice(_Conditional):
    """One of some values."""

    choices: tuple[Scalar, ...]

    @field_validator("choices")
    @classmethod
    def _distinct(cls, choices: tuple[Scalar, ...]) -> tuple[Scalar, ...]:
        if not choices:
            raise ValueError("the list is empty: no choices are given")
        if len({(type(choice), choice) for choice in choices}) < len(choices):
            raise ValueError(f"choices {list(choices)} repeat")
        return choices

    def holds(self, value: Any) -> bool:
        """Whether a trial could draw this value."""
        return any(type(value) is type(choice) and value == choice for choice in self.choices)


class Tied(_Conditional):
    """The value of another setting of the space."""

    tied: str


Setting = Range | Choice | Tied


@dataclass(frozen=True)
class Space:
    """A checked space."""

    entries: Mapping[str, Setting]  #: by path, conditions before what depends on them
    whole: frozenset[str]  #: paths whose values are whole numbers
    fixed: Mapping[str, Any]  #: values before tuning of what conditions ask about and the space does not vary

    def suggest(self, trial: Any) -> Values:
        """Values of the settings that are in force, drawn by an Optuna trial."""

        def draw(path: str, entry: Range | Choice) -> Any:
            if isinstance(entry, Choice):
                return trial.suggest_categorical(path, list(entry.choices))
            if path in self.whole:
                step = int(entry.step or 1)
                return trial.suggest_int(path, int(entry.low), int(entry.high), step=step, log=entry.log)
            return trial.suggest_float(path, entry.low, entry.high, step=entry.step, log=entry.log)

        return self._in_force(draw)

    def with_ties(self, drawn: Mapping[str, Any]) -> Values:
        """Drawn values and those that are tied to them."""
        return self._in_force(lambda path, _: drawn[path])

    def contains(self, values: Mapping[str, Any]) -> bool:
        """Whether a trial could draw these values (of all paths; those that are not in force do not count)."""
        for path, value in self.with_ties(values).items():
            entry = self.entries[path]
            if values[path] != value if isinstance(entry, Tied) else not entry.holds(value):
                return False
        return True

    def grid(self, sampler: str = GRID_SAMPLER) -> dict[str, list[Any]]:
        """Every value of every setting, for a sampler that visits them all.

        Raises:
            InvalidSpec: a range without a step has endlessly many, or there are more than `LARGEST_GRID` points.
        """
        points: dict[str, list[Any]] = {}
        for path, entry in self.entries.items():
            if isinstance(entry, Choice):
                points[path] = list(entry.choices)
            elif isinstance(entry, Range):
                step = entry.step or (1.0 if path in self.whole and not entry.log else None)
                if step is None:
                    raise InvalidSpec(
                        f"{sampler} needs finitely many values, but sweep space '{path}' is a range without a step; "
                        "give it a step or choices"
                    )
                count = int(min((entry.high - entry.low) / step + 1e-9, LARGEST_GRID)) + 1
                values = [min(entry.low + index * step, entry.high) for index in range(count)]
                points[path] = [int(value) for value in values] if path in self.whole else values
            if math.prod(len(values) for values in points.values()) > LARGEST_GRID:
                raise InvalidSpec(
                    f"{sampler} visits every point, but the sweep space has more than {LARGEST_GRID:,}; "
                    "give wider steps or fewer choices, or use TPESampler"
                )
        return points

    def points(self, sampler: str) -> int:
        """How many trials a sampler that visits every point has.

        `GridSampler` varies every setting always, `BruteForceSampler` a setting with a condition only under it.

        Raises:
            InvalidSpec: as `grid`.
        """
        grid = self.grid(sampler)
        if sampler == GRID_SAMPLER:
            return math.prod(len(values) for values in grid.values())
        points = (dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values()))
        return len({repr(self.with_ties(point)) for point in points})

    def dump(self) -> dict[str, Any]:
        """Plain data, equal for equal spaces."""
        return {path: entry.model_dump(mode="json", exclude_defaults=True) for path, entry in self.entries.items()}

    def _in_force(self, value_of: Callable[[str, Range | Choice], Any]) -> Values:
        """The settings whose conditions are met, each with its value; a tied one takes that of its source."""
        values: Values = {}
        for path, entry in self.entries.items():
            known = {**self.fixed, **values}  # what varies and has no value is not in force itself
            if not all(p in known and known[p] in allowed for p, allowed in entry.when.items()):
                continue
            if not isinstance(entry, Tied):
                values[path] = value_of(path, entry)
            elif entry.tied in values:
                values[path] = values[entry.tied]
        return values


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of several layers, later ones over earlier ones.

    A mapping laid over a range changes only the keys that it has; None takes the entry out.

    >>> merged({"training.margin": {"low": 0.1, "high": 0.4}}, {"training.margin": {"high": 0.2}})
    {'training.margin': {'low': 0.1, 'high': 0.2}}
    """
    result: dict[str, Any] = {}
    for layer in layers:
        for path, value in layer.items():
            below = result.get(path, {})
            ranges = isinstance(value, Mapping) and isinstance(below, Mapping)
            if value is None:
                result.pop(path, None)
            elif ranges and not {"choices", "tied"} & {*value, *below}:
                result[path] = {**below, **value}
            else:
                result[path] = value
    return result
