"""Image and text backbones `open_clip`: the two towers of a CLIP, with a global embedding or one fragment per token.

`model: small` is a tiny CLIP of open_clip's own modules, made to train from scratch; its text tower learns word
embeddings over a vocabulary of the training captions, since CLIP's 49,408 word pieces would be most of the model.

Shape letters: N items, S side in pixels, L patches, W tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeVar, cast

import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from torch import Tensor, nn

from harness.backbones.base import BackboneConfig, ImageEncoder, TextEncoder, layers_sha256, projection
from harness.backbones.bigru import checked_lengths
from harness.backbones.open_clip.names import has_own_weights
from harness.backbones.open_clip.small import SMALL, SMALL_CONFIG
from harness.backbones.open_clip.tokens import PaddedTokenizer, PieceTokenizer
from harness.backbones.pixels import PixelNormalizer
from harness.backbones.words.tokenizers import Tokenizer, restore_tokenizer
from harness.backbones.words.vocabulary import Vocabulary
from harness.errors import InvalidCheckpoint, InvalidSpec
from harness.files.packages import is_reference, packaged_weights
from harness.fragments import Fragments, Tokens


class ClipConfig(BackboneConfig):
    """Settings of both towers."""

    model: str = Field(
        "small", description="small, a name of open_clip.list_models(), local-dir:/folder, or hf-hub:owner/name"
    )
    pretrained: str | None = Field(None, description="a tag of open_clip, the path of a local file, or package:NAME")
    output: Literal["global", "tokens"] = Field(
        "global", description="one embedding per item, or one per patch or token"
    )
    width: int | None = Field(None, ge=1, description="D of the fragments, by a further layer; none = the model's own")
    quick_gelu: bool | None = Field(None, description="OpenAI's activation; none = as the weights were trained")


class ClipImageConfig(ClipConfig):
    """Settings of the image tower."""

    image_size: int | None = Field(None, ge=8, description="side of the pixels; none = the model's own")
    keep_class_token: bool = Field(True, description="tokens: keep the class token as the first fragment")
    mean: tuple[float, float, float] | None = Field(
        None, description="per channel, of pixels in [0, 1]; none = as the weights were trained"
    )
    std: tuple[float, float, float] | None = Field(None, description="likewise, the deviation")

    @model_serializer(mode="wrap")
    def _without_open_choices(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out a mean and a deviation that are not set: records of towers without weights stay as they were."""
        optional = ("mean", "std")
        return {key: value for key, value in serialise(self).items() if key not in optional or value is not None}


class ClipTextConfig(ClipConfig):
    """Settings of the text tower."""

    max_words: ClassVar[int] = SMALL_CONFIG["text_cfg"]["context_length"]
    min_count: int = Field(1, ge=1, description="small: a training word that is rarer becomes <unk>")


AnyClip = TypeVar("AnyClip", bound=ClipConfig)


class ClipImageEncoder(ImageEncoder):
    """A CLIP's image tower.

    Attributes:
        class_tokens: 1 where the first of several fragments is the class token, else 0.

    Raises:
        InvalidSpec: an unknown model or tag, or `output: tokens` of a tower that has none.
        InvalidCheckpoint: weights that cannot be fetched, read, or do not fit.

    Source:
        Radford et al., CLIP, ICML 2021. Token output: each patch through the class token's projection, as FILIP does.
    """

    Config = ClipImageConfig
    input = "pixels"

    def __init__(self, config: ClipImageConfig, region_width: int = 0, *, load_pretrained: bool = True):
        super().__init__(config)
        from harness.backbones.open_clip.models import build_tower  # open_clip takes seconds to import

        tower = build_tower(
            "visual",
            config.model,
            config.pretrained,
            image_size=config.image_size,
            quick_gelu=config.quick_gelu,
            load_pretrained=load_pretrained,
        )
        self.visual = tower.module
        size: Any = self.visual.image_size
        self.image_size = int(size[0] if isinstance(size, (tuple, list)) else size)
        mean, std = config.mean or tower.mean, config.std or tower.std
        self.normalize = PixelNormalizer(self.image_size, mean, std)
        self.read_out = _image_read_out(self.visual, config)
        self.class_tokens = self.read_out.class_tokens
        self.raw_width = tower.width
        self.width = config.width or tower.width
        self.project = projection(tower.width, self.width)
        self._preparation = {"mean": list(mean), "std": list(std)}

    def raw(self, batch: Tensor) -> Fragments:
        """Embeddings (N, 1, C), or (N, 1 + L, C) with `output: tokens`, from uint8 pixels (N, 3, S, S)."""
        with self._tracked():
            features = self.read_out(self.visual, self.normalize(batch))
        return Fragments.unchecked(
            features, torch.ones(features.shape[:2], dtype=torch.bool, device=features.device), {}
        )

    def head(self, raw: Fragments) -> Fragments:
        """Fragments (N, F, D) from the tower's (N, F, C)."""
        return Fragments(self.project(raw.features), raw.mask)

    @classmethod
    def pinned(cls, config: ClipImageConfig) -> ClipImageConfig:
        """See `ImageEncoder.pinned`: the activation, the mean and deviation of the pixels, a package's version."""
        return _pinned(config, normalised=True)

    @classmethod
    def comes_trained(cls, config: ClipConfig) -> bool:
        return _comes_trained(config)

    def tower_module(self) -> nn.Module:
        return self.visual

    def tower_definition(self) -> dict[str, Any]:
        settings = {"image_size": self.image_size, "class_tokens": self.class_tokens, **self._preparation}
        return _definition(self.visual, self.config) | settings


