"""Values read from JSON, Parquet or CSV, checked against a schema: what does not fit is named by its place, in one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from harness.datasets.files import parse_json, read_lines
from harness.errors import InvalidDataset

M = TypeVar("M", bound=BaseModel)


def checked(model: type[M], value: Any, where: str, expected: str) -> M:
    """A value as a model.

    Args:
        model: what is expected of it.
        value: JSON values.
        where: the file, and the place in it, for the message.
        expected: the name of the schema, for the message.

    Raises:
        InvalidDataset: names the first place that does not fit, and what stands there.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        problem = (
            " is missing" if first["type"] == "missing" else f": {first['msg'].lower()}, got {first['input']!r:.60}"
        )
        at = place(first["loc"])
        raise InvalidDataset(f"{where}{f': {at}' if at else ''}{problem}; expected {expected}") from None


def checked_lines(model: type[M], path: Path, expected: str) -> Iterator[tuple[str, M]]:
    """Each line of a file of JSON lines with its place; blank lines are passed over.

    Raises:
        InvalidDataset: unreadable, or a line that is no JSON object or does not fit.
    """
    for number, line in enumerate(read_lines(path)[0], 1):
        if line:
            where = f"{path}: line {number}"
            yield where, checked(model, parse_json(line.encode(), Path(where)), where, expected)


def place(location: Sequence[str | int]) -> str:
    """Where a value stands, in words.

    >>> place(["images", 4, "sentences", 2, "raw"])
    "image 4: sentence 2: field 'raw'"
    >>> place(["annotations", 3, "image_id", "int"])  # pydantic adds which of several types was tried
    "annotation 3: field 'image_id'"
    """
    words: list[str] = []
    for before, name in zip((0, *location), location, strict=False):
        if isinstance(name, int) and words:
            words[-1] = f"{str(before).removesuffix('s')} {name}"
        elif isinstance(before, int):
            words.append(f"field '{name}'")
    return ": ".join(words)
