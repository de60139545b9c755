"""Image and text backbones `blip`: what BLIP's reader reads, image tokens and embedded words.

The vision tower is BLIP's own. The text tower is its word embeddings only: everything that follows them sees the image,
so it is no part of an encoder but of the scorer `blip_itm`, which asks this text encoder for it.

Shape letters: N items, S side in pixels, L patches, W word pieces, C width of the image tokens, D of the words; C >= D.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.backbones.base import ImageEncoder, TextEncoder, layers_sha256
from harness.backbones.bigru import checked_lengths
from harness.backbones.blip import models
from harness.backbones.blip.reader import Reader, ReaderShape, shape_of
from harness.backbones.blip.settings import BlipConfig, BlipImageConfig, BlipTextConfig
from harness.backbones.grid import Grid
from harness.backbones.pixels import PixelNormalizer
from harness.backbones.recomputing import can_recompute
from harness.backbones.transformer import PieceTokenizer
from harness.backbones.weights import load_strictly
from harness.backbones.words.pieces import Word
from harness.backbones.words.tokenizers import Losses, Tokenizer
from harness.backbones.words.vocabulary import Vocabulary
from harness.errors import InvalidSpec
from harness.fragments import Fragments, Tokens

#: Entries of BERT's vocabulary with the two that BLIP adds, [DEC] and [ENC], which is the last.
VOCABULARY = 30_524
#: Marks that the authors replace by blanks; the other marks stay.
_MARKS = str.maketrans(dict.fromkeys('.!"()*#:;~', " "))
_log = logging.getLogger(__name__)


class BlipImageEncoder(ImageEncoder):
    """BLIP's vision tower: [CLS] and patches, (N, 1 + L, C), as its reader takes them.

    Raises:
        InvalidSpec: a model that cannot be found, or is no BLIP.
        InvalidCheckpoint: weights that do not fit.

    Source:
        Li et al., BLIP: Bootstrapping Language-Image Pre-training, ICML 2022.
    """

    Config = BlipImageConfig
    input = "pixels"
    class_tokens = 1

    def __init__(self, config: BlipImageConfig, region_width: int = 0, *, load_pretrained: bool = True):
        super().__init__(config)
        values = config.architecture_config or models.configuration(config.model, "vision_config")
        self.vision = models.vision_model(values, config.model)
        if load_pretrained:
            load_strictly(self.vision, models.part(models.weights(config.model), "vision_model."), config.model)
        own, patch = int(values["image_size"]), int(values["patch_size"])
        self.image_size = config.image_size or own
        if self.image_size % patch:
            raise InvalidSpec(
                f"image_size {self.image_size} is not a multiple of the patch size {patch} of {config.model}"
            )
        self._options = {"interpolate_pos_encoding": True} if self.image_size != own else {}
        self.resize = config.resize or "plain"
        self.grid = Grid(self.image_size // patch, self.image_size // patch, self.class_tokens)
        mean, std = config.mean or (0.0, 0.0, 0.0), config.std or (1.0, 1.0, 1.0)  # both are filled in by `pinned`
        self.normalize = PixelNormalizer(self.image_size, mean, std)
        self.raw_width = self.width = int(values["hidden_size"])

    def raw(self, batch: Tensor) -> Fragments:
        """Tokens (N, 1 + L, C) from uint8 pixels (N, 3, S, S)."""
        with self._tracked():
            tokens = self.vision(pixel_values=self.normalize(batch), **self._options).last_hidden_state
        return Fragments.unchecked(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device), {})

    def head(self, raw: Fragments) -> Fragments:
        """The same: what the reader does not read is not changed."""
        return Fragments(raw.features, raw.mask)

    @classmethod
    def pinned(cls, config: BlipImageConfig) -> BlipImageConfig:
        """See `ImageEncoder.pinned`: the architecture, a package's version, how pixels are normalised."""
        from harness.backbones.patches.huggingface import normalisation

        changes = _pinned(config, "vision_config")
        if not (config.mean and config.std):
            mean, std = normalisation(config.model)
            changes |= {"mean": config.mean or mean, "std": config.std or std}
        return config.model_copy(update=changes)

    @classmethod
    def comes_trained(cls, config: BlipConfig) -> bool:
        """Always: there is no BLIP to train from scratch here."""
        return True

    def tower_module(self) -> nn.Module:
        return self.vision

    @classmethod
    def recomputes(cls, config: BlipImageConfig) -> bool:
        return can_recompute(cls(config, load_pretrained=False).vision)

    def tower_definition(self) -> dict[str, Any]:
        import transformers

        return {
            "backbone": "blip",
            "layers": layers_sha256(self.vision),
            "image_size": self.image_size,
            "mean": list(self.config.mean or ()),
            "std": list(self.config.std or ()),
            "transformers": transformers.__version__,
        }


class BlipTokenizer(PieceTokenizer):
    """BERT's word pieces of captions whose marks are blanks, as BLIP was fine-tuned."""

    def __call__(self, captions: Sequence[str]) -> Tokens:
        """See `PieceTokenizer`."""
        return super().__call__([caption.translate(_MARKS) for caption in captions])

    def losses(self, captions: Sequence[str]) -> Losses:
        """See `Tokenizer.losses`."""
        return super().losses([caption.translate(_MARKS) for caption in captions])

    def words(self, caption: str) -> tuple[Word, ...]:
        """See `Tokenizer.words`."""
        return super().words(caption.translate(_MARKS))


