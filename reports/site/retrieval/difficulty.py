"""The hardest queries of several methods, and what they have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import counted
from harness.reports.document.text import listed
from harness.reports.site.retrieval.answers import QUERY, Answers, Direction
from harness.reports.site.retrieval.traits import comparable, contrast

#: Part of the queries that a sentence calls the hardest.
HARDEST = 0.1


@dataclass(frozen=True, eq=False)
class Difficulty:
    """How hard Q queries are for M methods.

    Args:
        median: (Q,) median over the methods of the 0-based rank of the truth; a rank that is known only to lie beyond the
            first K results counts as K.
        failed: (Q,) number of methods that do not rank a correct item first.
        shared: (Q,) largest number of methods that rank the same wrong item first.
        methods: M.
    """

    median: np.ndarray
    failed: np.ndarray
    shared: np.ndarray
    methods: int

    @property
    def order(self) -> np.ndarray:
        """(Q,) rows, the hardest first: by median rank, then by the methods that fail, then by row."""
        return np.lexsort((np.arange(len(self.median)), -self.failed, -self.median))

    def hardest(self) -> np.ndarray:
        """The rows of the hardest tenth, at least one."""
        return self.order[: max(1, math.ceil(HARDEST * len(self.median)))]


def difficulty(found: Sequence[Answers]) -> Difficulty:
    """How hard each query is.

    Args:
        found: the answers of each method to the same queries in one direction.
    """
    ranks = np.stack([np.where(np.isnan(a.truth.rank), a.top.shape[1], a.truth.rank) for a in found])
    failed = np.stack([~a.truth.first for a in found]).sum(axis=0)
    wrong = np.stack([np.where(a.own[:, 0] | (a.source[:, 0] > 0), -1, a.top[:, 0]) for a in found])
    agreeing = (wrong[:, None, :] == wrong[None, :, :]) & (wrong[:, None, :] >= 0)
    return Difficulty(np.median(ranks, axis=0), failed, agreeing.sum(axis=1).max(axis=0), len(found))


def in_words(found: Difficulty, traits: Mapping[str, np.ndarray], direction: Direction) -> list[str]:
    """How many queries every method fails, and what the hardest have in common.

    Args:
        found: the difficulty of Q queries.
        traits: (Q,) values that may explain it, by what is counted ("words"); NaN where not known.
        direction: i2t or t2i.
    """
    noun, total, hard = QUERY[direction], len(found.median), found.hardest()
    nobody = int((found.failed == found.methods).sum())
    everybody = int((found.failed == 0).sum())
    all_methods = "the method does" if found.methods == 1 else f"all {found.methods} methods do"
    said = [
        f"Of {counted(total, noun)}, no method ranks the truth first for {nobody:,}; {all_methods} for {everybody:,}."
    ]
    compared = [_compared(name, values, hard) for name, values in traits.items() if _known(values, hard)]
    if compared:
        said.append(f"The hardest tenth ({counted(len(hard), noun)}) {listed(compared)}.")
    agreed = int((found.shared[hard] * 2 > found.methods).sum()) if found.methods > 1 else 0
    if agreed:
        said.append(
            f"For {agreed:,} of these {len(hard):,}, more than half of the methods put the same item first that is not "
            "known to be correct: look there for pairs that are correct though unlabelled."
        )
    return said


def _known(values: np.ndarray, hard: np.ndarray) -> bool:
    return comparable(values[hard], np.delete(values, hard))


def _compared(name: str, values: np.ndarray, hard: np.ndarray) -> str:
    found = contrast(values[hard], np.delete(values, hard))
    numbers = f"{found.first:.1f} on average against {found.second:.1f} in the others"
    if found.how == "as many":
        return f"has about as many {name} as the others ({numbers})"
    return f"has {found.how} {name} ({numbers})"
