"""Expectations of the rules: each raises a `Violation` that says what was expected and what was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from harness.fragments import Fragments

#: Largest difference between scores that should agree, in units of the largest score.
TOLERANCE = 1e-5


class Violation(Exception):
    """A rule that a scorer breaks: what was expected and what was found."""


def that(kept: bool, otherwise: str) -> None:
    if not kept:
        raise Violation(otherwise)


def shape(scores: Tensor, expected: tuple[int, int]) -> None:
    that(tuple(scores.shape) == expected, f"expected shape (I, T) = {expected}, found {tuple(scores.shape)}")


def finite(values: Tensor, what: str) -> None:
    bad = (~torch.isfinite(values)).nonzero()
    if len(bad):
        first = values[tuple(bad[0])].item()
        where = f", {first} at {bad[0].tolist()}" if values.ndim else ""
        raise Violation(f"expected {what} to be finite, found {len(bad)} of {values.numel()} that are not{where}")


def gradient(gradient: Tensor | None, what: str) -> Tensor:
    if gradient is None:
        raise Violation(f"expected a gradient for {what}, found none: no loss depends on it")
    finite(gradient, f"the gradient for {what}")
    return gradient


def scale_of(scores: Tensor) -> float:
    """The largest score, never 0."""
    return max(scores.abs().max().item(), torch.finfo(torch.float32).tiny)


def same(got: Tensor, expected: Tensor, what: str) -> None:
    """Scores within `TOLERANCE` of each other, in units of the largest."""
    shapes = tuple(expected.shape), tuple(got.shape)
    that(shapes[0] == shapes[1], f"{what}: expected scores of shape {shapes[0]}, found {shapes[1]}")
    difference = (got - expected).abs()
    worst = int(difference.nan_to_num(nan=float("inf")).argmax())
    row, column = divmod(worst, expected.shape[1])
    allowed = TOLERANCE * scale_of(expected)
    that(
        difference.flatten()[worst].item() <= allowed,
        f"{what}: expected {expected[row, column].item():.7g} for image {row} and caption {column}, found "
        f"{got[row, column].item():.7g}; they may differ by {allowed:.2g}",
    )


def same_fragments(got: Fragments, expected: Fragments, what: str) -> None:
    """Features, masks and extras within `TOLERANCE` of each other."""
    names = list(expected.extras)
    that(list(got.extras) == names, f"{what}: expected extras {names}, found {list(got.extras)}")
    for (name, now), then in zip(_tensors(got).items(), _tensors(expected).values(), strict=True):
        shapes = tuple(then.shape), tuple(now.shape)
        that(shapes[0] == shapes[1], f"{what}: expected {name} of shape {shapes[0]}, found {shapes[1]}")
        # an infinity, a mask for a softmax say, equals itself
        difference = torch.where(now == then, 0.0, (now.double() - then.double()).abs()).amax().item()
        scale = then.double().nan_to_num(posinf=0, neginf=0).abs().amax().item()
        that(
            difference <= TOLERANCE * max(1.0, scale),
            f"{what}: expected the same {name}, found values that differ by {difference:.3g}",
        )


@contextmanager
def unchanged(what: str, images: Fragments, texts: Fragments) -> Iterator[None]:
    """Requires that the block leaves the fragments as they are."""
    sides = {"images": images, "captions": texts}
    before = {side: [tensor.clone() for tensor in _tensors(f).values()] for side, f in sides.items()}
    yield
    for side, fragments in sides.items():
        for (name, now), then in zip(_tensors(fragments).items(), before[side], strict=True):
            that(
                torch.equal(now, then),
                f"expected {what} to leave its inputs alone, found changed {name} of the {side}",
            )


def _tensors(fragments: Fragments) -> dict[str, Tensor]:
    return {"features": fragments.features, "mask": fragments.mask, **fragments.extras}
