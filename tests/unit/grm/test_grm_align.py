"""GRM's alignment: its levels are built again from matches, gates and regions, as the naive equations have them."""

from __future__ import annotations

import grm_naive as naive
import numpy as np
import pytest
import torch

from harness.registry import create
from harness.scoring import evaluating

WIDTH = 8
IMAGES = naive.ragged(5, 7, WIDTH, seed=1, shortest=2, holes=True)
TEXTS = naive.ragged(5, 5, WIDTH, seed=2, holes=True)


def aligned(**config):
    """A scorer whose gates and prompts matter, and what it matches."""
    torch.manual_seed(0)
    scorer = create("grm", width=WIDTH, **{"keep_bias": 0.3} | config)
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter.mul_(2.0)
    with evaluating(scorer):
        return scorer, scorer.align(IMAGES, TEXTS)


def pairs():
    for n, (patches, words) in enumerate(zip(naive.real(IMAGES), naive.real(TEXTS), strict=True)):
        yield n, patches, words, IMAGES.mask[n], TEXTS.mask[n]


CASES = [
    ({}, {}),
    ({"significance": "hard", "granularity": "hard"}, {"hard": True}),
    ({"significance": "off"}, {}),
    ({"granularity": "off"}, {}),
    ({"regions": 0}, {}),
    ({"suppressed_mean": "gates"}, {"means": "gates"}),
    ({"gate_order": "none", "granularity": "off"}, {"order": "none"}),
    ({"gate_order": "gate_then_norm"}, {"order": "gate_then_norm"}),
    ({"leaky_slope": 0.1}, {"slope": 0.1}),
]


@pytest.mark.parametrize(("config", "switches"), CASES, ids=str)
def test_the_salient_level_is_the_mean_of_the_gated_matches(config, switches):
    scorer, found = aligned(**config)
    model = naive.Model.of(scorer, **switches)
    for n, patches, words, regions, real in pairs():
        gate_v, gate_t = naive.gates(model, "significance", patches), naive.gates(model, "granularity", words)
        scale_v, scale_t = (g if model.order == "norm_then_gate" else (g > 0) * 1.0 for g in (gate_v, gate_t))
        scale_v, scale_t = (s if model.order != "none" else np.ones_like(s) for s in (scale_v, scale_t))
        cosines = np.array([[float(naive.unit(t) @ naive.unit(v)) for v in patches] for t in words])
        cosines = np.where(cosines > 0, cosines, model.slope * cosines) if model.slope else cosines
        gated = scale_t[:, None] * scale_v[None] * cosines
        matched = found.weights[n][real][:, regions].numpy()
        np.testing.assert_allclose((matched * gated).sum(1), found.word_scores[n][real], atol=1e-5)
        back = found.reverse.weights[n][real][:, regions].numpy()
        np.testing.assert_allclose((back * gated).sum(0), found.reverse.region_scores[n][regions], atol=1e-5)
        counts = (gate_t.sum(), gate_v.sum()) if model.means == "gates" else (len(words), len(patches))
        rebuilt = (
            found.word_scores[n].sum().item() / counts[0] + found.reverse.region_scores[n].sum().item() / counts[1]
        )
        assert rebuilt == pytest.approx(naive.pair_levels(model, patches, words)["salient"], abs=1e-5)


@pytest.mark.parametrize(("config", "switches"), CASES, ids=str)
def test_gates_are_those_of_the_adapters_where_there_are_any(config, switches):
    scorer, found = aligned(**config)
    model = naive.Model.of(scorer, **switches)
    for given, side, whole in (
        (found.word_gates, "granularity", TEXTS),
        (found.region_gates, "significance", IMAGES),
    ):
        if f"{side}.hidden.weight" not in model.parameters:
            assert given is None
            continue
        for n, tokens in enumerate(naive.real(whole)):
            np.testing.assert_allclose(given[n][whole.mask[n]], naive.gates(model, side, tokens), atol=1e-6)


