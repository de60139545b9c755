"""Alignments of scorers that take maxima: each element of one side with its best match on the other.

Shape letters: N pairs, R fragments of an image, W words, D width.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from torch import Tensor

from harness.alignment import Alignment, one_hot, paired
from harness.fragments import Fragments
from harness.scorers.features import check_widths, clean

KINDS = {"t2i": "best region of each word", "i2t": "best word of each region"}


def best_matches(images: Fragments, texts: Fragments, directions: Iterable[str]) -> Alignment:
    """What max-sim matches in N pairs: 1 at each best match, 0 elsewhere, and the similarities that are pooled.

    >>> import torch
    >>> sides = (Fragments(torch.eye(2)[None], torch.ones(1, 2).bool()) for _ in range(2))
    >>> best_matches(*sides, ["t2i"]).weights
    tensor([[[1., 0.],
             [0., 1.]]])

    Args:
        images: prepared, features (N, R, D).
        texts: prepared, features (N, W, D).
        directions: `t2i` (each word looks for a region), `i2t`, or both: then i2t is the `reverse`.

    Raises:
        InvalidFragments: the sides do not pair up, or differ in width.
    """
    images, texts = paired(images, texts)
    check_widths(images, texts)
    similarity = clean(texts) @ clean(images).mT
    found = {name: best_of(similarity, texts.mask, images.mask, name) for name in directions}
    if "t2i" not in found:
        return found["i2t"]
    return replace(found["t2i"], reverse=found.get("i2t"))


def best_of(
    similarity: Tensor,
    word_mask: Tensor,
    region_mask: Tensor,
    direction: str,
    *,
    word_gates: Tensor | None = None,
    region_gates: Tensor | None = None,
    kind: str = "",
) -> Alignment:
    """The alignment of one direction from the similarities of all tokens.

    A token whose gate is 0 is matched with nothing, and neither is one whose best match has a gate of 0.

    Args:
        similarity: (N, W, R) as the maximum reads it, gates included.
        word_mask: (N, W) bool, the words that take part.
        region_mask: (N, R) bool.
        direction: `t2i` or `i2t`.
        word_gates, region_gates: (N, W) and (N, R), that are in the similarity; None = none.
        kind: see `Alignment`; "" = as `KINDS` says.
    """
    real = word_mask[:, :, None] & region_mask[:, None]
    axis, searching = (2, word_mask) if direction == "t2i" else (1, region_mask)
    best, index = similarity.masked_fill(~real, float("-inf")).max(axis)
    chosen = one_hot(index, similarity.shape[axis], searching)
    weights = chosen if direction == "t2i" else chosen.mT
    for gates, side in ((word_gates, 2), (region_gates, 1)):
        weights = weights if gates is None else weights * (gates > 0).unsqueeze(side)
    scores = best.masked_fill(~searching, 0)
    return Alignment(
        kind=kind or KINDS[direction],
        weights=weights.to(similarity.dtype),
        over="regions" if direction == "t2i" else "words",
        word_mask=word_mask,
        region_mask=region_mask,
        word_scores=scores if direction == "t2i" else None,
        region_scores=scores if direction == "i2t" else None,
    )
