"""The rules of backbones, image and text: what scorers and the feature store rely on.

Shape letters: N items, F fragments, D width, S side in pixels, W tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from harness.backbones.base import Encoder, ImageEncoder, TextEncoder
from harness.conformance import expect, inputs
from harness.fragments import Fragments, Tokens

#: Width of the region features that image backbones are asked about, and the captions of text backbones.
REGION_WIDTH = inputs.WIDTH
CAPTIONS = (
    "a dog runs",
    "two red birds sit on a small wet branch",
    "a man with a hat reads a long newspaper on a bench in the park",
    "rain",
    "a red dog and a small man",
)


@dataclass(frozen=True)
class Subject:
    """A backbone under examination.

    Args:
        side: which kind it is.
        make: builds an encoder, as for training.
        again: builds one for the weights of another, which is given.
    """

    side: Literal["image", "text"]
    make: Callable[[], Any]
    again: Callable[[Any], Any]

    def ready(self, seed: int = 0) -> Any:
        """An encoder in evaluation mode whose parameters are moved off their initial values."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _moved(self.make())

    def batch(self, encoder: Any) -> Any:
        """Five items as the encoder takes them."""
        if isinstance(encoder, TextEncoder):
            return encoder.tokenizer(CAPTIONS)
        if encoder.input == "regions":
            return inputs.random_fragments(5, inputs.REGIONS, seed=1)
        generator, side = torch.Generator().manual_seed(1), encoder.image_size
        return torch.randint(0, 256, (5, 3, side, side), dtype=torch.uint8, generator=generator)


def declared(subject: Subject) -> None:
    """`width` is a positive number; an image encoder says what it takes: pixels of `image_size`, or regions."""
    encoder = subject.ready()
    width = getattr(encoder, "width", None)
    expect.that(isinstance(width, int) and width > 0, f"expected width as a positive whole number, found {width!r:.40}")
    if isinstance(encoder, ImageEncoder):
        expect.that(
            encoder.input in ("pixels", "regions"), f"expected input pixels or regions, found {encoder.input!r:.40}"
        )
        taken = "image_size" if encoder.input == "pixels" else "input_width"
        size = getattr(encoder, taken)
        expect.that(
            isinstance(size, int) and size > 0, f"expected {taken} as a positive whole number, found {size!r:.40}"
        )
        if encoder.input == "regions":
            expect.that(size == REGION_WIDTH, f"expected input_width {REGION_WIDTH}, that of the data, found {size}")


def tokenizer(subject: Subject) -> None:
    """A tokenizer gives int64 ids with real tokens first, at least one per caption, of known words or not."""
    if subject.side != "text":
        return
    found = subject.ready().tokenizer
    tokens, again = found([*CAPTIONS, "zyx qwv"]), found([*CAPTIONS, "zyx qwv"])
    expect.that(isinstance(tokens, Tokens), f"expected Tokens, found {type(tokens).__name__}")
    expect.that(tokens.ids.dtype == torch.int64, f"expected ids of int64, found {tokens.ids.dtype}")
    expect.that(torch.equal(tokens.ids, again.ids), "expected the same ids for the same captions, found others")
    first = torch.arange(tokens.mask.shape[1]) < tokens.lengths[:, None]
    expect.that(torch.equal(tokens.mask, first), "expected real tokens first, then padding; found a hole in the mask")
    expect.that(
        bool((tokens.lengths > 0).all()), "expected at least one token per caption, found a caption without any"
    )
    real = tokens.ids[tokens.mask]
    inside = bool(((real >= 0) & (real < found.vocabulary_size)).all())
    expect.that(
        inside, f"expected ids from 0 to {found.vocabulary_size - 1}, found {int(real.min())} to {int(real.max())}"
    )


def shape(subject: Subject) -> None:
    """`forward` returns finite floating-point fragments (N, F, `width`), at least one per item."""
    encoder = subject.ready()
    found = _encoded(encoder, subject.batch(encoder))
    expect.that(isinstance(found, Fragments), f"expected Fragments, found {type(found).__name__}")
    expected, came = (5, encoder.width), (len(found), found.width)
    expect.that(
        came == expected, f"expected {expected[0]} items of width {expected[1]}, found {came[0]} of width {came[1]}"
    )
    expect.that(found.features.is_floating_point(), f"expected floating-point features, found {found.features.dtype}")
    expect.finite(found.features, "features")
    expect.that(bool(found.mask.any(1).all()), "expected a real fragment per item, found an item without any")


def not_constant(subject: Subject) -> None:
    """Different items get different fragments."""
    encoder = subject.ready()
    found = _encoded(encoder, subject.batch(encoder))
    means = torch.stack([item.mean(0) for item in _items(found)])
    spread = (means.amax(0) - means.amin(0)).max().item()
    expect.that(
        spread > 1e-6, f"expected fragments that differ between items, found a largest difference of {spread:.3g}"
    )


def deterministic(subject: Subject) -> None:
    """Evaluation twice gives the same bits."""
    encoder = subject.ready()
    batch = subject.batch(encoder)
    first, second = _encoded(encoder, batch), _encoded(encoder, batch)
    expect.that(torch.equal(first.features, second.features), "expected equal bits from a second call, found others")


def inputs_kept(subject: Subject) -> None:
    """Encoding and training leave the batch as it is."""
    encoder = subject.ready()
    batch = subject.batch(encoder)
    before = [tensor.clone() for tensor in _tensors(batch)]
    _encoded(encoder, batch)
    encoder.train()(batch)
    same = all(torch.equal(now, then) for now, then in zip(_tensors(batch), before, strict=True))
    expect.that(same, "expected the batch as it was after encoding, found a changed one")


