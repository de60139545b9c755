"""Image and text backbones `open_clip`: the two towers of a CLIP, with a global embedding or one fragment per token.

`model: small` is a tiny CLIP of open_clip's own modules, made to train from scratch; its text tower learns word
embeddings over a vocabulary of the training captions, since CLIP's 49,408 word pieces would be most of the model.

Shape letters: N items, S side in pixels, L patches, W tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor, nn

from harness.backbones.base import ImageEncoder, TextEncoder, layers_sha256, projection
from harness.backbones.open_clip.names import has_own_weights
from harness.backbones.open_clip.read_outs import image_read_out, text_read_out
from harness.backbones.open_clip.recipes import OFF, TextRecipe, report
from harness.backbones.open_clip.settings import ClipConfig, ClipImageConfig, ClipTextConfig
from harness.backbones.open_clip.small import SMALL
from harness.backbones.open_clip.tokens import PaddedTokenizer, PieceTokenizer, UnpaddedTokenizer
from harness.backbones.pixels import PixelNormalizer
from harness.backbones.recomputing import can_recompute
from harness.backbones.words.tokenizers import Tokenizer, restore_tokenizer
from harness.backbones.words.vocabulary import Vocabulary
from harness.errors import InvalidCheckpoint
from harness.files.packages import is_reference, packaged_weights
from harness.fragments import Fragments, Tokens

if TYPE_CHECKING:
    from harness.backbones.open_clip.configs import Model

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
        self.resize = config.resize or tower.resize
        self.normalize = PixelNormalizer(self.image_size, mean, std)
        self.read_out = image_read_out(self.visual, config)
        self.class_tokens = self.read_out.class_tokens
        self.grid = self.read_out.grid
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
        """See `ImageEncoder.pinned`: the activation, how pixels are prepared, a package's version."""
        return _pinned(config, normalised=True)

    @classmethod
    def comes_trained(cls, config: ClipConfig) -> bool:
        return _comes_trained(config)

    def tower_module(self) -> nn.Module:
        return self.visual

    @classmethod
    def recomputes(cls, config: ClipImageConfig) -> bool:
        return can_recompute(cls(config, load_pretrained=False).visual)

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
        self.read_out = text_read_out(self.text, config, tokenizer)
        self.raw_width = tower.width
        self.width = config.width or tower.width
        self.project = projection(tower.width, self.width)

    @classmethod
    def fresh_tokenizer(
        cls, config: ClipTextConfig, captions: Sequence[str] | None, vocabulary: Vocabulary | None
    ) -> Tokenizer:
        if config.model != SMALL:
            return _pieces(config)
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
        return _pieces(config)

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
        """See `ImageEncoder.pinned`: the activation, how captions become tokens, a package's version."""
        return _pinned(config, normalised=False)

    @classmethod
    def comes_trained(cls, config: ClipConfig) -> bool:
        return _comes_trained(config)

    def tower_module(self) -> nn.Module:
        return self.text

    def core_module(self) -> nn.Module:
        # A causal tower is run on the real tokens, past its own `forward`.
        return (
            cast(nn.Module, getattr(self.text, "transformer", self.text)) if self.read_out.past_forward else self.text
        )

    @classmethod
    def recomputes(cls, config: ClipTextConfig) -> bool:
        from harness.backbones.open_clip.models import build_tower

        return can_recompute(build_tower("text", config.model, config.pretrained, load_pretrained=False).module)

    def tower_definition(self) -> dict[str, Any]:
        return _definition(self.text, self.config) | ({"text_recipe": OFF} if self.config.text_recipe == OFF else {})


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
        changes["resize"] = given.resize or described.resize
    else:
        changes["text_recipe"] = _recipe(cast(ClipTextConfig, config), described)
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


def _recipe(config: ClipTextConfig, described: Model) -> TextRecipe | None:
    """How captions become tokens, said where it is not as in training; None for CLIP's own towers, which see no padding."""
    report(config.model, described.captions, described.siglip2, config.text_recipe)
    return config.text_recipe or (described.captions.recipe if described.captions.own_pieces else None)


def _pieces(config: ClipTextConfig) -> PieceTokenizer | PaddedTokenizer:
    from harness.backbones.open_clip.models import piece_tokenizer

    pieces = piece_tokenizer(config.model, config.text_recipe)
    if hasattr(pieces, "eot_token_id"):
        return PieceTokenizer(pieces, config.model)
    return (UnpaddedTokenizer if config.text_recipe == OFF else PaddedTokenizer)(pieces, config.model)
