"""The refusals of the statistics: each message gives the ids or counts that came, and what to do about them."""

from __future__ import annotations

from collections.abc import Iterable

from harness.errors import ItmError


class InvalidComparison(ItmError):
    """A comparison that would give a number nobody should trust."""


class MissingQueries(InvalidComparison):
    """One method answered only some of the queries of another."""


class DuplicateQueries(InvalidComparison):
    """A query id, a seed or a method's name occurs twice."""


class DifferentQueries(InvalidComparison):
    """Two methods were asked different queries."""


class DifferentGalleries(InvalidComparison):
    """Two methods searched different galleries."""


class DifferentCaptionMaps(InvalidComparison):
    """Two methods disagree on which image a caption belongs to, or on the folds."""


class InvalidRanks(InvalidComparison):
    """Ranks that are not finite, are negative or do not fit their queries."""


class TooFewImages(InvalidComparison):
    """Fewer images than the approximations need."""


class TooFewSeeds(InvalidComparison):
    """A claim about a method from fewer than three trained models."""


class UnequalSeeds(InvalidComparison):
    """Methods with different numbers of seeds, without the caller's consent."""


class BestSeedRuns(InvalidComparison):
    """Runs that were picked as the best of several seeds."""


class TooFewResamples(InvalidComparison):
    """So few resamples that no p-value could survive the correction."""


class TooFewDatasets(InvalidComparison):
    """A test across fewer datasets than can ever reject."""


class MissingEquivalenceBound(InvalidComparison):
    """An equivalence test without a declared margin."""


class AggregateOnlyResults(InvalidComparison):
    """Published averages without per-query results."""


class InvalidSetting(InvalidComparison):
    """A setting of a comparison outside its range."""


def listing(ids: Iterable[object], limit: int = 5) -> str:
    """The count of some ids and the first few of them, for a one-line message.

    >>> listing("abc", limit=2)
    '3 (a, b, ...)'
    """
    items = [str(i) for i in ids]
    shown = ", ".join(items[:limit]) + (", ..." if len(items) > limit else "")
    return f"{len(items)} ({shown})"
