"""GRM's equations written out pair by pair and token by token, in float64, without a matrix product over pairs.

The oracle of the tests. Nothing here is shared with `methods/`.
"""

from __future__ import annotations

import math

import numpy as np


def unit(v: np.ndarray) -> np.ndarray:
    length = math.sqrt(float((v * v).sum()))
    return v / length if length > 0 else v


def sum_of_both_means(words, rows, word_denominator, row_denominator) -> float:
    """(1/n) sum_t max_v <t, v> + (1/L) sum_v max_t <t, v>, with the denominators given."""
    to_rows = sum(max(float(t @ v) for v in rows) for t in words) / word_denominator
    to_words = sum(max(float(t @ v) for t in words) for v in rows) / row_denominator
    return to_rows + to_words


def pair_levels(patches, patch_gates, words, word_gates, regions, order="norm_then_gate", means="length", slope=0.0):
    """The three levels of one image and one caption, from real tokens only: (original, salient, uncertain)."""
    plain_v, plain_t = [unit(v) for v in patches], [unit(t) for t in words]
    gate_v, gate_t = {
        "norm_then_gate": (patch_gates, word_gates),
        "gate_then_norm": (patch_gates, word_gates),
        "none": (np.ones_like(patch_gates), np.ones_like(word_gates)),
    }[order]
    if order == "gate_then_norm":
        salient_v = [unit(a * v) for a, v in zip(gate_v, patches, strict=True)]
        salient_t = [unit(a * t) for a, t in zip(gate_t, words, strict=True)]
        gate_v, gate_t = np.ones(len(patches)), np.ones(len(words))
    else:
        salient_v = [a * v for a, v in zip(gate_v, plain_v, strict=True)]
        salient_t = [a * t for a, t in zip(gate_t, plain_t, strict=True)]
    n_t, n_v = {"length": (len(words), len(patches)), "gates": (gate_t.sum(), gate_v.sum())}[means]
    assert slope == 0.0
    return (
        sum_of_both_means(plain_t, plain_v, len(words), len(patches)),
        sum_of_both_means(salient_t, salient_v, n_t, n_v),
        sum_of_both_means(salient_t, [unit(u) for u in regions], n_t, len(regions)),
    )


def attention(patches, prompts) -> np.ndarray:
    """(R, K): sigmoid affinities of gated patches and unit prompts, each column divided by its sum."""
    raw = np.array([[1 / (1 + math.exp(-float(v @ unit(p)))) for p in prompts] for v in patches])
    return raw / raw.sum(0, keepdims=True)


def region_means(patches, prompts) -> np.ndarray:
    weights = attention(patches, prompts)
    return np.array([sum(weights[l, k] * patches[l] for l in range(len(patches))) for k in range(len(prompts))])


def gelu(x: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda z: 0.5 * z * (1 + math.erf(z / math.sqrt(2))))(x)


def two_layers(x, first_weight, first_bias, second_weight, second_bias) -> np.ndarray:
    return gelu(x @ first_weight.T + first_bias) @ second_weight.T + second_bias