class WordEmbeddings(nn.Module):
    """Word and position embeddings, normalised, as BERT's."""

    def __init__(self, values: Mapping[str, Any]):
        super().__init__()
        width = int(values["hidden_size"])
        self.word_embeddings = nn.Embedding(int(values["vocab_size"]), width)
        self.position_embeddings = nn.Embedding(int(values["max_position_embeddings"]), width)
        self.LayerNorm = nn.LayerNorm(width, eps=float(values.get("layer_norm_eps", 1e-12)))

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (N, W) -> (N, W, D)."""
        return self.LayerNorm(self.word_embeddings(ids) + self.position_embeddings.weight[: ids.shape[1]])


class BlipTextEncoder(TextEncoder):
    """Embedded word pieces (N, W, C), the first of which the reader answers at; all but the first D features are 0.

    Raises:
        InvalidSpec: a model that cannot be found, is no BLIP, or has fewer positions than `max_words`.
        InvalidCheckpoint: weights that do not fit.
    """

    Config = BlipTextConfig

    def __init__(self, config: BlipTextConfig, tokenizer: Tokenizer, *, load_pretrained: bool = True):
        super().__init__(config, tokenizer)
        values = config.architecture_config or models.configuration(config.model, "text_config")
        if config.max_words > values["max_position_embeddings"]:
            raise InvalidSpec(
                f"max_words {config.max_words} is more than the {values['max_position_embeddings']} positions of {config.model}"
            )
        self.reader_shape: ReaderShape = shape_of(values)
        self.embeddings = WordEmbeddings(values)
        self._pretrained = load_pretrained
        if load_pretrained:
            state = models.weights(config.model)
            load_strictly(self.embeddings, models.part(state, "text_encoder.embeddings."), config.model)
        self.raw_width, self.width = self.reader_shape.width, self.reader_shape.image_width
        if self.width < self.raw_width:
            raise InvalidSpec(
                f"the words of {config.model} are wider ({self.raw_width}) than its image tokens ({self.width})"
            )
        self._first = int(values["vocab_size"]) - 1 if _first_token(config, values) == "enc" else None

    def reader(self) -> Reader:
        """The network that reads what both towers give; with the model's weights where the encoder has them.

        Raises:
            InvalidCheckpoint: weights that do not fit.
        """
        reader = Reader(self.reader_shape)
        if self._pretrained:
            reader.load(models.weights(self.config.model), self.config.model)
        return reader

    @classmethod
    def fresh_tokenizer(
        cls, config: BlipTextConfig, captions: Sequence[str] | None, vocabulary: Vocabulary | None
    ) -> Tokenizer:
        return _tokenizer(config).load(config.model, config.max_words, models.what(config.model), models.REMEDY)

    @classmethod
    def restored_tokenizer(cls, config: BlipTextConfig, state: Mapping[str, Any]) -> Tokenizer:
        return _tokenizer(config).from_state(state)

    @classmethod
    def reads_vocabulary(cls, config: BlipTextConfig) -> bool:
        return False

    def raw(self, tokens: Tokens) -> Fragments:
        """Embeddings (N, W, D); errors as of `TransformerEncoder.raw`."""
        checked_lengths(tokens)
        ids = tokens.ids.clone()
        if self._first is not None:
            ids[:, 0] = self._first
        with self._tracked():
            return Fragments.unchecked(self.embeddings(ids), tokens.mask, {})

    def head(self, raw: Fragments) -> Fragments:
        """The same with zeros behind them, up to the width of the image tokens: both sides have one width here."""
        return Fragments(F.pad(raw.features, (0, self.width - self.raw_width)), raw.mask)

    @classmethod
    def pinned(cls, config: BlipTextConfig) -> BlipTextConfig:
        """See `ImageEncoder.pinned`: the architecture, a package's version, the first token."""
        changes = _pinned(config, "text_config")
        first = _first_token(config, changes["architecture_config"])
        _report(config.model, first, changes["architecture_config"]["vocab_size"] == VOCABULARY, config.punctuation)
        return config.model_copy(update={**changes, "first_token": first})

    @classmethod
    def comes_trained(cls, config: BlipConfig) -> bool:
        """Always: there is no BLIP to train from scratch here."""
        return True

    def tower_module(self) -> nn.Module:
        return self.embeddings

    def tower_definition(self) -> dict[str, Any]:
        return {"backbone": "blip", "layers": layers_sha256(self.embeddings), "first_token": self._first}


def _pinned(config: BlipConfig, side: str) -> dict[str, Any]:
    return {
        "model": models.pinned_name(config.model),
        "architecture_config": config.architecture_config or models.configuration(config.model, side),
    }


def _tokenizer(config: BlipTextConfig) -> type[PieceTokenizer]:
    return PieceTokenizer if config.punctuation else BlipTokenizer


def _first_token(config: BlipTextConfig, values: Mapping[str, Any]) -> Literal["enc", "cls"]:
    return config.first_token or ("enc" if values["vocab_size"] == VOCABULARY else "cls")


@functools.lru_cache(maxsize=64)  # said once per model and process
def _report(model: str, first: str, has_enc: bool, punctuation: bool) -> None:
    """Say where captions reach the reader in another way than in its training."""
    if first == "cls":
        known = "was fine-tuned on captions that begin with [ENC]" if has_enc else "has no [ENC] in its vocabulary"
        _log.warning("%s %s; here they begin with [CLS]", model, known)
    if punctuation:
        _log.warning("%s was fine-tuned on captions without punctuation; here they keep it", model)
