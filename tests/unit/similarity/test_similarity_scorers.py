"""SCAN and CHAN, by `score` and by the packed engine, against the naive forms on random ragged input."""

from __future__ import annotations

import pytest
import similarity_oracle as oracle
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from similarity_cases import ragged, sides

from harness.registry import create
from harness.scoring import similarity_matrix

SCAN = st.fixed_dictionaries(
    {
        "direction": st.sampled_from(["t2i", "i2t", "both"]),
        "attention_norm": st.sampled_from(
            ["clipped_l2norm", "l2norm", "clipped_l1norm", "l1norm", "softmax", "clipped", "none"]
        ),
        "pooling": st.sampled_from(["lse", "mean", "max", "sum"]),
        "inverse_temperature": st.sampled_from([0.5, 4.0, 9.0, 60.0]),
        "lse_scale": st.sampled_from([1.0, 6.0]),
    }
)
CHAN = st.fixed_dictionaries(
    {
        "coding": st.sampled_from(["vha", "tha"]),
        "pooling": st.sampled_from(["lse", "mean", "sum", "max", "softmax"]),
        "temperature": st.sampled_from([0.1, 1.0]),
    }
)


def assert_both_routes(scorer, images, texts, expected, tolerance, **blocks):
    for scores in (scorer.score(images, texts), similarity_matrix(scorer, images, texts, **blocks)):
        assert scores.shape == expected.shape
        torch.testing.assert_close(scores.double(), expected, rtol=1e-5, atol=tolerance)


@settings(max_examples=40, deadline=None)
@given(sides(), CHAN, st.sampled_from([None, 1, 3]), st.sampled_from([None, 1, 2]))
def test_chan_is_the_naive_form(pair, config, image_block, text_block):
    images, texts = pair
    expected = oracle.every_pair(
        lambda image, text: oracle.chan_pair(image, text, config["coding"], config["pooling"], config["temperature"]),
        images,
        texts,
    )
    scorer = create("chan", **config)
    assert_both_routes(scorer, images, texts, expected, 5e-6, image_block=image_block, text_block=text_block)


@settings(max_examples=60, deadline=None)
@given(sides(), SCAN, st.sampled_from([None, 1, 3]), st.sampled_from([None, 1, 2]))
def test_scan_is_the_naive_form(pair, config, image_block, text_block):
    images, texts = pair
    values = (config[key] for key in ("direction", "attention_norm", "pooling", "inverse_temperature", "lse_scale"))
    arguments = tuple(values)
    expected = oracle.every_pair(lambda image, text: oracle.scan_pair(image, text, *arguments), images, texts)
    scorer = create("scan", **config)
    # A cosine with an attended vector that almost cancels amplifies rounding; random unit vectors of width 1 do so.
    tolerance = 2e-3 if images.width == 1 else 2e-5
    assert_both_routes(scorer, images, texts, expected, tolerance, image_block=image_block, text_block=text_block)


@pytest.mark.parametrize("name", ["scan", "chan"])
def test_realistic_input_is_exact(name):
    """At the sizes of real captions the largest error stays at float32 rounding."""
    images, texts = ragged(1, 12, 36, 256, junk=0.0), ragged(2, 20, 20, 256, junk=0.0)
    if name == "scan":
        pair = lambda image, text: oracle.scan_pair(image, text, "t2i", "clipped_l2norm", "mean", 9.0, 6.0)  # noqa: E731
    else:
        pair = lambda image, text: oracle.chan_pair(image, text, "vha", "mean", 0.1)  # noqa: E731
    expected = oracle.every_pair(pair, images, texts)
    scores = similarity_matrix(create(name, pooling="mean"), images, texts)
    assert float((scores.double() - expected).abs().max()) < 5e-7


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("name", "config"), [("chan", {"pooling": "mean"}), ("scan", {}), ("scan", {"direction": "i2t"})]
)
def test_reduced_precision_is_close(dtype, name, config):
    images, texts = ragged(3, 8, 12, 64), ragged(4, 16, 9, 64)
    scorer = create(name, **config)
    exact = similarity_matrix(scorer, images, texts)
    reduced = similarity_matrix(scorer, images, texts, dtype=dtype)
    assert reduced.dtype == torch.float32
    # Operands rounded to 8 (11) bits: relative errors of 2^-9 (2^-12) a factor, averaged over the width.
    tolerance = {torch.bfloat16: 2e-2, torch.float16: 2e-3}[dtype]
    error = float((exact - reduced).abs().max())
    assert 0 < error < tolerance


@pytest.mark.parametrize("name", ["scan", "chan"])
def test_equal_captions_tie_exactly(name):
    """Ties are counted, so that equal input must give bit-equal scores wherever the caption stands."""
    images, texts = ragged(5, 9, 6, 32), ragged(6, 10, 7, 32)
    twice = texts[[*range(10), *range(9, -1, -1)]]
    scores = similarity_matrix(create(name), images, twice)
    assert torch.equal(scores[:, :10], scores[:, 10:].flip(1))


@pytest.mark.parametrize("name", ["scan", "chan"])
def test_zero_vectors_score_finitely(name):
    images, texts = ragged(7, 3, 4, 8), ragged(8, 4, 5, 8)
    images.features[0] = 0
    texts.features[1] = 0
    for direction in ({"direction": "t2i"}, {"direction": "i2t"}) if name == "scan" else ({}, {"coding": "tha"}):
        scorer = create(name, pooling="mean", **direction)
        scores = similarity_matrix(scorer, images, texts)
        assert torch.equal(scores[0], torch.zeros(4))
        assert torch.equal(scores[:, 1], torch.zeros(3))
        torch.testing.assert_close(scorer.score(images, texts), scores, rtol=0, atol=1e-6)
