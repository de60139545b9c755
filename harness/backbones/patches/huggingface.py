"""Vision encoders of the Hugging Face hub for `patches`: by name, in a local folder, or in an installed package.

An architecture whose name holds a slash is such a model: `google/vit-base-patch16-224-in21k`. Its configuration is kept
in the run's settings, so that a saved run can be rebuilt without the hub.

Shape letters: N images, S side in pixels, L tokens, C channels.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from harness.backbones import hub
from harness.backbones.grid import square
from harness.backbones.patches.towers import IMAGENET_MEAN, IMAGENET_STD, Tower
from harness.errors import InvalidSpec, reported_as
from harness.files.packages import is_reference, packaged_model

_REMEDY = (
    "name a model of the hub with a connection, a local folder with config.json and model.safetensors, or a model of "
    "timm.list_models() with image.pretrained=/path/to/weights.safetensors"
)
_MOST_PREFIX_TOKENS = 16  #: class, distillation and register tokens
_log = logging.getLogger(__name__)


def is_hub_model(architecture: str) -> bool:
    """Whether an architecture names a model of the hub, a folder or a package, and not one of timm's.

    >>> is_hub_model("microsoft/swin-base-patch4-window7-224"), is_hub_model("vit_base_patch16_224.augreg_in21k")
    (True, False)
    """
    return "/" in architecture or is_reference(architecture)


class HubTower(Tower):
    """The last hidden states of a vision model of transformers.

    Args:
        model: takes `pixel_values`, gives `last_hidden_state` (N, L, C) or (N, C, H, W).
        what: what it is called in messages.
        image_size: S.
    """

    library = "transformers"

    def __init__(self, model: Any, what: str, image_size: int):
        super().__init__()
        if getattr(model, "main_input_name", "") != "pixel_values":
            raise InvalidSpec(f"{what} takes an encoder of images, and {model.config.model_type} is none")
        self.model = model
        own = getattr(model.config, "image_size", None)
        resizes = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
        self._options = {"interpolate_pos_encoding": True} if resizes and own != image_size else {}
        with reported_as(InvalidSpec, f"{what} cannot take images of {image_size} pixels"):
            first, second = self._probe(image_size), self._probe(image_size)
        if not torch.equal(first, second):
            raise InvalidSpec(f"{what} is random in evaluation, as {model.config.model_type} is; choose another model")
        self.channels = first.shape[-1]
        self.class_tokens = _prefix_tokens(first.shape[1], getattr(model.config, "patch_size", None), image_size, what)
        self.grid = square(first.shape[1] - self.class_tokens)

    @torch.no_grad()
    def _probe(self, image_size: int) -> Tensor:
        training = self.model.training
        self.model.eval()
        ramp = torch.linspace(-1, 1, image_size)
        tokens: Tensor = self(torch.stack([ramp[:, None] * scale * ramp for scale in (1, -1, 0.5)])[None])
        self.model.train(training)
        return tokens

    def forward(self, pixels: Tensor) -> Tensor:
        states: Tensor = self.model(pixel_values=pixels, **self._options).last_hidden_state
        return states.flatten(2).transpose(1, 2) if states.ndim == 4 else states


def hub_tower(name: str, pretrained: bool | str, image_size: int, config: Mapping[str, Any] | None) -> HubTower:
    """A vision model of the hub.

    Args:
        name: on the hub, a local folder, or `package:NAME`.
        pretrained: whether to load its weights.
        image_size: S.
        config: its configuration where it is known already, see `configuration`.

    Raises:
        InvalidSpec: it cannot be found, or gives no patch tokens of images of this size.
    """
    what = _what(name)
    if isinstance(pretrained, str):
        raise InvalidSpec(
            f"{what} comes with its own weights, so image.pretrained is true or false, got '{pretrained}'; "
            "a local folder is named as image.architecture"
        )
    if pretrained:
        return HubTower(hub.load_model(name, what, _REMEDY), what, image_size)
    return HubTower(hub.from_config(config or configuration(name), what), what, image_size)


def configuration(name: str) -> dict[str, Any]:
    """The architecture of a model as its `config.json` says, without the names of a classifier's labels.

    Raises:
        InvalidSpec: it cannot be found.
    """
    values = hub.load_config(name, _what(name), _REMEDY)
    return {key: value for key, value in values.items() if key not in ("id2label", "label2id", "_name_or_path")}


def normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per channel, of pixels in [0, 1], as the model's `preprocessor_config.json` says.

    Raises:
        InvalidSpec: the file scales pixels in a way that a mean and a deviation do not describe.
    """
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        with hub.fetched(InvalidSpec, f"preprocessor_config.json of {_what(name)}", _REMEDY):
            settings, _ = ImageProcessingMixin.get_image_processor_dict(hub.place(name))
    except InvalidSpec as error:
        _log.warning("%s; ImageNet's mean and deviation are used, set image.mean and image.std for others", error)
        return IMAGENET_MEAN, IMAGENET_STD
    scale = settings.get("rescale_factor", 1 / 255) if settings.get("do_rescale", True) else 1.0
    if not math.isclose(scale, 1 / 255, rel_tol=1e-3):
        raise InvalidSpec(f"{_what(name)} scales pixels by {scale}, expected 1/255; set image.mean and image.std")
    if not settings.get("do_normalize", True):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return tuple(settings.get("image_mean", IMAGENET_MEAN)), tuple(settings.get("image_std", IMAGENET_STD))


def pinned(name: str, config: Any) -> dict[str, Any]:
    """What a model brings, as changes of a `PatchConfig`: its configuration, a package's version, mean and deviation.

    Raises:
        InvalidSpec: it cannot be found.
    """
    changes: dict[str, Any] = {"architecture_config": config.architecture_config or configuration(name)}
    if is_reference(name):
        changes["architecture"] = packaged_model(name).reference
    if config.pretrained and not (config.mean and config.std):
        mean, std = normalisation(name)
        changes |= {"mean": config.mean or mean, "std": config.std or std}
    return changes


def _what(name: str) -> str:
    return f"image backbone patches with '{name}'"


def _prefix_tokens(tokens: int, patch: Any, image_size: int, what: str) -> int:
    """How many leading tokens are no patches; a model without position tokens has a square of them, or of merged ones."""
    side = patch[0] if isinstance(patch, (tuple, list)) else patch
    extra = tokens - (image_size // side) ** 2 if side else -1
    if 0 <= extra <= _MOST_PREFIX_TOKENS:
        return extra
    if math.isqrt(tokens) ** 2 == tokens:
        return 0
    raise InvalidSpec(f"{what} gives {tokens} tokens per image, which are no grid of patches; choose another model")
