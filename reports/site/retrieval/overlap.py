"""Where two methods differ: the queries that one ranks first and the other does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import counted
from harness.reports.site.retrieval.answers import QUERY, Direction, Truth
from harness.reports.site.retrieval.traits import comparable, contrast


@dataclass(frozen=True)
class Overlap:
    """How many queries A and B rank first; queries of which one rank is not known are left out."""

    first_only: int  # A alone
    second_only: int  # B alone
    both: int
    neither: int

    @property
    def differing(self) -> int:
        """Queries that one of them is right for and the other is not."""
        return self.first_only + self.second_only

    @property
    def queries(self) -> int:
        """All of them."""
        return self.first_only + self.second_only + self.both + self.neither


def overlap(first: Truth, second: Truth) -> Overlap:
    """Count the queries by which of two methods rank a correct item first.

    Args:
        first, second: the same queries in the same order.

    >>> a = Truth(np.array([0, 0, 3, 1.0]), np.zeros(4))
    >>> b = Truth(np.array([0, 2, 0, 9.0]), np.zeros(4))
    >>> overlap(a, b)
    Overlap(first_only=1, second_only=1, both=1, neither=1)
    """
    known = ~(np.isnan(first.rank) | np.isnan(second.rank))
    a, b = first.first[known], second.first[known]
    counts = ((a & ~b), (~a & b), (a & b), (~a & ~b))
    return Overlap(*(int(flags.sum()) for flags in counts))


def sentence(found: Overlap, names: tuple[str, str], direction: Direction) -> str:
    """The counts in words.

    >>> sentence(Overlap(132, 87, 301, 480), ("grm", "scan"), "i2t")
    'Of 1,000 images, grm alone is right first for 132, scan alone for 87, both for 301, neither for 480.'
    """
    a, b = names
    return (
        f"Of {counted(found.queries, QUERY[direction])}, {a} alone is right first for {found.first_only:,}, {b} alone for "
        f"{found.second_only:,}, both for {found.both:,}, neither for {found.neither:,}."
    )


def noise_in_words(found: Overlap, names: tuple[str, str], seeds: Mapping[str, Overlap], direction: Direction) -> str:
    """The disagreement of two methods beside that of two seeds of each: what training alone changes.

    Args:
        found: of the methods.
        names: of the methods.
        seeds: of two runs of a method, by its name, for those that have two.
        direction: i2t or t2i.

    >>> noise_in_words(Overlap(371, 360, 613, 3656), ("grm", "scan"), {"grm": Overlap(339, 339, 645, 3677)}, "t2i")
    'They differ on 731 captions; two seeds of grm differ on 678.'
    """
    said = [
        f"two seeds of {name} {'differ ' if not row else ''}on {two.differing:,}"
        for row, (name, two) in enumerate(seeds.items())
    ]
    if not said:
        return ""
    return f"They differ on {counted(found.differing, QUERY[direction])}; {' and '.join(said)}."


def steady(seeds: Sequence[tuple[Truth, Truth]]) -> int:
    """The queries that A ranks first and B does not in every one of several seeds.

    >>> hit, miss = Truth(np.array([0.0]), np.zeros(1)), Truth(np.array([1.0]), np.zeros(1))
    >>> steady([(hit, miss), (hit, miss)]), steady([(hit, miss), (hit, hit)])
    (1, 0)
    """
    flags = [a.first & ~b.first & ~np.isnan(b.rank) for a, b in seeds]
    return int(np.logical_and.reduce(flags).sum())


def traits_in_words(
    first: Truth, second: Truth, names: tuple[str, str], traits: Mapping[str, np.ndarray], direction: Direction
) -> str:
    """How the queries that A alone is right for differ from those that B alone is right for; empty where too few are known.

    Args:
        first, second: Q queries.
        names: of A and B.
        traits: (Q,) values by what is counted ("words"); NaN where not known.
        direction: i2t or t2i.
    """
    sides = [first.first & ~second.first & ~np.isnan(second.rank), second.first & ~first.first & ~np.isnan(first.rank)]
    said = []
    for trait, values in traits.items():
        one, other = (values[side] for side in sides)
        if comparable(one, other):
            found = contrast(one, other)
            how = "about as many" if found.how == "as many" else found.how
            than = "as" if found.how == "as many" else "than"
            said.append(
                f"{how} {trait} {than} those of {names[1]} alone ({found.first:.1f} and {found.second:.1f} on average)"
            )
    return f"The {QUERY[direction]}s that {names[0]} alone is right for have {' and '.join(said)}." if said else ""
