"""SGRAF: vectors of similarities between words and what they attend to, reasoned over as a graph or filtered (AAAI 2021).

Shape letters: I images, T captions, N items, F fragments per item, R regions or patches, W words, D width, S width of a
similarity vector; small letters for the items of one tile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from harness.alignment import Alignment, paired
from harness.fragments import Fragments
from harness.scorers import recipes
from harness.scorers.features import check_widths, clean, mean_of_real
from harness.scorers.lazy_width import LazyWidthConfig, LazyWidthScorer
from harness.scorers.tiles import Side, budget, scores_of_all_pairs
from harness.similarity import ATTENTION_NORMS, paired_attention

#: The extra that holds the vector of the whole image or caption.
WHOLE = "whole"
#: Values of one tile's vectors (i, t, W, D), of which about six copies are alive in backward.
TILE_VALUES = {"cpu": 2**22, "cuda": 2**26}


class SgrafConfig(LazyWidthConfig):
    """Settings of SGRAF; the defaults are the authors'. Their full model is an ensemble of `graph` and `filtration`."""

    reasoning: Literal["graph", "filtration"] = Field(
        "graph", description="graph: SGR, the similarity vectors exchange messages; filtration: SAF, they are weighed"
    )
    similarity_width: int = Field(256, ge=1, description="S, width of a similarity vector")
    steps: int = Field(3, ge=1, description="rounds of messages in the graph")
    inverse_temperature: float = Field(9.0, gt=0, description="of the attention of words to regions")
    dropout: float = Field(0.4, ge=0, lt=1, description="in the attention that makes one vector of an image or caption")


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that takes one row as at evaluation: it has no variance, and the last batch may hold one."""

    def forward(self, rows: Tensor) -> Tensor:
        """`rows` (N, D) -> (N, D)."""
        if len(rows) > 1:
            return super().forward(rows)
        return F.batch_norm(rows, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class WholeVector(nn.Module):
    """One unit vector of an item: its fragments, weighed by how well each agrees with their mean.

    Source:
        The authors' code. Differs: the image's normalisation runs over each feature of all real fragments, where the
        code normalises each of exactly 36 regions by its number; the last bias, which changes no weight, is left out.
    """

    def __init__(self, width: int, dropout: float, normalize: bool):
        super().__init__()
        self.local, self.mean = _linear(width, width), _linear(width, width)
        self.weigh = _linear(width, 1, bias=False)
        self.local_norm: nn.Module = BatchNorm(width) if normalize else nn.Identity()
        self.mean_norm: nn.Module = BatchNorm(width) if normalize else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """`features` (N, F, D), 0 at the padding, and mask (N, F) -> (N, D)."""
        local = features.new_zeros(features.shape)
        # In mixed precision a layer answers in bfloat16, which cannot be put into a float32 tensor.
        local[mask] = self.dropout(self.local_norm(self.local(features[mask])).tanh()).to(local.dtype)
        mean = self.dropout(self.mean_norm(self.mean(mean_of_real(features, mask))).tanh())
        logits = self.weigh(local * mean[:, None]).squeeze(-1)
        weights = logits.masked_fill(~mask, -torch.inf).softmax(1)
        return F.normalize((weights[..., None] * features).sum(1), dim=-1)


class GraphReasoning(nn.Module):
    """SGR: rounds of messages between a pair's similarity vectors; the vector of the wholes answers.

    Source:
        Diao et al., section 3.3, and the authors' code. Differs: a bias of the keys, which changes no edge, is left out.
    """

    def __init__(self, width: int, steps: int):
        super().__init__()
        self.queries = nn.ModuleList(_linear(width, width) for _ in range(steps))
        self.keys = nn.ModuleList(_linear(width, width, bias=False) for _ in range(steps))
        self.updates = nn.ModuleList(_linear(width, width) for _ in range(steps))

    def forward(self, nodes: Tensor, mask: Tensor) -> Tensor:
        """`nodes` (p, 1 + W, S), the wholes' first, and mask (p, 1 + W) -> (p, 1, S)."""
        for step, (query, key, update) in enumerate(zip(self.queries, self.keys, self.updates, strict=True), start=1):
            asking = nodes if step < len(self.updates) else nodes[:, :1]  # of the last round one answer is read
            edges = (query(asking) @ key(nodes).mT).masked_fill(~mask[:, None], -torch.inf).softmax(-1)
            nodes = F.relu(update(edges @ nodes))
        return nodes

    def joined(self, nodes: Tensor, mask: Tensor) -> Tensor:
        """(p, 1, S) -> (p, S); the mask is that of before."""
        return nodes[:, 0]


