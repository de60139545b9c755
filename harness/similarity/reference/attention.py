"""Cross-attention similarity (SCAN) without the attended vectors, through the Gram matrix of the attended side.

The attended vector of query q is a_q = sum_c w[c, q] C_c. Its product with the query is sum_c w[c, q] s[c, q] and its
squared norm is w_q' G w_q with G = C C', so the cosine needs no tensor of width D beyond the token similarity s.

The scores are computed in tiles; in training each tile is computed again in backward, so that the memory of a step is
that of one tile and not of all token similarities.

Shape letters: C items of the attended side (context) with F fragments, Q items of the querying side with L, D width; small
letters for the items of one tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from harness.similarity.pooling import NEGATIVE_INFINITY, Pooling
from harness.similarity.reductions import precise
from harness.similarity.reference.assignment import require_one_width

#: Smallest product of norms that a cosine is divided by, as in the authors' code.
EPSILON = 1e-8
#: Smallest square whose root is taken: at 0 the root has an infinite slope.
TINY = 1e-36
LEAK = 0.1
#: Similarities of one tile, of which about ten copies are alive in backward.
TILE_ELEMENTS = {"cpu": 2**19, "cuda": 2**25}
#: Query fragments of a tile before further context items are added.
WIDEST_GROUP = 1024

#: (similarity (c, F, L, q), mask (L, q)) -> attention logits before the inverse temperature, normalised over L
AttentionNorm = Callable[[Tensor, Tensor], Tensor]


def _leaky(similarity: Tensor) -> Tensor:
    return F.leaky_relu(similarity, LEAK)


def _l2(similarity: Tensor) -> Tensor:
    # A context orthogonal to every query must not yield NaN gradients.
    squares = (similarity * similarity).sum(-2, keepdim=True)
    return similarity / (squares.clamp_min(TINY).sqrt() + EPSILON)


def _l1(similarity: Tensor) -> Tensor:
    return similarity / (similarity.abs().sum(-2, keepdim=True) + EPSILON)


#: How the similarities of one context fragment with all queries of an item are normalised. Padded similarities are 0.
ATTENTION_NORMS: dict[str, AttentionNorm] = {
    "clipped_l2norm": lambda s, mask: _l2(_leaky(s)),
    "l2norm": lambda s, mask: _l2(s),
    "clipped_l1norm": lambda s, mask: _l1(_leaky(s)),
    "l1norm": lambda s, mask: _l1(s),
    "softmax": lambda s, mask: torch.softmax(s.masked_fill(~mask, NEGATIVE_INFINITY), -2),
    "clipped": lambda s, mask: _leaky(s),
    "none": lambda s, mask: s,
}


def cross_attention(
    context: Tensor,
    context_mask: Tensor,
    queries: Tensor,
    query_mask: Tensor,
    *,
    pooling: Pooling,
    attention_norm: str = "clipped_l2norm",
    inverse_temperature: float = 9.0,
) -> Tensor:
    """Similarity of every context item with every query item: each query attends to the context, cosines are pooled.

    SCAN's t2i is `cross_attention(images, ..., texts, ...)`, its i2t is `cross_attention(texts, ..., images, ...).T`.

    Args:
        context: (C, F, D) fragments that are attended to.
        context_mask: (C, F) bool, True = real; at least one per item.
        queries: (Q, L, D) fragments that attend.
        query_mask: (Q, L) bool.
        pooling: reduces the cosines of an item's queries.
        attention_norm: key of `ATTENTION_NORMS`; over the queries, for each context fragment.
        inverse_temperature: SCAN's lambda1 of the softmax over the context.

    Returns:
        (C, Q), float32, or float64 for float64 fragments.

    Raises:
        InvalidFragments: the sides differ in width.

    Source:
        Lee et al., SCAN, ECCV 2018, eq. 1-5 and the authors' code. Differs: padding is masked on both sides; l1norm is
        the division by the sum of absolute values that the authors' parser offers but their code does not define.
    """
    require_one_width(context, queries)
    attention = _Attention(ATTENTION_NORMS[attention_norm], inverse_temperature, pooling)
    limit = TILE_ELEMENTS.get(context.device.type, TILE_ELEMENTS["cuda"])
    query_order, query_groups = _similar_extents(query_mask, min(WIDEST_GROUP, limit // context.shape[1]))
    widest = max(count * longest for count, longest in query_groups)
    context_order, context_groups = _similar_extents(context_mask, limit // widest)
    run = attention if not _needs_gradient(context, queries) else attention.recomputed

    columns = [(part.transpose(0, 1), mask.T) for part, mask in _parts(queries, query_mask, query_order, query_groups)]
    rows = []
    for part, mask in _parts(context, context_mask, context_order, context_groups):
        gram = precise(torch.bmm(part, part.transpose(1, 2)))
        rows.append(torch.cat([run(part, mask, gram, *column) for column in columns], 1))
    return torch.cat(rows)[context_order.argsort()][:, query_order.argsort()]


def paired_attention(
    context: Tensor,
    context_mask: Tensor,
    queries: Tensor,
    query_mask: Tensor,
    *,
    attention_norm: str = "clipped_l2norm",
    inverse_temperature: float = 9.0,
) -> tuple[Tensor, Tensor]:
    """What the queries of each pair attend to, and their cosines with it: what `cross_attention` pools.

    Args:
        context, context_mask, queries, query_mask: as in `cross_attention`, of N pairs: (N, F, D) and (N, L, D).
        attention_norm, inverse_temperature: as there.

    Returns:
        Weights (N, F, L), whose sum over the context is 1 for each real query, and cosines (N, L); both 0 at padding.

    Raises:
        InvalidFragments: the sides differ in width.
    """
    require_one_width(context, queries)
    context, queries = (
        precise(side).masked_fill(~mask[..., None], 0)
        for side, mask in ((context, context_mask), (queries, query_mask))
    )
    similarity = (context @ queries.mT)[..., None]
    mask, norm = query_mask[:, None, :, None], ATTENTION_NORMS[attention_norm]
    weights = _attention_weights(similarity, context_mask[..., None, None], mask, norm, inverse_temperature)
    cosines = _attended_cosines(weights, similarity, context @ context.mT, queries[:, :, None])
    real = weights * mask
    return real[..., 0], cosines[..., 0] * query_mask


@dataclass(frozen=True)
class _Attention:
    """Scores of one tile of context items and query items."""

    norm: AttentionNorm
    inverse_temperature: float
    pooling: Pooling

    def __call__(self, context: Tensor, context_mask: Tensor, gram: Tensor, queries: Tensor, mask: Tensor) -> Tensor:
        """(c, F, D), (c, F), (c, F, F), (L, q, D) and (L, q) -> (c, q); padded fragments are 0."""
        similarity = context.flatten(0, 1) @ queries.flatten(0, 1).T
        similarity = precise(similarity).view(*context_mask.shape, *mask.shape)
        weights = _attention_weights(
            similarity, context_mask[:, :, None, None], mask, self.norm, self.inverse_temperature
        )
        return self.pooling(_attended_cosines(weights, similarity, gram, queries), 1, mask[None])

    def recomputed(self, *tile: Tensor) -> Tensor:
        """The same, computed again in backward: only the tile's inputs are kept, which are views."""
        return checkpoint(self, *tile, use_reentrant=False, preserve_rng_state=False)


