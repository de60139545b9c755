"""GRM's equations written out pair by pair and token by token, in float64, without a product over pairs.

The oracle of the tests: it shares nothing with `methods/` but the parameters it is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from harness.fragments import Fragments


@dataclass(frozen=True)
class Model:
    """Parameters by name, as float64 arrays, and the switches that the oracle knows."""

    parameters: dict[str, np.ndarray]
    order: str = "norm_then_gate"
    means: str = "length"
    tau: float = 1.0
    hard: bool = False
    slope: float = 0.0

    @classmethod
    def of(cls, scorer, **switches) -> Model:
        return cls(
            {name.removeprefix("parts."): p.double().numpy() for name, p in scorer.state_dict().items()}, **switches
        )


def unit(v: np.ndarray) -> np.ndarray:
    length = math.sqrt(float((v * v).sum()))
    return v / length if length > 0 else v


def gelu(x: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda z: 0.5 * z * (1 + math.erf(z / math.sqrt(2))))(x)


def gates(model: Model, side: str, tokens: np.ndarray) -> np.ndarray:
    """One gate a token, without noise; 1 where the model has no adapter."""
    p = model.parameters
    if f"{side}.hidden.weight" not in p:
        return np.ones(len(tokens))
    hidden = gelu(tokens @ p[f"{side}.hidden.weight"].T + p[f"{side}.hidden.bias"])
    out = hidden @ p[f"{side}.down.weight"].T + p[f"{side}.down.bias"]
    soft = np.array([1 / (1 + math.exp(-(keep - drop) / model.tau)) for drop, keep in out])
    return (soft > 0.5).astype(float) if model.hard else soft


def attention(gated: np.ndarray, prompts: np.ndarray) -> np.ndarray:
    """(R, K): sigmoid affinities of gated patches and unit prompts, each column divided by its sum."""
    raw = np.array([[1 / (1 + math.exp(-float(v @ unit(p)))) for p in prompts] for v in gated])
    return raw / raw.sum(0, keepdims=True)


def regions(model: Model, gated: np.ndarray) -> np.ndarray:
    """Region means; the gated patches themselves where the model has no prompts."""
    if "regions.prompting.prompts" not in model.parameters:
        return gated
    weights = attention(gated, model.parameters["regions.prompting.prompts"])
    return np.array([sum(weights[row, k] * gated[row] for row in range(len(gated))) for k in range(weights.shape[1])])


def similarity(words, rows, word_denominator: float, row_denominator: float, slope: float) -> float:
    """(1/n) sum_t max_v <t, v> + (1/L) sum_v max_t <t, v>, with the denominators given."""

    def token(t, v) -> float:
        value = float(t @ v)
        return value if value > 0 or slope == 0 else slope * value

    to_rows = sum(max(token(t, v) for v in rows) for t in words) / word_denominator
    return to_rows + sum(max(token(t, v) for t in words) for v in rows) / row_denominator


def pair_levels(model: Model, patches: np.ndarray, words: np.ndarray) -> dict[str, float]:
    """The three levels of one image and one caption, given their real tokens."""
    gate_v, gate_t = gates(model, "significance", patches), gates(model, "granularity", words)
    found = regions(model, gate_v[:, None] * patches)
    if model.order == "norm_then_gate":
        salient_v = [a * unit(v) for a, v in zip(gate_v, patches, strict=True)]
        salient_t = [a * unit(t) for a, t in zip(gate_t, words, strict=True)]
    elif model.order == "gate_then_norm":
        salient_v = [unit(a * v) for a, v in zip(gate_v, patches, strict=True)]
        salient_t = [unit(a * t) for a, t in zip(gate_t, words, strict=True)]
    else:
        salient_v, salient_t = [unit(v) for v in patches], [unit(t) for t in words]
    n, m = {"length": (len(words), len(patches)), "gates": (gate_t.sum(), gate_v.sum())}[model.means]
    plain_v, plain_t = [unit(v) for v in patches], [unit(t) for t in words]
    return {
        "original": similarity(plain_t, plain_v, len(words), len(patches), model.slope),
        "salient": similarity(salient_t, salient_v, n, m, model.slope),
        "uncertain": similarity(salient_t, [unit(u) for u in found], n, len(found), model.slope),
    }


def levels(model: Model, images: Fragments, texts: Fragments) -> dict[str, np.ndarray]:
    """The three levels (I, T) by a double loop over pairs."""
    cells = [[pair_levels(model, image, text) for text in real(texts)] for image in real(images)]
    return {name: np.array([[cell[name] for cell in row] for row in cells]) for name in cells[0][0]}


def real(fragments: Fragments) -> list[np.ndarray]:
    """Each item's real fragments."""
    return [f[m].double().numpy() for f, m in zip(fragments.features, fragments.mask, strict=True)]


def ragged(items: int, longest: int, width: int, seed: int, shortest: int = 1, holes: bool = False) -> Fragments:
    """Random fragments of random lengths; with `holes`, the real ones are scattered. Padding holds large numbers."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(shortest, longest + 1, (items,), generator=generator)
    mask = torch.arange(longest) < lengths[:, None]
    if holes:
        mask = torch.stack([row[torch.randperm(longest, generator=generator)] for row in mask])
    features = torch.randn(items, longest, width, generator=generator)
    return Fragments(features.masked_fill(~mask[..., None], 1e30), mask)
