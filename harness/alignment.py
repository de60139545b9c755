"""Alignment: which words a method matches with which fragments of a picture, as its score reads them.

Shape letters: N pairs, W words, R fragments of an image (regions or patches), K gathered regions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor

from harness.errors import InvalidFragments, InvalidPlugin
from harness.fragments import Fragments

#: Largest distance of a sum of weights from 1, and of a weight from [0, 1]: float32 sums of hundreds of softmax weights.
TOLERANCE = 1e-4
#: The axes of each tensor after the pairs.
AXES = {
    "weights": "WR",
    "word_mask": "W",
    "region_mask": "R",
    "word_scores": "W",
    "region_scores": "R",
    "word_gates": "W",
    "region_gates": "R",
    "regions": "KR",
    "word_regions": "WK",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Alignment:
    """How the words and the fragments of N pairs (image n with caption n) are matched.

    >>> alignment = Alignment(
    ...     kind="attention",
    ...     weights=torch.tensor([[[0.9, 0.1], [0.0, 0.0]]]),
    ...     over="regions",
    ...     word_mask=torch.tensor([[True, False]]),
    ...     region_mask=torch.tensor([[True, True]]),
    ... )
    >>> len(alignment), alignment.weights.shape
    (1, torch.Size([1, 2, 2]))

    Raises:
        InvalidPlugin: a shape, dtype or value that is not as said here.
    """

    kind: str  #: what the weights are, for a reader: "attention", "best region of each word"
    #: (N, W, R) in [0, 1]: how strongly word w is matched with fragment r. Fragments are in the image encoder's order,
    #: [CLS] included, and words in the text encoder's. 0 where either takes no part.
    weights: Tensor
    #: What the weights sum to 1 over: the regions of each word, where words look for regions, or the words of each
    #: region. A word (or region) whose weights are all 0 is matched with nothing.
    over: Literal["regions", "words"]
    word_mask: Tensor  #: (N, W) bool, True = takes part: neither padding nor left out by the method
    region_mask: Tensor  #: (N, R) bool, likewise
    word_scores: Tensor | None = None  #: (N, W) similarity of each word with what it is matched with, as it is pooled
    region_scores: Tensor | None = None  #: (N, R) likewise of each fragment, where the weights are over words
    word_gates: Tensor | None = None  #: (N, W) in [0, 1], how far the method lets each word in
    region_gates: Tensor | None = None  #: (N, R) in [0, 1]
    regions: Tensor | None = None  #: (N, K, R) where each region that the method gathers looks; rows sum to 1, or to 0
    word_regions: Tensor | None = None  #: (N, W, K) in [0, 1] weights of those regions for each word; rows as above
    reverse: Alignment | None = None  #: the other direction, where the score reads both

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_values(self)

    def __len__(self) -> int:
        return self.weights.shape[0]

    def __getitem__(self, index: slice | Tensor) -> Self:
        """The pairs at `index`."""
        return self._changed(lambda name, value: value[index])

    def trimmed(self, words: int, regions: int) -> Self:
        """Only the first words and fragments; the others must be padding.

        Raises:
            InvalidPlugin: weights on what is left out.
        """
        sizes = {"W": words, "R": regions, "K": None}
        return self._changed(lambda name, value: value[(slice(None), *(slice(sizes[axis]) for axis in AXES[name]))])

    def to(self, device: torch.device | str) -> Self:
        """The same on a device."""
        return self._changed(lambda name, value: value.to(device))

    def tensors(self) -> dict[str, Tensor]:
        """What is given of `AXES`, by name; without the reverse."""
        return {name: getattr(self, name) for name in AXES if getattr(self, name) is not None}

    def _changed(self, change: Callable[[str, Tensor], Tensor]) -> Self:
        reverse = self.reverse and self.reverse._changed(change)
        changes: dict[str, Any] = {name: change(name, value) for name, value in self.tensors().items()}
        return replace(self, **changes, reverse=reverse)


def paired(images: Fragments, texts: Fragments) -> tuple[Fragments, Fragments]:
    """As many images as captions; one of either is repeated.

    Raises:
        InvalidFragments: the numbers differ and neither is 1.
    """
    count = max(len(images), len(texts))
    if len(images) not in (1, count) or len(texts) not in (1, count):
        raise InvalidFragments(
            f"{len(images)} images and {len(texts)} captions do not pair up; give as many of both, or one of either"
        )
    images, texts = (side if len(side) == count else side[[0] * count] for side in (images, texts))
    return images, texts


def one_hot(best: Tensor, count: int, valid: Tensor) -> Tensor:
    """Weights (..., count) that are 1 at the index `best` (...,) and 0 elsewhere; all 0 where `valid` (...,) is False.

    >>> one_hot(torch.tensor([2, 0]), 3, torch.tensor([True, False])).tolist()
    [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    weights = torch.zeros(*best.shape, count, device=best.device)
    return weights.scatter_(-1, best[..., None], valid[..., None].to(weights.dtype))


def _expected_shapes(alignment: Alignment) -> dict[str, tuple[int, ...]]:
    pairs, words, regions = alignment.weights.shape
    gathered = alignment.regions.shape[1] if alignment.regions is not None and alignment.regions.ndim == 3 else 0
    sizes = {"W": words, "R": regions, "K": gathered}
    return {name: (pairs, *(sizes[axis] for axis in axes)) for name, axes in AXES.items()}


def _check_shapes(alignment: Alignment) -> None:
    if alignment.over not in ("regions", "words"):
        raise InvalidPlugin(f"an alignment's weights are over 'regions' or 'words', got {alignment.over!r}")
    if not isinstance(alignment.weights, Tensor) or alignment.weights.ndim != 3:
        shape = tuple(getattr(alignment.weights, "shape", ()))
        raise InvalidPlugin(f"an alignment's weights must be a tensor (N, W, R), got shape {shape}")
    if alignment.word_regions is not None and alignment.regions is None:
        raise InvalidPlugin("an alignment with word_regions must say where those regions look: give regions too")
    for name, expected in _expected_shapes(alignment).items():
        value, is_mask = getattr(alignment, name), name.endswith("_mask")
        if value is None and not is_mask and name != "weights":
            continue
        wanted = f"{'bool' if is_mask else 'floating-point'} tensor of shape {expected}"
        if not isinstance(value, Tensor):
            raise InvalidPlugin(f"an alignment's {name} must be a {wanted}, got {type(value).__name__}")
        right_type = value.dtype == torch.bool if is_mask else value.is_floating_point()
        if tuple(value.shape) != expected or not right_type:
            raise InvalidPlugin(
                f"an alignment's {name} must be a {wanted}, got {value.dtype} of shape {tuple(value.shape)}"
            )
    _check_reverse(alignment)


def _check_reverse(alignment: Alignment) -> None:
    reverse = alignment.reverse
    if reverse is None:
        return
    if (
        reverse.over == alignment.over
        or reverse.reverse is not None
        or reverse.weights.shape != alignment.weights.shape
    ):
        raise InvalidPlugin(
            "an alignment's reverse must be of the same pairs, over the other side, and have no reverse itself; got one "
            f"over {reverse.over} of shape {tuple(reverse.weights.shape)}"
        )


def _check_values(alignment: Alignment) -> None:
    for name, value in alignment.tensors().items():
        if value.dtype == torch.bool:
            continue
        if not bool(torch.isfinite(value).all()):
            raise InvalidPlugin(f"an alignment's {name} must be finite, got NaN or inf")
        if not name.endswith("_scores") and value.numel():
            low, high = value.min().item(), value.max().item()
            if low < -TOLERANCE or high > 1 + TOLERANCE:
                raise InvalidPlugin(f"an alignment's {name} must lie in [0, 1], got {low:.6g} to {high:.6g}")
    _check_sums(alignment)
    _check_masked(alignment)


def _check_sums(alignment: Alignment) -> None:
    axis = 2 if alignment.over == "regions" else 1
    sums = {
        f"weights over {alignment.over}": alignment.weights.sum(axis),
        "regions": alignment.regions.sum(2) if alignment.regions is not None else None,
        "word_regions": alignment.word_regions.sum(2) if alignment.word_regions is not None else None,
    }
    for name, total in sums.items():
        if total is None or not total.numel():
            continue
        off = torch.minimum(total.abs(), (total - 1).abs())
        if off.max().item() > TOLERANCE:
            worst = total.flatten()[off.argmax()].item()
            raise InvalidPlugin(f"an alignment's {name} must sum to 1, or be all 0, got a sum of {worst:.6g}")


def _check_masked(alignment: Alignment) -> None:
    words, regions = ~alignment.word_mask, ~alignment.region_mask
    outside = {
        "weights": words[:, :, None] | regions[:, None],
        "word_scores": words,
        "region_scores": regions,
        "word_gates": words,
        "region_gates": regions,
    }
    for name, masked in outside.items():
        value = getattr(alignment, name)
        if value is not None and bool((value * masked != 0).any()):
            raise InvalidPlugin(f"an alignment's {name} must be 0 where a word or region takes no part")
