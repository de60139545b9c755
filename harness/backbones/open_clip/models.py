"""open_clip's towers: built by name, with weights from a tag, a local file or a local folder, never executing a pickle.

open_clip's own factory reads a checkpoint for both towers at once, only warns of a wrong activation, and lets every
kind of exception through; here each tower is filled by itself, and what does not fit is refused.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

import open_clip
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed
from open_clip.pretrained import download_pretrained_from_hf
from torch import Tensor, nn

from harness.backbones.open_clip.names import HUB, LOCAL, has_own_weights
from harness.backbones.open_clip.small import SMALL, SMALL_CONFIG
from harness.backbones.weights import load_strictly, read_state_dict
from harness.errors import InvalidCheckpoint, InvalidSpec, did_you_mean, reported_as

_WEIGHTS = ("open_clip_model.safetensors", "model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin")


class Tower(NamedTuple):
    """One tower of a CLIP, and what its encoder needs to know."""

    module: nn.Module
    width: int  #: of the joint embedding
    mean: tuple[float, ...]
    std: tuple[float, ...]


def build_tower(
    side: Literal["visual", "text"],
    name: str,
    pretrained: str | None,
    *,
    image_size: int | None = None,
    quick_gelu: bool | None = None,
    vocabulary_size: int = 3,
    load_pretrained: bool = True,
) -> Tower:
    """One tower of a model.

    Args:
        side: which.
        name: "small", a name of `open_clip.list_models()`, `local-dir:/folder` with open_clip's config and weights, or
            `hf-hub:owner/name`.
        pretrained: one of open_clip's tags, the path of a safetensors or PyTorch file, or None for random weights.
        image_size: side in pixels; None = the model's own.
        quick_gelu: the activation of OpenAI's models; None = what the tag was trained with, else the model's own.
        vocabulary_size: of the small model's word embedding.
        load_pretrained: False builds the same modules with random weights.

    Raises:
        InvalidSpec: no such model or tag, or an image size that does not fit.
        InvalidCheckpoint: the weights cannot be fetched or read, are unsafe, or do not fit.
    """
    config, preprocess = _config(name, pretrained)
    tag = _tag(name, pretrained)
    config["quick_gelu"] = _quick_gelu(name, tag, quick_gelu, bool(config.get("quick_gelu", False)))
    if name == SMALL:
        config["text_cfg"]["vocab_size"] = vocabulary_size
    if image_size is not None:
        _require_whole_patches(name, image_size, config["vision_cfg"].get("patch_size", 1))
        config["vision_cfg"]["image_size"] = image_size
    model = _build(name, config)
    if load_pretrained and (pretrained or has_own_weights(name)):
        _fill(model, side, _weights_file(name, pretrained, tag))
    if image_size is not None and hasattr(model.visual, "set_input_size"):
        model.visual.set_input_size(image_size)
    return Tower(
        getattr(model, side),
        int(config["embed_dim"]),
        tuple(preprocess.get("mean") or open_clip.OPENAI_DATASET_MEAN),
        tuple(preprocess.get("std") or open_clip.OPENAI_DATASET_STD),
    )


def _require_whole_patches(name: str, image_size: int, patch: int) -> None:
    if image_size % patch:
        raise InvalidSpec(
            f"image_size {image_size} is not a multiple of the patch size {patch} of open_clip model {name}"
        )


def piece_tokenizer(name: str) -> Any:
    """open_clip's tokenizer of a model.

    Raises:
        InvalidSpec: no such model.
        InvalidCheckpoint: the tokenizer's files cannot be fetched.
    """
    _config(name, None)
    # The tokenizers of some models come from the hub, with errors of many kinds.
    with reported_as(InvalidCheckpoint, f"cannot get the tokenizer of open_clip model {name}"):
        return open_clip.get_tokenizer(name)


def _config(name: str, pretrained: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The model's config, and how its images are prepared."""
    if name == SMALL:
        if pretrained:
            raise InvalidSpec(
                "open_clip model 'small' has no pretrained weights; leave 'pretrained' out or name a model"
            )
        return copy.deepcopy(SMALL_CONFIG), {}
    with reported_as(InvalidSpec, f"cannot read the config of open_clip model '{name}'"):
        if name.startswith(LOCAL):
            file = Path(name.removeprefix(LOCAL)) / "open_clip_config.json"
            stored = json.loads(file.read_text(encoding="utf-8-sig"))
            return dict(stored["model_cfg"]), dict(stored.get("preprocess_cfg", {}))
        config = open_clip.get_model_config(name if name.startswith(HUB) else _clean(name))
    if config is None:
        known = (SMALL, *open_clip.list_models())
        valid = did_you_mean(name, known, "small, local-dir:/folder, or a name of open_clip.list_models()")
        raise InvalidSpec(f"unknown open_clip model '{name}'{valid}")
    return config, open_clip.get_pretrained_cfg(_clean(name), pretrained or "") or {}


