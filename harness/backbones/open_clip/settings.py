"""Settings of the backbones `open_clip`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from harness.backbones.base import BackboneConfig
from harness.backbones.open_clip.recipes import TextRecipe
from harness.backbones.open_clip.small import SMALL, SMALL_CONFIG
from harness.datasets.base import Resize


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
    resize: Resize | None = Field(
        None,
        description="plain = to a square; crop = shorter side, then the middle; none = as the weights are evaluated",
    )

    @model_serializer(mode="wrap")
    def _without_open_choices(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out what is not set of the preparation: records of towers without weights stay as they were."""
        optional = ("mean", "std", "resize")
        return {key: value for key, value in serialise(self).items() if key not in optional or value is not None}


class ClipTextConfig(ClipConfig):
    """Settings of the text tower."""

    max_words: ClassVar[int] = SMALL_CONFIG["text_cfg"]["context_length"]
    min_count: int = Field(1, ge=1, description="small: a training word that is rarer becomes <unk>")
    text_recipe: TextRecipe | None = Field(
        None,
        description="cleaning of captions that are padded to the context: canonicalize, lower or whitespace; off = neither "
        "lower case nor padding; none = as the weights were trained",
    )

    @model_validator(mode="after")
    def _word_pieces_only(self) -> ClipTextConfig:
        if self.model == SMALL and self.text_recipe is not None:
            raise ValueError("text_recipe is for models with word pieces; model 'small' learns words in lower case")
        return self

    @model_serializer(mode="wrap")
    def _without_open_recipe(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out a recipe that is not set: records of towers that see no padding stay as they were."""
        return {key: value for key, value in serialise(self).items() if key != "text_recipe" or value is not None}
