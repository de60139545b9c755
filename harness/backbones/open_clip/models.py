"""open_clip's towers: built by name, with weights from a tag, a local file or a local folder, never executing a pickle.

open_clip's own factory reads a checkpoint for both towers at once, only warns of a wrong activation, and lets every
kind of exception through; here each tower is filled by itself, and what does not fit is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import open_clip
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed
from open_clip.pretrained import download_pretrained_from_hf
from torch import Tensor, nn

from harness.backbones.hub import fetched
from harness.backbones.open_clip.configs import FOLDER, Model, describe, plain_name
from harness.backbones.open_clip.names import HUB, LOCAL, has_own_weights
from harness.backbones.open_clip.recipes import OFF, TextRecipe, is_siglip, report_padding_side
from harness.backbones.open_clip.small import SMALL
from harness.backbones.weights import load_strictly, read_state_dict
from harness.datasets.base import Resize
from harness.errors import InvalidCheckpoint, InvalidSpec, reported_as

_WEIGHTS = ("open_clip_model.safetensors", "model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin")


class Tower(NamedTuple):
    """One tower of a CLIP, and what its encoder needs to know."""

    module: nn.Module
    width: int  #: of the joint embedding
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Resize  #: how photographs become squares; plainly where the weights did not come trained


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
        pretrained: one of open_clip's tags, the path of a safetensors or PyTorch file, `package:NAME`, or None for
            random weights.
        image_size: side in pixels; None = the model's own.
        quick_gelu: the activation of OpenAI's models; None = as `describe` finds.
        vocabulary_size: of the small model's word embedding.
        load_pretrained: False builds the same modules with random weights.

    Raises:
        InvalidSpec: no such model or tag, or an image size that does not fit.
        InvalidCheckpoint: the weights cannot be fetched or read, are unsafe, or do not fit.
    """
    described = describe(name, pretrained, quick_gelu)
    config = {**described.config, "quick_gelu": described.quick_gelu}
    if name == SMALL:
        config["text_cfg"]["vocab_size"] = vocabulary_size
    if image_size is not None:
        _require_whole_patches(name, image_size, config["vision_cfg"].get("patch_size", 1))
        config["vision_cfg"]["image_size"] = image_size
    trained = load_pretrained and (bool(pretrained) or has_own_weights(name))
    file = _weights_file(name, described) if trained else None
    state = read_state_dict(file) if file is not None else {}  # read first: what is missing is said without building
    model = _build(name, config)
    if file is not None:
        _fill(model, side, state, str(file))
    if image_size is not None and hasattr(model.visual, "set_input_size"):
        model.visual.set_input_size(image_size)
    return Tower(
        getattr(model, side),
        int(config["embed_dim"]),
        described.mean,
        described.std,
        described.resize if trained else "plain",
    )


def _require_whole_patches(name: str, image_size: int, patch: int) -> None:
    if image_size % patch:
        raise InvalidSpec(
            f"image_size {image_size} is not a multiple of the patch size {patch} of open_clip model {name}"
        )


def piece_tokenizer(name: str, recipe: TextRecipe | None = None) -> Any:
    """open_clip's tokenizer of a model.

    Args:
        name: see `build_tower`.
        recipe: how it cleans captions; None = as its config says.

    Raises:
        InvalidSpec: no such model, or a tokenizer that cleans captions in one way only.
        InvalidCheckpoint: the tokenizer's files cannot be fetched.
    """
    text_config = describe(name, None).config["text_cfg"]
    cleaning = {} if recipe is None else {"clean": "whitespace" if recipe == OFF else recipe}
    # The tokenizers of some models come from the hub, with errors of many kinds.
    with fetched(InvalidCheckpoint, f"the tokenizer of open_clip model {name}", f"give {FOLDER}"):
        pieces = open_clip.get_tokenizer(name, **cleaning)
    if cleaning and not hasattr(pieces, "clean_fn"):
        raise InvalidSpec(
            f"the tokenizer of open_clip model {name} has one way to clean captions; leave text_recipe out"
        )
    inner: Any = getattr(pieces, "tokenizer", None)
    if is_siglip(name, text_config) and getattr(inner, "padding_side", "right") != "right":
        report_padding_side(name)  # the tower reads the last place, which padding fills
        inner.padding_side = "right"
    return pieces


def _build(name: str, config: dict[str, Any]) -> Any:
    config = {key: value for key, value in config.items() if key not in ("custom_text", "multimodal_cfg")}
    for cfg, flag in (("vision_cfg", "timm_model_pretrained"), ("text_cfg", "hf_model_pretrained")):
        config[cfg] = {**config[cfg], flag: False}  # one source of weights, filled in afterwards
    # open_clip asserts, and parts of some models come from the hub.
    with reported_as(InvalidSpec, f"open_clip cannot build {name}"):
        return open_clip.CustomTextCLIP(**config)


def _weights_file(name: str, described: Model) -> Path:
    if name.startswith(LOCAL):
        folder = Path(name.removeprefix(LOCAL))
        found = [folder / file for file in _WEIGHTS if (folder / file).is_file()]
        if not found:
            raise InvalidCheckpoint(f"no weights in {folder}; expected one of {', '.join(_WEIGHTS)}")
        return found[0]
    if described.file is not None:
        return described.file
    tag = described.tag
    what = f"the weights {f'{tag!r} ' if tag else ''}of open_clip model {name}"
    remedy = f"give the path of a local file as 'pretrained', or {FOLDER}" if tag else f"give {FOLDER}"
    with fetched(InvalidCheckpoint, what, remedy):
        if name.startswith(HUB):
            return Path(download_pretrained_from_hf(name.removeprefix(HUB)))
        return Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg(plain_name(name), tag)))


def _fill(model: nn.Module, side: str, state: dict[str, Tensor], path: str) -> None:
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
