"""Cross-attention similarity (SCAN) without the attended vectors, through the Gram matrix of the attended side.

The attended vector of query q is a_q = sum_c w[c, q] C_c. Its product with the query is sum_c w[c, q] s[c, q] and its
squared norm is w_q' G w_q with G = C C', so the cosine needs no tensor of width D beyond the token similarity s.

Shape letters: C items of the attended side (context) with F fragments, Q items of the querying side with L, D width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.similarity.max_sim import token_similarity
from harness.similarity.pooling import NEGATIVE_INFINITY, Pooling

#: Smallest norm that a cosine is divided by, as in the authors' code.
EPSILON = 1e-8
LEAK = 0.1

#: (similarity (..., L), mask of L) -> attention logits before the inverse temperature
AttentionNorm = Callable[[Tensor, Tensor], Tensor]


def _leaky(similarity: Tensor) -> Tensor:
    return F.leaky_relu(similarity, LEAK)


def _l2(similarity: Tensor) -> Tensor:
    # The square root of zero has an infinite slope: a context orthogonal to every query must not yield NaN gradients.
    squares = (similarity * similarity).sum(-1, keepdim=True)
    return similarity / (squares.clamp_min(EPSILON**2).sqrt() + EPSILON)


def _l1(similarity: Tensor) -> Tensor:
    return similarity / (similarity.abs().sum(-1, keepdim=True) + EPSILON)


#: How the similarities of one context fragment with all queries of an item are normalised. Padded similarities are 0.
ATTENTION_NORMS: dict[str, AttentionNorm] = {
    "clipped_l2norm": lambda s, mask: _l2(_leaky(s)),
    "l2norm": lambda s, mask: _l2(s),
    "clipped_l1norm": lambda s, mask: _l1(_leaky(s)),
    "l1norm": lambda s, mask: _l1(s),
    "softmax": lambda s, mask: torch.softmax(s.masked_fill(~mask, NEGATIVE_INFINITY), -1),
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
        context_mask: (C, F) bool, True = real; at least one an item.
        queries: (Q, L, D) fragments that attend.
        query_mask: (Q, L) bool.
        pooling: reduces the cosines of an item's queries.
        attention_norm: key of `ATTENTION_NORMS`; over the queries, for each context fragment.
        inverse_temperature: SCAN's lambda1 of the softmax over the context.

    Returns:
        (C, Q).

    Raises:
        InvalidFragments: the sides differ in width.

    Source:
        Lee et al., SCAN, ECCV 2018, eq. 1-5 and the authors' code. Differs: padding is masked on both sides; l1norm is
        the division by the sum of absolute values that the authors' parser offers but their code does not define.
    """
    similarity = token_similarity(context, context_mask, queries, query_mask)
    logits = ATTENTION_NORMS[attention_norm](similarity, query_mask) * inverse_temperature
    weights = torch.softmax(logits.masked_fill(~context_mask[:, :, None, None], NEGATIVE_INFINITY), 1)
    product = (weights * similarity).sum(1)
    attended = quadratic_form(gram(context, context_mask), weights.flatten(2)).view_as(product)
    cosine = product / (attended.clamp_min(EPSILON**2).sqrt() * safe_norm(queries)).clamp_min(EPSILON)
    return pooling(cosine, 2, query_mask[None])


def gram(fragments: Tensor, mask: Tensor) -> Tensor:
    """(N, F, F) inner products among the real fragments of each item; 0 where either is padding."""
    real = fragments.masked_fill(~mask[..., None], 0)
    return torch.bmm(real, real.transpose(1, 2))


def quadratic_form(matrix: Tensor, vectors: Tensor) -> Tensor:
    """v' M v for each column: `matrix` (N, F, F), `vectors` (N, F, K) -> (N, K)."""
    return (vectors * torch.bmm(matrix, vectors)).sum(1)


def safe_norm(vectors: Tensor) -> Tensor:
    """L2 norm along the last axis, with a finite gradient at zero."""
    return (vectors * vectors).sum(-1).clamp_min(EPSILON**2).sqrt()
