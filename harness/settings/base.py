"""What every setting is built on: strict models, and errors that name the key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from harness.errors import InvalidSpec, did_you_mean

SpecT = TypeVar("SpecT", bound="Spec")


class Spec(BaseModel):
    """Base of everything configurable: immutable, keyword-only, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_numbers(cls, values: Any) -> Any:
        """A boolean or a text is no number, though Python would take `true` for 1."""
        if isinstance(values, Mapping):
            for name, field in cls.model_fields.items():
                kinds = _kinds(field.annotation)
                number = bool({int, float} & kinds)
                given = values.get(name)
                if number and (isinstance(given, bool) > (bool in kinds) or isinstance(given, str) > (str in kinds)):
                    raise ValueError(f"'{name}' must be a number, got {given!r:.80}")
        return values


def _kinds(annotation: Any) -> set[Any]:
    """The plain types that an annotation admits; `str` stands for a choice of words."""
    if get_origin(annotation) in (Union, UnionType):
        return {kind for part in get_args(annotation) for kind in _kinds(part)}
    if get_origin(annotation) is Literal:
        return {type(choice) for choice in get_args(annotation)}
    return {annotation} if isinstance(annotation, type) else set()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values have equal texts.

    >>> canonical_json({"b": 1, "a": [2.5]})
    '{"a":[2.5],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_json(value: Any) -> str:
    """SHA-256 of the canonical JSON, hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def build(model: type[SpecT], values: Mapping[str, Any], where: str) -> SpecT:
    """Validate `values` as `model`.

    Args:
        model: the spec class.
        values: keys and values as read.
        where: what is being configured, for the message ("dataset scenes").

    Raises:
        InvalidSpec: one line that names the first offending key, what came, and the nearest valid key.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise InvalidSpec(f"{where}: {explain(model, error)}") from None


def explain(model: type[BaseModel], error: ValidationError) -> str:
    """The first complaint on one line: which key, what came, and the nearest valid key."""
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    more = f" ({len(error.errors()) - 1} more problems)" if len(error.errors()) > 1 else ""
    if first["type"] == "extra_forbidden":
        fields = _fields_at(model, first["loc"][:-1])
        return f"unknown key '{path}'{did_you_mean(str(first['loc'][-1]), fields)}{more}"
    if first["type"] == "missing":
        return f"key '{path}' is missing{more}"
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    at = f"'{path}': " if path else ""
    got = f", got {first['input']!r:.80}" if path else ""
    return f"{at}{message}{got}{more}"


def _fields_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Valid keys of the model that a location inside `model` leads to."""
    current: Any = model
    for part in path:
        if isinstance(part, int) or not hasattr(current, "model_fields") or part not in current.model_fields:
            continue
        annotation = current.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        current = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), current)
    return list(getattr(current, "model_fields", {}))
