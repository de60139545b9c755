"""The rules of further metrics, on the ranks of galleries of several sizes.

Shape letters: Q queries.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from harness.conformance import expect
from harness.metrics.base import Metric

GALLERIES = (1, 2, 7, 1000)


@dataclass(frozen=True)
class Subject:
    """The metric that `make` makes, under examination."""

    make: Callable[[], Metric]

    def asked(self) -> Iterator[tuple[np.ndarray, int, np.ndarray]]:
        """Ranks, the size of their gallery, and their values: every rank once in a small gallery, some in a large one."""
        for gallery in GALLERIES:
            ranks = np.random.default_rng(gallery).permutation(gallery)[:50].astype(np.int64)
            yield ranks, gallery, np.asarray(self.make().values(ranks.copy(), gallery))


def declared(subject: Subject) -> None:
    """It has a description of one line, says which values are better, and bounds in order."""
    metric = subject.make()
    text = metric.description
    one_line = isinstance(text, str) and bool(text.strip()) and "\n" not in text
    expect.that(one_line, f"expected a description of one line, found {text!r:.60}")
    expect.that(
        metric.better in ("higher", "lower"), f"expected better as higher or lower, found {metric.better!r:.40}"
    )
    ordered = metric.lowest < metric.highest
    expect.that(ordered, f"expected lowest below highest, found {metric.lowest} and {metric.highest}")


def shape(subject: Subject) -> None:
    """`values` gives one finite number per query."""
    for ranks, gallery, values in subject.asked():
        expect.that(values.shape == ranks.shape, f"expected {len(ranks)} values, found shape {values.shape}")
        expect.that(bool(np.isfinite(values).all()), f"expected finite values in a gallery of {gallery}, found others")


def bounds(subject: Subject) -> None:
    """No value lies outside of `lowest` and `highest`."""
    metric = subject.make()
    for _, gallery, values in subject.asked():
        inside = bool(((values >= metric.lowest) & (values <= metric.highest)).all())
        expect.that(
            inside,
            f"expected values from {metric.lowest:g} to {metric.highest:g} in a gallery of {gallery}, found "
            f"{values.min():g} to {values.max():g}",
        )


def direction(subject: Subject) -> None:
    """A later rank is never better, and the last one of a large gallery is worse than the first."""
    metric = subject.make()
    sign = 1 if metric.better == "higher" else -1
    for gallery in GALLERIES:
        values = sign * np.asarray(metric.values(np.arange(gallery), gallery), dtype=np.float64)
        rises = np.flatnonzero(np.diff(values) > 0)
        first = int(rises[0]) if len(rises) else 0
        expect.that(
            not len(rises), f"expected no better value at a later rank, found one after rank {first} of {gallery}"
        )
    expect.that(values[0] > values[-1], f"expected a worse value at rank {gallery - 1} than at 0, found the same")


def perfect(subject: Subject) -> None:
    """Rank 0 has the best value that is declared, whatever the gallery."""
    metric = subject.make()
    best = metric.highest if metric.better == "higher" else metric.lowest
    if math.isinf(best):
        return
    for gallery in GALLERIES:
        value = float(np.asarray(metric.values(np.zeros(1, np.int64), gallery))[0])
        expect.that(
            math.isclose(value, best), f"expected {best:g} at rank 0 in a gallery of {gallery}, found {value:g}"
        )


def each_alone(subject: Subject) -> None:
    """The value of a query depends neither on the other queries nor on their order."""
    metric = subject.make()
    for ranks, gallery, values in subject.asked():
        alone = np.concatenate([np.asarray(metric.values(ranks[n : n + 1], gallery)) for n in range(len(ranks))])
        backwards = np.asarray(metric.values(ranks[::-1].copy(), gallery))[::-1]
        same = np.array_equal(values, alone) and np.array_equal(values, backwards)
        expect.that(same, f"expected the value of a query to be its own in a gallery of {gallery}, found others")


def deterministic(subject: Subject) -> None:
    """A second call gives the same numbers."""
    for (_, gallery, first), (_, _, second) in zip(subject.asked(), subject.asked(), strict=True):
        same = np.array_equal(first, second)
        expect.that(same, f"expected the same values from a second call in a gallery of {gallery}, found others")


def inputs_kept(subject: Subject) -> None:
    """The ranks stay as they are."""
    for ranks, gallery, _ in subject.asked():
        before = ranks.copy()
        subject.make().values(ranks, gallery)
        expect.that(np.array_equal(ranks, before), "expected the ranks as they were, found changed ones")


#: By name, simple ones first.
RULES: dict[str, Callable[[Subject], None]] = {
    rule.__name__: rule
    for rule in (declared, shape, bounds, direction, perfect, each_alone, deterministic, inputs_kept)
}
