"""How fragments are read out of CLIP's towers: one embedding per item, or one per patch or token.

Shape letters: N items, S side in pixels, L patches, W tokens, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from harness.backbones.bigru import checked_lengths
from harness.backbones.grid import Grid
from harness.backbones.open_clip.recipes import OFF
from harness.backbones.open_clip.settings import ClipImageConfig, ClipTextConfig
from harness.backbones.words.tokenizers import Tokenizer
from harness.errors import InvalidSpec
from harness.fragments import Tokens


class _GlobalImage:
    """The tower's own pooled and projected embedding."""

    class_tokens = 0
    grid = None

    def __call__(self, visual: nn.Module, pixels: Tensor) -> Tensor:
        return visual(pixels)[:, None]


class _ImageTokens:
    """Every token of a vision transformer through the normalisation and the projection of the pooled one."""

    def __init__(self, visual: Any, keep_class_token: bool):
        visual.output_tokens = True
        self.class_tokens = int(keep_class_token and visual.pool_type == "tok")
        rows, columns = visual.grid_size
        self.grid = Grid(rows, columns, self.class_tokens)
        self.late_norm = bool(visual.final_ln_after_pool)

    def __call__(self, visual: Any, pixels: Tensor) -> Tensor:
        pooled, patches = visual(pixels)
        patches = (visual.ln_post(patches) if self.late_norm else patches) @ visual.proj
        return torch.cat([pooled[:, None], patches], dim=1) if self.class_tokens else patches


class _CausalText:
    """A causal transformer, run on the real tokens only: what follows the end cannot change what comes before it."""

    past_forward = True

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

    past_forward = False

    def __init__(self, padding_id: int, context: int):
        self.padding_id = padding_id
        self.context = context

    def __call__(self, text: nn.Module, tokens: Tokens) -> tuple[Tensor, Tensor]:
        ids = tokens.ids.masked_fill(~tokens.mask, self.padding_id)
        ids = nn.functional.pad(ids, (0, self.context - ids.shape[1]), value=self.padding_id)
        return text(ids)[:, None], torch.ones(len(ids), 1, dtype=torch.bool, device=ids.device)


class _OwnLength:
    """The same towers, each caption run on its own tokens, as none of them was trained.

    Captions of one length run together, so that a caption's embedding does not depend on its batch.
    """

    past_forward = False

    def __call__(self, text: nn.Module, tokens: Tokens) -> tuple[Tensor, Tensor]:
        lengths = checked_lengths(tokens).to(tokens.ids.device)
        found = [text(tokens.ids[lengths == length, :length]) for length in lengths.unique().tolist()]  # ascending
        back = lengths.argsort(stable=True).argsort()
        return torch.cat(found)[back][:, None], torch.ones(len(back), 1, dtype=torch.bool, device=back.device)


def image_read_out(visual: Any, config: ClipImageConfig) -> _GlobalImage | _ImageTokens:
    if config.output == "global":
        return _GlobalImage()
    if getattr(visual, "attn_pool", None) is not None or not hasattr(visual, "output_tokens"):
        raise InvalidSpec(
            f"the image tower of open_clip model {config.model} has no projected patch tokens; "
            "use output: global, or one of the ViT models"
        )
    return _ImageTokens(visual, config.keep_class_token)


def text_read_out(text: Any, config: ClipTextConfig, tokenizer: Tokenizer) -> Any:
    causal = getattr(text, "attn_mask", None) is not None and getattr(text, "cls_emb", None) is None
    if causal and text.pool_type in ("argmax", "eos") and text.text_projection is not None:
        return _CausalGlobal() if config.output == "global" else _CausalTokens()
    if config.output == "tokens":
        raise InvalidSpec(
            f"the text tower of open_clip model {config.model} has no projected tokens; use output: global, or a CLIP "
            "with the original causal text tower"
        )
    if config.text_recipe == OFF and getattr(text, "attn_mask", None) is None:  # a causal tower sees no padding
        return _OwnLength()
    return _WholeContext(getattr(tokenizer, "padding_id", 0), int(text.context_length))
