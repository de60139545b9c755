"""The contract that every scorer keeps, as checks that need no test framework: `itm check` and the tests run them.

The checks score random fragments: unit vectors, ragged masks with holes, I = 5 images, T = 6 captions, D = 32. They
take a scorer as a factory, since some build parameters when they first see fragments and some checks need two alike.
Weights are moved off their initial values first, because a gate that starts at zero would hide what lies behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from harness import registry
from harness.errors import ItmError
from harness.fragments import Fragments
from harness.scorer import Scorer
from harness.scoring import evaluating, similarity_matrix

ScorerFactory = Callable[[], Scorer]

IMAGES, REGIONS = 5, 7
TEXTS, WORDS = 6, 5
WIDTH = 32
#: Largest difference between scores that should agree, in units of the largest score.
TOLERANCE = 1e-5
#: (images, captions) a block.
BLOCKS = ((1, 1), (2, 4), (IMAGES, 1), (3, TEXTS))


class Violation(Exception):
    """A rule that a scorer breaks: what was expected and what was found."""


@dataclass(frozen=True)
class Check:
    """One rule.

    Args:
        name: short, for a table.
        description: the rule as a sentence.
        run: raises `Violation` (or whatever the scorer raises) if the factory's scorer breaks it.
    """

    name: str
    description: str
    run: Callable[[ScorerFactory], None]


@dataclass(frozen=True)
class CheckResult:
    """What became of one check.

    Args:
        name: of the check.
        passed: whether the rule is kept.
        detail: what was expected and what was found; empty if the rule is kept.
    """

    name: str
    passed: bool
    detail: str = ""


def subjects() -> list[str]:
    """All registered scorers, each followed by its variants: `scan`, `scan.t2i_avg`, ..."""
    found = []
    for name in registry.names():
        found.append(name)
        try:
            found.extend(f"{name}.{variant}" for variant in registry.variants(name))
        except ItmError:
            continue  # it cannot be loaded; its own checks will say why
    return found


def run_contract(name: str) -> list[CheckResult]:
    """Check a registered scorer or one of its variants.

    Args:
        name: `scan`, `scan.t2i_avg`.

    Returns:
        One result a check, in the order of `checks()`.

    Raises:
        UnknownName: no such scorer or variant.
        InvalidPlugin: its module cannot be imported or defines no scorer.
        InvalidSpec: its config is not valid.
    """
    registry.resolve_config(name, {})
    return run_checks(lambda: registry.create(name))


def run_checks(make: ScorerFactory) -> list[CheckResult]:
    """Check the scorer that a factory makes; as `run_contract`."""
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # a scorer that is random when it should not be is then found out every time, or never
        return [_outcome(check, make) for check in checks()]


def checks() -> list[Check]:
    """The rules, simple ones first."""
    return [
        Check("shape", "score returns a floating-point (I, T) tensor", _shape),
        Check("finite", "scores are finite, on opposed and on repeated fragments too", _finite),
        Check("not_constant", "scores differ between images and between captions", _not_constant),
        Check("single", "one image and one caption of one fragment each can be scored", _single),
        Check("deterministic", "evaluation twice gives the same bits", _deterministic),
        Check("inputs_kept", "preparing, scoring and training do not change their inputs", _inputs_kept),
        Check("padding", "scores do not depend on how long the padding is, nor on what lies in it", _padding),
        Check("other_items", "a score does not depend on the other items in the block", _other_items),
        Check("permutation", "permuted items give permuted scores", _permutation),
        Check("blocks", "scores do not depend on the block size", _blocks),
        Check("prepared_once", "preparing prepared fragments changes nothing", _prepared_once),
        Check("batches", "fragments prepared in batches of different lengths score as those of one batch", _batches),
        Check(
            "gradients", "losses are finite scalars; every parameter and both inputs get finite gradients", _gradients
        ),
        Check("state_dict", "a fresh scorer with the same state dict gives the same scores", _state_dict),
    ]


def random_fragments(items: int, longest: int, seed: int, width: int = WIDTH) -> Fragments:
    """Unit vectors with ragged masks: the first item is full, the second has a hole, the last is a single fragment."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.linspace(longest, 1, items).round().long()
    mask = torch.arange(longest)[None, :] < lengths[:, None]
    mask[1, 1] = False
    features = F.normalize(torch.randn(items, longest, width, generator=generator), dim=-1)
    return Fragments(features * mask[..., None], mask)


