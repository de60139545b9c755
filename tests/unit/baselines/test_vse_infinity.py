"""VSE-infinity: the learned pooling against a loop, the image network, and how the width becomes known."""

from __future__ import annotations

import baselines_naive as naive
import numpy as np
import pytest
import torch
from torch import nn

from harness.baselines.vse_infinity import ResidualMlp
from harness.errors import InvalidFragments, InvalidSpec
from harness.fragments import Fragments
from harness.registry import create
from harness.scorers.generalized_pooling import GeneralizedPooling, position_codes

WIDTH = 8
IMAGES = naive.ragged(5, 7, WIDTH, seed=1)
TEXTS = naive.ragged(6, 5, WIDTH, seed=2)


def pooling(seed: int = 0) -> GeneralizedPooling:
    torch.manual_seed(seed)
    module = GeneralizedPooling()
    with torch.no_grad():
        module.output.weight.mul_(0.5)  # weights that are neither flat nor all on one rank
    return module


def scorer(**config):
    """In evaluation mode, with running statistics that are not those of a fresh normalisation."""
    torch.manual_seed(0)
    made = create("vse_infinity", width=WIDTH, image_mlp_width=6, **config)
    made.train().losses(*pairs(), torch.arange(5))
    return made.eval()


def pairs() -> tuple[Fragments, Fragments]:
    return IMAGES, TEXTS[:5]


# The pooling --------------------------------------------------------------------------------------------------------


def test_pooling_equals_a_loop_over_features_and_ranks():
    module = pooling()
    expected = [naive.gpo(naive.parameters(module), fragments) for fragments in naive.real(IMAGES)]
    ours = module(IMAGES.features, IMAGES.mask).detach().numpy()
    np.testing.assert_allclose(ours, np.array(expected), atol=2e-6)


@pytest.mark.parametrize("size", [1, 2, 7, 36])
def test_weights_of_each_size_equal_a_gru_written_out(size):
    module = pooling()
    weights = module.weights(torch.tensor([size]), longest=40).detach().numpy()[0]
    np.testing.assert_allclose(weights[:size], naive.gpo_weights(naive.parameters(module), size), atol=1e-6)
    np.testing.assert_array_equal(weights[size:], 0)


