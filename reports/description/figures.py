"""The figure of a described dataset: how long captions are."""

from __future__ import annotations

import numpy as np

from harness.records.description import Description
from harness.reports.document import figures
from harness.reports.document.figures import COLOURS, canvas
from harness.reports.document.model import Figure

_STYLES = ("-", "--", ":")
_TAIL = 0.999  # share of the captions that the axis shows


def lengths(facts: Description) -> Figure:
    """Share of the captions of each split by their number of words."""
    with canvas(7.2, 2.6) as figure:
        axes = figure.add_subplot()
        longest = 1
        for number, split in enumerate(facts.splits):
            counts = split.captions.lengths
            total = sum(counts.values())
            top = max(counts)
            shares = np.array([100 * counts.get(words, 0) / total for words in range(top + 2)])
            longest = max(longest, int(np.searchsorted(shares.cumsum(), 100 * _TAIL)) + 1)
            (line,) = axes.step(
                np.arange(top + 2) - 0.5,
                shares,
                where="post",
                color=COLOURS[number % len(COLOURS)],
                linestyle=_STYLES[number % len(_STYLES)],
                linewidth=1.6,
                label=figures.label(split.name),
            )
            mean = split.captions.words.mean
            figures.describe(
                line, f"{split.name}: {total:,} captions" + (f", {mean:.1f} words on average" if mean else "")
            )
        axes.set_xlim(0, longest + 1)
        axes.set_ylim(0)
        axes.set_xlabel("words per caption, separated by white space")
        axes.set_ylabel("captions (%)")
        figures.legend_below(figure, axes.get_legend_handles_labels()[0])
    return Figure(
        figure,
        "lengths",
        f"Length of captions. The axis ends where {100 * _TAIL:g} % of the captions of every split are shown.",
        "Share of captions by number of words, one line per split",
    )
