"""Figures of a run's page: the course of its training, and how many queries find a match within the first K."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from harness.records.parts import Epoch
from harness.records.ranks import RankTable
from harness.records.ties import TiedRanks, Ties
from harness.reports.document.charts import Line, Panel, chart
from harness.reports.document.model import Figure
from harness.reports.document.text import duration, fixed, listed

#: Largest K of the recall curve.
MOST_K = 100
_MOST_PARTS = 7
#: Of a range of losses beyond which their axis is logarithmic.
_WIDE_RANGE = 30.0
_DIRECTIONS = {"i2t": "image to text", "t2i": "text to image"}


def course_figure(history: Sequence[Epoch], selected: int | None) -> Figure | None:
    """The course of a training in four panels; None if nothing was kept of it.

    Args:
        history: its epochs.
        selected: number of the epoch whose weights were kept, from 1.
    """
    if not history:
        return None
    parts = list(dict.fromkeys(name for epoch in history for name in epoch.losses))
    hidden = f" {len(parts) - _MOST_PARTS} more losses are in the table." if len(parts) > _MOST_PARTS else ""
    caption = f"Per epoch: mean losses, rSum on the validation split, learning rate and time.{hidden}"
    drawing = chart(list(_panels(history, parts[:_MOST_PARTS], selected)))
    return Figure(drawing, "training", caption, _course(history, selected))


def recall_figure(table: RankTable, ties: Ties, place: str) -> Figure:
    """Recall at K for K from 1 to 100 in both directions, as shares of the queries.

    Args:
        table: ranks under the tie rule.
        ties: the tie rule.
        place: dataset and protocol.
    """
    curves = {direction: recall_curve(table, direction, ties).tolist() for direction in _DIRECTIONS}
    lines = [_thinned(curve, _DIRECTIONS[direction]) for direction, curve in curves.items()]
    drawing = chart([Panel(lines, "recall at K, percent", "K", log_x=True, from_zero=True, top=100.0)], columns=1)
    caption = f"{place}: percent of queries with a correct item among the first K."
    said = [
        f"{_DIRECTIONS[d]} {', '.join(_at(curve, k) for k in (1, 10, 100) if k <= len(curve))}"
        for d, curve in curves.items()
    ]
    return Figure(drawing, "recall", caption, f"Recall at K, percent: {listed(said)}.")


def recall_curve(table: RankTable, direction: str, ties: Ties, most: int = MOST_K) -> np.ndarray:
    """(K,) recall at 1, 2, ... in percent, the mean over folds; K = `most`, or fewer where all queries succeed earlier.

    A table of an earlier version, which does not hold what the expected rule needs, counts mean ranks as they are.

    Args:
        table: ranks under the tie rule.
        direction: `i2t` or `t2i`.
        ties: the tie rule.
        most: the largest K.
    """
    rank, wrong = getattr(table, f"{direction}_rank"), getattr(table, f"{direction}_ties")
    best, fold = getattr(table, f"{direction}_best_tied"), getattr(table, f"{direction}_fold")
    size = max(2, min(most, math.ceil((rank + wrong).max()) + 1))
    if ties == "expected" and best.all():
        tied = TiedRanks.from_ranks(rank, wrong, best, ties)
        hits = np.stack([tied.hits(k, ties) for k in range(1, size + 1)])
    else:
        hits = rank[None, :] < np.arange(1, size + 1)[:, None]
    folds = [fold == number for number in np.unique(fold)]
    curve: np.ndarray = 100.0 * np.mean([hits[:, queries].mean(axis=1) for queries in folds], axis=0)
    return curve


def _panels(history: Sequence[Epoch], parts: Sequence[str], selected: int | None) -> Iterator[Panel]:
    epochs = [float(epoch.epoch + 1) for epoch in history]  # from 1, as people count

    def panel(title: str, *lines: Line, **settings: object) -> Panel:
        return Panel(lines, title, "epoch", whole=True, **settings)  # type: ignore[arg-type]

    def line(values: Sequence[float | None], name: str = "") -> Line:
        return Line(epochs, [math.nan if value is None else value for value in values], name)

    losses = [line([epoch.losses.get(part) for epoch in history], part if len(parts) > 1 else "") for part in parts]
    positive = [value for one in losses for value in one.y if value > 0]
    wide = bool(positive) and max(positive) / min(positive) > _WIDE_RANGE
    rsum = line([epoch.validation.get("rsum") for epoch in history])
    kept = next(((x, y, f"epoch {x:g} was kept") for x, y in zip(rsum.x, rsum.y, strict=True) if x == selected), None)
    if losses:
        yield panel(f"{'loss' if len(parts) == 1 else 'losses'}{', logarithmic' if wide else ''}", *losses, log_y=wide)
    yield panel("rSum, validation; ringed: kept" if kept else "rSum, validation", rsum, ring=kept)
    yield panel("learning rate at the end", line([epoch.learning_rate for epoch in history]), from_zero=True)
    yield panel("seconds", line([epoch.seconds for epoch in history]), from_zero=True)


def _thinned(curve: Sequence[float], name: str) -> Line:
    """A curve over a logarithmic axis, where far points lie closer than their marks."""
    kept = [k for k in range(1, len(curve) + 1) if k <= 10 or k % 10 == 0 or k == len(curve)]
    return Line(kept, [curve[k - 1] for k in kept], name)


def _at(curve: Sequence[float], k: int) -> str:
    return f"{fixed(curve[k - 1], 1)} at {k}"


def _course(history: Sequence[Epoch], selected: int | None) -> str:
    """What the panels show, for those who cannot see them."""
    first, last = (epoch.validation.get("rsum") for epoch in (history[0], history[-1]))
    known = first is not None and last is not None
    course = f"validation rSum goes from {fixed(first, 1)} to {fixed(last, 1)}" if known else "no validation rSum"  # type: ignore[arg-type]
    took = duration(sum(epoch.seconds or 0.0 for epoch in history))
    kept = f"; epoch {selected} was kept" if selected else ""
    return f"Training of {len(history)} epochs in {took}: {course}{kept}."
