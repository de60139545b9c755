"""PCME++: the distance against draws and a loop, the losses against a loop, the prior against torch, and the index form."""

from __future__ import annotations

import math

import baselines_naive as naive
import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from harness.registry import create

WIDTH = 8
IMAGES = naive.ragged(6, 7, WIDTH, seed=1)
TEXTS = naive.ragged(6, 5, WIDTH, seed=2)
IDS = torch.tensor([0, 1, 1, 2, 3, 4])  # two captions of one image


def scorer(**config):
    torch.manual_seed(0)
    made = create("pcmepp", width=WIDTH, **config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made.eval()


def gaussians(made, side):
    """Means (N, D) and standard deviations (N, D) of a side, from the parts alone."""
    features, mask = side.features.masked_fill(~side.mask[..., None], 0), side.mask
    images = side is IMAGES
    pool, network = (
        (made.image_pooling, made.parts.image_variance) if images else (made.text_pooling, made.parts.text_variance)
    )
    mean = torch.nn.functional.normalize(pool(features, mask), dim=-1)
    return mean.detach().double(), (network(features, mask) / 2).exp().detach().double()


def test_scores_are_the_expected_distance_of_draws():
    made = scorer()
    (mean, sigma), (other_mean, other_sigma) = gaussians(made, IMAGES), gaussians(made, TEXTS)
    generator = torch.Generator().manual_seed(0)
    draws = 20_000

    def drawn(m, s):
        return m + s * torch.randn(draws, *m.shape, generator=generator, dtype=torch.float64)

    left, right = drawn(mean, sigma), drawn(other_mean, other_sigma)
    scores = made.score(IMAGES, TEXTS).detach()
    for i, t in [(0, 0), (3, 1), (5, 4)]:
        squares = (left[:, i] - right[:, t]).square().sum(1)
        error = float(squares.std()) / math.sqrt(draws)
        assert 2 - float(scores[i, t]) == pytest.approx(float(squares.mean()), abs=4 * error)


def test_scores_equal_the_closed_form_pair_by_pair():
    made = scorer()
    (mean, sigma), (other_mean, other_sigma) = gaussians(made, IMAGES), gaussians(made, TEXTS)
    expected = np.array(
        [
            [
                2 - float((m - n).square().sum() + s.square().sum() + r.square().sum())
                for n, r in zip(other_mean, other_sigma, strict=True)
            ]
            for m, s in zip(mean, sigma, strict=True)
        ]
    )
    np.testing.assert_allclose(made.score(IMAGES, TEXTS).detach().numpy(), expected, atol=5e-6)


def test_without_uncertainty_the_score_is_twice_the_cosine_of_the_means():
    made = scorer(uncertainty="off")
    (mean, _), (other_mean, _) = gaussians(made, IMAGES), gaussians(made, TEXTS)
    np.testing.assert_allclose(made.score(IMAGES, TEXTS).detach().numpy(), 2 * (mean @ other_mean.T), atol=2e-6)
    assert list(made.losses(IMAGES, TEXTS, IDS)) == ["matching", "pseudo"]


def test_the_losses_equal_a_loop_over_the_pairs():
    made = scorer(weight_pseudo=0.3)
    scores = made.score(IMAGES, TEXTS).detach().double().numpy()
    logits = float(made.shift) - float(made.scale) * (2 - scores)
    total, pseudo, count = 0.0, {"i2t": 0.0, "t2i": 0.0}, len(IDS) ** 2
    changed = 0
    for i in range(len(IDS)):
        for t in range(len(IDS)):
            cost = {label: math.log1p(math.exp(-sign * logits[i, t])) for label, sign in ((True, 1), (False, -1))}
            match = bool(IDS[i] == IDS[t])
            total += cost[match]
            near = {"i2t": logits[i, t] >= logits[i, i], "t2i": logits[i, t] >= logits[t, t]}
            changed += sum(close and not match for close in near.values())
            for direction, close in near.items():
                pseudo[direction] += cost[match or bool(close)]
    assert changed > 0  # some negatives are closer than a query's own match
    found = made.losses(IMAGES, TEXTS, IDS)
    assert float(found["matching"]) == pytest.approx(2 * total / count, rel=1e-5)
    assert float(found["pseudo"]) == pytest.approx(0.3 * (pseudo["i2t"] + pseudo["t2i"]) / count, rel=1e-5)


def test_the_prior_is_the_divergence_from_a_standard_normal_distribution():
    made = scorer(weight_prior=0.5)
    expected = sum(
        kl_divergence(Normal(mean, sigma), Normal(torch.zeros_like(mean), torch.ones_like(sigma))).mean()
        for mean, sigma in (gaussians(made, IMAGES), gaussians(made, TEXTS))
    )
    assert float(made.losses(IMAGES, TEXTS, IDS)["prior"]) == pytest.approx(0.5 * float(expected), rel=1e-5)


def test_a_weight_of_0_leaves_its_term_out():
    made = scorer(weight_pseudo=0.0, weight_prior=0.0)
    assert list(made.losses(IMAGES, TEXTS, IDS)) == ["matching"]


@pytest.mark.parametrize("variance", [0.25, 4.0])
def test_the_variance_begins_where_the_setting_says_whatever_the_width(variance):
    for width in (8, 64):
        torch.manual_seed(0)
        made = create("pcmepp", width=width, initial_variance=variance).eval()
        with torch.no_grad():
            made.parts.image_variance.output.weight.zero_()  # what remains is the bias
            images = made.prepare_images(naive.ragged(3, 4, width, seed=3))
        torch.testing.assert_close(made.image_readings(images)["image_variance"], torch.full((3,), variance))


def test_the_readings_are_the_variances_of_the_score():
    made = scorer()
    images, texts = made.prepare_images(IMAGES), made.prepare_texts(TEXTS)
    (_, sigma), (_, other_sigma) = gaussians(made, IMAGES), gaussians(made, TEXTS)
    found = made.image_readings(images)["image_variance"].detach().numpy()
    np.testing.assert_allclose(found, sigma.square().sum(1), rtol=1e-5)
    found = made.text_readings(texts)["text_variance"].detach().numpy()
    np.testing.assert_allclose(found, other_sigma.square().sum(1), rtol=1e-5)
    assert found.std() > 0


def test_an_uncertain_image_is_ranked_lower_for_every_caption():
    made = scorer()
    before = made.score(IMAGES, TEXTS)
    images = made.prepare_images(IMAGES)
    images.features[2, 0, -2] -= 1.0
    after = made.score(images, TEXTS)
    torch.testing.assert_close(after[2], before[2] - 1.0)
    torch.testing.assert_close(after[[0, 1, 3]], before[[0, 1, 3]])


def test_training_separates_matches_and_moves_the_variances():
    torch.manual_seed(0)
    made = create("pcmepp", width=WIDTH).train()
    start = made.image_readings(made.prepare_images(IMAGES))["image_variance"].detach()
    optimizer = torch.optim.Adam(made.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        loss = sum(made.losses(IMAGES, TEXTS, IDS).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert not torch.allclose(made.image_readings(made.prepare_images(IMAGES))["image_variance"], start, rtol=0.05)