class AttentionFiltration(nn.Module):
    """SAF: a pair's similarity vectors, weighed by a gate each.

    Source:
        Diao et al., section 3.4, and the authors' code. Differs: the gates are normalised over the real vectors of all
        pairs of a batch together, where the code takes one caption with all images at a time; the bias before that
        normalisation, which it removes, is left out.
    """

    def __init__(self, width: int):
        super().__init__()
        self.gate = _linear(width, 1, bias=False)
        self.norm = BatchNorm(1)

    def forward(self, nodes: Tensor, mask: Tensor) -> Tensor:
        """The vectors as they are: in training a gate depends on those of all pairs."""
        return nodes

    def joined(self, nodes: Tensor, mask: Tensor) -> Tensor:
        """`nodes` (p, 1 + W, S) and mask (p, 1 + W) -> (p, S)."""
        gates = nodes.new_zeros(mask.shape)
        gates[mask] = self.norm(self.gate(nodes[mask])).sigmoid().squeeze(-1).to(gates.dtype)
        weights = gates / gates.sum(1, keepdim=True)
        return F.normalize((weights[:, None] @ nodes).squeeze(1), dim=-1)


Reasoning = GraphReasoning | AttentionFiltration
REASONINGS: dict[str, Callable[[SgrafConfig], Reasoning]] = {
    "graph": lambda config: GraphReasoning(config.similarity_width, config.steps),
    "filtration": lambda config: AttentionFiltration(config.similarity_width),
}


class SgrafParts(nn.Module):
    """All parameters for fragments of width D."""

    def __init__(self, width: int, config: SgrafConfig):
        super().__init__()
        self.image_whole = WholeVector(width, config.dropout, normalize=True)
        self.text_whole = WholeVector(width, config.dropout, normalize=False)
        self.local, self.whole = (_linear(width, config.similarity_width) for _ in range(2))
        self.reasoning: Reasoning = REASONINGS[config.reasoning](config)
        self.output = _linear(config.similarity_width, 1)


@dataclass(frozen=True)
class Items(Side):
    """What the pairs need of one side: unit fragments (N, F, D), 0 at the padding, mask (N, F), unit vectors (N, D)."""

    features: Tensor
    mask: Tensor
    whole: Tensor


