"""What late interaction and LAPS match: their scores are built again from it. Methods of one vector align nothing."""

from __future__ import annotations

import baselines_naive as naive
import numpy as np
import pytest
import sgraf_naive
import torch

from harness.registry import create
from harness.scoring import evaluating

WIDTH = 8
IMAGES, TEXTS = naive.ragged(5, 9, WIDTH, seed=1), naive.ragged(5, 6, WIDTH, seed=2)


def scores_of(scorer):
    with evaluating(scorer):
        return scorer.score(scorer.prepare_images(IMAGES), scorer.prepare_texts(TEXTS)).diagonal().tolist()


@pytest.mark.parametrize("combination", ["mean", "sum", "t2i", "i2t"])
def test_late_interaction_is_the_mean_of_what_it_matches(combination):
    scorer = create("late_interaction", combination=combination)
    with evaluating(scorer):
        found = scorer.align(IMAGES, TEXTS)
    ways = {"t2i" if way.over == "regions" else "i2t": way for way in (found, found.reverse) if way}
    shares = {"mean": {"t2i": 0.5, "i2t": 0.5}, "sum": {"t2i": 1.0, "i2t": 1.0}}.get(combination, {combination: 1.0})
    assert set(ways) == set(shares)
    rebuilt = np.zeros(5)
    for direction, way in ways.items():
        given, mask = (way.word_scores, TEXTS.mask) if direction == "t2i" else (way.region_scores, IMAGES.mask)
        for n, (patches, words) in enumerate(zip(naive.real(IMAGES), naive.real(TEXTS), strict=True)):
            cosines = np.array([[naive.unit(t) @ naive.unit(v) for v in patches] for t in words])
            chosen = way.weights[n][TEXTS.mask[n]][:, IMAGES.mask[n]].numpy()
            axis = 1 if direction == "t2i" else 0
            np.testing.assert_allclose((chosen * cosines).sum(axis), cosines.max(axis), atol=1e-6)
            np.testing.assert_allclose(given[n][mask[n]], cosines.max(axis), atol=1e-6)
            rebuilt[n] += shares[direction] * given[n][mask[n]].mean().item()
            assert given[n][mask[n]].mean().item() == pytest.approx(naive.filip(patches, words)[direction], abs=1e-5)
    np.testing.assert_allclose(rebuilt, scores_of(scorer), atol=1e-5)


def laps(**config):
    torch.manual_seed(0)
    scorer = create("laps", width=WIDTH, max_fragments=8, **config)
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter.mul_(3.0)
    return scorer


@pytest.mark.parametrize("class_token", ["present", "absent"])
@pytest.mark.parametrize("config", [{}, {"keep_ratio": 1.0}, {"leaky_slope": 1.0, "keep_ratio": 0.3}], ids=str)
def test_laps_is_the_score_of_the_tokens_that_its_alignment_describes(config, class_token):
    scorer = laps(class_token=class_token, **config)
    slope = scorer.config.leaky_slope
    with evaluating(scorer):
        found = scorer.align(IMAGES, TEXTS)
    for n, score in enumerate(scores_of(scorer)):
        real, words = IMAGES.mask[n], TEXTS.features[n][TEXTS.mask[n]].double().numpy()
        patches = IMAGES.features[n].masked_fill(~real[:, None], 0).double().numpy()
        maps = [row for row in found.regions[n].double().numpy() if row.any()]
        tokens = [naive.unit(row @ patches) for row in maps]
        cosines = np.array([[naive.leaky(float(token @ naive.unit(t)), slope) for token in tokens] for t in words])
        given = found.word_scores[n][TEXTS.mask[n]].numpy()
        np.testing.assert_allclose(given, cosines.max(1), atol=1e-5)
        assert given.mean() + cosines.max(0).mean() == pytest.approx(score, abs=1e-5)
        for word, row in enumerate(found.weights[n][TEXTS.mask[n]].double().numpy()):
            token = naive.unit(row @ patches)
            assert naive.leaky(float(token @ naive.unit(words[word])), slope) == pytest.approx(given[word], abs=1e-5)


def test_laps_marks_the_patches_that_a_caption_keeps():
    scorer = laps(class_token="present")
    with evaluating(scorer):
        found = scorer.align(IMAGES, TEXTS)
    for n, words in enumerate(naive.real(TEXTS)):
        places = IMAGES.mask[n].nonzero().flatten().tolist()
        first = 0 if len(places) > 1 and places[0] == 0 else None
        spatial = [place for place in places if place != first]
        patches = IMAGES.features[n][spatial].double().numpy()
        _, kept = naive.laps_tokens(naive.parameters(scorer.parts), patches, words, 0.5, 1)
        expected = {spatial[index] for index in kept} | ({0} if first == 0 else set())
        assert set(found.region_gates[n].nonzero().flatten().tolist()) == expected
        if first == 0:  # it stands for itself
            assert found.regions[n, -1].nonzero().flatten().tolist() == [0]
            assert not found.regions[n, :-1, 0].any()


@pytest.mark.parametrize("reasoning", ["graph", "filtration"])
def test_the_words_of_sgraf_attend_where_their_similarity_vectors_look(reasoning):
    scorer = create("sgraf", width=WIDTH, similarity_width=6, reasoning=reasoning)
    with evaluating(scorer):
        found = scorer.align(IMAGES, TEXTS)
    for n, (image, text) in enumerate(zip(naive.real(IMAGES), naive.real(TEXTS), strict=True)):
        regions, words = [naive.unit(r) for r in image], [naive.unit(w) for w in text]
        weights = found.weights[n][TEXTS.mask[n]][:, IMAGES.mask[n]].double().numpy()
        expected = sgraf_naive.attended(regions, words, scorer.config.inverse_temperature)
        for row, vector in zip(weights, expected, strict=True):
            np.testing.assert_allclose(naive.unit(row @ np.stack(regions)), vector, atol=1e-5)
    assert found.word_scores is None


@pytest.mark.parametrize("name", ["vsepp", "vse_infinity", "hrem", "pcmepp", "clip"])
def test_a_method_of_one_vector_aligns_nothing(name):
    assert create(name).align(IMAGES, TEXTS) is None
