"""Expectations of the rules: each raises a `Violation` that says what was expected and what was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from harness.alignment import Alignment
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


def aligned(found: object, images: Fragments, texts: Fragments) -> Alignment:
    """An alignment of as many words and fragments as came, in which no padding takes part."""
    if not isinstance(found, Alignment):
        raise Violation(f"expected align to return an Alignment or always None, found {type(found).__name__}")
    expected = (len(images), texts.mask.shape[1], images.mask.shape[1])
    shape = tuple(found.weights.shape)
    that(shape == expected, f"expected weights of shape (N, W, R) = {expected}, found {shape}")
    for what, mask, real in (("words", found.word_mask, texts.mask), ("regions", found.region_mask, images.mask)):
        padded = int((mask & ~real).sum())
        that(not padded, f"expected no padding among the {what} that take part, found {padded} padded positions")
    return found


def same_alignment(got: object, expected: Alignment, what: str) -> None:
    """Every part within `TOLERANCE` of each other, in both directions."""
    if not isinstance(got, Alignment):
        raise Violation(f"{what}: expected an alignment, found {type(got).__name__}")
    now, then = got.tensors(), expected.tensors()
    names = list(then)
    that(list(now) == names, f"{what}: expected an alignment with {names}, found {list(now)}")
    for name in names:
        shapes = tuple(then[name].shape), tuple(now[name].shape)
        that(shapes[0] == shapes[1], f"{what}: expected {name} of shape {shapes[0]}, found {shapes[1]}")
        difference = (now[name].double() - then[name].double()).abs()
        worst = difference.amax().item() if difference.numel() else 0.0
        allowed = TOLERANCE * max(1.0, then[name].double().abs().amax().item() if difference.numel() else 0.0)
        that(worst <= allowed, f"{what}: expected the same {name}, found values that differ by {worst:.3g}")
    that((got.reverse is None) == (expected.reverse is None), f"{what}: expected a reverse both times, found one")
    if expected.reverse is not None:
        same_alignment(got.reverse, expected.reverse, f"{what}, the reverse")


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