def _tag(name: str, pretrained: str | None) -> str | None:
    """`pretrained` where it is one of open_clip's tags; None where it is a path or nothing."""
    if not pretrained:
        return None
    if has_own_weights(name):
        raise InvalidSpec(f"open_clip model '{name}' comes with its own weights; leave 'pretrained' out")
    tags = open_clip.list_pretrained_tags_by_model(_clean(name))
    if pretrained in tags:
        return pretrained
    path = Path(pretrained)
    if path.exists() or path.suffix or len(path.parts) > 1:
        return None
    valid = f"{', '.join(tags) or 'no tag'}, or the path of a local file"
    raise InvalidSpec(f"open_clip has no weights '{pretrained}' of {name}{did_you_mean(pretrained, tags, valid)}")


def _quick_gelu(name: str, tag: str | None, asked: bool | None, own: bool) -> bool:
    """The activation to build with: with another one than in training, the scores are silently wrong."""
    if asked is not None:
        return asked
    if tag is None:
        return own
    return bool((open_clip.get_pretrained_cfg(_clean(name), tag) or {}).get("quick_gelu", False))


def _build(name: str, config: dict[str, Any]) -> Any:
    config = {key: value for key, value in config.items() if key not in ("custom_text", "multimodal_cfg")}
    for cfg, flag in (("vision_cfg", "timm_model_pretrained"), ("text_cfg", "hf_model_pretrained")):
        config[cfg] = {**config[cfg], flag: False}  # one source of weights, filled in afterwards
    # open_clip asserts, and parts of some models come from the hub.
    with reported_as(InvalidSpec, f"open_clip cannot build {name}"):
        return open_clip.CustomTextCLIP(**config)


def _weights_file(name: str, pretrained: str | None, tag: str | None) -> Path:
    if name.startswith(LOCAL):
        folder = Path(name.removeprefix(LOCAL))
        found = [folder / file for file in _WEIGHTS if (folder / file).is_file()]
        if not found:
            raise InvalidCheckpoint(f"no weights in {folder}; expected one of {', '.join(_WEIGHTS)}")
        return found[0]
    if tag is None and not name.startswith(HUB):
        return Path(str(pretrained))
    what = f"cannot fetch the weights {f'{tag!r} ' if tag else ''}of open_clip model {name}"
    with reported_as(InvalidCheckpoint, what, "without a connection, give the path of a local file as 'pretrained'"):
        if name.startswith(HUB):
            return Path(download_pretrained_from_hf(name.removeprefix(HUB)))
        return Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg(_clean(name), tag)))


def _fill(model: nn.Module, side: str, path: Path) -> None:
    state: dict[str, Tensor] = read_state_dict(path)
    # Older layouts, and another image size or context length; the converters fail in many ways on another model.
    with reported_as(InvalidCheckpoint, f"{path} does not hold weights of this open_clip model"):
        state = convert_to_custom_text_state_dict(convert_state_dict(model, state))
        resize_pos_embed(state, model)
        resize_text_pos_embed(state, model)
    prefix = f"{side}."
    tower = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    # A buffer that transformers kept in state dicts until 4.31.
    tower = {name: tensor for name, tensor in tower.items() if not name.endswith("embeddings.position_ids")}
    load_strictly(getattr(model, side), tower, f"{path}, {side} tower")


def _clean(name: str) -> str:
    return name.replace("/", "-")  # OpenAI writes ViT-B/32