@pytest.mark.parametrize("config", [{}, {"regions": 1}, {"significance": "hard", "granularity": "hard"}], ids=str)
def test_the_uncertain_level_is_built_again_from_where_the_regions_look(config):
    scorer, found = aligned(**config)
    model = naive.Model.of(scorer, hard="significance" in config)
    for n, patches, words, mask, real in pairs():
        gate_v, gate_t = naive.gates(model, "significance", patches), naive.gates(model, "granularity", words)
        looks = found.regions[n][:, mask].double().numpy()
        regions = [naive.unit(row @ (gate_v[:, None] * patches)) for row in looks]
        cosines = gate_t[:, None] * np.array([[float(naive.unit(t) @ u) for u in regions] for t in words])
        rebuilt = cosines.max(1).mean() + cosines.max(0).mean()
        assert rebuilt == pytest.approx(naive.pair_levels(model, patches, words)["uncertain"], abs=1e-5)
        best = found.word_regions[n][real].numpy()
        np.testing.assert_array_equal(best.sum(1), gate_t > 0)
        np.testing.assert_allclose((best * cosines).sum(1), cosines.max(1) * (gate_t > 0), atol=1e-6)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({}, "best patch of each word (salient level)"),
        ({"weight_salient": 0.0}, "best patch of each word (original level)"),
        ({"ranking": ("original",)}, "best patch of each word (original level)"),
        ({"ranking": ("uncertain",)}, "patches of each word's best region (uncertain level)"),
        ({"ranking": ("uncertain", "salient")}, "best patch of each word (salient level)"),
    ],
    ids=str,
)
def test_it_is_of_a_level_that_ranks(config, kind):
    assert aligned(**config)[1].kind == kind


def test_the_original_level_alone_is_the_score_and_reads_no_gates():
    scorer, found = aligned(ranking=("original",))
    assert (found.word_gates, found.region_gates, found.regions) == (None, None, None)
    with evaluating(scorer):
        scores = scorer.score(IMAGES, TEXTS).diagonal()
    rebuilt = found.word_scores.sum(1) / TEXTS.lengths + found.reverse.region_scores.sum(1) / IMAGES.lengths
    np.testing.assert_allclose(scorer.config.weight_original * rebuilt, scores, atol=1e-5)


def test_a_word_of_the_uncertain_level_lies_where_its_best_region_looks():
    _, found = aligned(ranking=("uncertain",))
    assert found.reverse is None
    torch.testing.assert_close(found.weights, found.word_regions @ found.regions)


def test_a_closed_gate_matches_nothing():
    torch.manual_seed(0)
    scorer = create("grm", width=WIDTH, significance="hard", granularity="hard", keep_bias=0.0)
    with evaluating(scorer):
        found = scorer.align(IMAGES, TEXTS)
    closed = TEXTS.mask & (found.word_gates == 0)
    assert 0 < closed.sum() < TEXTS.mask.sum()
    assert not found.weights[closed].any()
    assert not found.weights.sum(1)[found.region_gates == 0].any()
    assert not found.word_scores[closed].any()


def test_the_class_token_takes_part_unless_it_is_left_out_and_is_never_a_place():
    for keep in (True, False):
        _, found = aligned(class_token="present", keep_class_token=keep)
        many = IMAGES.mask[:, 1:].any(1)
        assert torch.equal(found.region_mask[:, 0], IMAGES.mask[:, 0] & (torch.tensor(keep) | ~many))
        assert not found.regions[many][..., 0].any()


def test_prepared_in_training_or_not_it_is_that_of_evaluation():
    scorer, found = aligned()
    with evaluating(scorer):
        of_prepared = scorer.align(scorer.prepare_images(IMAGES), scorer.prepare_texts(TEXTS[[0] * 5]))
        one = scorer.align(IMAGES, TEXTS[[0]])
    torch.testing.assert_close(of_prepared.weights, one.weights)
    torch.testing.assert_close(of_prepared.weights[0], found.weights[0])
