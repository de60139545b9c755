"""LAPS: scores against vectors written out pair by pair, the choice of patches, ragged images, tiles and gradients."""

from __future__ import annotations

import baselines_naive as naive
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.baselines.laps import pairs
from harness.baselines.laps.scorer import LapsConfig
from harness.errors import InvalidFragments
from harness.fragments import Fragments
from harness.losses import TripletLoss
from harness.registry import create

WIDTH = 10
IMAGES = naive.ragged(5, 9, WIDTH, seed=1)
TEXTS = naive.ragged(6, 5, WIDTH, seed=2)
IDS = torch.tensor([0, 1, 1, 2, 3])
PAIRS = (IMAGES, TEXTS[:5])


def scorer(**config):
    """With weights large enough for the aggregation to be far from a mean."""
    torch.manual_seed(0)
    made = create("laps", **{"width": WIDTH, "max_fragments": 12} | config).eval()
    with torch.no_grad():
        made.parts.output.weight.mul_(6.0)
        made.parts.scale.fill_(1.5)
        made.parts.norm.weight.add_(0.3 * torch.randn_like(made.parts.norm.weight))
    return made


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"keep_ratio": 0.8, "aggregation_ratio": 0.6},
        {"keep_ratio": 1.0},
        {"keep_ratio": 0.1},
        {"aggregated_tokens": 3},
        {"max_fragments": 5, "keep_ratio": 0.9, "aggregation_ratio": 0.9},
        {"leaky_slope": 1.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("class_token", ["absent", "present"])
def test_scores_equal_vectors_written_out_pair_by_pair(config, class_token):
    images = with_first_real(IMAGES) if class_token == "present" else IMAGES
    ours = scorer(class_token=class_token, **config)
    p, settings = naive.parameters(ours.parts), ours.config

    def pair(patches, words):
        spatial = max(1, len(patches) - (class_token == "present"))
        cut = int(round(min(spatial, settings.max_fragments) * settings.aggregation_ratio * settings.keep_ratio, 9))
        tokens = settings.aggregated_tokens or max(1, cut)
        return naive.laps(
            p, patches, words, settings.keep_ratio, tokens, class_token == "present", settings.leaky_slope
        )

    with torch.no_grad():
        scores = ours.score(images, TEXTS).numpy()
    np.testing.assert_allclose(scores, naive.matrix(pair, images, TEXTS), atol=5e-6)


def with_first_real(fragments: Fragments) -> Fragments:
    """The first position of each item real, as a [CLS] is; the last item is a [CLS] alone."""
    mask = fragments.mask.clone()
    mask[:, 0] = True
    mask[-1, 1:] = False
    features = torch.where((mask & ~fragments.mask)[..., None], torch.ones(()), fragments.features)
    return Fragments(features, mask)


def test_a_case_by_hand():
    """Four patches, half are kept: one aggregated and one fused token; the mean patch is along x, the word is near it."""
    x, y = [1.0, 0.0], [0.0, 1.0]
    patches = torch.tensor([[x, y, [0.0, -1.0], [3.0, 0.0]]])
    image = Fragments(patches, torch.ones(1, 4, dtype=torch.bool))
    text = Fragments(torch.tensor([[[0.5, 0.1]]]), torch.ones(1, 1, dtype=torch.bool))
    made = create("laps", width=2, max_fragments=4)
    with torch.no_grad():
        made.parts.scale.zero_()  # equal weights: the aggregated token is the mean of the two kept patches, along x
    # The cosines of x and y with the word are 5u and u, so the relevance of the patches is 1 + 5u, u, -u, 1 + 5u.
    u = 0.1 / np.hypot(0.5, 0.1)
    aggregated = 5 * u  # of both patches along x, which are kept
    fused = u  # along +y: softmax(u, -u) puts more on y than on its opposite
    expected = max(aggregated, fused) + (aggregated + fused) / 2
    assert made.score(image, text).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("config", "fragments", "kept", "tokens"),
    [
        (LapsConfig(), 196, 98, 39),
        (LapsConfig(keep_ratio=0.8, aggregation_ratio=0.6, max_fragments=49), 49, 40, 23),
        (LapsConfig(), 36, 18, 7),
        (LapsConfig(), 1, 1, 1),
        (LapsConfig(), 577, 289, 39),  # larger than what the network was built for
        (LapsConfig(keep_ratio=0.55), 100, 55, 22),  # 100 * 0.55 is 55.00000000000001, 100 * 0.4 * 0.55 is 22.000...04
        (
            LapsConfig(keep_ratio=0.3, aggregation_ratio=0.1),
            100,
            30,
            3,
        ),  # 100 * 0.1 * 0.3 is 3.0, 0.3 * 0.1 is not 0.03
        (LapsConfig(aggregated_tokens=5), 10, 5, 5),
    ],
)
def test_counts_of_kept_and_aggregated(config, fragments, kept, tokens):
    assert (config.keep_count(fragments), config.token_count(fragments)) == (kept, tokens)


def test_the_choice_depends_on_the_caption():
    axes = torch.eye(6, WIDTH)[None]
    image = Fragments(axes, torch.ones(1, 6, dtype=torch.bool))
    captions = Fragments(torch.stack([axes[0, :3], axes[0, 3:]]), torch.ones(2, 3, dtype=torch.bool))
    made = scorer()
    weights = pairs._token_weights(
        made._image_side(made.prepare_images(image)), F.normalize(captions.features.mean(1), dim=-1)
    )
    aggregated, fused = weights[0, :, 0].detach(), weights[0, :, -1].detach()
    np.testing.assert_array_equal(aggregated > 0, [[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]])
    np.testing.assert_array_equal(fused > 0, [[0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:3]))


