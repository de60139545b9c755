"""The baselines' equations, as their papers print them, pair by pair and token by token, in float64 NumPy.

The oracle of the tests: it shares nothing with `baselines/` but the parameters it is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from harness.fragments import Fragments

Parameters = dict[str, np.ndarray]


def ragged(items: int, longest: int, width: int, seed: int) -> Fragments:
    """Random fragments of random lengths, scattered; the first item is full. Padding holds large numbers."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (items,), generator=generator)
    lengths[0] = longest
    mask = torch.arange(longest) < lengths[:, None]
    mask = torch.stack([row[torch.randperm(longest, generator=generator)] for row in mask])
    features = torch.randn(items, longest, width, generator=generator)
    return Fragments(features.masked_fill(~mask[..., None], 1e30), mask)


def real(fragments: Fragments) -> list[np.ndarray]:
    """Each item's real fragments."""
    return [f[m].detach().double().numpy() for f, m in zip(fragments.features, fragments.mask, strict=True)]


def matrix(pair: Callable[[np.ndarray, np.ndarray], float], images: Fragments, texts: Fragments) -> np.ndarray:
    """`pair` of every image and caption, by a double loop."""
    return np.array([[pair(image, text) for text in real(texts)] for image in real(images)])


def parameters(module: torch.nn.Module) -> Parameters:
    return {name: value.detach().double().numpy() for name, value in module.state_dict().items()}


def unit(v: np.ndarray) -> np.ndarray:
    length = math.sqrt(float((v * v).sum()))
    return v / length if length > 0 else v


def softmax(values: np.ndarray) -> np.ndarray:
    weights = np.exp(values - values.max())
    return weights / weights.sum()


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


# VSE-infinity -------------------------------------------------------------------------------------------------------


def code(position: int, width: int) -> np.ndarray:
    """Sine at even, cosine at odd columns, frequency 10000^(-2i / width)."""
    row = np.zeros(width)
    for i in range(0, width, 2):
        angle = position / 10000 ** (i / width)
        row[i], row[i + 1] = math.sin(angle), math.cos(angle)
    return row


def gru(p: Parameters, suffix: str, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """One direction of a GRU, state by state."""
    state, states = np.zeros(p[f"gru.weight_hh_{suffix}"].shape[1]), []
    for x in inputs:
        from_input = p[f"gru.weight_ih_{suffix}"] @ x + p[f"gru.bias_ih_{suffix}"]
        from_state = p[f"gru.weight_hh_{suffix}"] @ state + p[f"gru.bias_hh_{suffix}"]
        reset_i, update_i, new_i = np.split(from_input, 3)
        reset_h, update_h, new_h = np.split(from_state, 3)
        update = sigmoid(update_i + update_h)
        new = np.tanh(new_i + sigmoid(reset_i + reset_h) * new_h)
        state = (1 - update) * new + update * state
        states.append(state)
    return states


def gpo_weights(p: Parameters, size: int, code_width: int = 32, temperature: float = 0.1) -> np.ndarray:
    codes = [code(rank, code_width) for rank in range(size)]
    forward = gru(p, "l0", codes)
    backward = gru(p, "l0_reverse", codes[::-1])[::-1]
    logits = [float(p["output.weight"][0] @ ((f + b) / 2)) for f, b in zip(forward, backward, strict=True)]
    return softmax(np.array(logits) / temperature)


def gpo(p: Parameters, fragments: np.ndarray) -> np.ndarray:
    """One item's fragments (F, D) pooled to (D,)."""
    weights = gpo_weights(p, len(fragments))
    pooled = np.zeros(fragments.shape[1])
    for feature in range(fragments.shape[1]):
        for rank, value in enumerate(sorted(fragments[:, feature], reverse=True)):
            pooled[feature] += weights[rank] * value
    return pooled


def residual_mlp(p: Parameters, fragments: np.ndarray) -> np.ndarray:
    """The image network in evaluation mode, with the running statistics of its normalisation."""
    hidden = fragments @ p["hidden.weight"].T + p["hidden.bias"]
    scaled = (hidden - p["normalize.running_mean"]) / np.sqrt(p["normalize.running_var"] + 1e-5)
    normalised = scaled * p["normalize.weight"] + p["normalize.bias"]
    return fragments + np.maximum(normalised, 0) @ p["output.weight"].T + p["output.bias"]


# LAPS ---------------------------------------------------------------------------------------------------------------


def gelu(x: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda z: 0.5 * z * (1 + math.erf(z / math.sqrt(2))))(x)


def aggregation_logits(p: Parameters, patch: np.ndarray) -> np.ndarray:
    centred = (patch - patch.mean()) / math.sqrt(patch.var() + 1e-5) * p["norm.weight"] + p["norm.bias"]
    hidden = gelu(p["hidden.weight"] @ centred + p["hidden.bias"])
    return p["scale"] * (p["output.weight"] @ hidden + p["output.bias"])


def laps_tokens(
    p: Parameters, patches: np.ndarray, words: np.ndarray, rho: float, tokens: int
) -> tuple[list[np.ndarray], list[int]]:
    """The caption's tokens of an image, before a [CLS] joins them, and the patches it keeps."""
    image_mean, caption_mean = patches.mean(0), words.mean(0)
    scores = np.array([unit(v) @ unit(image_mean) + unit(v) @ unit(caption_mean) for v in patches])
    count = math.ceil(round(rho * len(patches), 9))
    order = sorted(range(len(patches)), key=lambda index: -scores[index])
    kept, rest = order[:count], order[count:]
    logits = np.array([aggregation_logits(p, patches[index]) for index in kept])
    distilled = []
    for token in range(tokens):
        weights = softmax(logits[:, token])
        distilled.append(sum(w * patches[index] for w, index in zip(weights, kept, strict=True)))
    if rest:
        weights = softmax(scores[rest])
        distilled.append(sum(w * patches[index] for w, index in zip(weights, rest, strict=True)))
    return distilled, kept


def laps(
    p: Parameters, patches: np.ndarray, words: np.ndarray, rho: float, tokens: int, class_token: bool, slope: float
) -> float:
    """Score of one image and one caption, given their real fragments."""
    apart = patches[:1] if class_token and len(patches) > 1 else patches[:0]
    distilled, _ = laps_tokens(p, patches[len(apart) :], words, rho, tokens)
    similarity = [[leaky(float(unit(a) @ unit(t)), slope) for t in words] for a in [*apart, *distilled]]
    best_token = [max(row[word] for row in similarity) for word in range(len(words))]
    best_word = [max(row) for row in similarity]
    return sum(best_token) / len(best_token) + sum(best_word) / len(best_word)


def leaky(value: float, slope: float) -> float:
    return value if value > 0 else slope * value


# Late interaction ---------------------------------------------------------------------------------------------------


def filip(patches: np.ndarray, words: np.ndarray) -> dict[str, float]:
    cosines = [[float(unit(v) @ unit(t)) for t in words] for v in patches]
    return {
        "i2t": sum(max(row) for row in cosines) / len(patches),
        "t2i": sum(max(row[word] for row in cosines) for word in range(len(words))) / len(words),
    }


def contrast(scores: np.ndarray, ids: list[int], temperature: float) -> float:
    """Mean over the rows of -log softmax at the diagonal, other positives of the same id left out."""
    total = 0.0
    for row in range(len(ids)):
        others = [column for column in range(len(ids)) if column == row or ids[column] != ids[row]]
        total -= math.log(softmax(np.array([scores[row, c] / temperature for c in others]))[others.index(row)])
    return total / len(ids)
