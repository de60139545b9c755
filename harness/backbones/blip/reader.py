"""BLIP's reader: a caption's words look at each other and at an image's tokens, layer by layer, and one number comes out.

Shape letters: i images, t captions, R image tokens, W words, D width of the words, C width of the image tokens, H heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.backbones.weights import load_strictly
from harness.errors import InvalidSpec

#: Heads of the attention, where nothing says it: the first that divides D.
HEADS = (12, 8, 4, 2, 1)
#: transformers' names of a layer's parts -> ours. A key's bias adds one number to all logits of a query, which the softmax
#: takes out again: it is left out.
_NAMES = {
    "attention.self": "words",
    "attention.output.dense": "words.output",
    "attention.output.LayerNorm": "words_norm",
    "crossattention.self": "image",
    "crossattention.output.dense": "image.output",
    "crossattention.output.LayerNorm": "image_norm",
    "intermediate.dense": "widen",
    "output.dense": "narrow",
    "output.LayerNorm": "norm",
}


@dataclass(frozen=True)
class ReaderShape:
    """How a reader is built.

    Raises:
        InvalidSpec: heads that do not divide the width.
    """

    width: int  #: D
    image_width: int  #: C
    layers: int
    heads: int  #: H
    feed_forward: int  #: width inside a layer
    epsilon: float = 1e-12  #: of the layer normalisation, as BERT's

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise InvalidSpec(f"{self.heads} heads do not divide the width D = {self.width} of the words")


def shape_of(values: Mapping[str, Any]) -> ReaderShape:
    """The reader of a text tower as its `text_config` describes it.

    Raises:
        InvalidSpec: another activation than BERT's.
    """
    if values.get("hidden_act", "gelu") != "gelu":
        raise InvalidSpec(f"BLIP's reader has the activation gelu, not '{values['hidden_act']}'")
    return ReaderShape(
        width=int(values["hidden_size"]),
        image_width=int(values["encoder_hidden_size"]),
        layers=int(values["num_hidden_layers"]),
        heads=int(values["num_attention_heads"]),
        feed_forward=int(values["intermediate_size"]),
        epsilon=float(values.get("layer_norm_eps", 1e-12)),
    )


class Attention(nn.Module):
    """Attention of words to words or to image tokens."""

    def __init__(self, width: int, seen: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.value, self.output = nn.Linear(width, width), nn.Linear(seen, width), nn.Linear(width, width)
        self.key = nn.Linear(seen, width, bias=False)

    def forward(self, asking: Tensor, seen: Tensor, mask: Tensor) -> Tensor:
        """`asking` (n, Q, D), `seen` (n, K, C), mask (n, K) -> (n, Q, D)."""
        query, key, value = (
            side.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for side in (self.query(asking), self.key(seen), self.value(seen))
        )
        answer = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        return self.output(answer.transpose(1, 2).flatten(2))


class ReaderLayer(nn.Module):
    """Words attend to words, then to the image, then each is transformed by itself."""

    def __init__(self, shape: ReaderShape):
        super().__init__()
        self.words = Attention(shape.width, shape.width, shape.heads)
        self.image = Attention(shape.width, shape.image_width, shape.heads)
        self.widen, self.narrow = nn.Linear(shape.width, shape.feed_forward), nn.Linear(shape.feed_forward, shape.width)
        self.words_norm, self.image_norm, self.norm = (nn.LayerNorm(shape.width, shape.epsilon) for _ in range(3))

    def forward(self, asking: Tensor, words: Tensor, word_mask: Tensor, images: Tensor, image_mask: Tensor) -> Tensor:
        """States (i, t, Q, D) of the words that are asked for, after this layer.

        Args:
            asking: their states before it, (i, t, Q, D); i = 1 in the first layer, which has seen no image.
            words: the states of all words, (i, t, W, D), likewise.
            word_mask, images, image_mask: (t, W), (i, R, C) and (i, R).
        """
        heard = self.words(asking.flatten(0, 1), words.flatten(0, 1), word_mask.repeat(len(words), 1))
        asking = self.words_norm(asking + heard.view(asking.shape)).expand(len(images), -1, -1, -1)
        # All words that ask an image are in one row: its keys and values are made once.
        looked = self.image(asking.flatten(1, 2), images, image_mask)
        asking = self.image_norm(asking + looked.view(asking.shape))
        return self.norm(asking + self.narrow(F.gelu(self.widen(asking))))


class Reader(nn.Module):
    """Log-odds that a caption and an image belong together.

    Source:
        Li et al., BLIP, ICML 2022, the image-grounded text encoder with its image-text matching head. Differs: the score is
        the difference of the head's two logits, the logit of softmax[:, 1]. It ranks alike and does not round to 1, where
        pairs would tie. There is no dropout, as in the authors' fine-tuning by transformers' defaults.
    """

    def __init__(self, shape: ReaderShape):
        super().__init__()
        self.shape = shape
        self.layers = nn.ModuleList(ReaderLayer(shape) for _ in range(shape.layers))
        self.head = nn.Linear(shape.width, 2)
        for module in self.modules():
            if isinstance(module, nn.Linear):  # as BERT begins
                nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, words: Tensor, word_mask: Tensor, images: Tensor, image_mask: Tensor) -> Tensor:
        """`words` (t, W, D or more), `images` (i, R, C), masks (t, W) and (i, R) -> (i, t).

        Of the words the first D features are read, and the first real word answers.
        """
        states, first = words[None, ..., : self.shape.width], word_mask.int().argmax(1)
        rows = torch.arange(len(words), device=words.device)
        for number, layer in enumerate(self.layers, start=1):
            # Of the last layer one word is read.
            asking = states if number < len(self.layers) else states[:, rows, first][:, :, None]
            states = layer(asking, states, word_mask, images, image_mask)
        logits = self.head(states[:, :, 0])
        return logits[..., 1] - logits[..., 0]

    def load(self, state: Mapping[str, Tensor], source: str) -> None:
        """Take the weights of transformers' `BlipForImageTextRetrieval`.

        Args:
            state: its tensors by name.
            source: where they came from, for messages.

        Raises:
            InvalidCheckpoint: a tensor is missing or has another shape.
        """
        found = {}
        for name, tensor in state.items():
            head, layer = name.removeprefix("itm_head."), name.removeprefix("text_encoder.encoder.layer.")
            if head != name:
                found[f"head.{head}"] = tensor
            elif layer != name:
                number, _, inner = layer.partition(".")
                module, _, kind = inner.rpartition(".")
                owner, _, last = module.rpartition(".")
                ours = _NAMES.get(module) or f"{_NAMES.get(owner, owner)}.{last}"
                found[f"layers.{number}.{ours}.{kind}"] = tensor
        load_strictly(self, {name: found[name] for name in found if not name.endswith("key.bias")}, source)