def _attention_weights(
    similarity: Tensor, context_mask: Tensor, query_mask: Tensor, norm: AttentionNorm, inverse_temperature: float
) -> Tensor:
    """Softmax (c, F, L, q) over the context of the normalised similarities; masks broadcast to them."""
    logits = norm(similarity, query_mask) * inverse_temperature
    return torch.softmax(logits.masked_fill(~context_mask, NEGATIVE_INFINITY), 1)


def _attended_cosines(weights: Tensor, similarity: Tensor, gram: Tensor, queries: Tensor) -> Tensor:
    """Cosine of each query with what it attends to: (c, F, L, q) twice, (c, F, F) and (..., L, q, D) -> (c, L, q)."""
    product = (weights * similarity).sum(1)
    flat = weights.flatten(2)
    attended = (flat * torch.bmm(gram, flat)).sum(1).view_as(product)
    norms = attended.clamp_min(TINY).sqrt() * _safe_norm(precise(queries))
    return product / norms.clamp_min(EPSILON)


def _needs_gradient(*sides: Tensor) -> bool:
    return torch.is_grad_enabled() and any(side.requires_grad for side in sides)


def _similar_extents(mask: Tensor, fragments: int) -> tuple[Tensor, list[tuple[int, int]]]:
    """Items in the order of their extent (one more than the last real position), and the size and longest extent of groups.

    A group has at most this many fragments, padding included, or a single item.
    """
    positions = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    extents, order = (mask * positions).amax(1).sort(stable=True)
    sizes = extents.tolist()
    groups, first = [], 0
    while first < len(sizes):
        last = first + 1
        while last < len(sizes) and (last + 1 - first) * sizes[last] <= fragments:
            last += 1
        groups.append((last - first, sizes[last - 1]))
        first = last
    return order, groups


def _parts(
    features: Tensor, mask: Tensor, order: Tensor, groups: Sequence[tuple[int, int]]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Fragments (n, F, D), 0 at padding, and mask (n, F) of each group, trimmed to its longest extent.

    One split instead of many slices: its backward joins the gradients, where each slice would fill a tensor of the
    whole size with zeros.
    """
    counts = [count for count, _ in groups]
    mask = mask[order]
    features = features[order].masked_fill(~mask[..., None], 0)
    for part, real, (_, longest) in zip(features.split(counts), mask.split(counts), groups, strict=True):
        yield part[:, :longest], real[:, :longest]


def _safe_norm(vectors: Tensor) -> Tensor:
    """L2 norm along the last axis, with a finite gradient at zero."""
    return (vectors * vectors).sum(-1).clamp_min(TINY).sqrt()
