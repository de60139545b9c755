"""Naive forms: one pair at a time, float64, following the equations word by word. Nothing of the package is used."""

from __future__ import annotations

import torch
from torch import Tensor


def pool(values: Tensor, pooling: str, sharpness: float, scale: float) -> Tensor:
    if pooling == "mean":
        return values.mean()
    if pooling == "sum":
        return values.sum()
    if pooling == "max":
        return values.max()
    if pooling == "softmax":
        weights = torch.exp(values * sharpness)
        return (weights * values).sum() / weights.sum()
    return torch.log(torch.exp(values * sharpness).sum()) * scale


def attention_logits(similarity: Tensor, norm: str) -> Tensor:
    """`similarity` (context, queries); normalised over the queries."""
    clipped = torch.where(similarity >= 0, similarity, 0.1 * similarity)
    used = clipped if norm.startswith("clipped") else similarity
    if norm.endswith("l2norm"):
        return used / ((used**2).sum(1, keepdim=True).sqrt() + 1e-8)
    if norm.endswith("l1norm"):
        return used / (used.abs().sum(1, keepdim=True) + 1e-8)
    if norm == "softmax":
        return torch.exp(used) / torch.exp(used).sum(1, keepdim=True)
    return used


def attend(context: Tensor, queries: Tensor, norm: str, inverse_temperature: float) -> Tensor:
    """Cosine of each query with the vector it attends to: (context, D), (queries, D) -> (queries,)."""
    logits = inverse_temperature * attention_logits(context @ queries.T, norm)
    weights = torch.exp(logits - logits.max(0).values)
    attended = (weights / weights.sum(0)).T @ context
    norms = (attended.norm(dim=1) * queries.norm(dim=1)).clamp_min(1e-8)
    return (attended * queries).sum(1) / norms


def scan_pair(image: Tensor, text: Tensor, direction: str, norm: str, pooling: str, l1: float, l2: float) -> Tensor:
    if direction == "both":
        return sum(scan_pair(image, text, d, norm, pooling, l1, l2) for d in ("t2i", "i2t")) / 2
    context, queries = (image, text) if direction == "t2i" else (text, image)
    return pool(attend(context, queries, norm, l1), pooling, l2, 1 / l2)


def chan_pair(image: Tensor, text: Tensor, coding: str, pooling: str, temperature: float) -> Tensor:
    best = (image @ text.T).max(0 if coding == "vha" else 1).values
    return pool(best, pooling, 1 / temperature, 1.0)


def every_pair(pair, images, texts) -> Tensor:
    """(I, T) float64 of `pair(image (R, D), text (W, D))` on the real fragments; differentiable."""

    def real(side):
        return [features[mask].double() for features, mask in zip(side.features, side.mask, strict=True)]

    texts_real = real(texts)
    return torch.stack([torch.stack([pair(image, text) for text in texts_real]) for image in real(images)])
