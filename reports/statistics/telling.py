"""How far a long report is: its stages tell how much of each is done, and the command line decides how that looks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

T = TypeVar("T")
#: Told of a stage ("reading ranks"), of what of it is done, and of all of it; 0 of 0 where that is not counted.
Tell = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Tell nobody."""


def told(stage: str, items: Collection[T], tell: Tell) -> Iterator[T]:
    """The items of a stage, one by one; tells at its start and after each of them.

    >>> list(told("reading", "ab", print))
    reading 0 2
    reading 1 2
    reading 2 2
    ['a', 'b']
    """
    tell(stage, 0, len(items))
    for done, item in enumerate(items, start=1):
        yield item
        tell(stage, done, len(items))
