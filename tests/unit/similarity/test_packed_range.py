"""Packed and plain scores over everything that a config admits, against the plain `score` in float64.

Directions are drawn so that a cosine with what was attended to does not cancel (then any rounding decides), apart from the
cases that are worked by hand; lengths reach from 0 to a million.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.fragments import Fragments
from harness.registry import create
from harness.scoring import similarity_matrix

LENGTHS = st.sampled_from([0.0, 1e-12, 1e-8, 1e-4, 1.0, 1e3, 1e6])
SCAN = st.fixed_dictionaries(
    {
        "direction": st.sampled_from(["t2i", "i2t", "both"]),
        "attention_norm": st.sampled_from(
            ["clipped_l2norm", "l2norm", "clipped_l1norm", "l1norm", "softmax", "clipped", "none"]
        ),
        "pooling": st.sampled_from(["lse", "mean", "max", "sum"]),
        "inverse_temperature": st.sampled_from([1e-3, 1.0, 9.0, 10.0, 10.5, 19.0, 20.0, 50.0, 1e3, 1e6]),
        "lse_scale": st.sampled_from([0.1, 6.0, 100.0]),
    }
)
CHAN = st.fixed_dictionaries(
    {
        "coding": st.sampled_from(["vha", "tha"]),
        "pooling": st.sampled_from(["lse", "mean", "sum", "max", "softmax"]),
        "temperature": st.sampled_from([1e-3, 0.02, 0.1, 1.0, 100.0]),
    }
)
GRM = st.fixed_dictionaries(
    {
        "significance": st.sampled_from(["soft", "hard", "off"]),
        "granularity": st.sampled_from(["soft", "hard", "off"]),
        "regions": st.sampled_from([0, 2]),
        "leaky_slope": st.sampled_from([0.0, 0.1]),
        "weight_salient": st.sampled_from([0.0, 1.0]),
    }
)
OTHERS = st.sampled_from(
    [
        *(("late_interaction", {"combination": c}) for c in ("mean", "sum", "t2i", "i2t")),
        ("laps", {}),
        ("vsepp", {}),
        ("vse_infinity", {}),
    ]
)
CONFIGS = st.one_of(
    SCAN.map(lambda config: ("scan", config)),
    CHAN.map(lambda config: ("chan", config)),
    GRM.map(lambda config: ("grm", config)),
    OTHERS,
)


def directions(generator: torch.Generator, items: int, longest: int, width: int, centre: torch.Tensor) -> torch.Tensor:
    """Unit vectors within 60 degrees or so of a common one, or of its opposite, half of the items each."""
    vectors = torch.nn.functional.normalize(torch.randn(items, longest, width, generator=generator), dim=-1)
    vectors = torch.nn.functional.normalize(0.6 * vectors + centre, dim=-1)
    sign = torch.where(torch.rand(items, 1, 1, generator=generator) < 0.5, 1.0, -1.0)
    return vectors * sign


@st.composite
def sides(draw: st.DrawFn, lengths: st.SearchStrategy[float]) -> tuple[Fragments, Fragments]:
    """Images and captions in float64: ragged, of one length for each item, one and many fragments, width 1 and more."""
    width, generator = draw(st.sampled_from([1, 2, 8, 33])), torch.Generator().manual_seed(draw(st.integers(0, 999)))
    centre = torch.nn.functional.normalize(torch.randn(width, generator=generator), dim=0)
    found = []
    for most_items, most_fragments in ((4, 7), (6, 5)):
        items, longest = draw(st.integers(1, most_items)), draw(st.integers(1, most_fragments))
        features = directions(generator, items, longest, width, centre).double()
        scale = torch.tensor(draw(st.lists(lengths, min_size=items, max_size=items))).double()
        real = torch.randint(1, longest + 1, (items,), generator=generator)
        found.append(Fragments(features * scale[:, None, None], torch.arange(longest) < real[:, None]))
    return found[0], found[1]


def sharpness(name: str, config: dict) -> float:
    """How much a score may grow with an error of a token similarity: by the attention's and the pooling's exponents."""
    if name == "scan":
        return 1 + config["inverse_temperature"]
    return max(1.0, 1 / config["temperature"]) if config.get("pooling") in ("lse", "softmax") else 1.0


def assert_close(got: torch.Tensor, oracle: torch.Tensor, tolerance: float) -> None:
    """Relative to the largest score, or to 1 where that is smaller."""
    error = float((got.double() - oracle).abs().max()) / max(1.0, float(oracle.abs().max()))
    assert error <= tolerance, error


@settings(max_examples=150, deadline=None)
@given(sides(LENGTHS), CONFIGS)
def test_float64_fragments(pair, choice):
    """The packed engine computes in float64, so that nothing but the float32 of the result is lost."""
    name, config = choice
    images, texts = pair
    torch.manual_seed(0)
    scorer = create(name, **config).eval()
    with torch.no_grad():
        scorer.score(images.to(torch.float32), texts.to(torch.float32))  # builds what waits for its width
        scorer = scorer.double()
        oracle = scorer.score(images, texts)
    assert oracle.dtype == torch.float64
    assert_close(similarity_matrix(scorer, images, texts), oracle, 3e-7)


@settings(max_examples=150, deadline=None)
@given(sides(st.sampled_from([0.0, 1.0])), st.one_of(SCAN.map(lambda c: ("scan", c)), CHAN.map(lambda c: ("chan", c))))
def test_float32_fragments_of_unit_length(pair, choice):
    """Tolerance: float32's rounding of a similarity (1e-6) times the sharpness; sharper configs are left to float64."""
    name, config = choice
    assume(sharpness(name, config) <= 2e3)
    images, texts = (side.to(torch.float32) for side in pair)
    scorer = create(name, **config)
    oracle = scorer.score(images.to(torch.float64), texts.to(torch.float64))
    tolerance = 2e-6 * sharpness(name, config)
    assert_close(scorer.score(images, texts), oracle, tolerance)
    assert_close(similarity_matrix(scorer, images, texts), oracle, tolerance)


