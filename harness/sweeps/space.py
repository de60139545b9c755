"""Search spaces as data: what may vary, checked against the config that it will be put into.

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

import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from harness.errors import InvalidSpec, did_you_mean
from harness.spec import Spec, build

Scalar = bool | int | float | str | None
Values = dict[str, Any]
EntryT = TypeVar("EntryT", bound="Entry")
#: Points of a grid: all of them are listed in memory.
LARGEST_GRID = 100_000
#: Ends of ranges: whole numbers beyond it are no longer exact where Optuna keeps them.
LARGEST_NUMBER = 2.0**53

#: What every scorer is trained with; a scorer's own `search_space` may replace a line or take it out (None).
TRAINING_SPACE: Mapping[str, Any] = {
    "training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "training.weight_decay": [0.0, 1e-4, 1e-2, 0.2],
    "training.batch_size": [32, 64, 128],
    "training.margin": {"low": 0.05, "high": 0.4, "when": {"training.objective": "triplet"}},
    "training.temperature": {"low": 0.02, "high": 0.2, "log": True, "when": {"training.objective": "infonce"}},
}


class Entry(Spec):
    """What all kinds of a space's entries have."""

    when: dict[str, tuple[Scalar, ...]] = Field(default_factory=dict)

    @field_validator("when", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {k: tuple(v) if isinstance(v, (list, tuple)) else (v,) for k, v in value.items()}


class Range(Entry):
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    step: float | None = Field(None, gt=0)


class Choice(Entry):
    """One of some values."""

    choices: tuple[Scalar, ...]


class Tied(Entry):
    """The value of another setting of the space."""

    tied: str


@dataclass(frozen=True)
class Target:
    """A part of a run's specification that settings are put into: its class, its values before tuning, its name."""

    model: type[Spec]
    values: Mapping[str, Any]
    where: str


@dataclass(frozen=True)
class Space:
    """A checked space, conditions before what depends on them.

    Args:
        entries: by path.
        whole: the paths whose values are whole numbers.
        fixed: the values before tuning of what conditions ask about and the space does not vary.
    """

    entries: Mapping[str, Range | Choice | Tied]
    whole: frozenset[str]
    fixed: Mapping[str, Any]

    def suggest(self, trial: Any) -> Values:
        """Values of the settings that are in force, drawn by an Optuna trial."""
        values: Values = {}
        for path, entry in self.entries.items():
            if not self._in_force(entry, values):
                continue
            if isinstance(entry, Choice):
                values[path] = trial.suggest_categorical(path, list(entry.choices))
            elif isinstance(entry, Range) and path in self.whole:
                step = int(entry.step or 1)
                values[path] = trial.suggest_int(path, int(entry.low), int(entry.high), step=step, log=entry.log)
            elif isinstance(entry, Range):
                values[path] = trial.suggest_float(path, entry.low, entry.high, step=entry.step, log=entry.log)
            elif entry.tied in values:
                values[path] = values[entry.tied]
        return values

    def with_ties(self, drawn: Mapping[str, Any]) -> Values:
        """Drawn values and those that are tied to them."""
        values = dict(drawn)
        for path, entry in self.entries.items():
            if isinstance(entry, Tied) and entry.tied in values and self._in_force(entry, values):
                values[path] = values[entry.tied]
        return values

    def contains(self, values: Mapping[str, Any]) -> bool:
        """Whether a trial could draw these values (of all paths; those that are not in force do not count)."""
        seen: Values = {}
        for path, entry in self.entries.items():
            if not self._in_force(entry, seen):
                continue
            value = seen[path] = values[path]
            if isinstance(entry, Choice):
                inside = any(type(value) is type(choice) and value == choice for choice in entry.choices)
            elif isinstance(entry, Range):
                inside = isinstance(value, (int, float)) and entry.low <= value <= entry.high
                if inside and entry.step:
                    inside = math.isclose((value - entry.low) / entry.step % 1.0, 0.0, abs_tol=1e-9)
            else:
                inside = value == seen.get(entry.tied)
            if not inside:
                return False
        return True

    def grid(self, sampler: str = "GridSampler") -> dict[str, list[Any]]:
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
        if sampler == "GridSampler":
            return math.prod(len(values) for values in grid.values())
        return self._count(list(self.entries), grid, {})

    def _count(self, paths: list[str], grid: Mapping[str, Sequence[Any]], values: Values) -> int:
        if not paths:
            return 1
        path, rest = paths[0], paths[1:]
        if path not in grid or not self._in_force(self.entries[path], values):
            return self._count(rest, grid, values)
        if not any(path in entry.when for entry in self.entries.values()):
            return len(grid[path]) * self._count(rest, grid, values)  # nothing depends on which value it is
        return sum(self._count(rest, grid, {**values, path: value}) for value in grid[path])

    def _in_force(self, entry: Entry, values: Mapping[str, Any]) -> bool:
        for path, allowed in entry.when.items():
            if path not in values and path not in self.fixed:
                return False  # it varies, but is not in force itself
            if (values[path] if path in values else self.fixed[path]) not in allowed:
                return False
        return True

    def dump(self) -> dict[str, Any]:
        """Plain data, equal for equal spaces."""
        return {path: entry.model_dump(mode="json", exclude_defaults=True) for path, entry in self.entries.items()}


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of several layers, later ones over earlier ones.

    A mapping laid over a range changes only the keys that it has; None takes the entry out.
    """
    result: dict[str, Any] = {}
    for layer in layers:
        for path, value in layer.items():
            below = result.get(path)
            if value is None:
                result.pop(path, None)
            elif (
                isinstance(value, Mapping) and isinstance(below, Mapping) and not {"choices", "tied"} & {*value, *below}
            ):
                result[path] = {**below, **value}
            else:
                result[path] = value
    return result


def check_space(raw: Mapping[str, Any], targets: Mapping[str, Target], where: str) -> Space:
    """A space that fits the config it will be put into.

    Args:
        raw: entries by path, as `merged` gives them.
        targets: by the first part of the paths.
        where: whose space it is, for messages.

    Raises:
        InvalidSpec: an unknown setting, an empty range, or a conflict with a setting's type or limits.
    """
    if not raw:
        raise InvalidSpec(f"{where} is empty; at least one setting must vary")
    entries = {path: _entry(value, f"{where}: '{path}'") for path, value in raw.items()}
    for path, entry in entries.items():
        _check_path(path, targets, where)
        _check_entry(path, entry, entries, targets, where)
    space = _in_reach(_ordered(entries, where), targets)
    if not space.entries:
        raise InvalidSpec(f"{where}: none of {', '.join(raw)} is in force, since their conditions are never met")
    for path, entry in space.entries.items():
        for value in _extremes(entry, path in space.whole):
            _check_whole({**_enabling(path, space), path: value}, targets, f"{where}: '{path}' = {value!r}")
    return space


def _in_reach(ordered: Mapping[str, Range | Choice | Tied], targets: Mapping[str, Target]) -> Space:
    """The space without the settings whose conditions can never be met."""
    kept: dict[str, Range | Choice | Tied] = {}
    fixed: Values = {}
    for path, entry in ordered.items():
        fixed |= {other: base_value(other, targets) for other in entry.when if other not in kept}
        met = all(
            _can_be(kept[other], allowed) if other in kept else fixed[other] in allowed
            for other, allowed in entry.when.items()
        )
        if met and not (isinstance(entry, Tied) and entry.tied not in kept):
            kept[path] = entry
    whole = frozenset(path for path in kept if isinstance(kept[path], Range) and _numbers(path, targets) == {int})
    return Space(kept, whole, fixed)


def _can_be(entry: Entry, allowed: Sequence[Any]) -> bool:
    return not isinstance(entry, Choice) or any(choice in allowed for choice in entry.choices)


def base_value(path: str, targets: Mapping[str, Target]) -> Any:
    """A setting's value before tuning."""
    part, _, name = path.partition(".")
    return targets[part].values.get(name)


def _entry(value: Any, where: str) -> Range | Choice | Tied:
    if isinstance(value, (list, tuple)):
        value = {"choices": value}
    if not isinstance(value, Mapping):
        raise InvalidSpec(f"{where} must be a list of choices or a mapping with low and high, got {value!r:.60}")
    kind: type[Range] | type[Choice] | type[Tied]
    kind = Choice if "choices" in value else Tied if "tied" in value else Range
    return build(kind, value, where)


def _check_path(path: str, targets: Mapping[str, Target], where: str) -> None:
    part, _, name = path.partition(".")
    if part not in targets or not name:
        raise InvalidSpec(f"{where}: unknown setting '{path}'; a path begins with one of {', '.join(sorted(targets))}")
    fields = targets[part].model.model_fields
    if name not in fields:
        known = [f"{part}.{field}" for field in fields]
        raise InvalidSpec(f"{where}: unknown setting '{path}'{did_you_mean(path, known)}")


def _check_entry(
    path: str, entry: Range | Choice | Tied, entries: Mapping[str, Entry], targets: Mapping[str, Target], where: str
) -> None:
    at = f"{where}: '{path}'"
    for other, values in entry.when.items():
        _check_path(other, targets, where)
        for value in values:
            _check_value(other, value, targets, f"{at}: the condition '{other}'")
    if isinstance(entry, Tied):
        if entry.tied not in entries or isinstance(entries[entry.tied], Tied):
            raise InvalidSpec(f"{at} is tied to '{entry.tied}', which the space does not vary")
    elif isinstance(entry, Choice):
        if not entry.choices:
            raise InvalidSpec(f"{at} is empty: no choices are given")
        if len({(type(choice), choice) for choice in entry.choices}) < len(entry.choices):
            raise InvalidSpec(f"{at}: choices {list(entry.choices)} repeat")
        for choice in entry.choices:
            _check_value(path, choice, targets, at)
    else:
        _check_range(path, entry, targets, at)


def _check_range(path: str, entry: Range, targets: Mapping[str, Target], at: str) -> None:
    for name, number in (("low", entry.low), ("high", entry.high), ("step", entry.step)):
        if number is not None and not abs(number) < LARGEST_NUMBER:
            raise InvalidSpec(f"{at}: {name} must be a finite number below {LARGEST_NUMBER:g}, got {number:g}")
    if not entry.low < entry.high:
        raise InvalidSpec(f"{at} is empty: low {entry.low:g} is not below high {entry.high:g}")
    numbers = _numbers(path, targets)
    if not numbers:
        part, _, name = path.partition(".")
        shown = str(targets[part].model.model_fields[name].annotation).removeprefix("typing.")
        raise InvalidSpec(f"{at} is a range, but the setting is no number ({shown}); give choices")
    if entry.log and entry.low <= 0:
        raise InvalidSpec(f"{at}: a logarithmic range must begin above 0, got low {entry.low:g}")
    if entry.log and entry.step is not None:
        raise InvalidSpec(f"{at}: a range is either logarithmic or has a step, not both")
    if entry.step is not None and entry.step > entry.high - entry.low:
        raise InvalidSpec(f"{at}: step {entry.step:g} is wider than the range {entry.low:g} to {entry.high:g}")
    if numbers == {int}:
        for name, number in (("low", entry.low), ("high", entry.high), ("step", entry.step)):
            if number is not None and number != int(number):
                raise InvalidSpec(f"{at}: the setting is a whole number, got {name} {number:g}")
    for end in (entry.low, entry.high):
        _check_value(path, int(end) if numbers == {int} else end, targets, at)


def _check_value(path: str, value: Any, targets: Mapping[str, Target], at: str) -> None:
    """One value against its field's type and limits."""
    part, _, name = path.partition(".")
    info = targets[part].model.model_fields[name]
    annotation: Any = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
    try:
        kept = TypeAdapter(annotation).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise InvalidSpec(f"{at}: {value!r} conflicts with the config: {reason[0].lower()}{reason[1:]}") from None
    if isinstance(kept, bool) != isinstance(value, bool) or isinstance(kept, str) != isinstance(value, str):
        raise InvalidSpec(f"{at}: {value!r} conflicts with the config, which holds {type(kept).__name__} there")


def _numbers(path: str, targets: Mapping[str, Target]) -> set[type]:
    """Which of int and float a setting may be; None among its types does not count."""
    part, _, name = path.partition(".")
    annotation = targets[part].model.model_fields[name].annotation
    kinds = set(typing.get_args(annotation)) or {annotation}
    return {int, float} & kinds


def _ordered(entries: Mapping[str, EntryT], where: str) -> dict[str, EntryT]:
    """Entries after those that their conditions and ties name; otherwise as they came."""
    ordered: dict[str, EntryT] = {}
    waiting = dict(entries)
    while waiting:
        ready = [p for p, e in waiting.items() if not (_needs(e) & waiting.keys() - {p}) and p not in _needs(e)]
        if not ready:
            raise InvalidSpec(
                f"{where}: the conditions of {', '.join(sorted(waiting))} depend on each other in a circle"
            )
        ordered[ready[0]] = waiting.pop(ready[0])
    return ordered


def _needs(entry: Entry) -> set[str]:
    return {*entry.when, *([entry.tied] if isinstance(entry, Tied) else [])}


def _extremes(entry: Range | Choice | Tied, whole: bool) -> Sequence[Any]:
    if isinstance(entry, Choice):
        return entry.choices
    if isinstance(entry, Range):
        return [int(entry.low), int(entry.high)] if whole else [entry.low, entry.high]
    return []


def _enabling(path: str, space: Space) -> Values:
    """Values of the other settings that put a setting in force."""
    values: Values = {}
    for other, allowed in space.entries[path].when.items():
        entry = space.entries.get(other)
        if entry is not None:
            offered = [value for value in allowed if not isinstance(entry, Choice) or value in entry.choices]
            if offered:
                values |= {**_enabling(other, space), other: offered[0]}
    return values


def _check_whole(values: Mapping[str, Any], targets: Mapping[str, Target], where: str) -> None:
    """The parts of the specification with these values in them, against what their classes ask of them as a whole."""
    for part, target in targets.items():
        changed = {path.partition(".")[2]: value for path, value in values.items() if path.startswith(f"{part}.")}
        if changed:
            build(target.model, {**target.values, **changed}, f"{where} conflicts with {target.where}")