def test_the_weights_of_a_size_do_not_depend_on_the_other_sizes():
    module = pooling()
    together = module.weights(torch.tensor([3, 9, 3, 1]), longest=9)
    torch.testing.assert_close(together[0], together[2], rtol=0, atol=0)
    alone = torch.cat([module.weights(torch.tensor([size]), longest=9) for size in (3, 9, 3, 1)])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(together.sum(1), torch.ones(4))


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([0.0, 0.0, 0.0], [2.0, 2.0]),  # equal weights: the mean
        ([1e3, 0.0, 0.0], [3.0, 6.0]),  # all on the first rank: the maximum of each feature
        ([0.0, 0.0, 1e3], [1.0, -1.0]),  # all on the last: the minimum
    ],
)
def test_mean_maximum_and_minimum_are_special_cases(logits, expected):
    module = pooling()
    module.weights = lambda sizes, longest: torch.tensor([logits]).softmax(1)
    features = torch.tensor([[[1.0, 6.0], [3.0, -1.0], [2.0, 1.0]]])
    pooled = module(features, torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(pooled, torch.tensor([expected]))


def test_a_single_fragment_is_its_own_pool():
    features = torch.randn(3, 1, 4)
    pooled = pooling()(features, torch.ones(3, 1, dtype=torch.bool))
    torch.testing.assert_close(pooled, features[:, 0])


def test_padding_gets_no_gradient():
    features = torch.randn(1, 4, 3, requires_grad=True)
    mask = torch.tensor([[True, False, True, True]])
    pooling()(features, mask).sum().backward()
    assert features.grad is not None
    assert bool((features.grad[~mask] == 0).all())
    assert bool((features.grad[mask] != 0).all())


def test_position_codes_by_hand():
    codes = position_codes(2, 4)
    expected = [[0, 1, 0, 1], [np.sin(1), np.cos(1), np.sin(0.01), np.cos(0.01)]]
    np.testing.assert_allclose(codes.numpy(), expected, atol=1e-7)


# The whole ----------------------------------------------------------------------------------------------------------


def test_scores_equal_a_double_loop_over_pairs():
    ours = scorer()
    p = [naive.parameters(module) for module in (ours.parts, ours.image_pooling, ours.text_pooling)]

    def pair(patches, words):
        image = naive.gpo(p[1], naive.residual_mlp(p[0], patches))
        return naive.unit(image) @ naive.unit(naive.gpo(p[2], words))

    with torch.no_grad():
        scores = ours.score(IMAGES, TEXTS).numpy()
    np.testing.assert_allclose(scores, naive.matrix(pair, IMAGES, TEXTS), atol=2e-6)


def test_off_owns_no_image_network_and_needs_no_width():
    ours = create("vse_infinity.no_image_mlp")
    p = [naive.parameters(module) for module in (ours.image_pooling, ours.text_pooling)]

    def pair(patches, words):
        return naive.unit(naive.gpo(p[0], patches)) @ naive.unit(naive.gpo(p[1], words))

    with torch.no_grad():
        scores = ours.score(IMAGES, TEXTS).numpy()
    np.testing.assert_allclose(scores, naive.matrix(pair, IMAGES, TEXTS), atol=2e-6)
    assert {name.split(".")[0] for name, _ in ours.named_parameters()} == {"image_pooling", "text_pooling"}


def test_statistics_of_the_normalisation_come_from_real_fragments_alone():
    torch.manual_seed(0)
    padded, packed = ResidualMlp(WIDTH, 6), ResidualMlp(WIDTH, 6)
    packed.load_state_dict(padded.state_dict())
    features = IMAGES.features.masked_fill(~IMAGES.mask[..., None], 0)
    real = features[IMAGES.mask][:, None]
    ours = padded.train()(features, IMAGES.mask)
    alone = packed.train()(real, torch.ones(len(real), 1, dtype=torch.bool))
    torch.testing.assert_close(ours[IMAGES.mask], alone[:, 0])
    torch.testing.assert_close(padded.normalize.running_var, packed.normalize.running_var)
    assert bool((ours[~IMAGES.mask] == 0).all())


def test_preparing_twice_is_not_pooling_twice():
    ours = scorer()
    with torch.no_grad():
        once = ours.prepare_images(IMAGES)
        assert ours.prepare_images(once) is once
        again = ours.prepare_images(
            Fragments(once.features, once.mask)
        )  # without its mark it is an image of one fragment
        assert not torch.allclose(again.features, once.features, atol=1e-3)
        torch.testing.assert_close(ours.score(once, ours.prepare_texts(TEXTS)), ours.score(IMAGES, TEXTS))


# The width ----------------------------------------------------------------------------------------------------------


class Backbone(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.width = width


def test_backbones_give_the_width_before_a_training_collects_parameters():
    made = create("vse_infinity", image_encoder=Backbone(WIDTH), text_encoder=Backbone(WIDTH))
    assert {"parts.hidden.weight", "parts.output.bias"} <= dict(made.named_parameters()).keys()


def test_widths_that_disagree_are_refused():
    with pytest.raises(InvalidSpec, match="8 from the image backbone, 9 from the text backbone"):
        create("vse_infinity", image_encoder=Backbone(8), text_encoder=Backbone(9))
    with pytest.raises(InvalidFragments, match="images have width 8, but this VseInfinity was built for width 9"):
        create("vse_infinity", width=9).prepare_images(IMAGES)


def test_saved_weights_tell_the_width():
    saved = scorer()
    fresh = create("vse_infinity", image_mlp_width=6).eval()
    fresh.load_state_dict(saved.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(fresh.score(IMAGES, TEXTS), saved.score(IMAGES, TEXTS), rtol=0, atol=0)


def test_parameters_first_built_under_inference_mode_can_be_trained():
    made = create("vse_infinity")
    with torch.inference_mode():
        made.eval().score(IMAGES, TEXTS)
    made.train().losses(*pairs(), torch.arange(5))["matching"].backward()
    assert all(parameter.grad is not None for parameter in made.parameters())