def opposed_fragments() -> tuple[Fragments, Fragments]:
    """Images and captions whose every cosine is near -1: a padding value that counts as 0 would win every maximum."""
    images, texts = _default_fragments()
    axis = F.normalize(torch.ones(WIDTH), dim=0)
    images = replace(images, features=(axis + 0.3 * images.features) * images.mask[..., None])
    texts = replace(texts, features=(-axis + 0.3 * texts.features) * texts.mask[..., None])
    return images.normalized(), texts.normalized()


def _default_fragments() -> tuple[Fragments, Fragments]:
    return random_fragments(IMAGES, REGIONS, seed=1), random_fragments(TEXTS, WORDS, seed=2)


# The rules ----------------------------------------------------------------------------------------------------------


def _shape(make: ScorerFactory) -> None:
    scores = _score(_ready(make), *_default_fragments())
    _require(isinstance(scores, Tensor), f"expected a tensor, found {type(scores).__name__}")
    _require(scores.is_floating_point(), f"expected floating-point scores, found {scores.dtype}")
    _require_shape(scores, (IMAGES, TEXTS))


def _finite(make: ScorerFactory) -> None:
    scorer = _ready(make)
    images, texts = _default_fragments()
    repeated = replace(images, features=images.features[:, :1].expand_as(images.features))
    for what, sides in {
        "random": (images, texts),
        "opposed": opposed_fragments(),
        "repeated": (repeated, texts),
    }.items():
        _require_finite(_score(scorer, *sides), f"scores of {what} fragments")


def _not_constant(make: ScorerFactory) -> None:
    scores = _score(_ready(make), *_default_fragments())
    least = TOLERANCE * _scale(scores)
    for dim, what in ((0, "images"), (1, "captions")):
        spread = (scores.amax(dim) - scores.amin(dim)).max().item()
        _require(
            spread > least, f"expected scores that differ between {what}, found a largest difference of {spread:.3g}"
        )


def _single(make: ScorerFactory) -> None:
    scorer = _ready(make)
    images, texts = random_fragments(2, 3, seed=3), random_fragments(2, 3, seed=4)
    one_image = Fragments(images.features[:1, :1], images.mask[:1, :1])
    one_text = Fragments(texts.features[:1, :1], texts.mask[:1, :1])
    scores = _score(scorer, one_image, one_text)
    _require_shape(scores, (1, 1))
    _require_finite(scores, "the score of one fragment with one")


def _deterministic(make: ScorerFactory) -> None:
    scorer, sides = _ready(make), _default_fragments()
    first, second = _score(scorer, *sides), _score(scorer, *sides)
    difference = (first - second).abs().max().item()
    _require(torch.equal(first, second), f"expected equal bits, found scores that differ by {difference:.3g}")


def _inputs_kept(make: ScorerFactory) -> None:
    scorer = _ready(make)
    images, texts = _default_fragments()
    with _watched("prepare_images and prepare_texts", images, texts), evaluating(scorer):
        prepared = _prepare(scorer, images, texts)
    with _watched("score", *prepared), evaluating(scorer):
        scorer.score(*prepared)
    pairs = _prepare(scorer.train(), *_pairs(images, texts))
    with _watched("losses", *pairs):
        scorer.losses(*pairs, _pair_ids())


def _padding(make: ScorerFactory) -> None:
    scorer = _ready(make)
    for what, (images, texts) in {"random": _default_fragments(), "opposed": opposed_fragments()}.items():
        expected = _score(scorer, images, texts)
        for side, sides in {
            "images": (_padded(images, 4), texts),
            "captions": (images, _padded(texts, 4)),
        }.items():
            _same(_score(scorer, *sides), expected, f"{what} {side} padded with 4 positions of arbitrary values")


def _other_items(make: ScorerFactory) -> None:
    scorer = _ready(make)
    images, texts = _default_fragments()
    together = _score(scorer, images, texts)
    for dim, what in ((0, "an image"), (1, "a caption")):
        parts = [
            _score(scorer, images[i : i + 1], texts) if dim == 0 else _score(scorer, images, texts[i : i + 1])
            for i in range(together.shape[dim])
        ]
        _same(torch.cat(parts, dim), together, f"{what} scored without the others")


def _permutation(make: ScorerFactory) -> None:
    scorer = _ready(make)
    images, texts = _default_fragments()
    rows, columns = torch.tensor([3, 0, 4, 2, 1]), torch.tensor([5, 2, 0, 4, 1, 3])
    expected = _score(scorer, images, texts)[rows][:, columns]
    _same(_score(scorer, images[rows], texts[columns]), expected, "permuted images and captions")