def test_equal_patches_do_not_make_the_choice_matter():
    patch = torch.randn(1, 1, WIDTH, generator=torch.Generator().manual_seed(3))
    image = Fragments(patch.expand(1, 8, -1), torch.ones(1, 8, dtype=torch.bool))
    single = Fragments(patch, torch.ones(1, 1, dtype=torch.bool))
    made = scorer()
    torch.testing.assert_close(made.score(image, TEXTS), made.score(single, TEXTS))


def test_a_class_token_is_told_by_the_backbone():
    class Backbone(nn.Module):
        width = WIDTH
        class_tokens = 1

    images = with_first_real(IMAGES)
    torch.manual_seed(0)
    told = create("laps", image_encoder=Backbone(), max_fragments=12).eval()
    said = create("laps", class_token="present", max_fragments=12, width=WIDTH).eval()
    unsaid = create("laps", max_fragments=12, width=WIDTH).eval()
    for other in (said, unsaid):
        other.load_state_dict(told.state_dict())
    with torch.no_grad():
        expected = told.score(images, TEXTS)
        torch.testing.assert_close(said.score(images, TEXTS), expected, rtol=0, atol=0)
        assert not torch.allclose(unsaid.score(images, TEXTS), expected, atol=1e-3)


@pytest.mark.parametrize("elements", [60, 200, 10_000])
def test_tiles_change_neither_scores_nor_gradients(elements):
    whole, tiled = scorer(), scorer()
    tiled.tile_elements = elements
    gradients = []
    for made in (whole, tiled):
        features = IMAGES.features.masked_fill(~IMAGES.mask[..., None], 0).requires_grad_()
        losses = made.losses(Fragments(features, IMAGES.mask), PAIRS[1], IDS)
        sum(losses.values()).backward()
        gradients.append([losses["matching"].detach(), features.grad, *(p.grad for p in made.parameters())])
    for ours, expected in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_gradients_equal_finite_differences():
    # The relevance is without gradient on purpose, and so are the fused token's weights: nothing is left to fuse here.
    made = scorer(width=4, keep_ratio=1.0, aggregation_ratio=0.5).double()
    images, texts = naive.ragged(2, 4, 4, seed=5), naive.ragged(2, 2, 4, seed=6)
    patches = images.features.masked_fill(~images.mask[..., None], 0).double().requires_grad_()
    words = texts.features.masked_fill(~texts.mask[..., None], 0).double().requires_grad_()

    def score(v, t):
        return made.score(Fragments(v, images.mask), Fragments(t, texts.mask))

    assert torch.autograd.gradcheck(score, (patches, words), eps=1e-6, atol=1e-5)


def test_the_relevance_is_not_learned_from():
    """The caption's words reach the score by their cosines alone, not through what they chose."""
    made = scorer()
    words = TEXTS.features.masked_fill(~TEXTS.mask[..., None], 0).requires_grad_()
    side = made._image_side(made.prepare_images(IMAGES))
    weights = pairs._token_weights(side, F.normalize(words.mean(1), dim=-1))
    assert weights.requires_grad  # through the aggregation network
    assert torch.autograd.grad(weights.square().sum(), words, allow_unused=True)[0] is None


def test_the_network_runs_once_an_image_and_its_result_is_kept():
    made = scorer()
    calls = []
    made.parts.register_forward_hook(lambda module, inputs, output: calls.append(output.shape))
    with torch.no_grad():
        images = made.prepare_images(IMAGES)
        assert made.prepare_images(images) is images
        torch.testing.assert_close(made.score(images, TEXTS), made.score(IMAGES, TEXTS))
    assert calls == [(5, 9, 2), (5, 9, 2)]  # once for `images`, once for `IMAGES`, which were not prepared


def test_the_ratio_loss_is_a_constant_of_the_counts():
    losses = scorer(keep_ratio=0.5).losses(*PAIRS, IDS)
    counts = IMAGES.lengths.tolist()
    share = sum(-(-n // 2) for n in counts) / sum(counts)
    assert losses["ratio"].item() == pytest.approx(2.0 * (share - 0.5) ** 2, rel=1e-4)
    assert share > 0.5  # else the test could not fail
    assert not losses["ratio"].requires_grad
    without = scorer(ratio_weight=0.0).losses(*PAIRS, IDS)
    assert without.keys() == {"matching"}
    torch.testing.assert_close(without["matching"], losses["matching"])


def test_the_objective_is_that_of_the_training():
    made = scorer()
    made.objective = TripletLoss(0.4, "all")
    expected = TripletLoss(0.4, "all")(made.score(*PAIRS), IDS)
    torch.testing.assert_close(made.losses(*PAIRS, IDS)["matching"], expected)


def test_half_precision_around_the_scorer_does_not_change_its_scores():
    made = scorer()
    with torch.no_grad():
        images = made.prepare_images(IMAGES)
        expected = made.score(images, TEXTS)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(made.score(images, TEXTS), expected, rtol=0, atol=0)


def test_a_network_built_late_does_not_depend_on_the_first_images():
    for first in (IMAGES, IMAGES[:2].trimmed(), naive.ragged(1, 3, WIDTH, seed=9)):
        made = create("laps", max_fragments=60)
        made.prepare_images(first)
        assert made.parts.output.weight.shape == (12, 2)


def test_sides_of_different_width_are_refused():
    with pytest.raises(InvalidFragments, match="width 10 and captions 4"):
        create("laps").score(IMAGES, naive.ragged(2, 3, 4, seed=3))