def one(*fragments: tuple[float, ...]) -> Fragments:
    return Fragments(torch.tensor([fragments]), torch.ones(1, len(fragments), dtype=torch.bool))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [1.0, 9.0, 19.0, 20.0, 21.0, 100.0, 1e4])
@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_worked_cosines(direction, temperature, dtype):
    """One region and one word: attention has nothing to choose, so the score is their cosine, whatever the temperature."""
    scorer = create("scan", direction=direction, inverse_temperature=temperature, pooling="mean")
    for region, word, cosine in (
        ((1.0, 0.0), (-0.6, 0.8), -0.6),
        ((1.0, 0.0), (-1.0, 0.0), -1.0),
        ((1e-3, 0.0), (-0.6e-3, 0.8e-3), -0.6),
        ((1e4, 0.0), (-0.6e4, 0.8e4), -0.6),
        ((0.0, 0.0), (1.0, 0.0), 0.0),
        ((3e-9, 0.0), (-1.0, 0.0), -0.3),  # the smallest product of norms that is divided by is 1e-8
    ):
        scores = similarity_matrix(scorer, one(region).to(dtype), one(word).to(dtype))
        assert float(scores) == pytest.approx(cosine, abs=2e-6), (region, word)


def test_opposite_regions_at_a_sharp_temperature():
    """Words of one caption see v and -v; the attention takes the nearer one: cosines 0.6 and 0.8 of either sign."""
    scorer = create("scan", inverse_temperature=50.0, attention_norm="none", pooling="mean")
    scores = similarity_matrix(scorer, one((1.0, 0.0), (-1.0, 0.0)), one((0.6, 0.8), (-0.8, 0.6)))
    assert float(scores) == pytest.approx((0.6 + 0.8) / 2, abs=1e-6)


def test_a_weak_context_is_not_clamped():
    """e^-20 of the weights' sum below 1e-8: three regions that all oppose the word."""
    scorer = create("scan", inverse_temperature=20.0, pooling="mean")
    regions, word = one((-1.0, 0.0), (-0.8, 0.6), (-0.8, -0.6)), one((1.0, 0.0))
    weights = [math.exp(-20.0)] * 3  # one word: the norm over words leaves the sign alone, for all three
    attended = (sum(w * v for w, v in zip(weights, (-1, -0.8, -0.8), strict=True)), 0.0)
    assert float(similarity_matrix(scorer, regions, word)) == pytest.approx(attended[0] / abs(attended[0]), abs=1e-6)
