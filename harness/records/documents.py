"""JSON files with a schema version: written whole or not at all, checked when read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import InvalidRecord
from harness.files.reading import Damaged, read_json
from harness.files.writing import atomic_path
from harness.settings.base import explain
from harness.spec import SpecT


def read_document(path: Path, model: type[SpecT], version: int, remedy: str) -> SpecT:
    """A JSON file with a schema version as a validated object.

    Raises:
        InvalidRecord: one line with what is wrong, and `remedy`.
    """
    try:
        values = read_json(path)
        found = values.get("schema_version") if isinstance(values, dict) else None
        if found != version or isinstance(found, bool):
            raise InvalidRecord(f"{path} has schema version {found!r:.40}, expected {version}; {remedy}")
        return model.model_validate(values)
    except (Damaged, ValidationError, RecursionError) as error:
        problem = explain(model, error) if isinstance(error, ValidationError) else str(error)
        raise InvalidRecord(f"cannot read {path}: {problem:.200}; {remedy}") from None


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all.

    Raises:
        ResultsNotWritable: the folder cannot be written.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")
