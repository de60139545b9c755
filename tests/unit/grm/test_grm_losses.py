"""GRM's losses: each against a case computed by hand or by another library, and gradients that reach what there is."""

from __future__ import annotations

import math

import grm_naive as naive
import pytest
import torch

from harness.fragments import Fragments
from harness.losses import TripletLoss
from harness.methods.grm.gates import mean_over_length, norm_then_gate
from harness.methods.grm.levels import Matching, image_side, pairwise_levels, text_side
from harness.methods.grm.losses import (
    global_reconstruction,
    kl_to_standard_normal,
    mean_over_regions,
    per_region_reconstruction,
    sum_over_regions,
)
from harness.registry import create, variants

WIDTH = 6
IMAGES = naive.ragged(4, 5, WIDTH, seed=1, shortest=2)
TEXTS = naive.ragged(4, 4, WIDTH, seed=2)
IDS = torch.arange(4)
ALL_TERMS = {"original", "salient", "uncertain", "reconstruction", "kl", "entropy"}


def grm(variant: str = "", **config):
    torch.manual_seed(0)
    return create(f"grm.{variant}" if variant else "grm", width=WIDTH, **config)


def test_kl_is_zero_at_the_standard_normal_and_that_of_torch_elsewhere():
    assert kl_to_standard_normal(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4)).tolist() == [[0.0] * 3] * 2
    torch.manual_seed(0)
    mean, logvar = torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 3, 4, dtype=torch.float64)
    normal = torch.distributions.Normal
    theirs = torch.distributions.kl_divergence(normal(mean, (logvar / 2).exp()), normal(0.0, 1.0)).mean(-1)
    torch.testing.assert_close(kl_to_standard_normal(mean, logvar), theirs)


def test_reductions_over_regions_leave_padding_out():
    values, mask = torch.tensor([[1.0, 2.0, 9.0], [3.0, 9.0, 9.0]]), torch.tensor([[1, 1, 0], [1, 0, 0]]).bool()
    assert sum_over_regions(values, mask).item() == 3.0  # (1 + 2 + 3) / 2 images
    assert mean_over_regions(values, mask).item() == 2.25  # (1.5 + 3) / 2


def test_reconstructions_by_hand():
    """Regions (1, 0) and (3, 4) with mean (2, 2), target (0, 2): global (4 + 0)/2, per region ((1+4)/2 + (9+4)/2)/2."""
    regions = torch.tensor([[[1.0, 0.0], [3.0, 4.0], [99.0, 99.0]]])
    mask, target = torch.tensor([[True, True, False]]), torch.tensor([[0.0, 2.0]])
    assert global_reconstruction(regions, mask, target).item() == 2.0
    assert per_region_reconstruction(regions, mask, target).item() == 4.5


def test_regularisers_of_the_scorer_equal_the_equations():
    """In evaluation mode, with open gates: everything follows from the patches and the prompts."""
    scorer = grm(significance="off", logvar_init=0.0).eval()
    prompts = scorer.parts.regions.prompting.prompts.detach().double().numpy()
    reconstruction = kl = entropy = 0.0
    for patches in naive.real(IMAGES):
        weights = naive.attention(patches, prompts)
        mean = weights.T @ patches
        reconstruction += ((mean.mean(0) - patches.mean(0)) ** 2).mean() / 4
        kl += (mean**2).mean(1).sum() / 2 / 4  # log-variance 0
        entropy += -sum(w * math.log(w) for w in weights.flatten()) / 5 / 4
    losses = scorer.losses(IMAGES, TEXTS, IDS)
    assert losses["reconstruction"].item() == pytest.approx(reconstruction, rel=1e-5)
    assert losses["kl"].item() == pytest.approx(kl, rel=1e-5)
    assert losses["entropy"].item() == pytest.approx(entropy, rel=1e-5)


def test_regularisers_scale_with_their_weights_and_the_sign():
    base = grm().eval().losses(IMAGES, TEXTS, IDS)
    changed = grm(weight_reconstruction=0.5, weight_kl=0.1, weight_entropy=2.0, entropy_sign="maximise")
    found = changed.eval().losses(IMAGES, TEXTS, IDS)
    for name, factor in {"reconstruction": 0.5, "kl": 0.1, "entropy": -2.0}.items():
        torch.testing.assert_close(found[name], base[name] * factor)
    per_region = grm(kl_reduction="mean").eval().losses(IMAGES, TEXTS, IDS)
    torch.testing.assert_close(per_region["kl"], base["kl"] / 5)


def test_each_level_has_its_weighted_objective():
    scorer = grm(weight_original=0.5, weight_salient=0.3, weight_uncertain=0.2).eval()
    scorer.objective = TripletLoss(margin=0.7, negatives="all")
    levels = naive.levels(naive.Model.of(scorer), IMAGES, TEXTS)
    losses = scorer.losses(IMAGES, TEXTS, torch.tensor([0, 1, 2, 2]))
    for level, weight in {"original": 0.5, "salient": 0.3, "uncertain": 0.2}.items():
        s = levels[level]
        same = {(2, 3), (3, 2)}
        expected = sum(
            max(0, 0.7 + s[i, j] - s[i, i]) + max(0, 0.7 + s[j, i] - s[i, i])
            for i in range(4)
            for j in range(4)
            if i != j and (i, j) not in same
        )
        assert losses[level].item() == pytest.approx(weight * expected, rel=1e-5)


@pytest.mark.parametrize(
    ("variant", "missing"),
    [
        ("", set()),
        ("no_prompting", {"entropy"}),
        ("no_uncertainty", {"kl"}),
        ("no_original_level", {"original"}),
        ("no_salient_level", {"salient"}),
        ("no_uncertain_level", {"uncertain"}),
        ("no_reconstruction", {"reconstruction"}),
        ("no_regularisation", {"kl", "entropy"}),
    ],
)
def test_an_ablated_term_is_absent(variant, missing):
    assert set(grm(variant).losses(IMAGES, TEXTS, IDS)) == ALL_TERMS - missing


