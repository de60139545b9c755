"""The model of an entry with random weights, which cost as much as trained ones: no weights need to be here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from harness import backbones, registry
from harness.backbones.base import TextEncoder
from harness.backbones.words.tokenizers import WordTokenizer
from harness.backbones.words.vocabulary import Vocabulary
from harness.errors import InvalidSpec
from harness.estimates.standin import random_vocabulary
from harness.estimates.weights import needed_weights
from harness.runs.saved_models import load_model
from harness.scorer import Scorer
from harness.spec import Component, RunSpec

#: Architectures of Hugging Face's hub that experiments name, as transformers' configs describe them by default.
HUB_ARCHITECTURES: Mapping[str, Mapping[str, Any]] = {
    "bert-base-uncased": {"model_type": "bert"},
    "google-bert/bert-base-uncased": {"model_type": "bert"},
    "roberta-base": {"model_type": "roberta", "vocab_size": 50_265, "max_position_embeddings": 514},
    "distilbert-base-uncased": {"model_type": "distilbert"},
}


def untrained(spec: RunSpec, region_width: int, vocabulary: Vocabulary | None, captions: tuple[str, ...]) -> Scorer:
    """The scorer of a cell with its backbones, whose towers have random weights; a saved model as it is.

    Args:
        spec: of the cell.
        region_width: D of the dataset's region features; 0 where it has none.
        vocabulary: of the data; None = counted in the captions.
        captions: of the training split, or random ones.

    Raises:
        InvalidSpec: an architecture that is neither here nor known.
    """
    if spec.weights:
        return load_model(spec.weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        image = backbones.build_image(spec.image, region_width=region_width, load_pretrained=False)
        text = _text(spec.text, vocabulary, captions)
        return registry.scorer_class(spec.scorer)(registry.resolve_config(spec.scorer, spec.config), image, text)


def _text(component: Component, vocabulary: Vocabulary | None, captions: tuple[str, ...]) -> TextEncoder:
    backbone, config = backbones.TEXT_BACKBONES.part_and_config(component)
    if backbone.reads_vocabulary(config):
        without_vectors = component.changed({"embeddings": ""}) if component.plain.get("embeddings") else component
        return backbones.build_text(without_vectors, captions=captions, vocabulary=vocabulary)
    needed = needed_weights(component, "text")
    if needed is None or needed.state == "here":
        return backbones.build_text(component, captions=captions, vocabulary=vocabulary)
    # Nothing is fetched for an estimate: what is known of the architecture has to do.
    if component.name == "transformer":
        return backbone.restored(config, _state_of(str(component.plain["model"]), config.max_words))
    if component.name == "blip":
        raise InvalidSpec(f"the tokenizer of BLIP model {component.plain['model']} is not known without its files")
    return backbone.restored(config, {"kind": "open_clip", "model": _own_pieces(str(component.plain["model"]))})


def _state_of(model: str, max_words: int) -> dict[str, Any]:
    if model not in HUB_ARCHITECTURES:
        raise InvalidSpec(
            f"the architecture of {model} is not known without its files; known: {', '.join(HUB_ARCHITECTURES)}"
        )
    # Words stand for word pieces.
    return {
        "tokenizer": WordTokenizer(random_vocabulary(), max_words).state(),
        "architecture": HUB_ARCHITECTURES[model],
    }


def _own_pieces(model: str) -> str:
    import open_clip  # takes seconds

    settings = open_clip.get_model_config(model.replace("/", "-")) or {}
    if settings.get("text_cfg", {}).get("hf_tokenizer_name"):
        raise InvalidSpec(f"the tokenizer of open_clip model {model} is on Hugging Face's hub only")
    return model
