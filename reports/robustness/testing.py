"""Which methods are compared on what a family of probes comes to, and what the tests say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from harness.errors import UnknownName
from harness.reports.robustness.quantities import Findings, Quantity
from harness.reports.statistics.errors import TooFewImages
from harness.reports.statistics.outcomes.comparison import (
    Declared,
    Difference,
    Subject,
    compare_scores,
    default_claim,
)
from harness.reports.statistics.refusals import MINIMUM_SEEDS, Claim

#: Up to this many methods all pairs are compared; more are compared with the best one.
MOST_IN_PAIRS = 6


@dataclass(frozen=True, eq=False)
class Tested:
    """The findings of a family with their tests.

    Args:
        findings: what was measured.
        rows: differences, quantity by quantity.
        claim: about these trained models, or about methods.
        alpha: level of each family of tests.
        untested: why there are no tests; empty = there are.
    """

    findings: Findings
    rows: tuple[Difference, ...]
    claim: Claim
    alpha: float
    untested: str = ""

    def of(self, quantity: Quantity) -> list[Difference]:
        """The differences on a quantity."""
        return [row for row in self.rows if row.key == quantity.key]


def pairs_of(order: Sequence[str], against: str | None) -> list[tuple[str, str]]:
    """The pairs of methods to compare.

    Args:
        order: methods, the best first.
        against: a method that all others are compared with; None = all pairs, or the best one where they are many.

    Raises:
        UnknownName: `against` is none of the methods.

    >>> pairs_of(["a", "b", "c"], None)
    [('a', 'b'), ('a', 'c'), ('b', 'c')]
    >>> pairs_of(["a", "b", "c"], "b")
    [('a', 'b'), ('c', 'b')]
    """
    if against is not None and against not in order:
        raise UnknownName("method", against, order)
    if against is None and len(order) <= MOST_IN_PAIRS:
        return list(combinations(order, 2))
    if against is None:
        return [(order[0], other) for other in order[1:]]
    return [(other, against) for other in order if other != against]


def tested(findings: Findings, pairs: Sequence[tuple[str, str]], claim: Claim | None, alpha: float) -> Tested:
    """Compare methods on every quantity of a family that is tested.

    The primary quantities are one family of tests (Holm), the secondary ones another (maxT).

    Args:
        findings: what was measured.
        pairs: of methods.
        claim: None = about methods where all have three seeds, else about checkpoints.
        alpha: level.
    """
    subjects = [
        Subject(one.key, one.scores, one.role == "primary")
        for one in findings.quantities
        if one.role != "shown" and any(a in one.scores and b in one.scores for a, b in pairs)
    ]
    chosen = claim or default_claim(subjects)
    if not subjects:
        return Tested(findings, (), chosen, alpha, "no two methods answered the same")
    if chosen == "method" and default_claim(subjects) != "method":
        few = f"a claim about methods needs {MINIMUM_SEEDS} seeds of each"
        return Tested(findings, (), chosen, alpha, few)
    try:
        rows = compare_scores(subjects, Declared(pairs, claim=chosen, alpha=alpha))
    except TooFewImages as error:
        return Tested(findings, (), chosen, alpha, str(error))
    return Tested(findings, rows, chosen, alpha)


def unlike(row: Difference) -> Difference:
    """The difference the other way round."""
    return replace(
        row, a=row.b, b=row.a, a_score=row.b_score, b_score=row.a_score, difference=-row.difference, low=-row.high,
        high=-row.low, wins=row.losses, losses=row.wins,
    )  # fmt: skip
