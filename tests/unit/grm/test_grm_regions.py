"""GRM's regions: the prompts' attention, and the law of the drawn regions."""

from __future__ import annotations

import grm_naive as naive
import numpy as np
import pytest
import torch
from scipy import stats

from harness.methods.grm.regions import (
    CertainRegions,
    GaussianRegions,
    NoPrompts,
    PatchRegions,
    RegionPrompts,
    no_region_noise,
    per_pair_noise,
    per_region_noise,
)

MASK = torch.tensor([[True, True, True, True, False], [True, False, True, False, False]])
PATCHES = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)) * MASK[..., None]


def prompted(count: int = 3, scale: float = 1.0, patches=PATCHES, mask=MASK):
    torch.manual_seed(0)
    prompting = RegionPrompts(count, patches.shape[-1])
    with torch.no_grad():
        prompting.prompts.mul_(scale)
        return prompting, prompting(patches, mask)


def test_attention_and_means_equal_the_equations():
    prompting, found = prompted()
    prompts = prompting.prompts.detach().double().numpy()
    for n in range(2):
        patches = PATCHES[n, MASK[n]].double().numpy()
        weights = naive.attention(patches, prompts)
        np.testing.assert_allclose(found.attention[n, MASK[n]], weights, atol=1e-6)
        np.testing.assert_allclose(found.mean[n], weights.T @ patches, atol=1e-6)
        np.testing.assert_allclose(found.entropy[n], -(weights * np.log(weights)).sum(0), atol=1e-6)
        np.testing.assert_allclose(found.spread[n], np.sqrt((weights**2).sum(0)), atol=1e-6)


def test_columns_of_the_attention_sum_to_one_and_skip_padding():
    _, found = prompted()
    torch.testing.assert_close(found.attention.sum(1), torch.ones(2, 3))
    assert not found.attention[~MASK].any()


def test_one_zero_prompt_takes_the_mean_of_the_patches():
    _, found = prompted(count=1, scale=0.0)
    for n in range(2):
        torch.testing.assert_close(found.mean[n, 0], PATCHES[n, MASK[n]].mean(0))


def test_the_scale_of_a_prompt_does_not_matter():
    torch.testing.assert_close(prompted(scale=50.0)[1].mean, prompted()[1].mean)


def test_patches_far_from_every_prompt_leave_no_zero_by_zero():
    """Logits near -1,000 underflow every sigmoid; the weights are still those of a softmax."""
    prompting = RegionPrompts(1, 2)
    with torch.no_grad():
        prompting.prompts.copy_(torch.tensor([[1.0, 0.0]]))
    patches = torch.tensor([[[-1000.0, 1.0], [-1001.0, 2.0]]], requires_grad=True)
    found = prompting(patches, torch.ones(1, 2, dtype=torch.bool))
    expected = torch.softmax(torch.tensor([-1000.0, -1001.0]), 0)
    torch.testing.assert_close(found.attention[0, :, 0], expected)
    found.entropy.sum().backward()
    assert torch.isfinite(patches.grad).all()
    assert torch.isfinite(prompting.prompts.grad).all()


def test_a_suppressed_patch_only_shrinks_the_mean():
    """METHODS 1.4: V^ = 0 gets sigmoid(0) = 0.5 of the weight and adds nothing to the numerator."""
    prompting, _ = prompted(count=1)
    lone = torch.tensor([[[1.0, 2.0, 0.0, -1.0], [0.0, 0.0, 0.0, 0.0]]])
    with torch.no_grad():
        logit = (lone[0, 0] @ torch.nn.functional.normalize(prompting.prompts[0], dim=0)).sigmoid()
        mean = prompting(lone, torch.ones(1, 2, dtype=torch.bool)).mean[0, 0]
    torch.testing.assert_close(mean, lone[0, 0] * logit / (logit + 0.5))


def test_without_prompts_every_patch_is_its_own_region():
    found = PatchRegions()(PATCHES, MASK)
    assert found.mean is PATCHES
    assert found.mask is MASK
    assert torch.equal(found.attention, torch.eye(5).expand(2, 5, 5))
    assert not found.entropy.any()
    assert bool((found.spread == 1).all())
    assert not list(PatchRegions().parameters())
    none = NoPrompts()(PATCHES, MASK)
    assert none.mean.shape == (2, 0, 4)
    assert none.attention.shape == (2, 5, 0)


def test_without_noise_a_region_is_its_mean_exactly():
    _, found = prompted()
    for model in (GaussianRegions(4, no_region_noise), GaussianRegions(4).eval(), CertainRegions()):
        assert torch.equal(model(found)["regions"], found.mean)


def test_both_samplers_have_the_law_of_the_equation():
    """U - mu is N(0, spread^2) in each coordinate, by one draw a region as by one a pair of patch and region."""
    _, found = prompted(patches=PATCHES.repeat(3000, 1, 1), mask=MASK.repeat(3000, 1))
    samples = {}
    for seed, sampler in enumerate((per_region_noise, per_pair_noise)):
        noise = sampler(found, torch.Generator().manual_seed(seed))[::2, 1, :3]  # image 0, region 1, three coordinates
        standard = noise / found.spread[0, 1]
        assert standard.std().item() == pytest.approx(1.0, abs=0.025)
        correlation = np.corrcoef(standard.numpy().T)
        assert np.abs(correlation - np.eye(3)).max() < 0.06
        samples[sampler] = standard.flatten().numpy()
        assert stats.kstest(samples[sampler], "norm").pvalue > 0.01
    assert stats.ks_2samp(*samples.values()).pvalue > 0.01


def test_regions_of_an_image_are_drawn_independently():
    """One draw a patch, shared by all regions, would have the right variances and correlated regions."""
    _, found = prompted(patches=PATCHES[:1].repeat(4000, 1, 1), mask=MASK[:1].repeat(4000, 1))
    for seed, sampler in enumerate((per_region_noise, per_pair_noise)):
        noise = sampler(found, torch.Generator().manual_seed(seed))[:, :, 0].numpy()
        assert np.abs(np.corrcoef(noise.T) - np.eye(3)).max() < 0.06


def test_the_draw_is_the_mean_plus_sigma_times_the_noise():
    _, found = prompted()
    model = GaussianRegions(4, logvar_init=0.5)
    drawn = model(found, torch.Generator().manual_seed(7))
    noise = per_region_noise(found, torch.Generator().manual_seed(7))
    sigma = model.log_variance(found.mean).exp().sqrt()
    torch.testing.assert_close(drawn["regions"], found.mean + sigma * noise)
    torch.testing.assert_close(drawn["region_logvar"], model.log_variance(found.mean))


def test_the_log_variance_starts_near_zero_and_is_clamped():
    _, found = prompted()
    assert GaussianRegions(4, logvar_init=1e-3).log_variance(found.mean).abs().max() < 0.01
    wild = GaussianRegions(4, logvar_init=1e6, logvar_range=(-2.0, 1.0)).log_variance(found.mean)
    assert {wild.min().item(), wild.max().item()} == {-2.0, 1.0}
