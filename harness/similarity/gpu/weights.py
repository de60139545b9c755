"""The weights of a tile's two sides, for `harness.similarity.gpu.both_ways`.

Shape letters: c left items with F fragments each, P columns.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class LeftWeights:
    """What is known of c left items.

    Args:
        split: fragments before it are gated, those from it on are a kind of their own.
        gates: (c, F) float32, >= 0; None = only the plain maxima are wanted.
        plain: (c, F) float32 weights of the largest similarity over an item's positions.
        gated: (c, F) float32 weights of the largest similarity times a column's gate.
    """

    split: int
    gates: Tensor | None
    plain: Tensor
    gated: Tensor | None


@dataclass(frozen=True, eq=False)
class RightWeights:
    """What is known of P columns.

    Args:
        gates: (P,) float32, >= 0; None = only the plain maxima are wanted.
        plain: (P,) float32 weights of the largest similarity with the fragments before the split.
        gated: (P,) float32 weights of the same with those fragments' gates.
        rest: (P,) float32 weights of the largest similarity with the fragments from the split on.
    """

    gates: Tensor | None
    plain: Tensor
    gated: Tensor | None
    rest: Tensor | None
