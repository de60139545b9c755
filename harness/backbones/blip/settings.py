"""Settings of the backbones `blip`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from harness.backbones.base import BackboneConfig
from harness.datasets.base import Resize


class BlipConfig(BackboneConfig):
    """Settings of both towers."""

    model: str = Field(
        "Salesforce/blip-itm-base-coco",
        description="a BLIP for retrieval: a name on the Hugging Face hub, a local folder, or package:NAME",
    )
    architecture_config: dict[str, Any] | None = Field(
        None, description="the tower's configuration; none = as the model's config.json says, and then filled in"
    )

    @model_serializer(mode="wrap")
    def _without_open_choices(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in serialise(self).items() if value is not None}


class BlipImageConfig(BlipConfig):
    """Settings of the image tower."""

    image_size: int | None = Field(None, ge=8, description="side of the pixels; none = the model's own")
    mean: tuple[float, float, float] | None = Field(
        None, description="per channel, of pixels in [0, 1]; none = as the weights were trained"
    )
    std: tuple[float, float, float] | None = Field(None, description="likewise, the deviation")
    resize: Resize | None = Field(
        None, description="crop = the shorter side of a photograph, then the middle; plain or none = to a square"
    )


class BlipTextConfig(BlipConfig):
    """Settings of the text tower; the defaults are the authors' for retrieval."""

    max_words: int = Field(35, ge=3, description="longest caption in word pieces, special ones included")
    punctuation: bool = Field(
        False, description='keep the marks . ! " ( ) * # : ; ~, which BLIP was fine-tuned without'
    )
    first_token: Literal["enc", "cls"] | None = Field(
        None,
        description="what a caption begins with: enc = BLIP's own token for reading an image, as in its fine-tuning; cls = "
        "[CLS], as in Hugging Face's example; none = enc where the vocabulary has it",
    )