class ClipTextEncoder(TextEncoder):
    """A CLIP's text tower.

    Raises:
        InvalidSpec, InvalidCheckpoint: as `ClipImageEncoder`.
    """

    Config = ClipTextConfig

    def __init__(self, config: ClipTextConfig, tokenizer: Tokenizer, *, load_pretrained: bool = True):
        super().__init__(config, tokenizer)
        from harness.backbones.open_clip.models import build_tower

        tower = build_tower(
            "text",
            config.model,
            config.pretrained,
            quick_gelu=config.quick_gelu,
            vocabulary_size=tokenizer.vocabulary_size,
            load_pretrained=load_pretrained,
        )
        self.text = tower.module
        self.read_out = _text_read_out(self.text, config, tokenizer)
        self.raw_width = tower.width
        self.width = config.width or tower.width
        self.project = projection(tower.width, self.width)

    @classmethod
    def fresh_tokenizer(
        cls, config: ClipTextConfig, captions: Sequence[str] | None, vocabulary: Vocabulary | None
    ) -> Tokenizer:
        if config.model != SMALL:
            return _pieces(config.model)
        return super().fresh_tokenizer(config, captions, vocabulary)

    @classmethod
    def reads_vocabulary(cls, config: ClipTextConfig) -> bool:
        return config.model == SMALL

    @classmethod
    def restored_tokenizer(cls, config: ClipTextConfig, state: Mapping[str, Any]) -> Tokenizer:
        if state.get("kind") != "open_clip":
            return restore_tokenizer(state)
        if state.get("model") != config.model:
            raise InvalidCheckpoint(
                f"the saved tokenizer is of open_clip model {state.get('model')}, not {config.model}"
            )
        return _pieces(config.model)

    def raw(self, tokens: Tokens) -> Fragments:
        """Embeddings (N, 1, C), or (N, W, C) with `output: tokens`.

        Raises:
            InvalidFragments: an empty caption, or padding before a real token.
        """
        with self._tracked():
            features, mask = self.read_out(self.text, tokens)
        return Fragments.unchecked(features, mask, {})

    def head(self, raw: Fragments) -> Fragments:
        """Fragments (N, F, D) from the tower's (N, F, C)."""
        return Fragments(self.project(raw.features), raw.mask)

    @classmethod
    def pinned(cls, config: ClipTextConfig) -> ClipTextConfig:
        """See `ImageEncoder.pinned`: the activation, and a package's version."""
        return _pinned(config, normalised=False)

    @classmethod
    def comes_trained(cls, config: ClipConfig) -> bool:
        return _comes_trained(config)

    def tower_module(self) -> nn.Module:
        return self.text

    def tower_definition(self) -> dict[str, Any]:
        return _definition(self.text, self.config)


class _GlobalImage:
    """The tower's own pooled and projected embedding."""

    class_tokens = 0

    def __call__(self, visual: nn.Module, pixels: Tensor) -> Tensor:
        return visual(pixels)[:, None]


class _ImageTokens:
    """Every token of a vision transformer through the normalisation and the projection of the pooled one."""

    def __init__(self, visual: Any, keep_class_token: bool):
        visual.output_tokens = True
        self.class_tokens = int(keep_class_token and visual.pool_type == "tok")
        self.late_norm = bool(visual.final_ln_after_pool)

    def __call__(self, visual: Any, pixels: Tensor) -> Tensor:
        pooled, patches = visual(pixels)
        patches = (visual.ln_post(patches) if self.late_norm else patches) @ visual.proj
        return torch.cat([pooled[:, None], patches], dim=1) if self.class_tokens else patches


