"""The rule about alignments; that weights are normalised and 0 at the padding, `Alignment` checks itself."""

from __future__ import annotations

import torch

from harness.alignment import Alignment
from harness.conformance import expect, inputs
from harness.conformance.inputs import Sides
from harness.conformance.subject import Subject, prepared, scored
from harness.scorer import Scorer
from harness.scoring import evaluating


def alignment(subject: Subject) -> None:
    """A pair's alignment depends on its image and caption alone, and is the same each time; or there is none."""
    scorer, sides = subject.ready(), inputs.pairs(*inputs.random_sides())
    scores = scored(scorer, sides)
    with evaluating(scorer), expect.unchanged("align", *sides):
        found = scorer.align(*sides)
    if found is None:
        return
    expect.aligned(found, *sides)
    expect.same(scored(scorer, sides), scores, "scores after an alignment was asked for")
    _once_more(scorer, sides, found)
    for n in range(len(sides[0])):
        alone = _aligned(scorer, (sides[0][[n]], sides[1][[n]]))
        expect.same_alignment(alone, found[n : n + 1], "a pair aligned without the others")
    _ignores_padding(scorer)
    other = subject.ready(seed=1)
    other.load_state_dict(scorer.state_dict())
    expect.same_alignment(_aligned(other, sides), found, "a fresh scorer with the same state dict")


def _once_more(scorer: Scorer, sides: Sides, found: Alignment) -> None:
    """Equal bits the second time, and the same from prepared fragments, which stay as they are."""
    again = _aligned(scorer, sides)
    expect.same_alignment(again, found, "a second time")
    equal = all(torch.equal(value, again.tensors()[name]) for name, value in found.tensors().items())
    expect.that(equal, "expected equal bits from aligning twice, found others")
    with evaluating(scorer):
        ready = prepared(scorer, sides)
        with expect.unchanged("align", *ready):
            of_prepared = scorer.align(*ready)
    expect.same_alignment(of_prepared, found, "prepared fragments")


def _ignores_padding(scorer: Scorer) -> None:
    for what, sides in {"random": inputs.random_sides(), "opposed": inputs.opposed_sides()}.items():
        images, texts = inputs.pairs(*sides)
        expected = _aligned(scorer, (images, texts))
        longer = _aligned(scorer, (inputs.padded(images, 4), inputs.padded(texts, 4)))
        shorter = longer.trimmed(texts.mask.shape[1], images.mask.shape[1])
        expect.same_alignment(shorter, expected, f"{what} sides padded with 4 positions of arbitrary values")


def _aligned(scorer: Scorer, sides: Sides) -> Alignment:
    """The alignment, checked against what was aligned."""
    with evaluating(scorer):
        return expect.aligned(scorer.align(*sides), *sides)
