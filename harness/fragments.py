"""Fragments: what an encoder returns, and Tokens: what a text encoder takes.

Shape letters: N items, F fragments per item (R regions or patches, W words), D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.errors import InvalidFragments


@dataclass(frozen=True, eq=False)
class Fragments:
    """A ragged batch of fragment vectors in padded form.

    >>> batch = Fragments(torch.ones(2, 3, 4), torch.tensor([[True, True, False], [True, False, False]]))
    >>> len(batch), batch.width, batch.lengths.tolist(), batch[1:].trimmed().features.shape
    (2, 4, [2, 1], torch.Size([1, 1, 4]))

    Args:
        features: (N, F, D) floating point. A global embedding is F = 1. Padded positions may hold any finite value.
        mask: (N, F) bool, True = real. Real fragments need not be contiguous.
        extras: further tensors of the same items, each with leading N (gates, region variances, ...).

    Raises:
        InvalidFragments: non-float features, a non-bool mask, a shape mismatch, an item with no real fragment, or a
            feature that is not finite.
    """

    features: Tensor
    mask: Tensor
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_shapes(self.features, self.mask, self.extras)
        empty = ~self.mask.any(dim=1)
        if bool(empty.any()):
            raise InvalidFragments(
                f"{int(empty.sum())} of {len(empty)} items have no real fragment (first: item {int(empty.nonzero()[0])}); "
                "every item needs at least one True in its mask"
            )
        if not _all_finite(self.features):
            bad = (~torch.isfinite(self.features)).flatten(1).any(dim=1)
            raise InvalidFragments(
                f"features of {int(bad.sum())} of {len(bad)} items hold NaN or inf (first: item {int(bad.nonzero()[0])})"
            )

    @classmethod
    def unchecked(cls, features: Tensor, mask: Tensor, extras: Mapping[str, Tensor]) -> Fragments:
        """Parts of checked fragments: skips the checks, which cost a pass over the features and a device sync."""
        fragments = object.__new__(cls)
        fragments.__dict__.update(features=features, mask=mask, extras=extras)
        return fragments

    def __len__(self) -> int:
        return self.features.shape[0]

    @property
    def width(self) -> int:
        """D, the number of features per fragment."""
        return self.features.shape[2]

    @property
    def lengths(self) -> Tensor:
        """(N,) int64, the number of real fragments of each item."""
        return self.mask.sum(dim=1)

    @property
    def device(self) -> torch.device:
        return self.features.device

    def __getitem__(self, index: slice | Tensor | Sequence[int]) -> Fragments:
        """The items at `index` (a slice, or a list or tensor of rows), with their extras."""
        if isinstance(index, int):
            index = slice(index, index + 1)
        if not isinstance(index, (slice, Tensor)):
            index = torch.as_tensor(list(index), dtype=torch.long, device=self.device)
        extras = {name: extra[index] for name, extra in self.extras.items()}
        return self.unchecked(self.features[index], self.mask[index], extras)

    def to(self, *args, **kwargs) -> Fragments:
        """Moves features and floating-point extras to a device or dtype and the rest to the device, as `Tensor.to`."""
        features = self.features.to(*args, **kwargs)
        extras = {
            name: extra.to(*args, **kwargs) if extra.is_floating_point() else extra.to(features.device)
            for name, extra in self.extras.items()
        }
        return self.unchecked(features, self.mask.to(features.device), extras)

    def detach(self) -> Fragments:
        """The same values without their graph."""
        return self.unchecked(self.features.detach(), self.mask, {n: e.detach() for n, e in self.extras.items()})

    def normalized(self) -> Fragments:
        """Each fragment scaled to unit L2 norm (a zero vector stays zero)."""
        return self.unchecked(F.normalize(self.features, dim=-1), self.mask, self.extras)

    def trimmed(self) -> Fragments:
        """Without the trailing positions that are padding for every item. Fragments with extras come back unchanged."""
        if self.extras or not len(self):
            return self
        longest = int(self.mask.any(dim=0).nonzero()[-1]) + 1
        return self.unchecked(self.features[:, :longest], self.mask[:, :longest], {})

    @classmethod
    def cat(cls, parts: Sequence[Fragments]) -> Fragments:
        """Items of several batches in one, padded to the longest.

        Raises:
            InvalidFragments: no part, parts of different width, or parts with different extras.
        """
        if not parts:
            raise InvalidFragments("nothing to concatenate: expected at least one batch of fragments")
        if len({p.width for p in parts}) > 1:
            raise InvalidFragments(f"cannot concatenate fragments of widths {sorted({p.width for p in parts})}")
        if len({tuple(sorted(p.extras)) for p in parts}) > 1:
            raise InvalidFragments("cannot concatenate fragments with different extras")
        extras = {name: _cat_padded([p.extras[name] for p in parts]) for name in parts[0].extras}
        return cls.unchecked(_cat_padded([p.features for p in parts]), _cat_padded([p.mask for p in parts]), extras)


@dataclass(frozen=True, eq=False)
class Tokens:
    """A padded batch of token ids.

    Args:
        ids: (N, W) int64.
        mask: (N, W) bool, True = real.
    """

    ids: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        if self.ids.ndim != 2 or self.mask.shape != self.ids.shape or self.mask.dtype != torch.bool:
            raise InvalidFragments(
                f"tokens need ids (N, W) and a bool mask of the same shape, got ids {tuple(self.ids.shape)} and "
                f"mask {tuple(self.mask.shape)} of {self.mask.dtype}"
            )

    def __len__(self) -> int:
        return self.ids.shape[0]

    @property
    def lengths(self) -> Tensor:
        """(N,) int64, the number of real tokens of each item."""
        return self.mask.sum(dim=1)

    def to(self, device: torch.device | str) -> Tokens:
        return Tokens(self.ids.to(device), self.mask.to(device))

    def __getitem__(self, index: slice | Tensor) -> Tokens:
        """The items at `index`, trimmed to the longest of them."""
        ids, mask = self.ids[index], self.mask[index]
        longest = max(1, int(mask.sum(dim=1).max())) if len(mask) else 1
        return Tokens(ids[:, :longest], mask[:, :longest])


def _check_shapes(features: Tensor, mask: Tensor, extras: Mapping[str, Tensor]) -> None:
    if not (isinstance(features, Tensor) and isinstance(mask, Tensor)):
        raise InvalidFragments(
            f"features and mask must be torch tensors, got {type(features).__name__} and {type(mask).__name__}"
        )
    if features.ndim != 3 or not features.is_floating_point():
        raise InvalidFragments(
            f"features must be floating point of shape (N, F, D), got {features.dtype} of shape {tuple(features.shape)}"
        )
    if mask.dtype != torch.bool:
        raise InvalidFragments(f"mask must be bool (True = real fragment), got {mask.dtype}; use mask.bool()")
    if mask.shape != features.shape[:2]:
        raise InvalidFragments(
            f"mask must have shape (N, F) = {tuple(features.shape[:2])} like the features, got {tuple(mask.shape)}"
        )
    for name, extra in extras.items():
        if extra.ndim == 0 or len(extra) != len(features):
            raise InvalidFragments(
                f"extra '{name}' must have leading N = {len(features)}, got shape {tuple(extra.shape)}"
            )


def _all_finite(values: Tensor) -> bool:
    """Whether no value is NaN or infinite; a sum shows that in one pass, unless it overflows itself."""
    return bool(torch.isfinite(values.detach().sum())) or bool(torch.isfinite(values).all())


def _cat_padded(parts: Sequence[Tensor]) -> Tensor:
    """Concatenate along N; a second axis that differs (F, or one that follows it) is padded with zeros."""
    if parts[0].ndim == 1:
        return torch.cat(list(parts))
    longest = max(part.shape[1] for part in parts)
    return torch.cat([F.pad(part, (0, 0) * (part.ndim - 2) + (0, longest - part.shape[1])) for part in parts])
