"""Objectives on the (B, B) similarity of a batch of matching pairs: row b and column b belong together.

Pairs whose images have the same id are never negatives, so a batch may hold several captions of one image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class TripletLoss:
    """Hinge loss over in-batch negatives in both directions, summed over the batch.

    Args:
        margin: required advantage of the positive, in units of the score.
        negatives: "hardest" takes the hardest negative of each query, "all" sums over every negative.

    >>> similarity = torch.tensor([[0.5, 0.4], [0.1, 0.9]])
    >>> round(TripletLoss(margin=0.2)(similarity, torch.tensor([0, 1])).item(), 4)  # 0.4 comes within 0.2 of 0.5
    0.1

    Source:
        Faghri et al., VSE++, BMVC 2018, eq. 3 and 6. Differs: pairs of the same image are masked, not only the diagonal.
    """

    margin: float = 0.2
    negatives: Literal["hardest", "all"] = "hardest"

    def __call__(self, similarity: Tensor, image_ids: Tensor) -> Tensor:
        """Scalar loss of `similarity` (B, B) with `image_ids` (B,)."""
        positive = similarity.diagonal()
        same = image_ids[:, None] == image_ids[None, :]
        text_cost = (self.margin + similarity - positive[:, None]).clamp(min=0).masked_fill(same, 0)
        image_cost = (self.margin + similarity - positive[None, :]).clamp(min=0).masked_fill(same, 0)
        if self.negatives == "all":
            return text_cost.sum() + image_cost.sum()
        return text_cost.amax(dim=1).sum() + image_cost.amax(dim=0).sum()


@dataclass(frozen=True)
class InfoNCE:
    """Symmetric cross-entropy over the batch, mean of both directions.

    Args:
        temperature: the similarities are divided by it.
        reduction: "mean" over the batch, or "sum".

    Source:
        Radford et al., CLIP, ICML 2021, figure 3. Differs: other pairs of the same image are left out of the denominator.
    """

    temperature: float = 0.05
    reduction: Literal["mean", "sum"] = "mean"

    def __call__(self, similarity: Tensor, image_ids: Tensor) -> Tensor:
        """Scalar loss of `similarity` (B, B) with `image_ids` (B,)."""
        return contrastive(similarity / self.temperature, image_ids, self.reduction)


def contrastive(logits: Tensor, image_ids: Tensor, reduction: str = "mean") -> Tensor:
    """Symmetric cross-entropy of logits (B, B) whose diagonal is positive; other same-image pairs are left out.

    >>> contrastive(torch.zeros(4, 4), torch.arange(4)).exp()  # chance: one of four
    tensor(4.)
    """
    logits = _without_other_positives(logits, image_ids)  # once for both ways: the gradient's last bits depend on it
    target = torch.arange(len(logits), device=logits.device)
    i2t = F.cross_entropy(logits, target, reduction=reduction)
    return (i2t + F.cross_entropy(logits.T, target, reduction=reduction)) / 2


def one_way_contrast(logits: Tensor, image_ids: Tensor, reduction: str = "mean") -> Tensor:
    """Cross-entropy of the rows of logits (B, B) with the diagonal; other pairs of the same image are left out."""
    target = torch.arange(len(logits), device=logits.device)
    return F.cross_entropy(_without_other_positives(logits, image_ids), target, reduction=reduction)


def _without_other_positives(logits: Tensor, image_ids: Tensor) -> Tensor:
    return logits.masked_fill((image_ids[:, None] == image_ids).fill_diagonal_(False), -torch.inf)
