"""SGRAF's equations pair by pair and word by word, in float64 NumPy: shares nothing with `baselines/` but the parameters."""

from __future__ import annotations

import math

import numpy as np
from baselines_naive import Parameters, sigmoid, softmax, unit


def linear(p: Parameters, name: str, x: np.ndarray) -> np.ndarray:
    return p[f"{name}.weight"] @ x + p.get(f"{name}.bias", 0.0)


def normalized(p: Parameters, name: str, x: np.ndarray) -> np.ndarray:
    """Batch normalisation by running statistics; none where the network has none."""
    if f"{name}.running_mean" not in p:
        return x
    scaled = (x - p[f"{name}.running_mean"]) / np.sqrt(p[f"{name}.running_var"] + 1e-5)
    return p[f"{name}.weight"] * scaled + p[f"{name}.bias"]


def whole(p: Parameters, side: str, fragments: list[np.ndarray]) -> np.ndarray:
    """The vector of an image or caption: unit fragments, weighed by their agreement with their mean."""
    name = f"{side}_whole"
    mean = sum(fragments) / len(fragments)
    gate = np.tanh(normalized(p, f"{name}.mean_norm", linear(p, f"{name}.mean", mean)))
    logits = []
    for fragment in fragments:
        local = np.tanh(normalized(p, f"{name}.local_norm", linear(p, f"{name}.local", fragment)))
        logits.append(float(p[f"{name}.weigh.weight"][0] @ (local * gate)))
    weights = softmax(np.array(logits))
    return unit(sum(w * fragment for w, fragment in zip(weights, fragments, strict=True)))


def attended(regions: list[np.ndarray], words: list[np.ndarray], temperature: float) -> list[np.ndarray]:
    """What each word attends to: a region's cosines, leaky, are scaled to unit length over the words."""
    rows = []
    for region in regions:
        cosines = [float(region @ word) for word in words]
        leaky = [c if c > 0 else 0.1 * c for c in cosines]
        length = math.sqrt(sum(c * c for c in leaky))
        rows.append([c / (length + 1e-8) for c in leaky])
    found = []
    for number in range(len(words)):
        weights = softmax(temperature * np.array([row[number] for row in rows]))
        found.append(unit(sum(w * region for w, region in zip(weights, regions, strict=True))))
    return found


def nodes(p: Parameters, image: np.ndarray, text: np.ndarray, temperature: float) -> list[np.ndarray]:
    """The similarity vectors of a pair: that of the wholes, then one per word."""
    regions, words = [unit(r) for r in image], [unit(w) for w in text]
    difference = whole(p, "image", regions) - whole(p, "text", words)
    first = unit(linear(p, "whole", difference**2))
    contexts = attended(regions, words, temperature)
    local = [unit(linear(p, "local", (a - w) ** 2)) for a, w in zip(contexts, words, strict=True)]
    return [first, *local]


def graph(p: Parameters, vectors: list[np.ndarray], steps: int) -> np.ndarray:
    """The first vector after every vector has asked every other one, `steps` times."""
    for step in range(steps):
        after = []
        for asking in vectors:
            query = linear(p, f"reasoning.queries.{step}", asking)
            edges = softmax(np.array([query @ linear(p, f"reasoning.keys.{step}", other) for other in vectors]))
            message = sum(edge * other for edge, other in zip(edges, vectors, strict=True))
            after.append(np.maximum(linear(p, f"reasoning.updates.{step}", message), 0))
        vectors = after
    return vectors[0]


def filtration(p: Parameters, vectors: list[np.ndarray]) -> np.ndarray:
    """The mean of the vectors under their gates, as a unit vector."""
    gates = [
        float(sigmoid(normalized(p, "reasoning.norm", linear(p, "reasoning.gate", vector)))[0]) for vector in vectors
    ]
    return unit(sum(gate * vector for gate, vector in zip(gates, vectors, strict=True)) / sum(gates))


def score(
    p: Parameters, image: np.ndarray, text: np.ndarray, reasoning: str, steps: int = 3, temperature: float = 9.0
) -> float:
    vectors = nodes(p, image, text, temperature)
    joined = graph(p, vectors, steps) if reasoning == "graph" else filtration(p, vectors)
    return float(sigmoid(linear(p, "output", joined))[0])
