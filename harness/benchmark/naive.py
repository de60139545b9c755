"""How the authors' code computes its scores: the loops and the tensors of the published implementations, for comparison.

They are written after the structure of that code (pairs expanded, padding multiplied along, vectors of width D for each
pair), so that their time and memory are what a user of it would see. The engine's tests do not rest on them.

Shape letters: I images, T captions, R regions, W words, D width, B captions or images of a shard.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.fragments import Fragments

#: Both published evaluations cut the matrix into shards of this many images and captions.
SHARD = 128
PADDING = -1.0


def chan_shards(images: Fragments, texts: Fragments) -> Tensor:
    """CHAN, visual hard assignment, mean: padded similarities of each shard."""
    return _by_shards(images, lambda part: torch.cat([chan(part, some) for some in _shards(texts)], 1))


def chan(images: Fragments, texts: Fragments) -> Tensor:
    """CHAN on one shard: (I, T, R, W) similarities, -1 at padding, maximum over regions, mean over words."""
    similarity = torch.einsum("ird,twd->itrw", images.features, texts.features)
    real = images.mask[:, None, :, None] & texts.mask[None, :, None, :]
    best = similarity.masked_fill(~real, PADDING).max(2).values
    counted = best != PADDING
    return (best * counted).sum(2) / counted.sum(2)


def padded(images: Fragments, texts: Fragments) -> Tensor:
    """Max-sim in the usual few lines of torch: one padded tensor per shard, a mask, a maximum, a mean."""

    def of_shard(part: Fragments) -> Tensor:
        similarity = torch.einsum("ird,twd->itwr", part.features, texts.features)
        best = similarity.masked_fill(~part.mask[:, None, None], float("-inf")).amax(3)
        return (best * texts.mask).sum(2) / texts.lengths

    return _by_shards(images, of_shard)


def scan_t2i(images: Fragments, texts: Fragments) -> Tensor:
    """SCAN, words attend to regions, LSE: one caption at a time against all images of a shard."""
    return _scan_shards(images, texts, _scan_t2i_caption)


def scan_i2t(images: Fragments, texts: Fragments) -> Tensor:
    """SCAN, regions attend to words, LSE: one caption at a time against all images of a shard."""
    return _scan_shards(images, texts, _scan_i2t_caption)


def _shards(side: Fragments) -> list[Fragments]:
    return [side[first : first + SHARD] for first in range(0, len(side), SHARD)]


def _by_shards(images: Fragments, score: Callable[[Fragments], Tensor]) -> Tensor:
    return torch.cat([score(part) for part in _shards(images)])


def _scan_shards(images: Fragments, texts: Fragments, score: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    lengths = texts.lengths.tolist()

    def of_shard(part: Fragments) -> Tensor:
        words = (texts.features[t, :length].expand(len(part), -1, -1).contiguous() for t, length in enumerate(lengths))
        return torch.stack([score(part.features, caption) for caption in words], 1)

    return _by_shards(images, of_shard)


def _scan_t2i_caption(regions: Tensor, words: Tensor) -> Tensor:
    cosine = F.cosine_similarity(words, _attend(words, regions, 9.0), dim=2, eps=1e-8)
    return torch.logsumexp(6.0 * cosine, 1) / 6.0


def _scan_i2t_caption(regions: Tensor, words: Tensor) -> Tensor:
    cosine = F.cosine_similarity(regions, _attend(regions, words, 4.0), dim=2, eps=1e-8)
    return torch.logsumexp(5.0 * cosine, 1) / 5.0


def _attend(queries: Tensor, context: Tensor, inverse_temperature: float) -> Tensor:
    """(B, Lq, D), (B, Lc, D) -> attended (B, Lq, D)."""
    similarity = F.leaky_relu(torch.bmm(context, queries.transpose(1, 2)), 0.1)
    similarity = similarity / (similarity.pow(2).sum(2, keepdim=True).sqrt() + 1e-8)
    weights = torch.softmax(inverse_temperature * similarity.transpose(1, 2), 2)
    return torch.bmm(weights, context)


def argsort_ranks(similarity: Tensor, caption_image: Tensor) -> tuple[Tensor, Tensor]:
    """Ranks of both directions by sorting every row and every column, as the published evaluations do."""
    i2t = torch.empty(len(similarity), dtype=torch.int64)
    for i, row in enumerate(similarity):
        order = row.argsort(descending=True)
        i2t[i] = (caption_image[order] == i).nonzero()[0, 0]
    t2i = torch.empty(similarity.shape[1], dtype=torch.int64)
    for t, column in enumerate(similarity.T):
        t2i[t] = (column.argsort(descending=True) == caption_image[t]).nonzero()[0, 0]
    return i2t, t2i
