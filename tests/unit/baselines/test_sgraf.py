"""SGRAF against its equations written out pair by pair, in training by the authors' statistics, and tile by tile."""

from __future__ import annotations

import baselines_naive as naive
import numpy as np
import pytest
import sgraf_naive
import torch
from torch import nn

from harness.baselines.sgraf import AttentionFiltration, GraphReasoning, WholeVector
from harness.registry import create
from harness.scoring import similarity_matrix

WIDTH = 8
IMAGES = naive.ragged(5, 7, WIDTH, seed=1)
TEXTS = naive.ragged(6, 5, WIDTH, seed=2)
REASONINGS = ("graph", "filtration")


def scorer(**config):
    """In evaluation mode, with running statistics and biases that are not those of a fresh network."""
    torch.manual_seed(0)
    made = create("sgraf", width=WIDTH, similarity_width=6, **config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    made.train().losses(IMAGES, TEXTS[:5], torch.arange(5))
    return made.eval()


@pytest.mark.parametrize("reasoning", REASONINGS)
@pytest.mark.parametrize("options", [{}, {"steps": 1, "inverse_temperature": 4.0}])
def test_scores_equal_the_equations_pair_by_pair(reasoning, options):
    made = scorer(reasoning=reasoning, **options)
    parameters = naive.parameters(made.parts)

    def pair(image, text):
        return sgraf_naive.score(
            parameters, image, text, reasoning, options.get("steps", 3), options.get("inverse_temperature", 9.0)
        )

    expected = naive.matrix(pair, IMAGES, TEXTS)
    assert expected.std() > 1e-3  # scores that say something
    np.testing.assert_allclose(made.score(IMAGES, TEXTS).detach().numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("reasoning", REASONINGS)
def test_tiles_change_neither_scores_nor_gradients(reasoning):
    def gradients(values):
        made = scorer(reasoning=reasoning, dropout=0.0).train()
        made.tile_values = values
        sum(made.losses(IMAGES, TEXTS[:5], torch.arange(5)).values()).backward()
        return {name: parameter.grad for name, parameter in made.named_parameters()}

    whole, tiled = gradients(None), gradients(3 * WIDTH * 5)  # three pairs at a time
    for name, gradient in whole.items():
        torch.testing.assert_close(tiled[name], gradient, atol=1e-6, rtol=1e-4, msg=name)
    made = scorer(reasoning=reasoning)
    made.tile_values = 2 * WIDTH * 5
    in_tiles = made.score(IMAGES, TEXTS)
    torch.testing.assert_close(in_tiles, similarity_matrix(made, IMAGES, TEXTS))


def test_the_gates_are_normalised_over_the_real_vectors_of_all_pairs_in_training():
    module = AttentionFiltration(4).train()
    vectors, mask = torch.randn(6, 3, 4), torch.tensor([[True, True, True], [True, True, False]] * 3)
    module.joined(vectors.masked_fill(~mask[..., None], 1e4), mask)
    gates = module.gate(vectors[mask])
    torch.testing.assert_close(module.norm.running_mean, 0.1 * gates.mean(0))
    torch.testing.assert_close(module.norm.running_var, 0.9 + 0.1 * gates.var(0))


def test_equal_vectors_are_filtered_to_themselves_and_a_closed_gate_leaves_one_out():
    module = AttentionFiltration(2).eval()
    with torch.no_grad():
        module.gate.weight.copy_(torch.tensor([[100.0, -100.0]]))  # open for the first axis, closed for the second
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    both = torch.ones(1, 2, dtype=torch.bool)
    torch.testing.assert_close(module.joined(torch.stack([first, first])[None], both)[0], first)
    torch.testing.assert_close(module.joined(torch.stack([first, second])[None], both)[0], first)


def test_the_last_round_of_messages_reads_every_vector_but_computes_one_answer():
    torch.manual_seed(0)
    module = GraphReasoning(4, 2)
    nodes, mask = torch.randn(3, 5, 4), torch.ones(3, 5, dtype=torch.bool)
    assert module(nodes, mask).shape == (3, 1, 4)
    moved = nodes.clone()
    moved[:, 4] += 1
    assert not torch.equal(module(moved, mask), module(nodes, mask))
    torch.testing.assert_close(module(moved, mask & (torch.arange(5) < 4)), module(nodes, mask & (torch.arange(5) < 4)))


def test_a_whole_vector_reads_its_real_fragments_alone_in_training_too():
    torch.manual_seed(0)
    module = WholeVector(WIDTH, dropout=0.0, normalize=True).train()
    features, mask = torch.randn(4, 6, WIDTH), torch.arange(6) < torch.tensor([6, 3, 1, 2])[:, None]
    clean = features.masked_fill(~mask[..., None], 0)
    vectors = module(clean, mask)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(vectors[2], nn.functional.normalize(clean[2, 0], dim=0))  # of one fragment: itself
    projected = module.local(features[mask])
    torch.testing.assert_close(module.local_norm.running_mean, 0.1 * projected.mean(0))


def test_training_lowers_the_loss():
    torch.manual_seed(0)
    made = create("sgraf", width=WIDTH, similarity_width=16, dropout=0.0).train()
    optimizer = torch.optim.Adam(made.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        loss = sum(made.losses(IMAGES, TEXTS[:5], torch.arange(5)).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
