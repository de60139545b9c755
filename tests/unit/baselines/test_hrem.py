"""HREM against its equations written out item by item and pair by pair, in float64 NumPy; warm-up; what is kept and refused."""

from __future__ import annotations

import baselines_naive as naive
import numpy as np
import pytest
import torch

from harness.errors import InvalidFragments, InvalidSpec
from harness.registry import create

WIDTH, HEADS, K = 8, 2, 4
IMAGES = naive.ragged(5, 7, WIDTH, seed=1)
TEXTS = naive.ragged(5, 6, WIDTH, seed=2)
IDS = torch.tensor([0, 1, 1, 2, 3])


def scorer(**config):
    torch.manual_seed(0)
    made = create("hrem", width=WIDTH, heads=HEADS, matches=K, dropout=0.0, **config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made.eval()


def normed(x, weight, bias):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * weight + bias


def layer(parameters, prefix, x, bias=0.0):
    """A Transformer layer (n, D), head by head; `bias` (n, n) is added to the attention's logits."""
    p = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
    q, k, v = np.split(x @ p["self_attn.in_proj_weight"].T + p["self_attn.in_proj_bias"], 3, axis=1)
    size, out = x.shape[1] // HEADS, []
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        logits = q[:, part] @ k[:, part].T / np.sqrt(size) + bias
        out.append(np.array([naive.softmax(row) for row in logits]) @ v[:, part])
    x = x + np.concatenate(out, 1) @ p["self_attn.out_proj.weight"].T + p["self_attn.out_proj.bias"]
    x = normed(x, p["norm1.weight"], p["norm1.bias"])
    hidden = np.maximum(x @ p["linear1.weight"].T + p["linear1.bias"], 0)
    return normed(x + hidden @ p["linear2.weight"].T + p["linear2.bias"], p["norm2.weight"], p["norm2.bias"])


def embedded(parameters, side, items, share=0.8):
    found = []
    for fragments in naive.real(items):
        largest = np.sort(fragments, 0)[::-1][:2].mean(0)
        related = layer(parameters, f"{side}_pooling.layer.", fragments).mean(0)
        found.append(naive.unit(share * largest + (1 - share) * related))
    return np.array(found)


@pytest.mark.parametrize("share", [0.8, 0.0])
@torch.no_grad()
def test_scores_equal_the_equations_item_by_item(share):
    made = scorer(residual_weight=share)
    parameters = naive.parameters(made.parts)
    expected = embedded(parameters, "image", IMAGES, share) @ embedded(parameters, "text", TEXTS, share).T
    np.testing.assert_allclose(made.score(IMAGES, TEXTS).numpy(), expected, atol=1e-5)


def relevance(parameters, name, values):
    """One number from a pair's best matches, and their mean."""
    best = np.sort(values)[::-1][:K]
    best = np.pad(best, (0, K - len(best)))
    hidden = np.maximum(parameters[f"{name}.0.weight"] @ best + parameters[f"{name}.0.bias"], 0)
    mean = values.mean()
    return float(parameters[f"{name}.2.weight"][0] @ hidden + parameters[f"{name}.2.bias"][0] + mean), float(mean)


def matched(regions, words, by):
    """SCAN's similarities: of each word with its best region (by 0: normalised over the words), or the other way."""
    regions, words = (np.array([naive.unit(row) for row in rows]) for rows in (regions, words))
    similarity = words @ regions.T
    similarity = np.where(similarity > 0, similarity, 0.1 * similarity)
    return (similarity / np.sqrt((similarity**2).sum(by, keepdims=True))).max(1 - by)


def enhanced(parameters, image, text, neighbours):
    """What the interaction makes of a batch, and how far the relevances are from the distances."""
    count, regions, words = len(image), naive.real(IMAGES), naive.real(TEXTS)
    kinds = {kind: np.zeros((count, count)) for kind in ("ii", "it", "ti", "tt")}
    close = {kind: np.zeros((count, count)) for kind in kinds}
    for a in range(count):
        for b in range(count):
            kinds["ii"][a, b] = np.exp(-np.linalg.norm(image[a] - image[b]))
            kinds["tt"][a, b] = np.exp(-np.linalg.norm(text[a] - text[b]))
            close["ii"][a, b], close["tt"][a, b] = image[a] @ text[b], text[a] @ image[b]
            for kind, name, values in (
                ("ti", "word_relevance", matched(regions[b], words[a], by=0)),
                ("it", "region_relevance", matched(regions[a], words[b], by=1)),
            ):
                kinds[kind][a, b], close[kind][a, b] = relevance(parameters, f"interaction.{name}", values)
    guide = np.exp(-np.linalg.norm(image[:, None] - text[None], axis=-1))
    away = sum(
        float((naive.softmax(row) * np.log(naive.softmax(row) / naive.softmax(toward))).sum()) / count
        for kind, target in (("it", guide), ("ti", guide.T))
        for row, toward in zip(kinds[kind], target, strict=True)
    )
    for kind, value in close.items():
        for row in range(count):
            last = np.sort(value[row])[::-1][max(1, int(count * neighbours)) - 1]
            kinds[kind][row, value[row] < last - 1e-6] = -np.inf  # a caption of one word is as close to every image
    bias = np.block([[kinds["ii"], kinds["it"]], [kinds["ti"], kinds["tt"]]])
    both = layer(parameters, "interaction.layer.", np.concatenate([image, text]), bias)
    both = np.array([naive.unit(row) for row in both])
    return both[:count], both[count:], away


def hardest(similarity, margin=0.2):
    total = 0.0
    for b in range(len(similarity)):
        others = [other for other in range(len(similarity)) if IDS[other] != IDS[b]]
        total += max(max(0.0, margin + similarity[b, other] - similarity[b, b]) for other in others)
        total += max(max(0.0, margin + similarity[other, b] - similarity[b, b]) for other in others)
    return total


@pytest.mark.parametrize("neighbours", [0.5, 1.0, 0.1])
def test_the_losses_equal_a_loop_over_the_pairs(neighbours):
    made = scorer(neighbours=neighbours, weight_regularisation=3.0).train()
    parameters = naive.parameters(made.parts)
    image, text = embedded(parameters, "image", IMAGES), embedded(parameters, "text", TEXTS)
    more_image, more_text, away = enhanced(parameters, image, text, neighbours)
    found = made.losses(made.prepare_images(IMAGES), made.prepare_texts(TEXTS), IDS)
    pairs = ((image, more_text), (more_image, text), (more_image, more_text))
    found = {name: loss.detach() for name, loss in found.items()}
    assert float(found["matching"]) == pytest.approx(hardest(image @ text.T), abs=1e-4)
    assert float(found["relation"]) == pytest.approx(sum(hardest(one @ two.T) for one, two in pairs), abs=1e-4)
    assert float(found["regularisation"]) == pytest.approx(3.0 * away, abs=1e-5)


def test_the_relevance_of_a_pair_learns_from_the_relation():
    """The gradient of an edge, against a difference: attention must not lose it on its way."""
    made = scorer(weight_regularisation=0.0).double().train()
    images, texts = (side.to(torch.float64) for side in (made.prepare_images(IMAGES), made.prepare_texts(TEXTS)))
    bias = made.parts.interaction.word_relevance[2].bias

    def loss():
        return made.losses(images, texts, IDS)["relation"]

    (gradient,) = torch.autograd.grad(loss(), bias)
    with torch.no_grad():
        bias += 1e-4
        above = loss()
        bias -= 2e-4
        difference = float(above - loss()) / 2e-4
    assert float(gradient) == pytest.approx(difference, rel=1e-2)
    assert abs(difference) > 1e-4


def test_nothing_but_one_vector_is_kept_outside_training():
    made = scorer()
    images, texts = made.prepare_images(IMAGES), made.prepare_texts(TEXTS)
    assert images.features.shape == (5, 1, WIDTH)
    assert sum(extra.numel() * extra.element_size() for extra in images.extras.values()) == 5
    with pytest.raises(InvalidFragments, match=r"prepare the items after scorer\.train\(\)"):
        made.losses(images, texts, IDS)


def test_the_interaction_joins_after_the_warm_up_and_only_where_there_is_one():
    made = scorer(warmup_steps=1).train()
    sides = made.prepare_images(IMAGES), made.prepare_texts(TEXTS)
    assert list(made.losses(*sides, IDS)) == ["matching"]
    resumed = scorer(warmup_steps=1).train()
    resumed.load_state_dict(made.state_dict())
    assert list(resumed.losses(*sides, IDS)) == ["matching", "relation", "regularisation"]
    alone = scorer(interaction="off").train()
    assert list(alone.losses(IMAGES, TEXTS, IDS)) == ["matching"]
    assert not any("interaction" in name for name, _ in alone.named_parameters())
    with pytest.raises(InvalidSpec, match=r"3 heads, which do not divide the width D = 8; set config\.heads"):
        create("hrem", width=WIDTH, heads=3)
