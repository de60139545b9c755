"""SCAN's and CHAN's alignments: the scores are built again from the weights by the naive forms, pair by pair."""

from __future__ import annotations

import pytest
import similarity_oracle as oracle
import torch
from similarity_cases import ragged

from harness.errors import InvalidFragments
from harness.registry import create

PAIRS = 6
IMAGES, TEXTS = ragged(1, PAIRS, 7, 16), ragged(2, PAIRS, 5, 16)
NORMS = ["clipped_l2norm", "l2norm", "clipped_l1norm", "l1norm", "softmax", "clipped", "none"]
POOLINGS = ["lse", "mean", "max", "sum"]


def pairs():
    """n, image (R, D) and text (W, D) float64 of the real fragments, and where they are: words x regions."""
    for n in range(PAIRS):
        words, regions = TEXTS.mask[n], IMAGES.mask[n]
        yield n, IMAGES.features[n, regions].double(), TEXTS.features[n, words].double(), words, regions


def attended_by(weights, context):
    """The vector that each query attends to: weights (queries, context)."""
    return torch.stack([sum(w * vector for w, vector in zip(row, context, strict=True)) for row in weights])


def scan_score(alignment, image, text, n, words, regions, pooling, sharpness):
    """One direction from its weights alone; the scores that the alignment gives are checked on the way."""
    weights = alignment.weights[n][words][:, regions].double()
    swapped = alignment.over == "words"
    given = alignment.region_scores[n, regions] if swapped else alignment.word_scores[n, words]
    context, queries = (text, image) if swapped else (image, text)
    attended = attended_by(weights.T if swapped else weights, context)
    cosines = torch.nn.functional.cosine_similarity(attended, queries, dim=1)
    torch.testing.assert_close(given.double(), cosines, atol=1e-5, rtol=0)
    return oracle.pool(given.double(), pooling, sharpness, 1 / sharpness)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("direction", ["t2i", "i2t", "both"])
def test_scan_scores_what_its_words_and_regions_attend_to(direction, norm):
    pooling = POOLINGS[NORMS.index(norm) % len(POOLINGS)]
    scorer = create(
        "scan", direction=direction, attention_norm=norm, pooling=pooling, inverse_temperature=7.0, lse_scale=5.0
    )
    found = scorer.align(IMAGES, TEXTS)
    ways = [found, *([found.reverse] if found.reverse else [])]
    assert [way.over for way in ways] == {"t2i": ["regions"], "i2t": ["words"], "both": ["regions", "words"]}[direction]
    scores = scorer.score(*scorer_sides(scorer)).diagonal()
    for n, image, text, words, regions in pairs():
        parts = [scan_score(way, image, text, n, words, regions, pooling, 5.0) for way in ways]
        assert sum(parts) / len(parts) == pytest.approx(scores[n].item(), abs=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_scan_attends_as_the_paper_says(norm):
    found = create("scan", attention_norm=norm, inverse_temperature=7.0).align(IMAGES, TEXTS)
    for n, image, text, words, regions in pairs():
        expected = torch.softmax(7.0 * oracle.attention_logits(image @ text.T, norm), 0).T
        torch.testing.assert_close(found.weights[n][words][:, regions].double(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("pooling", [*POOLINGS, "softmax"])
@pytest.mark.parametrize("coding", ["vha", "tha"])
def test_chan_scores_its_hard_assignment(coding, pooling):
    scorer = create("chan", coding=coding, pooling=pooling, temperature=0.2)
    found, scores = scorer.align(IMAGES, TEXTS), scorer.score(*scorer_sides(scorer)).diagonal()
    assert found.over == {"vha": "regions", "tha": "words"}[coding]
    assert found.reverse is None
    for n, image, text, words, regions in pairs():
        weights, cosines = found.weights[n][words][:, regions].double(), text @ image.T
        assert weights.unique().tolist() in ([0.0, 1.0], [1.0])
        best = (weights * cosines).sum(1 if coding == "vha" else 0)
        torch.testing.assert_close(best, cosines.amax(1 if coding == "vha" else 0), atol=1e-6, rtol=0)
        given = found.word_scores[n, words] if coding == "vha" else found.region_scores[n, regions]
        torch.testing.assert_close(given.double(), best, atol=1e-6, rtol=0)
        expected = oracle.pool(given.double(), pooling, 1 / 0.2, 1.0)
        assert scores[n].item() == pytest.approx(expected.item(), abs=1e-4 if pooling == "sum" else 1e-5)


def test_levels_align_as_the_direction_that_they_are():
    scorer = create("scan", direction="both")
    whole, alone = scorer.align(IMAGES, TEXTS), scorer.score_levels()
    assert torch.equal(alone["t2i"].scorer.align(IMAGES, TEXTS).weights, whole.weights)
    assert torch.equal(alone["i2t"].scorer.align(IMAGES, TEXTS).weights, whole.reverse.weights)


@pytest.mark.parametrize("name", ["scan", "chan"])
def test_sides_that_do_not_fit_are_refused(name):
    with pytest.raises(InvalidFragments, match="do not pair up"):
        create(name).align(IMAGES[:3], TEXTS)
    with pytest.raises(InvalidFragments, match="width"):
        create(name).align(ragged(1, PAIRS, 7, 8), TEXTS)


def scorer_sides(scorer):
    return scorer.prepare_images(IMAGES), scorer.prepare_texts(TEXTS)