def padding(subject: Subject) -> None:
    """Real fragments do not depend on how long the padding of a batch is, nor on what lies in it; padding stays padding."""
    encoder = subject.ready()
    batch = subject.batch(encoder)
    if isinstance(batch, Tensor):
        return
    longer: Any = inputs.padded(batch, 4) if isinstance(batch, Fragments) else _longer(batch, encoder.tokenizer)
    _same(_encoded(encoder, longer), _encoded(encoder, batch), "a batch padded with 4 positions of arbitrary values")


def other_items(subject: Subject) -> None:
    """An item's fragments do not depend on the other items of the batch, nor on its place among them."""
    encoder = subject.ready()
    batch = subject.batch(encoder)
    together = _encoded(encoder, batch)
    for number in range(5):
        rows = torch.tensor([number])
        _same(_encoded(encoder, batch[rows]), together[rows], "an item encoded without the others")
    backwards = torch.arange(4, -1, -1)
    _same(_encoded(encoder, batch[backwards]), together[backwards], "a batch in the opposite order")


def gradients(subject: Subject) -> None:
    """Every trainable parameter gets a finite gradient."""
    encoder = subject.ready().train()
    found = encoder(subject.batch(encoder))
    weights = torch.randn(found.features.shape, generator=torch.Generator().manual_seed(2))
    (found.features * weights * found.mask[..., None]).sum().backward()
    for name, parameter in encoder.named_parameters():
        if parameter.requires_grad:
            expect.gradient(parameter.grad, f"parameter {name}")


def state_dict(subject: Subject) -> None:
    """An encoder that is built anew for saved weights gives the same fragments; a tokenizer's state is JSON."""
    first = subject.ready()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)  # what is not in the state dict then differs
        second = subject.again(first)
    second.load_state_dict(first.state_dict())
    second.eval()
    expect.that(
        second.width == first.width, f"expected width {first.width} of the encoder built anew, found {second.width}"
    )
    _same(
        _encoded(second, subject.batch(second)),
        _encoded(first, subject.batch(first)),
        "an encoder built anew with the same state dict",
    )


def tower(subject: Subject) -> None:
    """With a tower, `forward` of what `raw` makes is `forward` of the batch, and `raw` has the width `raw_width`."""
    encoder = subject.ready()
    if not type(encoder).has_tower():
        return
    batch = subject.batch(encoder)
    with torch.no_grad():
        raw = encoder.raw(batch)
    expect.that(raw.width == encoder.raw_width, f"expected raw_width {encoder.raw_width}, found outputs of {raw.width}")
    _same(_encoded(encoder, raw), _encoded(encoder, batch), "the head on the tower's outputs")


def places(subject: Subject) -> None:
    """An image encoder that says where its fragments lie says it of each."""
    encoder = subject.ready()
    if not isinstance(encoder, ImageEncoder) or encoder.input != "pixels":
        return
    boxes = encoder.places(64, 48)
    if boxes is not None:
        count = _encoded(encoder, subject.batch(encoder)).mask.shape[1]
        expect.that(len(boxes) == count, f"expected {count} places, one per fragment, found {len(boxes)}")


def _moved(encoder: Encoder) -> Encoder:
    encoder.eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            spread = 0.05 * max(parameter.square().mean().sqrt().item(), 0.1)
            parameter.add_(spread * torch.randn_like(parameter))
    return encoder


def _encoded(encoder: Encoder, batch: Any) -> Fragments:
    encoder.eval()
    with torch.no_grad():
        found: Fragments = encoder(batch)
    return found


def _longer(tokens: Tokens, tokenizer: Any) -> Tokens:
    """The same tokens with padding that holds real words."""
    words = torch.randint(0, tokenizer.vocabulary_size, (len(tokens), 4), generator=torch.Generator().manual_seed(5))
    ids = torch.where(tokens.mask, tokens.ids, words[:, :1])
    mask = torch.cat([tokens.mask, torch.zeros(len(tokens), 4, dtype=torch.bool)], 1)
    return replace(tokens, ids=torch.cat([ids, words], 1), mask=mask)


def _items(fragments: Fragments) -> list[Tensor]:
    """The real fragments of each item."""
    return [features[mask] for features, mask in zip(fragments.features, fragments.mask, strict=True)]


def _same(got: Fragments, expected: Fragments, what: str) -> None:
    """Real fragments of each item within the tolerance of each other."""
    for number, (now, then) in enumerate(zip(_items(got), _items(expected), strict=True)):
        expect.that(
            now.shape == then.shape,
            f"{what}: expected {len(then)} fragments of item {number}, found {len(now)}",
        )
        difference = (now - then).abs().max().item()
        allowed = 10 * expect.TOLERANCE * max(1.0, then.abs().max().item())
        expect.that(
            difference <= allowed,
            f"{what}: expected the same fragments of item {number}, found a largest difference of {difference:.3g}",
        )


def _tensors(batch: Any) -> list[Tensor]:
    if isinstance(batch, Tensor):
        return [batch]
    return [batch.features, batch.mask] if isinstance(batch, Fragments) else [batch.ids, batch.mask]


def json_round_trip(state: Any) -> Any:
    """A tokenizer's state as a saved model keeps it."""
    return json.loads(json.dumps(state))


#: By name, simple ones first.
RULES: dict[str, Callable[[Subject], None]] = {
    rule.__name__: rule
    for rule in (
        declared,
        tokenizer,
        shape,
        not_constant,
        deterministic,
        inputs_kept,
        padding,
        other_items,
        gradients,
        state_dict,
        tower,
        places,
    )
}