class Sgraf(LazyWidthScorer[SgrafParts]):
    """A sigmoid of the similarity vectors of a pair: one per word with what it attends to, and one of the wholes.

    Source:
        Diao et al., Similarity Reasoning and Filtration for Image-Text Matching, AAAI 2021, and the authors' code. Differs:
        padding is masked on both sides; see also `WholeVector`, `GraphReasoning` and `AttentionFiltration`. The authors'
        SGRAF averages the scores of two models that were trained apart: `itm ensemble` of `sgraf` and `sgraf.filtration`.
    """

    Config = SgrafConfig
    config: SgrafConfig
    width_parameters = ("local.weight",)
    variants: ClassVar = {"filtration": {"reasoning": "filtration"}}
    #: The authors' for Flickr30K: SGR for 40 epochs, of which the learning rate is high for 30; SAF for 30 and 20.
    recipe: ClassVar = {**recipes.VSEPP, "epochs": 40, "decay_epochs": (30,)}
    variant_recipes: ClassVar = {"filtration": {"epochs": 30, "decay_epochs": (20,)}}
    search_space: ClassVar = {
        "config.steps": {"choices": [1, 2, 3, 4], "when": {"config.reasoning": "graph"}},
        "config.inverse_temperature": [4.0, 9.0, 20.0],
        "config.dropout": {"low": 0.0, "high": 0.5},
    }
    citation = "Diao et al., Similarity Reasoning and Filtration for Image-Text Matching, AAAI 2021"

    def setup(self) -> None:
        #: Largest number of values in a tile's tensors; None = by device.
        self.tile_values: int | None = None

    def build_parts(self, width: int) -> SgrafParts:
        """All parameters."""
        return SgrafParts(width, self.config)

    def prepare_images(self, images: Fragments) -> Fragments:
        """Unit vectors, with the extra `whole` (I, D); images that have it come back as they are."""
        return self._prepared(images, "images")

    def prepare_texts(self, texts: Fragments) -> Fragments:
        """As `prepare_images`, for captions."""
        return self._prepared(texts, "captions")

    def score(self, images: Fragments, texts: Fragments) -> Tensor:
        """(I, T) in [0, 1]; arguments and errors as `Scorer.score`."""
        check_widths(images, texts)
        left, right = _items(self.prepare_images(images)), _items(self.prepare_texts(texts))
        parts = self.parts_for(images, "images")
        values = budget(self.tile_values, TILE_VALUES, left.features.device)
        pairs = max(1, values // (right.mask.shape[1] * left.features.shape[2]))
        nodes = scores_of_all_pairs(left, right, pairs, self._tile)
        joined = parts.reasoning.joined(nodes.flatten(0, 1), _node_mask(right, len(left)))
        return parts.output(joined).sigmoid().view(len(left), len(right))

    def align(self, images: Fragments, texts: Fragments) -> Alignment:
        """Attention of each word to the regions. A word's similarity is a vector, which the score reads, so words have none."""
        left, right = paired(self.prepare_images(images), self.prepare_texts(texts))
        check_widths(left, right)
        weights, _ = paired_attention(
            left.features, left.mask, right.features, right.mask, inverse_temperature=self.config.inverse_temperature
        )
        return Alignment(
            kind="attention of each word to the regions",
            weights=weights.mT,
            over="regions",
            word_mask=right.mask,
            region_mask=left.mask,
        )

    def _prepared(self, items: Fragments, side: str) -> Fragments:
        if WHOLE in items.extras:
            return items
        parts = self.parts_for(items, side)
        unit = items.to(parts.output.weight.dtype).normalized()
        network = parts.image_whole if side == "images" else parts.text_whole
        return Fragments(unit.features, unit.mask, {**unit.extras, WHOLE: network(clean(unit), unit.mask)})

    def _tile(self, images: Items, texts: Items) -> Tensor:
        """What the reasoning makes of each pair's similarity vectors: (i, t, n, S)."""
        parts = self.parts
        assert parts is not None
        attended = _attended(images, texts, self.config.inverse_temperature)
        local = F.normalize(parts.local((attended - texts.features).square()), dim=-1)
        whole = F.normalize(parts.whole((images.whole[:, None] - texts.whole).square()), dim=-1)
        nodes = torch.cat([whole[:, :, None], local], 2)
        reasoned = parts.reasoning(nodes.flatten(0, 1), _node_mask(texts, len(images.mask)))
        return reasoned.view(*nodes.shape[:2], *reasoned.shape[1:])


def _items(side: Fragments) -> Items:
    return Items(clean(side), side.mask, side.extras[WHOLE])


def _attended(images: Items, texts: Items, inverse_temperature: float) -> Tensor:
    """What each word attends to, as a unit vector: (i, t, W, D)."""
    similarity = torch.einsum("ird,twd->irwt", images.features, texts.features)
    logits = ATTENTION_NORMS["clipped_l2norm"](similarity, texts.mask.T) * inverse_temperature
    weights = logits.masked_fill(~images.mask[:, :, None, None], -torch.inf).softmax(1)
    return F.normalize(torch.einsum("irwt,ird->itwd", weights, images.features), dim=-1)


def _node_mask(texts: Items, images: int) -> Tensor:
    """(i * t, 1 + W) bool: the vector of the wholes, then the words."""
    mask = F.pad(texts.mask, (1, 0), value=True)
    return mask.expand(images, -1, -1).flatten(0, 1)


def _linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """Xavier's uniform weights and no bias to begin with, as the authors set them."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
