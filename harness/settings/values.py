"""Nested settings as flat ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flatten(values: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """The leaves of nested mappings by the path of their keys; an empty mapping has none.

    >>> flatten({"config": {"pooling": "lse", "levels": [1, 2]}, "seed": 0})
    {'config.pooling': 'lse', 'config.levels': [1, 2], 'seed': 0}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= {f"{key}{separator}{path}": leaf for path, leaf in flatten(value, separator).items()}
        else:
            found[str(key)] = value
    return found