class _CausalText:
    """A causal transformer, run on the real tokens only: what follows the end cannot change what comes before it."""

    def states(self, text: Any, tokens: Tokens) -> Tensor:
        """Projected states (N, W, D)."""
        longest = tokens.ids.shape[1]
        embedded = text.token_embedding(tokens.ids) + text.positional_embedding[:longest]
        states = text.ln_final(text.transformer(embedded, attn_mask=text.attn_mask[:longest, :longest]))
        projection = text.text_projection
        return projection(states) if isinstance(projection, nn.Module) else states @ projection


class _CausalTokens(_CausalText):
    """One fragment per token, start and end among them."""

    def __call__(self, text: Any, tokens: Tokens) -> tuple[Tensor, Tensor]:
        checked_lengths(tokens)
        return self.states(text, tokens), tokens.mask


class _CausalGlobal(_CausalText):
    """The state of the last real token, which is the end of the text."""

    def __call__(self, text: Any, tokens: Tokens) -> tuple[Tensor, Tensor]:
        last = (checked_lengths(tokens) - 1).to(tokens.ids.device)
        states = self.states(text, tokens)
        embedding = states[torch.arange(len(last), device=states.device), last]
        return embedding[:, None], torch.ones(len(last), 1, dtype=torch.bool, device=states.device)


class _WholeContext:
    """Any other text tower, run on its full context, since padding may enter its pooling."""

    def __init__(self, padding_id: int, context: int):
        self.padding_id = padding_id
        self.context = context

    def __call__(self, text: nn.Module, tokens: Tokens) -> tuple[Tensor, Tensor]:
        ids = tokens.ids.masked_fill(~tokens.mask, self.padding_id)
        ids = nn.functional.pad(ids, (0, self.context - ids.shape[1]), value=self.padding_id)
        return text(ids)[:, None], torch.ones(len(ids), 1, dtype=torch.bool, device=ids.device)


def _image_read_out(visual: Any, config: ClipImageConfig) -> _GlobalImage | _ImageTokens:
    if config.output == "global":
        return _GlobalImage()
    if getattr(visual, "attn_pool", None) is not None or not hasattr(visual, "output_tokens"):
        raise InvalidSpec(
            f"the image tower of open_clip model {config.model} has no projected patch tokens; "
            "use output: global, or one of the ViT models"
        )
    return _ImageTokens(visual, config.keep_class_token)


def _text_read_out(text: Any, config: ClipTextConfig, tokenizer: Tokenizer) -> Any:
    causal = getattr(text, "attn_mask", None) is not None and getattr(text, "cls_emb", None) is None
    if causal and text.pool_type in ("argmax", "eos") and text.text_projection is not None:
        return _CausalGlobal() if config.output == "global" else _CausalTokens()
    if config.output == "tokens":
        raise InvalidSpec(
            f"the text tower of open_clip model {config.model} has no projected tokens; use output: global, or a CLIP "
            "with the original causal text tower"
        )
    return _WholeContext(getattr(tokenizer, "padding_id", 0), int(text.context_length))


def _pinned(config: AnyClip, *, normalised: bool) -> AnyClip:
    """What the weights bring beside their tensors, written out: nothing in a file of them says it again."""
    if not _comes_trained(config):
        return config
    from harness.backbones.open_clip.configs import describe

    described = describe(config.model, config.pretrained, config.quick_gelu)
    changes: dict[str, Any] = {"quick_gelu": described.quick_gelu}
    if normalised:
        given = cast(ClipImageConfig, config)
        changes |= {"mean": given.mean or described.mean, "std": given.std or described.std}
    if is_reference(config.pretrained):
        changes["pretrained"] = packaged_weights(str(config.pretrained)).reference
    return config.model_copy(update=changes)


def _comes_trained(config: ClipConfig) -> bool:
    return bool(config.pretrained) or has_own_weights(config.model)


def _definition(tower: nn.Module, config: ClipConfig) -> dict[str, Any]:
    import open_clip

    model = None if has_own_weights(config.model) else config.model  # a place says nothing
    layers = layers_sha256(tower)
    return {
        "backbone": "open_clip",
        "model": model,
        "output": config.output,
        "layers": layers,
        "open_clip": open_clip.__version__,
    }


def _pieces(model: str) -> PieceTokenizer | PaddedTokenizer:
    from harness.backbones.open_clip.models import piece_tokenizer

    pieces = piece_tokenizer(model)
    return (PieceTokenizer if hasattr(pieces, "eot_token_id") else PaddedTokenizer)(pieces, model)
