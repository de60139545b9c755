"""Checking a search space against the config that it varies: types, limits, conditions, conflicts."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from harness.errors import InvalidSpec, did_you_mean
from harness.spec import Spec, build
from harness.sweeps.space import Choice, Range, Setting, Space, Tied, Values


@dataclass(frozen=True)
class Target:
    """A part of a run's specification that settings are put into."""

    model: type[Spec]
    values: Mapping[str, Any]  #: before tuning
    where: str  #: its name, for messages


@dataclass(frozen=True)
class Targets:
    """What a space must fit."""

    parts: Mapping[str, Target]  #: by the first part of the paths
    where: str  #: whose space it is, for messages

    def before(self, path: str) -> Any:
        """A setting's value before tuning."""
        part, _, name = path.partition(".")
        return self.parts[part].values.get(name)

    def numbers(self, path: str) -> set[type]:
        """Which of int and float a setting may be; None among its types does not count."""
        annotation = self._field(path).annotation
        return {int, float} & (set(typing.get_args(annotation)) or {annotation})

    def check_path(self, path: str) -> None:
        """Refuse a setting that does not exist."""
        part, _, name = path.partition(".")
        if part not in self.parts or not name:
            first = ", ".join(sorted(self.parts))
            raise InvalidSpec(f"{self.where}: unknown setting '{path}'; a path begins with one of {first}")
        fields = self.parts[part].model.model_fields
        if name not in fields:
            known = [f"{part}.{field}" for field in fields]
            raise InvalidSpec(f"{self.where}: unknown setting '{path}'{did_you_mean(path, known)}")

    def check_value(self, path: str, value: Any, at: str) -> None:
        """Refuse a value that breaks its field's type or limits."""
        info = self._field(path)
        annotation: Any = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
        try:
            kept = TypeAdapter(annotation).validate_python(value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise InvalidSpec(f"{at}: {value!r} conflicts with the config: {reason[0].lower()}{reason[1:]}") from None
        if isinstance(kept, bool) != isinstance(value, bool) or isinstance(kept, str) != isinstance(value, str):
            raise InvalidSpec(f"{at}: {value!r} conflicts with the config, which holds {type(kept).__name__} there")

    def check_range(self, path: str, entry: Range, at: str) -> None:
        """Refuse a range over what is no number, or with ends that the setting cannot take."""
        numbers = self.numbers(path)
        if not numbers:
            shown = str(self._field(path).annotation).removeprefix("typing.")
            raise InvalidSpec(f"{at} is a range, but the setting is no number ({shown}); give choices")
        if numbers == {int}:
            for name, number in (("low", entry.low), ("high", entry.high), ("step", entry.step)):
                if number is not None and number != int(number):
                    raise InvalidSpec(f"{at}: the setting is a whole number, got {name} {number:g}")
        for end in _extremes(entry, numbers == {int}):
            self.check_value(path, end, at)

    def check_together(self, values: Mapping[str, Any], at: str) -> None:
        """Refuse values that conflict with what a part's class asks of it as a whole."""
        for part, target in self.parts.items():
            changed = {path.partition(".")[2]: value for path, value in values.items() if path.startswith(f"{part}.")}
            if changed:
                build(target.model, {**target.values, **changed}, f"{at} conflicts with {target.where}")

    def _field(self, path: str) -> Any:
        part, _, name = path.partition(".")
        return self.parts[part].model.model_fields[name]


def check_space(raw: Mapping[str, Any], parts: Mapping[str, Target], where: str) -> Space:
    """A space that fits the config it will be put into.

    Args:
        raw: entries by path, as `merged` gives them.
        parts: by the first part of the paths.
        where: whose space it is, for messages.

    Raises:
        InvalidSpec: an unknown setting, an empty range, or a conflict with a setting's type or limits.
    """
    if not raw:
        raise InvalidSpec(f"{where} is empty; at least one setting must vary")
    targets = Targets(parts, where)
    entries = {path: _entry(value, f"{where}: '{path}'") for path, value in raw.items()}
    for path, entry in entries.items():
        targets.check_path(path)
        _check_entry(path, entry, entries, targets)
    space = _in_reach(_ordered(entries, where), targets)
    if not space.entries:
        raise InvalidSpec(f"{where}: none of {', '.join(raw)} is in force, since their conditions are never met")
    for path, entry in space.entries.items():
        for value in _extremes(entry, path in space.whole):
            targets.check_together({**_enabling(path, space), path: value}, f"{where}: '{path}' = {value!r}")
    return space


def _entry(value: Any, at: str) -> Setting:
    if isinstance(value, (list, tuple)):
        value = {"choices": value}
    if not isinstance(value, Mapping):
        raise InvalidSpec(f"{at} must be a list of choices or a mapping with low and high, got {value!r:.60}")
    kind: type[Range] | type[Choice] | type[Tied]
    kind = Choice if "choices" in value else Tied if "tied" in value else Range
    return build(kind, value, at)


def _check_entry(path: str, entry: Setting, entries: Mapping[str, Setting], targets: Targets) -> None:
    at = f"{targets.where}: '{path}'"
    for other, values in entry.when.items():
        targets.check_path(other)
        for value in values:
            targets.check_value(other, value, f"{at}: the condition '{other}'")
    if isinstance(entry, Range):
        targets.check_range(path, entry, at)
    elif isinstance(entry, Choice):
        for choice in entry.choices:
            targets.check_value(path, choice, at)
    elif entry.tied not in entries or isinstance(entries[entry.tied], Tied):
        raise InvalidSpec(f"{at} is tied to '{entry.tied}', which the space does not vary")


def _ordered(entries: Mapping[str, Setting], where: str) -> dict[str, Setting]:
    """Entries after those that their conditions and ties name; otherwise as they came, since samplers draw in order."""
    ordered: dict[str, Setting] = {}
    waiting = dict(entries)
    while waiting:
        ready = [path for path, entry in waiting.items() if not _needs(entry) & waiting.keys()]
        if not ready:
            raise InvalidSpec(
                f"{where}: the conditions of {', '.join(sorted(waiting))} depend on each other in a circle"
            )
        ordered[ready[0]] = waiting.pop(ready[0])
    return ordered


def _needs(entry: Setting) -> set[str]:
    return {*entry.when, *([entry.tied] if isinstance(entry, Tied) else [])}


def _in_reach(ordered: Mapping[str, Setting], targets: Targets) -> Space:
    """The space without the settings whose conditions can never be met."""
    kept: dict[str, Setting] = {}
    fixed: Values = {}

    def can_be(path: str, allowed: Sequence[Any]) -> bool:
        entry = kept.get(path)
        offered = entry.choices if isinstance(entry, Choice) else [fixed[path]] if entry is None else allowed
        return any(value in allowed for value in offered)

    for path, entry in ordered.items():
        fixed |= {other: targets.before(other) for other in entry.when if other not in kept}
        met = all(can_be(other, allowed) for other, allowed in entry.when.items())
        if met and not (isinstance(entry, Tied) and entry.tied not in kept):
            kept[path] = entry
    whole = frozenset(
        path for path, entry in kept.items() if isinstance(entry, Range) and targets.numbers(path) == {int}
    )
    return Space(kept, whole, fixed)


def _extremes(entry: Setting, whole: bool) -> Sequence[Any]:
    if isinstance(entry, Range):
        return [int(entry.low), int(entry.high)] if whole else [entry.low, entry.high]
    return entry.choices if isinstance(entry, Choice) else []


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
