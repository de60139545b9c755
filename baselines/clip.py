"""CLIP: the cosine of one image and one text embedding, zero-shot or trained contrastively (Radford et al., ICML 2021)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator
from torch import Tensor

from harness import backbones
from harness.backbones.base import ImageEncoder, TextEncoder
from harness.errors import InvalidSpec
from harness.fragments import Fragments
from harness.losses import contrastive
from harness.scorer import ScorerConfig
from harness.scorers.bases import GlobalVectorScorer
from harness.scorers.temperature import LARGEST_SCALE, bounded_scale, log_scale
from harness.spec import Component


class ClipScorerConfig(ScorerConfig):
    """Settings of CLIP."""

    model: str | None = Field(
        None, description="name in open_clip.list_models() that gives both towers; only without backbones"
    )
    pretrained: str | None = Field(None, description="weights of that model: a tag of open_clip, or a local file")
    initial_temperature: float = Field(
        0.07, ge=1 / LARGEST_SCALE, description="initial temperature of the contrastive loss, which is learned"
    )

    @model_validator(mode="after")
    def _weights_need_a_model(self) -> ClipScorerConfig:
        if self.pretrained and not self.model:
            raise ValueError("pretrained names weights of a model; name the model too, for example ViT-B-32")
        return self


class Clip(GlobalVectorScorer):
    """The cosine of global embeddings; several fragments of an item are averaged, so any pair of backbones fits.

    Args:
        config: settings; `model` builds both towers.
        image_encoder, text_encoder: see `Scorer`; not together with `model`.

    Raises:
        InvalidSpec: `model` together with encoders; or as `harness.backbones.build_image`.
        InvalidCheckpoint: as `harness.backbones.build_image`.
    """

    Config = ClipScorerConfig
    config: ClipScorerConfig
    recipe: ClassVar = {
        "optimizer": "adamw",
        "learning_rate": 5e-4,
        "weight_decay": 0.2,
        "schedule": "cosine",
        "warmup_steps": 50,
        "gradient_clip": 1.0,
        "objective": "infonce",
        "temperature": 0.07,
    }
    #: The contrastive loss is its own: of the training's objective it takes nothing.
    search_space: ClassVar = {
        "config.initial_temperature": {"low": 0.01, "high": 0.2, "log": True},
        "training.margin": None,
        "training.temperature": None,
    }
    citation = "Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021"
    default_image: ClassVar = Component(name="open_clip", options={"model": "small"})
    default_text: ClassVar = Component(name="open_clip", options={"model": "small"})

    def setup(self) -> None:
        """The towers of the config's model, and the learned temperature."""
        if self.config.model:
            self.image_encoder, self.text_encoder = _towers(self.config, self.image_encoder, self.text_encoder)
            # The towers now say which model it is; a saved config that said it too would be built twice.
            self.config = self.config.model_copy(update={"model": None, "pretrained": None})
        self.log_scale = log_scale(self.config.initial_temperature)

    def losses(self, images: Fragments, texts: Fragments, image_ids: Tensor) -> dict[str, Tensor]:
        """The symmetric contrastive loss with a learned temperature; arguments as `Scorer.losses`.

        Source:
            Radford et al., figure 3. Differs: pairs of the same image are not negatives.
        """
        return {"contrastive": contrastive(bounded_scale(self.log_scale) * self.score(images, texts), image_ids)}


def _towers(
    config: ClipScorerConfig, image_encoder: ImageEncoder | None, text_encoder: TextEncoder | None
) -> tuple[ImageEncoder, TextEncoder]:
    if image_encoder is not None or text_encoder is not None:
        raise InvalidSpec(
            f"scorer clip: model '{config.model}' would replace the backbones that it was given; leave 'model' out and "
            f"set both backbones to {{name: open_clip, model: {config.model}}}"
        )
    tower = {"name": "open_clip", "model": config.model, "pretrained": config.pretrained}
    return backbones.build_image(tower), backbones.build_text(tower)
