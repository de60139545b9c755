"""A finding: how much it matters, of which splits it holds, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from harness.records.description import Description, SplitFacts
from harness.reports.document.model import Notice

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
#: Share of a split from which something is more than a slip.
MANY = 0.01


@dataclass(frozen=True)
class Found:
    """One finding.

    Args:
        level: error = figures measured on these data would be wrong, or a run is refused; warning = figures are affected, or
            other programs read the files differently; note = good to know.
        text: one sentence without the split's name.
        splits: the splits of which it holds; none = of all.
    """

    level: Level
    text: str
    splits: tuple[str, ...] = ()


#: Finds what there is of one kind.
Look = Callable[[Description], Iterator[Found]]


def merged(found: Iterable[Found]) -> list[Notice]:
    """Findings as notices, the worst first, and one for all splits of which the same is true.

    >>> [n.text for n in merged([Found("note", "small images", ("train",)), Found("note", "small images", ("test",))])]
    ['train, test: small images']
    """
    splits: dict[tuple[Level, str], list[str]] = {}
    for one in found:
        splits.setdefault((one.level, one.text), []).extend(one.splits)
    notices = [Notice(level, f"{', '.join(of)}: {text}" if of else text) for (level, text), of in splits.items()]
    return sorted(notices, key=lambda notice: LEVELS.index(notice.level))


def by_split(facts: Description, count: Callable[[SplitFacts], int], total: Callable[[SplitFacts], int]) -> str:
    """The splits where something is counted: `train 3 of 30,000, test 1 of 5,000`; "" where nothing is."""
    return ", ".join(f"{split.name} {count(split):,} of {total(split):,}" for split in facts.splits if count(split))


def largest_share(facts: Description, count: Callable[[SplitFacts], int], total: Callable[[SplitFacts], int]) -> float:
    """The largest share of a split that is counted."""
    return max((count(split) / max(1, total(split)) for split in facts.splits), default=0.0)