def _blocks(make: ScorerFactory) -> None:
    scorer = _ready(make)
    with evaluating(scorer):
        images, texts = _prepare(scorer, *_default_fragments())
        expected = scorer.score(images, texts)
        for rows, columns in BLOCKS:  # the engine itself asks for no block as small as these
            strips = [images[first : first + rows] for first in range(0, len(images), rows)]
            parts = [texts[first : first + columns] for first in range(0, len(texts), columns)]
            direct = torch.cat([torch.cat([scorer.score(strip, part) for part in parts], 1) for strip in strips])
            _same(direct, expected, f"blocks of {rows} images x {columns} captions")
    for rows, columns in BLOCKS:
        got = similarity_matrix(scorer, images, texts, image_block=rows, text_block=columns)
        _same(got, expected, f"blocks of {rows} images x {columns} captions by the engine")


def _prepared_once(make: ScorerFactory) -> None:
    scorer = _ready(make)
    with evaluating(scorer):
        once = _prepare(scorer, *_default_fragments())
        twice = _prepare(scorer, *once)
    for what, first, second in zip(("prepare_images", "prepare_texts"), once, twice, strict=True):
        _same_fragments(second, first, f"{what} of what {what} returned")


def _batches(make: ScorerFactory) -> None:
    """As evaluation does: each batch is as long as its longest item, and the batches are concatenated."""
    scorer = _ready(make)
    images, texts = _default_fragments()
    expected = _score(scorer, images, texts)
    with evaluating(scorer):
        parts = [
            _prepare(scorer, images[rows].trimmed(), texts[columns].trimmed())
            for rows, columns in ((slice(0, 2), slice(0, 3)), (slice(2, None), slice(3, None)))
        ]
        joined = [Fragments.cat(side) for side in zip(*parts, strict=True)]
        _same(scorer.score(*joined), expected, "fragments prepared in two batches and concatenated")


def _gradients(make: ScorerFactory) -> None:
    scorer = _ready(make).train()
    sides = [replace(side, features=side.features.clone().requires_grad_()) for side in _pairs(*_default_fragments())]
    losses = scorer.losses(*_prepare(scorer, *sides), _pair_ids())
    for name, value in losses.items():
        _require(value.ndim == 0, f"expected loss '{name}' to be a scalar, found shape {tuple(value.shape)}")
        _require_finite(value, f"loss '{name}'")
    total = torch.stack(list(losses.values())).sum()
    _require(total.requires_grad, "expected losses that depend on the fragments, found a constant")
    total.backward()
    for name, parameter in scorer.named_parameters():
        if parameter.requires_grad:
            _require_gradient(parameter.grad, f"parameter {name}")
    for what, side in zip(("image", "caption"), sides, strict=True):
        gradient = _require_gradient(side.features.grad, f"the {what} features")
        _require(
            bool(gradient.any()),
            f"expected a gradient for the {what} features, found 0 everywhere: nothing would train their encoder",
        )


def _state_dict(make: ScorerFactory) -> None:
    first, second, sides = _ready(make, seed=0), _ready(make, seed=1), _default_fragments()
    second.load_state_dict(first.state_dict())
    _same(_score(second, *sides), _score(first, *sides), "a fresh scorer with the same state dict")


# What they share ----------------------------------------------------------------------------------------------------


@contextmanager
def _one_thread() -> Iterator[None]:
    """The tensors are tiny: on a busy machine threads that wait for each other make the checks eight times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _outcome(check: Check, make: ScorerFactory) -> CheckResult:
    try:
        check.run(make)
    except Violation as violation:
        return CheckResult(check.name, False, str(violation))
    except Exception as error:  # whatever the scorer raises is its failure
        return CheckResult(check.name, False, f"raised {type(error).__name__}: {' '.join(str(error).split())}")
    return CheckResult(check.name, True)


def _ready(make: ScorerFactory, seed: int = 0) -> Scorer:
    """A scorer in evaluation mode, with all of its parameters made and moved off their initial values."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        scorer = make()
        scorer.eval()
        _score(scorer, *_default_fragments())
        with torch.no_grad():
            for parameter in scorer.parameters():
                spread = 0.05 * max(parameter.square().mean().sqrt().item(), 0.1)
                parameter.add_(spread * torch.randn_like(parameter))
    return scorer


def _prepare(scorer: Scorer, images: Fragments, texts: Fragments) -> tuple[Fragments, Fragments]:
    return scorer.prepare_images(images), scorer.prepare_texts(texts)