@pytest.mark.parametrize("variant", ["", *variants("grm")])
def test_every_parameter_gets_a_gradient_from_the_first_step(variant):
    scorer = grm(variant)
    sum(scorer.losses(IMAGES, TEXTS, IDS).values()).backward()
    dead = [name for name, p in scorer.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not dead
    assert all(torch.isfinite(p.grad).all() for p in scorer.parameters())


@pytest.mark.parametrize(
    ("config", "absent"),
    [
        ({"significance": "off"}, "significance"),
        ({"granularity": "off"}, "granularity"),
        ({"gate_order": "none"}, "granularity"),
        ({"regions": 0}, "regions.prompting"),
        ({"uncertainty": "off"}, "regions.uncertainty"),
        ({"region_noise": False, "weight_kl": 0}, "regions.uncertainty"),
        ({"weight_uncertain": 0, "weight_reconstruction": 0, "weight_kl": 0, "weight_entropy": 0}, "regions"),
        ({"significance": "off", "granularity": "off", "regions": 0, "uncertainty": "off"}, ""),
    ],
    ids=str,
)
def test_a_component_that_is_off_or_unread_owns_no_parameters(config, absent):
    scorer = grm(**config)
    assert not [name for name, _ in scorer.named_parameters() if name.startswith(f"parts.{absent}")]
    assert [name for name, _ in grm().named_parameters() if name.startswith(f"parts.{absent}")]
    assert torch.isfinite(sum(scorer.losses(IMAGES, TEXTS, IDS).values()))


def test_without_uncertainty_the_regions_are_those_of_evaluation():
    """METHODS 1.12: w/o UM equals eval-mode U."""
    without, full = grm("no_uncertainty", gate_noise=False), grm(gate_noise=False)
    without.load_state_dict({k: v for k, v in full.state_dict().items() if "uncertainty" not in k})
    trained, evaluated = without.train().prepare_images(IMAGES), full.eval().prepare_images(IMAGES)
    assert torch.equal(trained.extras["regions"], evaluated.extras["regions"])
    assert "region_logvar" not in trained.extras
    assert not torch.equal(full.train().prepare_images(IMAGES).extras["regions"], evaluated.extras["regions"])


def test_gradients_of_the_levels_equal_finite_differences():
    """In float64, through padding that repeats real tokens, scattered masks, and regions."""
    torch.manual_seed(0)
    mask = torch.tensor([[False, True, True], [True, False, False]])
    word_mask = torch.tensor([[True, True, False], [False, True, True]])
    region_mask = torch.tensor([[True, True], [True, False]])
    inputs = [torch.randn(2, n, 4, dtype=torch.float64, requires_grad=True) for n in (3, 2, 3)]
    gates = [torch.rand(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    matching = Matching(norm_then_gate, mean_over_length, torch.nn.Identity())

    def levels(patches, regions, words, patch_gates, word_gates):
        extras = {"gates": patch_gates, "regions": regions, "region_mask": region_mask}
        images = image_side(Fragments(patches, mask, extras), mask, matching)
        texts = text_side(Fragments(words, word_mask, {"gates": word_gates}), matching)
        return pairwise_levels(images, texts, ("original", "salient", "uncertain"), matching.activation)

    assert torch.autograd.gradcheck(levels, (*inputs, *gates))


def test_recomputed_tiles_have_the_gradients_of_whole_ones():
    images, texts = (Fragments(f.features.masked_fill(~f.mask[..., None], 0), f.mask) for f in (IMAGES, TEXTS))
    gradients = []
    for tile in (None, 60):
        scorer = grm()
        scorer.tile_elements = tile
        scorer.generator = torch.Generator().manual_seed(3)
        features = images.features.clone().requires_grad_()
        sum(scorer.losses(Fragments(features, images.mask), texts, IDS).values()).backward()
        gradients.append([features.grad, *(p.grad for p in scorer.parameters())])
    for whole, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, whole, atol=1e-6, rtol=1e-4)


def test_training_works_under_bfloat16_autocast():
    scorer, exact = grm(), grm()
    losses = {}
    for model, enabled in ((scorer, True), (exact, False)):
        model.generator = torch.Generator().manual_seed(0)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            losses[enabled] = model.losses(IMAGES, TEXTS, IDS)
        sum(losses[enabled].values()).backward()
    for name, value in losses[True].items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(losses[False][name].item(), abs=0.05)
    assert all(torch.isfinite(p.grad).all() for p in scorer.parameters())


def test_a_few_steps_of_training_separate_matching_pairs():
    """Eight pairs of noisy copies: after 40 steps every image prefers its own caption, from at or near chance."""
    torch.manual_seed(0)
    content = torch.randn(8, 3, WIDTH)
    rotation = torch.linalg.qr(torch.randn(WIDTH, WIDTH))[0]
    mixer = torch.nn.Linear(WIDTH, WIDTH)
    full = torch.ones(8, 3, dtype=torch.bool)
    images, scorer, ids = Fragments(content, full), grm(), torch.arange(8)
    optimizer = torch.optim.Adam([*scorer.parameters(), *mixer.parameters()], lr=0.02)
    for _ in range(40):
        optimizer.zero_grad()
        sum(scorer.losses(images, Fragments(mixer(content @ rotation), full), ids).values()).backward()
        optimizer.step()
    with torch.no_grad():
        scores = scorer.eval().score(images, Fragments(mixer(content @ rotation), full))
    assert (scores.argmax(1) == ids).float().mean() >= 0.875
