"""The rules: each a function whose docstring says the rule, and which raises a `Violation` if a scorer breaks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from harness.conformance import expect, inputs
from harness.conformance.alignments import alignment
from harness.conformance.inputs import IMAGES, TEXTS, Sides
from harness.conformance.subject import Subject, prepared, scored
from harness.fragments import Fragments
from harness.scorer import Scorer
from harness.scoring import evaluating, similarity_matrix

#: Images and captions per block.
BLOCKS = ((1, 1), (2, 4), (IMAGES, 1), (3, TEXTS))


def shape(subject: Subject) -> None:
    """`score` returns a floating-point (I, T) tensor."""
    scores = scored(subject.ready(), inputs.random_sides())
    expect.that(isinstance(scores, Tensor), f"expected a tensor, found {type(scores).__name__}")
    expect.that(scores.is_floating_point(), f"expected floating-point scores, found {scores.dtype}")
    expect.shape(scores, (IMAGES, TEXTS))


def finite(subject: Subject) -> None:
    """Scores are finite, on opposed and on repeated fragments too."""
    scorer = subject.ready()
    sides = {"random": inputs.random_sides(), "opposed": inputs.opposed_sides(), "repeated": inputs.repeated_sides()}
    for what, both in sides.items():
        expect.finite(scored(scorer, both), f"scores of {what} fragments")


def not_constant(subject: Subject) -> None:
    """Scores differ between images and between captions."""
    scores = scored(subject.ready(), inputs.random_sides())
    for dim, what in enumerate(("images", "captions")):
        spread = (scores.amax(dim) - scores.amin(dim)).max().item()
        expect.that(
            spread > expect.TOLERANCE * expect.scale_of(scores),
            f"expected scores that differ between {what}, found a largest difference of {spread:.3g}",
        )


def single(subject: Subject) -> None:
    """One image and one caption of one fragment each can be scored."""
    scores = scored(subject.ready(), inputs.single_sides())
    expect.shape(scores, (1, 1))
    expect.finite(scores, "the score of one fragment with one")


def deterministic(subject: Subject) -> None:
    """Evaluation twice gives the same bits."""
    scorer, sides = subject.ready(), inputs.random_sides()
    first, second = scored(scorer, sides), scored(scorer, sides)
    difference = (first - second).abs().max().item()
    expect.that(torch.equal(first, second), f"expected equal bits, found scores that differ by {difference:.3g}")


def inputs_kept(subject: Subject) -> None:
    """Preparing, scoring and training do not change their inputs."""
    scorer, sides = subject.ready(), inputs.random_sides()
    with expect.unchanged("prepare_images and prepare_texts", *sides), evaluating(scorer):
        ready = prepared(scorer, sides)
    with expect.unchanged("score", *ready), evaluating(scorer):
        scorer.score(*ready)
    batch = prepared(scorer.train(), inputs.pairs(*sides))
    with expect.unchanged("losses", *batch):
        scorer.losses(*batch, torch.tensor(inputs.PAIR_IDS))


def padding(subject: Subject) -> None:
    """Scores do not depend on how long the padding is, nor on what lies in it."""
    scorer = subject.ready()
    for what, (images, texts) in {"random": inputs.random_sides(), "opposed": inputs.opposed_sides()}.items():
        expected = scored(scorer, (images, texts))
        longer = {"images": (inputs.padded(images, 4), texts), "captions": (images, inputs.padded(texts, 4))}
        for side, sides in longer.items():
            expect.same(scored(scorer, sides), expected, f"{what} {side} padded with 4 positions of arbitrary values")


def other_items(subject: Subject) -> None:
    """A score does not depend on the other items in the block."""
    scorer, (images, texts) = subject.ready(), inputs.random_sides()
    together = scored(scorer, (images, texts))
    rows = [scored(scorer, (images[[i]], texts)) for i in range(IMAGES)]
    columns = [scored(scorer, (images, texts[[t]])) for t in range(TEXTS)]
    expect.same(torch.cat(rows, 0), together, "an image scored without the others")
    expect.same(torch.cat(columns, 1), together, "a caption scored without the others")


def permutation(subject: Subject) -> None:
    """Permuted items give permuted scores."""
    scorer, (images, texts) = subject.ready(), inputs.random_sides()
    rows, columns = torch.tensor([3, 0, 4, 2, 1]), torch.tensor([5, 2, 0, 4, 1, 3])
    expected = scored(scorer, (images, texts))[rows][:, columns]
    expect.same(scored(scorer, (images[rows], texts[columns])), expected, "permuted images and captions")


def blocks(subject: Subject) -> None:
    """Scores do not depend on the block size."""
    scorer = subject.ready()
    with evaluating(scorer):
        images, texts = prepared(scorer, inputs.random_sides())
        expected = scorer.score(images, texts)
        for rows, columns in BLOCKS:  # the engine itself asks for no block as small as these
            strips = [images[first : first + rows] for first in range(0, len(images), rows)]
            parts = [texts[first : first + columns] for first in range(0, len(texts), columns)]
            direct = torch.cat([torch.cat([scorer.score(strip, part) for part in parts], 1) for strip in strips])
            expect.same(direct, expected, f"blocks of {rows} images x {columns} captions")
    for rows, columns in BLOCKS:
        got = similarity_matrix(scorer, images, texts, image_block=rows, text_block=columns)
        expect.same(got, expected, f"blocks of {rows} images x {columns} captions by the engine")


def prepared_once(subject: Subject) -> None:
    """Preparing prepared fragments changes nothing."""
    scorer = subject.ready()
    with evaluating(scorer):
        once = prepared(scorer, inputs.random_sides())
        twice = prepared(scorer, once)
    for what, first, second in zip(("prepare_images", "prepare_texts"), once, twice, strict=True):
        expect.same_fragments(second, first, f"{what} of what {what} returned")


def batches(subject: Subject) -> None:
    """Fragments prepared in batches, each as long as its longest item, score as those of one batch."""
    scorer, (images, texts) = subject.ready(), inputs.random_sides()
    expected = scored(scorer, (images, texts))
    halves = ((images[:2], texts[:3]), (images[2:], texts[3:]))
    with evaluating(scorer):
        parts = [prepared(scorer, (some.trimmed(), others.trimmed())) for some, others in halves]
        joined = [Fragments.cat(side) for side in zip(*parts, strict=True)]
        expect.same(scorer.score(*joined), expected, "fragments prepared in two batches and concatenated")


def gradients(subject: Subject) -> None:
    """Losses are finite scalars; every parameter and both inputs get finite gradients."""
    scorer = subject.ready().train()
    images, texts = (
        replace(side, features=side.features.clone().requires_grad_()) for side in inputs.pairs(*inputs.random_sides())
    )
    losses = scorer.losses(*prepared(scorer, (images, texts)), torch.tensor(inputs.PAIR_IDS))
    for name, value in losses.items():
        expect.that(value.ndim == 0, f"expected loss '{name}' to be a scalar, found shape {tuple(value.shape)}")
        expect.finite(value, f"loss '{name}'")
    total = torch.stack(list(losses.values())).sum()
    expect.that(total.requires_grad, "expected losses that depend on the fragments, found a constant")
    total.backward()
    for name, parameter in scorer.named_parameters():
        if parameter.requires_grad:
            expect.gradient(parameter.grad, f"parameter {name}")
    for what, side in (("image", images), ("caption", texts)):
        gradient = expect.gradient(side.features.grad, f"the {what} features")
        expect.that(
            bool(gradient.any()),
            f"expected a gradient for the {what} features, found 0 everywhere: nothing would train their encoder",
        )


def state_dict(subject: Subject) -> None:
    """A fresh scorer with the same state dict gives the same scores."""
    first, second, sides = subject.ready(seed=0), subject.ready(seed=1), inputs.random_sides()
    second.load_state_dict(first.state_dict())
    expect.same(scored(second, sides), scored(first, sides), "a fresh scorer with the same state dict")


def levels(subject: Subject) -> None:
    """The levels that a scorer offers add up to its score, and asking for them changes nothing."""
    scorer = subject.ready()
    with evaluating(scorer):
        images, texts = prepared(scorer, inputs.random_sides())
        score = scorer.score(images, texts)
        alone = scorer.score_levels()
        parts = {name: level.scorer.score(images, texts) for name, level in alone.items()}
        again = scorer.score(images, texts)
    if not parts:
        return
    for name, part in parts.items():
        expect.shape(part, (IMAGES, TEXTS))
        expect.finite(part, f"scores of level '{name}'")
        expect.same(similarity_matrix(alone[name].scorer, images, texts), part, f"level '{name}' by the engine")
    total = torch.stack([alone[name].weight * part for name, part in parts.items()]).sum(0)
    expect.same(total, score, f"the weighted sum of the levels {', '.join(parts)}")
    expect.same(again, score, "scores after the levels were asked for")


def readings(subject: Subject) -> None:
    """Readings are those that the class declares, one row per item, and do not depend on padding."""
    scorer, (images, texts) = subject.ready(), inputs.random_sides()
    with evaluating(scorer):
        found = _readings(scorer, (images, texts))
        padded = _readings(scorer, (inputs.padded(images, 4), inputs.padded(texts, 4)))
    declared = sorted(scorer.readings)
    expect.that(sorted(found) == declared, f"expected the declared readings {declared}, found {sorted(found)}")
    for name, values in found.items():
        items = IMAGES if scorer.readings[name].each in ("image", "patch", "region") else TEXTS
        per_item = values.is_floating_point() and values.ndim in (1, 2) and len(values) == items
        expect.that(per_item, f"expected {items} rows of reading '{name}', found {values.dtype} {tuple(values.shape)}")
        real, longer = (v[~v.isnan()] for v in (values, padded[name]))
        expect.finite(real, f"reading '{name}'")
        expect.that(
            real.shape == longer.shape and torch.allclose(real, longer, atol=expect.TOLERANCE, rtol=1e-4),
            f"expected reading '{name}' not to depend on padding, found {len(real)} values and then {len(longer)}, or "
            "others",
        )


def _readings(scorer: Scorer, sides: Sides) -> dict[str, Tensor]:
    images, texts = prepared(scorer, sides)
    return {**scorer.image_readings(images), **scorer.text_readings(texts)}


#: By name, simple ones first.
RULES: dict[str, Callable[[Subject], None]] = {
    rule.__name__: rule
    for rule in (
        shape,
        finite,
        not_constant,
        single,
        deterministic,
        inputs_kept,
        padding,
        other_items,
        permutation,
        blocks,
        prepared_once,
        batches,
        gradients,
        state_dict,
        levels,
        readings,
        alignment,
    )
}
