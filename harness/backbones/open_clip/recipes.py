"""How captions become tokens for a text tower: the cleaning and the padding that its weights were trained on.

A tower says nothing when its captions come another way, and ranks worse: google-research/big_vision issue 166 has 73.7 instead
of 80.7 text-to-image R@1 for SigLIP 2 on Flickr30K, whose captions had kept their capitals.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

#: `open_clip`'s three ways to clean captions, each padded to the tower's whole context; off = neither lower case nor padding.
TextRecipe = Literal["canonicalize", "lower", "whitespace", "off"]
OFF: TextRecipe = "off"
READS: dict[str, str] = {
    "canonicalize": "in lower case, without punctuation",
    "lower": "in lower case, with punctuation",
    "whitespace": "as they are written, with white space tidied",
    OFF: "as they are written, with white space tidied, and not padded",
}
#: Tokens of every SigLIP 2.
SIGLIP2_CONTEXT = 64
_DEFAULT_CONTEXT = 77
_log = logging.getLogger(__name__)


class Trained(NamedTuple):
    """The captions that a tower's weights were trained on, as its config says."""

    recipe: TextRecipe  #: which cleaning; all are padded
    context: int  #: tokens, padding included
    own_pieces: bool  #: whether the tokenizer is another than CLIP's, whose towers see no padding


def trained(text_config: Mapping[str, Any]) -> Trained:
    """What the `text_cfg` of an open_clip model says of its captions.

    >>> trained({"context_length": 64, "hf_tokenizer_name": "gemma", "tokenizer_kwargs": {"clean": "canonicalize"}})
    Trained(recipe='canonicalize', context=64, own_pieces=True)
    >>> trained({}).recipe
    'lower'
    """
    own_pieces = bool(text_config.get("hf_tokenizer_name"))
    cleaning = dict(text_config.get("tokenizer_kwargs") or {}).get("clean", "whitespace" if own_pieces else "lower")
    return Trained(cleaning, int(text_config.get("context_length", _DEFAULT_CONTEXT)), own_pieces)


def is_siglip(name: str, text_config: Mapping[str, Any], generation: str = "") -> bool:
    """Whether a text tower is SigLIP's, by the name of the model or of its tokenizer.

    Args:
        name: of the model.
        text_config: its `text_cfg`.
        generation: "2" for SigLIP 2 only.

    >>> is_siglip("ViT-B-16-SigLIP", {}), is_siglip("ViT-B-16-SigLIP", {}, "2")
    (True, False)
    """
    if text_config.get("hf_model_name"):  # nllb-clip-base-siglip: SigLIP's images, the captions of another model
        return False
    called = name.rstrip("/").rpartition("/")[2]  # of a path, the last folder
    return f"siglip{generation}" in f"{called} {text_config.get('hf_tokenizer_name', '')}".lower()


@functools.lru_cache(maxsize=64)  # said once per model and process, however many runs use it
def report(name: str, known: Trained, siglip2: bool, chosen: TextRecipe | None) -> None:
    """Say where captions reach a tower in another way than in its training.

    Args:
        name: of the model.
        known: what its config says.
        siglip2: whether the tower is SigLIP 2's, whose recipe is known whatever a config says.
        chosen: `text_recipe` of the settings; None = as the config says.
    """
    if siglip2 and chosen is None and known.recipe not in ("canonicalize", "lower"):
        _log.warning(
            "the config of open_clip model %s gives it captions %s, and SigLIP 2 was trained on lower case; "
            "set text_recipe: canonicalize",
            name, READS[known.recipe],
        )  # fmt: skip
    if siglip2 and known.context != SIGLIP2_CONTEXT:
        _log.warning(
            "the config of open_clip model %s has a context of %d tokens, and SigLIP 2 was trained on %d",
            name, known.context, SIGLIP2_CONTEXT,
        )  # fmt: skip
    if chosen not in (None, known.recipe):
        _log.warning(
            "open_clip model %s was trained on captions %s, padded to %d tokens; text_recipe: %s gives it captions %s",
            name, READS[known.recipe], known.context, chosen, READS[str(chosen)],
        )  # fmt: skip


@functools.lru_cache(maxsize=64)
def report_padding_side(name: str) -> None:
    """Say that a tokenizer which pads at the start was told not to."""
    _log.warning(
        "the tokenizer of open_clip model %s pads captions at the start, and SigLIP was trained with padding at the end, "
        "where it is put now",
        name,
    )
