"""Text backbone `transformer`: any Hugging Face encoder by name or local folder, or a tiny BERT to train from scratch.

Shape letters: N captions, W word pieces, D width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

from pydantic import Field
from torch import nn

from harness.backbones import hub
from harness.backbones.base import DEFAULT_WIDTH, BackboneConfig, TextEncoder, projection
from harness.backbones.bigru import checked_lengths
from harness.backbones.recomputing import can_recompute
from harness.backbones.words.pieces import Span, Word, spelled
from harness.backbones.words.tokenizers import Losses, Tokenizer, pad_rows, restore_tokenizer
from harness.backbones.words.vocabulary import Vocabulary
from harness.errors import InvalidCheckpoint, InvalidSpec, reported_as
from harness.files.packages import is_reference, packaged_model
from harness.fragments import Fragments, Tokens

SMALL = "small"
_REMEDY = (
    "name a model of the hub with a connection, a local folder with config.json, tokenizer.json and model.safetensors, "
    "or a package (`itm ls towers`)"
)
SMALL_CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
}


class TransformerConfig(BackboneConfig):
    """Settings of `transformer`."""

    model: str = Field(
        SMALL,
        description="small, a name on the Hugging Face hub, a local folder, or package:NAME, the folder of an installed package",
    )
    pretrained: bool = Field(True, description="false: the same architecture from random weights")
    width: int = Field(DEFAULT_WIDTH, ge=1, description="D of the fragments")
    max_words: int = Field(64, ge=3, description="longest caption in word pieces, special ones included")
    min_count: int = Field(1, ge=1, description="small: a training word that is rarer becomes <unk>")


class TransformerEncoder(TextEncoder):
    """One fragment per word piece: the last hidden states, projected to the common width where it differs.

    Args:
        config: settings.
        tokenizer: of the model.
        model_config: the architecture, as Hugging Face's config dictionary.
        model: with its weights; None builds it from `model_config` with random ones.

    Source:
        Devlin et al., BERT, NAACL 2019; the linear layer on top as in CHAN and VSE-infinity.
    """

    Config = TransformerConfig

    def __init__(
        self,
        config: TransformerConfig,
        tokenizer: Tokenizer,
        model_config: Mapping[str, Any],
        model: nn.Module | None = None,
    ):
        super().__init__(config, tokenizer)
        self.width = config.width
        self._model_config = dict(model_config)
        self.model = cast(Any, model or hub.from_config(self._model_config, _what(config.model)))
        positions = getattr(self.model.config, "max_position_embeddings", config.max_words)
        if config.max_words > positions:
            raise InvalidSpec(
                f"max_words {config.max_words} is more than the {positions} positions of transformer '{config.model}'"
            )
        self.raw_width = int(self.model.config.hidden_size)
        self.project = projection(self.raw_width, config.width)

    @classmethod
    def fresh(
        cls, config: TransformerConfig, captions: Sequence[str] | None, vocabulary: Vocabulary | None
    ) -> TransformerEncoder:
        """See `TextEncoder.fresh`; only the small model reads captions or a vocabulary."""
        tokenizer = cls.fresh_tokenizer(config, captions, vocabulary)
        if config.model == SMALL:
            sizes = {"vocab_size": tokenizer.vocabulary_size, "max_position_embeddings": config.max_words}
            return cls(config, tokenizer, {**SMALL_CONFIG, **sizes, "pad_token_id": 0})
        if not config.pretrained:
            return cls(config, tokenizer, hub.load_config(config.model, _what(config.model), _REMEDY))
        model = hub.load_model(config.model, _what(config.model), _REMEDY)
        return cls(config, tokenizer, hub.config_values(model.config), model)

    @classmethod
    def fresh_tokenizer(
        cls, config: TransformerConfig, captions: Sequence[str] | None, vocabulary: Vocabulary | None
    ) -> Tokenizer:
        if config.model != SMALL:
            return PieceTokenizer.load(config.model, config.max_words)
        return super().fresh_tokenizer(config, captions, vocabulary)

    @classmethod
    def pinned(cls, config: TransformerConfig) -> TransformerConfig:
        """See `ImageEncoder.pinned`: the version of a package."""
        if not is_reference(config.model):
            return config
        return config.model_copy(update={"model": packaged_model(config.model).reference})

    @classmethod
    def reads_vocabulary(cls, config: TransformerConfig) -> bool:
        return config.model == SMALL

    @classmethod
    def restored_tokenizer(cls, config: TransformerConfig, state: Mapping[str, Any]) -> Tokenizer:
        inner = state.get("tokenizer")
        if not isinstance(inner, Mapping) or not isinstance(state.get("architecture"), Mapping):
            raise InvalidCheckpoint(
                "the saved state of text backbone transformer lacks its tokenizer or its architecture"
            )
        return PieceTokenizer.from_state(inner) if inner.get("kind") == "pieces" else restore_tokenizer(inner)

    @classmethod
    def restored(cls, config: TransformerConfig, state: Mapping[str, Any]) -> TransformerEncoder:
        """See `TextEncoder.restored`; the architecture is in the state, so neither hub nor folder is needed."""
        return cls(config, cls.restored_tokenizer(config, state), state["architecture"])

    def tokenizer_state(self) -> dict[str, Any]:
        return {"kind": "transformer", "tokenizer": self.tokenizer.state(), "architecture": self._model_config}

    def raw(self, tokens: Tokens) -> Fragments:
        """The last hidden states (N, W, C), those of [CLS] and [SEP] or <start> and <end> among them.

        Raises:
            InvalidFragments: an empty caption, or padding before a real piece.
        """
        checked_lengths(tokens)
        with self._tracked():
            out = self.model(input_ids=tokens.ids, attention_mask=tokens.mask.long())
        return Fragments.unchecked(out.last_hidden_state, tokens.mask, {})

    def head(self, raw: Fragments) -> Fragments:
        """Fragments (N, W, D) from hidden states (N, W, C)."""
        return Fragments(self.project(raw.features), raw.mask)

    @classmethod
    def comes_trained(cls, config: TransformerConfig) -> bool:
        """The model comes trained; the projection is new."""
        return config.model != SMALL and config.pretrained

    def tower_module(self) -> nn.Module:
        return cast(nn.Module, self.model)

    @classmethod
    def recomputes(cls, config: TransformerConfig) -> bool:
        what = _what(config.model)
        values = SMALL_CONFIG if config.model == SMALL else hub.load_config(config.model, what, _REMEDY)
        return can_recompute(hub.from_config(values, what))

    def tower_definition(self) -> dict[str, Any]:
        import transformers

        told = {
            key: value
            for key, value in self._model_config.items()
            if key not in ("_name_or_path", "transformers_version")
        }
        return {"backbone": "transformer", "architecture": told, "transformers": transformers.__version__}


class PieceTokenizer:
    """A word-piece tokenizer of Hugging Face, kept as the one JSON text that describes it.

    Args:
        definition: `tokenizer.json`.
        special_ids, mask_id, padding_id: see `Tokenizer`.
        max_words: longest sequence, special pieces included.
    """

    def __init__(self, definition: str, special_ids: Sequence[int], mask_id: int, padding_id: int, max_words: int):
        from tokenizers import Tokenizer as Definition

        self._definition = Definition.from_str(definition)
        self._definition.no_padding()
        self._definition.enable_truncation(max_words)
        self.vocabulary_size = int(self._definition.get_vocab_size())
        self.special_ids = tuple(special_ids)
        self.mask_id = mask_id
        self.padding_id = padding_id
        self.longest = max_words
        model = json.loads(definition).get("model", {})
        unknown = self._definition.token_to_id(model["unk_token"]) if model.get("unk_token") else None
        self._unknown = unknown
        self._meaningless = {*self.special_ids, unknown}

    @classmethod
    def load(cls, model: str, max_words: int, what: str = "", remedy: str = "") -> Self:
        """The tokenizer of a model by name or folder.

        Args:
            model: a name on the hub, a local folder, or `package:NAME`.
            max_words: longest sequence, special pieces included.
            what, remedy: see `hub.load_model`; by default those of a text encoder.

        Raises:
            InvalidSpec: it cannot be found, or exists in the slow form only.
        """
        from transformers import AutoTokenizer

        with hub.fetched(InvalidSpec, f"the tokenizer of {what or _what(model)}", remedy or _REMEDY):
            loaded = AutoTokenizer.from_pretrained(hub.place(model), use_fast=True)
        backend = getattr(loaded, "backend_tokenizer", None)
        if backend is None:
            raise InvalidSpec(f"the tokenizer of {model} has no tokenizer.json; choose a model with a fast tokenizer")
        padding = loaded.pad_token_id if loaded.pad_token_id is not None else 0
        unknown = loaded.unk_token_id if loaded.unk_token_id is not None else padding
        mask = loaded.mask_token_id if loaded.mask_token_id is not None else unknown
        return cls(backend.to_str(), loaded.all_special_ids, mask, padding, max_words)

    def __call__(self, captions: Sequence[str]) -> Tokens:
        """Ids (N, W) and their mask, W the longest caption of the batch."""
        return pad_rows([encoding.ids for encoding in self._definition.encode_batch(list(captions))], self.padding_id)

    def losses(self, captions: Sequence[str]) -> Losses:
        """See `Tokenizer.losses`."""
        encodings = self._definition.encode_batch([caption for caption in captions if caption.strip()])
        unknown = sum(self._meaningless.issuperset(encoding.ids) for encoding in encodings)
        return Losses(unknown, sum(bool(encoding.overflowing) for encoding in encodings))

    def piece(self, token: int) -> str:
        """See `Tokenizer.piece`; a piece that continues a word starts with ##."""
        return self._definition.id_to_token(token) or f"#{token}"

    def words(self, caption: str) -> tuple[Word, ...]:
        """See `Tokenizer.words`: as the caption spells them, pieces joined."""
        encoding = self._definition.encode(caption)
        special = [bool(mark) for mark in encoding.special_tokens_mask]
        spans = [
            Span(self.piece(token), *offsets, None if apart else word, known=token != self._unknown)
            for token, offsets, word, apart in zip(
                encoding.ids, encoding.offsets, encoding.word_ids, special, strict=True
            )
        ]
        return spelled(caption, spans)

    def state(self) -> dict[str, Any]:
        """What `from_state` needs."""
        return {
            "kind": "pieces",
            "definition": json.loads(self._definition.to_str()),
            "special_ids": list(self.special_ids),
            "mask_id": self.mask_id,
            "padding_id": self.padding_id,
            "max_words": self.longest,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The tokenizer that `state` describes.

        Raises:
            InvalidCheckpoint: it describes none.
        """
        names = ("special_ids", "mask_id", "padding_id", "max_words")
        with reported_as(InvalidCheckpoint, "the saved tokenizer cannot be rebuilt"):
            return cls(json.dumps(state["definition"]), *(state[name] for name in names))


def _what(model: str) -> str:
    return f"text backbone transformer '{model}'"
