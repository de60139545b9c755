"""GRM's gates: the law of the training mask, its evaluation value, and the forms hard and off."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from harness.methods.grm.gates import (
    GATES,
    ORDERS,
    HardGate,
    OpenGate,
    SoftGate,
    logistic_noise,
    mean_over_gates,
    mean_over_length,
    no_noise,
)

DRAWS = 20_000


def constant_gate(logit: float, kind: type[SoftGate] = SoftGate, **options) -> SoftGate:
    """A gate in training mode whose decision D1 - D0 is `logit` whatever comes in."""
    gate = kind(2, 2, keep_bias=logit, **options)
    with torch.no_grad():
        gate.down.weight.zero_()
    return gate


def draws(gate: SoftGate, seed: int = 0, count: int = DRAWS) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return gate(torch.ones(1, count, 2), torch.ones(1, count, dtype=torch.bool), generator)[0]


def test_an_undecided_gate_is_uniform_in_training():
    """METHODS 1.3: at D1 = D0 and tau = 1 the mask is Uniform(0, 1), mean 0.5, sd 0.289."""
    found = draws(constant_gate(0.0))
    assert stats.kstest(found.numpy(), "uniform").pvalue > 0.01
    assert found.mean().item() == pytest.approx(0.5, abs=0.01)
    assert found.std().item() == pytest.approx(12**-0.5, abs=0.005)


@pytest.mark.parametrize(("logit", "rounded"), [(1.0, 0.661), (2.0, 0.794), (-1.5, None)])
def test_the_mean_of_the_training_mask(logit, rounded):
    e = math.exp(logit)
    expected = e * (e - 1 - logit) / (e - 1) ** 2
    assert draws(constant_gate(logit)).mean().item() == pytest.approx(expected, abs=0.008)
    assert rounded is None or expected == pytest.approx(rounded, abs=5e-4)


@pytest.mark.parametrize(("logit", "tau"), [(0.0, 1.0), (0.7, 0.5), (-1.0, 2.0)])
def test_the_law_is_that_of_gumbel_softmax(logit, tau):
    torch.manual_seed(1)
    decisions = torch.tensor([0.0, logit]).expand(DRAWS, 2)
    theirs = torch.nn.functional.gumbel_softmax(decisions, tau=tau)[:, 1]
    assert stats.ks_2samp(draws(constant_gate(logit, temperature=tau)).numpy(), theirs.numpy()).pvalue > 0.01


def test_the_noise_is_standard_logistic():
    noise = logistic_noise(torch.empty(DRAWS), torch.Generator().manual_seed(0))
    assert stats.kstest(noise.numpy(), "logistic").pvalue > 0.01


@pytest.mark.parametrize(("logit", "tau"), [(0.0, 1.0), (1.0, 1.0), (1.0, 0.5), (-3.0, 2.0)])
def test_evaluation_and_switched_off_noise_take_the_sigmoid(logit, tau):
    expected = torch.full((3,), 1 / (1 + math.exp(-logit / tau)))
    torch.testing.assert_close(draws(constant_gate(logit, temperature=tau).eval(), count=3), expected)
    torch.testing.assert_close(draws(constant_gate(logit, temperature=tau, noise=no_noise), count=3), expected)


def test_a_hard_gate_is_zero_or_one_with_the_gradient_of_the_soft_one():
    torch.manual_seed(0)
    soft, x, mask = GATES["soft"](4, 3).eval(), torch.randn(2, 5, 4), torch.ones(2, 5, dtype=torch.bool)
    hard = HardGate(4, 3).eval()
    hard.load_state_dict(soft.state_dict())
    assert set(hard(x, mask).flatten().tolist()) == {0.0, 1.0}
    assert torch.equal(hard(x, mask), (soft(x, mask) > 0.5).float())
    weights = torch.randn(2, 5)
    gradients = [torch.autograd.grad((g(x, mask) * weights).sum(), list(g.parameters())) for g in (soft, hard)]
    for expected, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected)


def test_an_open_gate_keeps_all_and_owns_nothing():
    mask = torch.tensor([[True, False, True]])
    assert OpenGate()(torch.randn(1, 3, 4), mask).tolist() == [[1.0, 0.0, 1.0]]
    assert not list(OpenGate().parameters())


def test_padding_is_closed():
    gate, mask = SoftGate(4, 4, keep_bias=9.0), torch.tensor([[True, False, True]])
    assert gate(torch.randn(1, 3, 4), mask).tolist()[0][1] == 0.0


@pytest.mark.parametrize("logit", [1e4, -1e4])
def test_extreme_decisions_stay_finite(logit):
    gate = constant_gate(logit)
    gate.zero_grad()
    out = gate(torch.ones(1, 4, 2), torch.ones(1, 4, dtype=torch.bool))
    out.sum().backward()
    assert out.tolist() == [[float(logit > 0)] * 4]
    assert all(torch.isfinite(p.grad).all() for p in gate.parameters())


def test_orders_of_gate_and_norm():
    gates = torch.tensor([[0.25, 1.0, 0.0]])
    assert ORDERS["norm_then_gate"](gates).tolist() == [[0.25, 1.0, 0.0]]
    assert ORDERS["gate_then_norm"](gates).tolist() == [[1.0, 1.0, 0.0]]  # a zero vector stays zero
    assert ORDERS["none"](gates).tolist() == [[1.0, 1.0, 1.0]]


def test_weights_of_the_mean_over_gated_fragments():
    gates, mask = torch.tensor([[0.2, 0.6, 0.9]]), torch.tensor([[True, True, False]])
    torch.testing.assert_close(mean_over_length(gates, mask), torch.tensor([[0.5, 0.5, 0.0]]))
    torch.testing.assert_close(mean_over_gates(gates, mask), torch.tensor([[1.25, 1.25, 0.0]]))
    assert torch.isfinite(mean_over_gates(torch.zeros(1, 3), mask)).all()
