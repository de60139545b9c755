"""What a reader must know of numbers from other code: ties that rounding made, and a direction that ranks at chance.

Shape letters: Q queries, N gallery items, P correct items of a query.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from harness.outputs.base import Output
from harness.protocols import SAME_NUMBERS, Protocol, Subject

#: A mean rank of at least this share of the mean rank by chance is called chance.
_SHARE_OF_CHANCE = 0.8
#: Fewer queries than this say nothing.
_ENOUGH = 10
_WORDS = {"i2t": "an image searches captions", "t2i": "a caption searches images"}
_log = logging.getLogger(__name__)


def report_rounding(output: Output, protocol: Protocol, subject: Subject) -> None:
    """One line on what the precision of the scores does to the recalls; nothing where it is full."""
    if not output.precision:
        return
    best, worst = (output.measure(protocol, subject, rule).metrics for rule in ("optimistic", "pessimistic"))
    _log.info(
        "the scores have %s: %.2f %% of the queries tie; rSum %.2f with tied items last (optimistic), %.2f with them first "
        "(pessimistic) on %s",
        output.precision,
        100 * worst["tie_rate"],
        best["rsum"],
        worst["rsum"],
        protocol.name,
    )


def report_chance(metrics: Mapping[str, Mapping[str, float]], subject: Subject) -> None:
    """Warn of each direction whose positives lie where a random order would put them: rows and captions do not match."""
    found = next((values for name, values in metrics.items() if name in SAME_NUMBERS), None)
    if found is None:
        return
    expected = chance_ranks(subject.caption_image, subject.images)
    galleries = {"i2t": len(subject.caption_image), "t2i": subject.images}
    queries = {"i2t": subject.images, "t2i": len(subject.caption_image)}
    for direction, chance in expected.items():
        rank = found.get(f"{direction}_meanr")
        if rank is None or queries[direction] < _ENOUGH or rank - 1 < _SHARE_OF_CHANCE * (chance - 1):
            continue
        _log.warning(
            "%s (%s) ranks no better than chance: mean rank %s of %s, by chance %s; check that row i is image i of the "
            "dataset's split, column j its caption j, and that higher scores are better",
            direction,
            _WORDS[direction],
            f"{rank:,.1f}",
            f"{galleries[direction]:,}",
            f"{chance:,.1f}",
        )


def chance_ranks(caption_image: np.ndarray, images: int) -> dict[str, float]:
    """Mean rank of the best positive, counted from 1, in a random order: (N - P) / (P + 1) + 1, averaged over the queries.

    >>> chance_ranks(np.repeat(np.arange(20), 5), 20)
    {'i2t': 16.833333333333332, 't2i': 10.5}
    """
    own = np.bincount(np.asarray(caption_image), minlength=images)
    return {
        "i2t": float(np.mean((len(caption_image) - own) / (own + 1))) + 1,
        "t2i": (images - 1) / 2 + 1,
    }
