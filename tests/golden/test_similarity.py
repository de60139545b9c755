"""The scorers and losses against what the authors' code computes (tests/golden/README.md)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from harness.fragments import Fragments
from harness.losses import InfoNCE, TripletLoss
from harness.registry import create
from harness.scoring import similarity_matrix
from harness.similarity import Mean, max_sim

GOLDEN = np.load(Path(__file__).parent / "similarity.npz", allow_pickle=False)
SCAN_NORMS = {
    "clipped_l2norm": "clipped_l2norm",
    "l2norm": "l2norm",
    "softmax": "softmax",
    "clipped": "clipped",
    "no_norm": "none",
}
SCAN_POOLINGS = {"LogSumExp": "lse", "Mean": "mean", "Max": "max", "Sum": "sum"}


def golden(key: str) -> torch.Tensor:
    return torch.from_numpy(GOLDEN[key])


def prefix(lengths: torch.Tensor, longest: int) -> torch.Tensor:
    return torch.arange(longest)[None] < lengths[:, None]


def keys(group: str) -> list[str]:
    return [key for key in GOLDEN.files if key.startswith(group)]


@pytest.fixture(scope="module")
def texts() -> Fragments:
    features = golden("captions")
    return Fragments(features, prefix(golden("caption_lens"), features.shape[1]))


@pytest.fixture(scope="module")
def images() -> Fragments:
    features = golden("images")
    return Fragments(features, torch.ones(features.shape[:2], dtype=torch.bool))


@pytest.fixture(scope="module")
def ragged_images() -> Fragments:
    features = golden("images")
    return Fragments(features, prefix(golden("image_lens"), features.shape[1]))


def both_routes(scorer, images: Fragments, texts: Fragments) -> list[torch.Tensor]:
    """One `score` call, and the scoring engine."""
    return [scorer.score(images, texts), similarity_matrix(scorer, images, texts)]


@pytest.mark.parametrize("key", keys("scan/"))
def test_scan(key: str, images: Fragments, texts: Fragments):
    _, direction, norm, pooling = key.split("/")
    scorer = create("scan", direction=direction, attention_norm=SCAN_NORMS[norm], pooling=SCAN_POOLINGS[pooling])
    for scores in both_routes(scorer, images, texts):
        torch.testing.assert_close(scores, golden(key), rtol=0, atol=1e-5)


def test_scan_both_is_the_mean_of_the_directions(images: Fragments, texts: Fragments):
    expected = (golden("scan/t2i/clipped_l2norm/Mean") + golden("scan/i2t/clipped_l2norm/Mean")) / 2
    for scores in both_routes(create("scan", direction="both", pooling="mean"), images, texts):
        torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("key", keys("chan/"))
def test_chan(key: str, ragged_images: Fragments, texts: Fragments):
    _, coding, pooling = key.split("/")
    scorer = create("chan", coding=coding.lower(), pooling=pooling.lower())
    expected = golden(key)
    # The authors' softmax pooling multiplies a zero weight by the -inf of padding: NaN wherever there is padding.
    defined = ~torch.isnan(expected)
    assert bool(defined.all()) or pooling == "Softmax"
    assert int(defined.sum()) >= 10
    for scores in both_routes(scorer, ragged_images, texts):
        assert bool(torch.isfinite(scores).all())
        tolerance = 1e-4 if pooling in ("LSE", "Sum") else 1e-5
        torch.testing.assert_close(scores[defined], expected[defined], rtol=0, atol=tolerance)


@pytest.mark.parametrize("coding", ["vha", "tha"])
def test_chan_softmax_where_the_authors_code_is_undefined(coding: str, ragged_images: Fragments, texts: Fragments):
    scores = create("chan", coding=coding, pooling="softmax").score(ragged_images, texts)
    for i in range(len(ragged_images)):
        for t in range(len(texts)):
            table = ragged_images.features[i, ragged_images.mask[i]] @ texts.features[t, texts.mask[t]].T
            best = table.amax(0 if coding == "vha" else 1).double()
            expected = float((torch.softmax(best / 0.1, 0) * best).sum())
            assert float(scores[i, t]) == pytest.approx(expected, abs=1e-5)


def test_mean_of_maxima(images: Fragments, texts: Fragments):
    sides = (images.features, images.mask, texts.features, texts.mask)
    t2i = max_sim(*sides, direction="t2i", pooling=Mean())
    i2t = max_sim(*sides, direction="i2t", pooling=Mean())
    torch.testing.assert_close(t2i, golden("maxmean/t2i"), rtol=0, atol=1e-5)
    torch.testing.assert_close((t2i + i2t) / 2, golden("maxmean/bidirectional"), rtol=0, atol=1e-5)


def test_inputs_are_unit_vectors(images: Fragments, texts: Fragments):
    """Otherwise the scores above would not show that `score` takes the fragments as given."""
    for side in (images, texts):
        real = side.features[side.mask]
        torch.testing.assert_close(real, normalize(real, dim=-1), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("key", "negatives"), [("loss/triplet_sum", "all"), ("loss/triplet_hardest", "hardest")])
def test_triplet_loss(key: str, negatives):
    loss = TripletLoss(margin=0.2, negatives=negatives)(golden("loss/scores"), torch.arange(12))
    torch.testing.assert_close(loss, golden(key), rtol=1e-6, atol=1e-5)


def authors_infonce(scores: torch.Tensor, temperature: float) -> torch.Tensor:
    """CHAN's form: log of one plus the exponentials of what the negatives lead by; both directions added."""
    lead = scores - scores.diagonal()[:, None], scores - scores.diagonal()[None]
    return sum(torch.log(torch.exp(x / temperature).sum(dim)).mean() for x, dim in zip(lead, (1, 0), strict=True))


def test_infonce():
    """The authors' exponential overflows float32 on these scores; theirs in float64 is twice ours (sum v. mean)."""
    scores = golden("loss/scores")
    assert torch.isposinf(golden("loss/infonce_tau0.05"))
    assert torch.isposinf(authors_infonce(scores, 0.05))
    loss = InfoNCE(temperature=0.05)(scores, torch.arange(12))
    torch.testing.assert_close(2 * loss.double(), authors_infonce(scores.double(), 0.05), rtol=1e-6, atol=0)


def test_every_array_of_the_file_is_compared():
    compared = {*keys("scan/"), *keys("chan/"), *keys("maxmean/"), *keys("loss/")}
    inputs = {"images", "captions", "image_lens", "caption_lens"}
    assert set(GOLDEN.files) == compared | inputs
    assert (len(keys("scan/")), len(keys("chan/")), len(keys("maxmean/")), len(keys("loss/"))) == (40, 10, 2, 4)