def _score(scorer: Scorer, images: Fragments, texts: Fragments) -> Tensor:
    with evaluating(scorer):
        return scorer.score(*_prepare(scorer, images, texts))


def _pairs(images: Fragments, texts: Fragments) -> tuple[Fragments, Fragments]:
    """A training batch; its last two pairs are two captions of one image."""
    return images[[0, 1, 2, 3, 3]], texts[[0, 1, 2, 3, 4]]


def _pair_ids() -> Tensor:
    return torch.tensor([0, 1, 2, 3, 3])


def _padded(fragments: Fragments, positions: int) -> Fragments:
    """More padding, and large values at every padded position."""
    generator = torch.Generator().manual_seed(5)
    features = F.pad(fragments.features, (0, 0, 0, positions))
    mask = F.pad(fragments.mask, (0, positions))
    garbage = 10 * torch.randn(features.shape, generator=generator)
    return Fragments(torch.where(mask[..., None], features, garbage), mask)


class _watched:
    """Raises a `Violation` if the block changed the given fragments."""

    def __init__(self, what: str, *fragments: Fragments):
        self.what, self.fragments = what, fragments

    def __enter__(self) -> None:
        self.before = [[tensor.clone() for tensor in _tensors(f)] for f in self.fragments]

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            return
        for side, fragments, before in zip(("images", "captions"), self.fragments, self.before, strict=True):
            for name, now, then in zip(
                ("features", "mask", *fragments.extras), _tensors(fragments), before, strict=True
            ):
                _require(
                    torch.equal(now, then),
                    f"expected {self.what} to leave its inputs alone, found changed {name} of the {side}",
                )


def _tensors(fragments: Fragments) -> list[Tensor]:
    return [fragments.features, fragments.mask, *fragments.extras.values()]


def _require(kept: bool, otherwise: str) -> None:
    if not kept:
        raise Violation(otherwise)


def _require_shape(scores: Tensor, expected: tuple[int, int]) -> None:
    _require(tuple(scores.shape) == expected, f"expected shape (I, T) = {expected}, found {tuple(scores.shape)}")


def _require_finite(values: Tensor, what: str) -> None:
    bad = (~torch.isfinite(values)).nonzero()
    if len(bad):
        first = values[tuple(bad[0])].item()
        where = f", {first} at {bad[0].tolist()}" if values.ndim else ""
        raise Violation(f"expected {what} to be finite, found {len(bad)} of {values.numel()} that are not{where}")


def _require_gradient(gradient: Tensor | None, what: str) -> Tensor:
    if gradient is None:
        raise Violation(f"expected a gradient for {what}, found none: no loss depends on it")
    _require_finite(gradient, f"the gradient for {what}")
    return gradient


def _scale(scores: Tensor) -> float:
    return max(scores.abs().max().item(), torch.finfo(torch.float32).tiny)


def _same(got: Tensor, expected: Tensor, what: str) -> None:
    """Both within `TOLERANCE` of each other, in units of the largest score."""
    _require(
        got.shape == expected.shape,
        f"{what}: expected scores of shape {tuple(expected.shape)}, found {tuple(got.shape)}",
    )
    difference = (got - expected).abs()
    worst = int(difference.nan_to_num(nan=float("inf")).argmax())
    row, column = divmod(worst, expected.shape[1])
    allowed = TOLERANCE * _scale(expected)
    _require(
        difference.flatten()[worst].item() <= allowed,
        f"{what}: expected {expected[row, column].item():.7g} for image {row} and caption {column}, found "
        f"{got[row, column].item():.7g}; they may differ by {allowed:.2g}",
    )


def _same_fragments(got: Fragments, expected: Fragments, what: str) -> None:
    _require(
        list(got.extras) == list(expected.extras),
        f"{what}: expected extras {list(expected.extras)}, found {list(got.extras)}",
    )
    for name, now, then in zip(("features", "mask", *expected.extras), _tensors(got), _tensors(expected), strict=True):
        _require(
            now.shape == then.shape, f"{what}: expected {name} of shape {tuple(then.shape)}, found {tuple(now.shape)}"
        )
        # an infinity, a mask for a softmax say, equals itself
        difference = torch.where(now == then, 0.0, (now.double() - then.double()).abs()).amax().item()
        scale = then.double().nan_to_num(posinf=0, neginf=0).abs().amax().item()
        _require(
            difference <= TOLERANCE * max(1.0, scale),
            f"{what}: expected the same {name}, found values that differ by {difference:.3g}",
        )
