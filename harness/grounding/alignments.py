"""Which of an alignment's weights are the map of a word, and the maps of words that several fragments spell.

Shape letters: N pairs, M words that are asked about, W fragments of a caption, R fragments of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness.alignment import Alignment


class Weights(NamedTuple):
    """What is measured of N pairs.

    Args:
        words: (N, W, R) map of each fragment of a caption.
        mask: (N, R) bool, fragments of the image that take part.
        gathered: (N, W, R) the same through the regions that the method gathers; None where it gathers none.
    """

    words: Tensor
    mask: Tensor
    gathered: Tensor | None


def weights_of(alignment: Alignment) -> Weights:
    """The maps of an alignment: the direction in which words look for fragments, where the score reads it.

    Where only the fragments look for words, the map of a word is what the fragments give it: its column of their weights.

    >>> one = Alignment(
    ...     kind="best word of each region", weights=torch.tensor([[[1.0, 1.0], [0.0, 0.0]]]), over="words",
    ...     word_mask=torch.ones(1, 2, dtype=torch.bool), region_mask=torch.ones(1, 2, dtype=torch.bool),
    ... )
    >>> weights_of(one).words.tolist()
    [[[1.0, 1.0], [0.0, 0.0]]]
    """
    read = alignment
    if alignment.over == "words" and alignment.reverse is not None:
        read = alignment.reverse
    gathered = None
    if alignment.regions is not None and alignment.word_regions is not None:
        gathered = alignment.word_regions.float() @ alignment.regions.float()
    return Weights(read.weights.float(), read.region_mask, gathered)


def joined(weights: Tensor, pairs: Sequence[int], fragments: Sequence[Sequence[int]]) -> np.ndarray:
    """(M, R) float64: the map of each word, summed over its fragments; without any it has no mass.

    Args:
        weights: (N, W, R).
        pairs: M, the pair that each word is of.
        fragments: M, its fragments among those of its caption.

    >>> joined(torch.eye(3)[None], [0, 0], [(0, 2), ()]).tolist()
    [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    own = torch.zeros(len(pairs), weights.shape[1])
    rows = [row for row, places in enumerate(fragments) for _ in places]
    own[rows, [place for places in fragments for place in places]] = 1.0
    chosen = weights[torch.as_tensor(pairs, dtype=torch.long, device=weights.device)]
    # A weight may be a last bit below 0, which no map can be.
    return torch.einsum("mw,mwr->mr", own.to(chosen), chosen).clamp(min=0).double().cpu().numpy()
