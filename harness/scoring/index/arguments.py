"""What callers of an index may give."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from harness.errors import InvalidIndex
from harness.scoring.index.stored import DTYPES


def dtype_of(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """A dtype by itself or by its name.

    Raises:
        InvalidIndex: none that an index keeps.
    """
    found = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if dtype is not None and found not in DTYPES.values():
        raise InvalidIndex(f"an index keeps {', '.join(DTYPES)}, got {dtype!s:.40}")
    return found


def checked_ids(ids: Iterable[str]) -> list[str]:
    """Ids as a list of texts; one text alone would be read as its letters.

    Raises:
        InvalidIndex: one that is no text.
    """
    if isinstance(ids, str):
        raise InvalidIndex(f"ids are a list of texts, got the text {ids!r:.60}; write [{ids!r:.60}]")
    found = list(ids)
    for name in found:
        if not isinstance(name, str):
            raise InvalidIndex(f"ids are texts, got {name!r:.60}; write str(...)")
    return found


def ids_of_block(ids: Sequence[str] | None, start: int, count: int) -> list[str]:
    """The ids of `count` items from the one at `start` on; by default their numbers."""
    if ids is None:
        return [str(number) for number in range(start, start + count)]
    return list(ids[start : start + count])


def require_as_many(ids: Sequence[str] | None, items: int) -> None:
    """As many ids as there were items.

    Raises:
        InvalidIndex: too few or too many.
    """
    if ids is not None and len(ids) != items:
        raise InvalidIndex(f"{items} items and {len(ids)} ids; give one id per item")
