"""Which implementation computes: the plain and packed ones, or our own kernels, compiled on a CPU and fused on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from harness.similarity.compiled import kernels as compiled
from harness.similarity.gpu import fused
from harness.similarity.packed.attention import CrossAttentionKernel
from harness.similarity.packed.kernels import Kernel, MaxSimKernel, Operands, PackedForm
from harness.similarity.pooling import Pooling
from harness.similarity.reference import assignment

#: Left fragments of an item that the 16-bit indices of the fused maximum can tell apart.
INDEXABLE = 2**15


def max_sim(
    images: Tensor,
    image_mask: Tensor,
    texts: Tensor,
    text_mask: Tensor,
    *,
    direction: str = "t2i",
    pooling: Pooling | None = None,
) -> Tensor:
    """Similarity of every image with every caption by hard assignment.

    Args:
        images: (I, R, D) region vectors; unit vectors make the token similarity a cosine.
        image_mask: (I, R) bool, True = real; at least one per image.
        texts: (T, W, D) word vectors.
        text_mask: (T, W) bool.
        direction: "t2i" = the best region of each word, pooled over words; "i2t" = the best word of each region,
            pooled over regions.
        pooling: mean by default.

    Returns:
        (I, T) float32 (float64 for float64 vectors), in the unit of the pooled token similarity. Differentiable once; a
        maximum that is reached several times sends its gradient to one of them.

    Raises:
        InvalidFragments: the sides differ in width.

    Source:
        Pan et al., CHAN, CVPR 2023, eq. 5-9; Yao et al., FILIP, ICLR 2022, eq. 4-5.
        Differs: padding takes no part, where CHAN writes -1, a legal cosine.

    >>> image, caption = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[[0.6, 0.8]]])
    >>> real = torch.ones(1, 2, dtype=torch.bool)
    >>> round(max_sim(image, real, caption, real[:, :1]).item(), 3)
    0.8
    """
    return assignment.max_sim(
        images, image_mask, texts, text_mask, direction=direction, pooling=pooling, fused=_fused_maximum
    )


def _fused_maximum(rows: Tensor, longest: int) -> assignment.Maximum | None:
    if longest > INDEXABLE or not fused.available(rows.device, rows.dtype):
        return None
    from harness.similarity.gpu.maxsim import best_rows, interleave

    return lambda rows, words, keep: best_rows(interleave(rows), words, keep)


def _max_sim(kernel: MaxSimKernel, operands: Operands) -> Kernel:
    if fused.available(operands.device, operands.dtype):
        return fused.FusedMaxSim(kernel.pooling, kernel.swapped)
    return kernel


def _cross_attention(kernel: CrossAttentionKernel, operands: Operands) -> Kernel:
    norm, pooling = fused.ATTENTION_NORMS.get(kernel.attention_norm), fused.pooling_terms(kernel.pooling)
    if compiled.available(operands.device, operands.dtype):
        return compiled.attention_kernel(kernel)
    small = operands.left_fragments <= fused.LARGEST_CONTEXT
    if norm is None or pooling is None or not (small and fused.available(operands.device, operands.dtype)):
        return kernel
    return fused.FusedCrossAttention(*norm, kernel.inverse_temperature, pooling, kernel.swapped)


#: What computes the same as a kernel, and faster, on given operands.
STAND_INS: dict[type, Callable[[Any, Operands], Kernel]] = {
    MaxSimKernel: _max_sim,
    CrossAttentionKernel: _cross_attention,
}


def best_kernel(kernel: Kernel, operands: Operands) -> Kernel:
    """The kernel, or a faster stand-in: from `STAND_INS`, or what the kernel's own `best_on(operands)` returns."""
    choose = STAND_INS.get(type(kernel)) or getattr(type(kernel), "best_on", None)
    return choose(kernel, operands) if choose else kernel


def best_form(form: PackedForm, device: torch.device, dtype: torch.dtype, images: int, texts: int) -> PackedForm:
    """The form with the kernels that are best there.

    Args:
        form: of a scorer.
        device: where it computes.
        dtype: of the product's operands.
        images, texts: the largest number of fragments of an image and of a caption.
    """
    terms = (
        (weight, best_kernel(kernel, Operands(device, dtype, texts if kernel.swapped else images)))
        for weight, kernel in form.terms
    )
    return replace(form, terms=tuple(terms))
