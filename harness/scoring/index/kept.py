"""In which form an index keeps items: as they come, in half precision or as int8 codes, with the features beside them or not."""

from __future__ import annotations

import torch

from harness.fragments import Fragments
from harness.similarity.packed.codes import SCALE, coded, decoded

#: The extra (N, F, D) of items of reduced precision that holds their features as they came; a name that no scorer takes.
ORIGINAL = "index_features"


def kept_as(items: Fragments, dtype: torch.dtype | None, exact: bool) -> Fragments:
    """Transformed items as an index keeps them.

    Args:
        items: floating point.
        dtype: None = that of the features; int8 = codes.
        exact: keep the features as they are, too.
    """
    if dtype is None or items.features.dtype == dtype:
        return items
    if dtype == torch.int8:
        reduced = coded(items)
    else:  # the extras decide exact scores, too
        reduced = Fragments.unchecked(items.features.to(dtype), items.mask, items.extras)
    extras = {**reduced.extras, ORIGINAL: items.features} if exact else reduced.extras
    return Fragments.unchecked(reduced.features, reduced.mask, extras)


def compared(items: Fragments) -> Fragments:
    """What every query is compared with: kept items without the features for shortlists."""
    extras = {name: values for name, values in items.extras.items() if name != ORIGINAL}
    return Fragments.unchecked(items.features, items.mask, extras)


def floating(items: Fragments) -> Fragments:
    """What every query is compared with, as floating-point fragments."""
    plain = compared(items)
    return decoded(plain) if plain.features.dtype == torch.int8 else plain


def best_known(items: Fragments) -> Fragments:
    """Floating-point fragments of kept items: the features themselves, or what codes say where those are gone."""
    if ORIGINAL not in items.extras:
        return floating(items)
    plain = compared(items)
    extras = {name: values for name, values in plain.extras.items() if name != SCALE}
    return Fragments.unchecked(items.extras[ORIGINAL], items.mask, extras)


def nbytes(items: Fragments, *, exact: bool) -> int:
    """Bytes of the features for shortlists, or of all else."""
    if exact:
        tensors = [items.extras[ORIGINAL]] if ORIGINAL in items.extras else []
    else:
        plain = compared(items)
        tensors = [plain.features, plain.mask, *plain.extras.values()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
