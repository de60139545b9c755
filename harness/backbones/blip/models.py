"""BLIP's weights by part: vision tower, word embeddings, and the reader that sees both; safetensors only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from harness.backbones import hub
from harness.errors import InvalidCheckpoint, InvalidSpec, reported_as
from harness.files.packages import is_reference, packaged_model

KIND = "blip"
REMEDY = (
    "name a BLIP for retrieval (Salesforce/blip-itm-base-coco) with a connection, or a local folder with config.json, "
    "tokenizer.json and model.safetensors"
)


def what(model: str) -> str:
    """What messages call a model."""
    return f"backbone blip '{model}'"


def configuration(model: str, side: str) -> dict[str, Any]:
    """The architecture of one side of a model.

    Args:
        model: a name on the hub, a local folder, or `package:NAME`.
        side: "vision_config" or "text_config".

    Raises:
        InvalidSpec: it cannot be found, or is no BLIP.
    """
    values = hub.load_config(model, what(model), REMEDY)
    if values.get("model_type") != KIND:
        raise InvalidSpec(
            f"{what(model)} takes a BLIP for retrieval, and this is a {values.get('model_type')}; {REMEDY}"
        )
    left_out = ("id2label", "label2id", "_name_or_path", "transformers_version", "dtype")
    return {key: value for key, value in values[side].items() if key not in left_out}


def pinned_name(model: str) -> str:
    """The name with a package's version."""
    return packaged_model(model).reference if is_reference(model) else model


def vision_model(values: Mapping[str, Any], model: str) -> Any:
    """A vision tower of an architecture, with random weights.

    Raises:
        InvalidCheckpoint: the values describe none.
    """
    from transformers import BlipVisionConfig, BlipVisionModel

    with reported_as(InvalidCheckpoint, f"cannot build the vision tower of {what(model)}"):
        return BlipVisionModel(BlipVisionConfig(**values)).float()


def weights(model: str) -> dict[str, Tensor]:
    """All tensors of a model, under transformers' names.

    Raises:
        InvalidSpec: it cannot be found, holds no safetensors file, or lacks a tensor.
    """
    from transformers import BlipForImageTextRetrieval

    loaded: nn.Module = hub.load_as(BlipForImageTextRetrieval, model, what(model), REMEDY)
    return dict(loaded.state_dict())


def part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors of one part under its own names.

    >>> list(part({"itm_head.bias": None, "text_proj.bias": None}, "itm_head."))
    ['bias']
    """
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
