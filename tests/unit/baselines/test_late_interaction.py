"""Late interaction: both directions, their combinations, and each direction's own objective."""

from __future__ import annotations

import math

import baselines_naive as naive
import numpy as np
import pytest
import torch

from harness.errors import InvalidSpec
from harness.fragments import Fragments
from harness.losses import InfoNCE, TripletLoss, contrastive, one_way_contrast
from harness.registry import create
from harness.scorers.temperature import LARGEST_SCALE
from harness.scoring import packed_form, similarity_matrix

IMAGES = naive.ragged(5, 7, 8, seed=1)
TEXTS = naive.ragged(6, 5, 8, seed=2)
IDS = torch.tensor([0, 1, 1, 2, 3])
PAIRS = (IMAGES, TEXTS[:5])
COMBINE = {
    "mean": lambda s: (s["i2t"] + s["t2i"]) / 2,
    "sum": lambda s: s["i2t"] + s["t2i"],
    "i2t": lambda s: s["i2t"],
    "t2i": lambda s: s["t2i"],
}


@pytest.mark.parametrize("combination", COMBINE)
def test_scores_equal_a_double_loop_over_pairs(combination):
    expected = naive.matrix(lambda v, t: COMBINE[combination](naive.filip(v, t)), IMAGES, TEXTS)
    with torch.no_grad():
        scores = create("late_interaction", combination=combination).score(IMAGES, TEXTS)
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("combination", COMBINE)
def test_the_packed_form_gives_the_same_scores(combination):
    scorer = create("late_interaction", combination=combination)
    assert packed_form(scorer) is not None
    with torch.no_grad():
        torch.testing.assert_close(similarity_matrix(scorer, IMAGES, TEXTS), scorer.score(IMAGES, TEXTS))


def test_a_case_by_hand():
    """Cosines [[1, -1], [0, 0]]: regions (1, 0), (0, 1); words (1, 0), (-1, 0), and a padded word that matches."""
    image = Fragments(torch.tensor([[[2.0, 0.0], [0.0, 3.0]]]), torch.ones(1, 2, dtype=torch.bool))
    words = torch.tensor([[[5.0, 0.0], [0.0, 4.0], [-1.0, 0.0]]])
    text = Fragments(words, torch.tensor([[True, False, True]]))
    directions = create("late_interaction").directions(image, text)
    assert directions["i2t"].item() == pytest.approx((1 + 0) / 2)
    assert directions["t2i"].item() == pytest.approx((1 + 0) / 2)
    assert create("late_interaction.sum").score(image, text).item() == pytest.approx(1.0)


def test_each_direction_has_its_own_contrast():
    scorer = create("late_interaction", initial_temperature=0.2)
    losses = scorer.losses(*PAIRS, IDS)
    s = {d: naive.matrix(lambda v, t, d=d: naive.filip(v, t)[d], *PAIRS) for d in ("i2t", "t2i")}
    assert losses["i2t"].item() == pytest.approx(naive.contrast(s["i2t"], IDS.tolist(), 0.2) / 2, rel=1e-5)
    assert losses["t2i"].item() == pytest.approx(naive.contrast(s["t2i"].T, IDS.tolist(), 0.2) / 2, rel=1e-5)


@pytest.mark.parametrize("direction", ["i2t", "t2i"])
def test_a_direction_that_does_not_rank_is_not_trained(direction):
    alone, both = create(f"late_interaction.{direction}"), create("late_interaction")
    losses = alone.losses(*PAIRS, IDS)
    assert list(losses) == [direction]
    assert losses[direction].item() == pytest.approx(2 * both.losses(*PAIRS, IDS)[direction].item(), rel=1e-6)


def test_the_temperature_is_learned():
    scorer = create("late_interaction", initial_temperature=0.2)
    sum(scorer.losses(*PAIRS, IDS).values()).backward()
    parameter = scorer.direction_losses.log_scale

    def total(log_scale: float) -> float:
        with torch.no_grad():
            parameter.fill_(log_scale)
            return float(sum(scorer.losses(*PAIRS, IDS).values()))

    at, step = -math.log(0.2), 1e-2
    slope = (total(at + step) - total(at - step)) / (2 * step)
    assert parameter.grad.item() == pytest.approx(slope, rel=1e-2)


def test_a_temperature_driven_past_its_limit_stops_there_and_can_come_back():
    scorer = create("late_interaction")
    with torch.no_grad():
        scorer.direction_losses.log_scale.fill_(50.0)
    losses = sum(scorer.losses(*PAIRS, IDS).values())
    losses.backward()
    assert scorer.direction_losses.log_scale.exp().item() == pytest.approx(LARGEST_SCALE, rel=1e-5)
    assert math.isfinite(losses.item())
    assert scorer.direction_losses.log_scale.grad.item() != 0
    with pytest.raises(InvalidSpec, match="initial_temperature"):
        create("late_interaction", initial_temperature=0.001)


def test_both_ways_of_one_matrix_are_the_symmetric_contrast():
    torch.manual_seed(0)
    logits = torch.randn(5, 5)
    both = (one_way_contrast(logits, IDS) + one_way_contrast(logits.T, IDS)) / 2
    torch.testing.assert_close(both, contrastive(logits, IDS))


@pytest.mark.parametrize("objective", [TripletLoss(0.3, "all"), InfoNCE(0.1)])
def test_the_triplet_objective_is_that_of_the_training_on_the_combined_score(objective):
    scorer = create("late_interaction.triplet", combination="sum")
    scorer.objective = objective
    losses = scorer.losses(*PAIRS, IDS)
    assert losses.keys() == {"matching"}
    torch.testing.assert_close(losses["matching"], objective(scorer.score(*PAIRS), IDS))
    assert not list(scorer.parameters())
