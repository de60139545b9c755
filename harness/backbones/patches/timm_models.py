"""timm's models for `patches`: by name, with weights from timm, a local file or folder, or an installed package."""

from __future__ import annotations

import functools
import json
import logging
import sys
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from harness.backbones.hub import fetched
from harness.backbones.known import KNOWN
from harness.backbones.order import load_in_order, shares_names
from harness.backbones.patches.towers import IMAGENET_MEAN, IMAGENET_STD, TimmTower
from harness.backbones.weights import load_strictly, read_state_dict
from harness.errors import InvalidCheckpoint, InvalidSpec, did_you_mean, reported_as
from harness.files.packages import PREFIX, install_command, is_reference, packaged_weights

#: Weights in a folder of the hub, the safer ones first.
_FILES = ("model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin")
_log = logging.getLogger(__name__)


def timm_name(architecture: str) -> str:
    """An architecture by timm's own name, where it is named as a repository of timm's on the hub.

    >>> timm_name("hf-hub:timm/vit_base_patch16_224.augreg_in21k"), timm_name("google/vit-base-patch16-224")
    ('vit_base_patch16_224.augreg_in21k', 'google/vit-base-patch16-224')
    """
    name = architecture.removeprefix("hf-hub:")
    return name.removeprefix("timm/") if timm.is_model(name.removeprefix("timm/")) else name


def timm_tower(name: str, pretrained: bool | str, image_size: int) -> TimmTower:
    """A timm model by name.

    Args:
        name: `timm.list_models()`, with an optional `.tag`.
        pretrained: True fetches timm's weights, a text is a local file or `package:NAME`, False starts from random
            weights.
        image_size: S.

    Raises:
        InvalidSpec: no such model, or one that cannot take images of this size.
        InvalidCheckpoint: the weights cannot be fetched, read, or do not fit.
    """
    _require_known(name)
    model = _create(name, pretrained is True, image_size)
    if isinstance(pretrained, str):
        load_timm_file(model, _weights_file(name, pretrained, image_size))
    with reported_as(InvalidSpec, f"timm model {name} cannot take images of {image_size} pixels"):
        return TimmTower(model, image_size)


def default_tag(name: str) -> str:
    """A model's name with the tag of the weights that timm takes for it.

    Raises:
        InvalidSpec: no such model or tag.

    >>> default_tag("tf_efficientnet_lite0"), default_tag("resnet50.tv_in1k")
    ('tf_efficientnet_lite0.in1k', 'resnet50.tv_in1k')
    """
    _require_known(name)
    settings = timm.get_pretrained_cfg(name)
    return f"{name}.{settings.tag}" if settings is not None and settings.tag and "." not in name else name


def normalisation(name: str, pretrained: bool | str = True) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per channel, of pixels in [0, 1], that a timm model's weights were trained with.

    Args:
        name: of the model, with an optional `.tag`.
        pretrained: as of `timm_tower`. A file does not say which of timm's tags it is; where they differ and the name has
            no tag, a line says what was taken.

    Raises:
        InvalidSpec: no such model or tag, or a folder that holds another model.
    """
    _require_known(name)
    settings = _described(name, pretrained) or _known(name)
    mean, std = tuple(settings.get("mean", IMAGENET_MEAN)), tuple(settings.get("std", IMAGENET_STD))
    if isinstance(pretrained, str) and not _described(name, pretrained):
        _report_normalisation(name, pretrained, mean)
    return mean, std


@functools.lru_cache(maxsize=64)  # said once per file and process, however many runs use it
def _report_normalisation(name: str, pretrained: str, taken: tuple[float, ...]) -> None:
    others = [tag for tag in timm.list_pretrained(f"{name}.*") if tuple(_known(tag)["mean"]) != taken]
    if others:
        _log.warning(
            "%s does not say how its pixels were normalised, and timm's weights of %s differ in it: the mean %s of %s is "
            "taken; name the weights (image.architecture=%s), or set image.mean and image.std",
            pretrained, name, taken, default_tag(name), others[0],
        )  # fmt: skip


def _known(name: str) -> dict[str, Any]:
    """What timm knows of a model's weights; empty for a model without any."""
    settings = timm.get_pretrained_cfg(name)
    return {} if settings is None else settings.to_dict()


def _described(name: str, pretrained: bool | str) -> dict[str, Any]:
    """What timm's `config.json` in a folder of weights says of how they were trained; empty where there is none."""
    if not isinstance(pretrained, str) or is_reference(pretrained):
        return {}
    file = Path(pretrained).expanduser() / "config.json"
    if not file.is_file():
        return {}
    with reported_as(InvalidSpec, f"cannot read {file}, which says what weights lie there"):
        described = json.loads(file.read_text(encoding="utf-8-sig"))
        found, settings = described.get("architecture"), dict(described.get("pretrained_cfg", {}))
    if found != name.partition(".")[0]:
        raise InvalidSpec(
            f"{file} describes {found or 'no timm model'}, not {name}; set image.architecture={found}"
            if found
            else f"{file} describes no timm model; name a folder of the Hugging Face hub as image.architecture"
        )
    return settings


def _require_known(name: str) -> None:
    if not timm.is_model(name):
        known = ("small_vit", "conv_stem", *timm.list_models())
        valid = did_you_mean(
            name, known, "small_vit, conv_stem, a name of timm.list_models(), or owner/name of the hub"
        )
        raise InvalidSpec(f"unknown architecture '{name}'{valid}")
    architecture, _, tag = name.partition(".")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise InvalidSpec(f"timm has no weights '{tag}' of {architecture}{did_you_mean(tag, tags)}")


def _weights_file(name: str, pretrained: str, image_size: int) -> Path:
    """The file that `pretrained` names; of a known package only with the architecture that its weights belong to."""
    if not is_reference(pretrained):
        path = Path(pretrained).expanduser()
        return _only_file(path) if path.is_dir() else path
    found = packaged_weights(pretrained)
    known = KNOWN.get(found.package)
    if known is None:
        return found.path
    architecture = name.partition(".")[0]
    if known.architecture != architecture:
        remedy = f"set image.architecture={known.architecture}" if known.architecture else "name it as text.model"
        raise InvalidSpec(
            f"package {found.package} holds {known.title}, whose weights do not belong to {architecture}; {remedy}"
        )
    if image_size != known.size:
        _log.warning(
            "%s was trained on images of %d pixels and is used at %d; image.image_size=%d is what its weights know",
            known.title,
            known.size,
            image_size,
            known.size,
        )
    return found.path


def _only_file(folder: Path) -> Path:
    """The file of weights in a folder as the hub lays it out."""
    found = [folder / name for name in _FILES if (folder / name).is_file()]
    if not found:
        raise InvalidCheckpoint(f"no weights in {folder}; expected one of {', '.join(_FILES)}")
    return found[0]


def load_timm_file(model: nn.Module, path: Path) -> None:
    """Load a local file into a timm model: its own format or one that its family knows how to convert.

    Position embeddings of another image size are resampled by timm; a classifier in the file is left out. A file that
    shares no name with the model is matched in order, see `load_in_order`.

    Raises:
        InvalidCheckpoint: unreadable, unsafe, or not the weights of this model.
    """
    state: dict[str, Tensor] = read_state_dict(path)
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is not None:
        # timm's converters assume the right family and fail in many ways on another
        with reported_as(InvalidCheckpoint, f"{path} does not hold weights of {type(model).__name__}"):
            state = dict(convert(state, model))
    settings: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    names = settings.get("classifier") or ()
    heads = tuple(f"{head}." for head in ([names] if isinstance(names, str) else names))
    own = model.state_dict()
    if not shares_names(model, state):
        count = load_in_order(model, state, str(path))
        _log.info("%s has other names than timm: its %d tensors were matched in order and shape", path.name, count)
        return
    load_strictly(model, {k: v for k, v in state.items() if k in own or not k.startswith(heads)}, str(path))


def _create(name: str, pretrained: bool, image_size: int) -> nn.Module:
    options: dict[str, Any] = {"pretrained": pretrained, "num_classes": 0, "global_pool": ""}
    if pretrained:
        failure = fetched(InvalidCheckpoint, f"timm's weights of {name}", _remedy(name))
    else:
        failure = reported_as(InvalidSpec, f"timm cannot build {name} for {image_size} pixels")
    with failure:
        try:
            return timm.create_model(name, img_size=image_size, **options)
        except TypeError:  # convolutional families take any size and have no such argument
            return timm.create_model(name, **options)


def pinned(name: str, config: Any) -> dict[str, Any]:
    """What trained weights bring, as changes of a `PatchConfig`: timm's tag, a package's version, mean and deviation.

    Raises:
        InvalidSpec, InvalidCheckpoint: as `normalisation` and `packaged_weights`.
    """
    given = config.pretrained
    if not given:
        return {}
    changes: dict[str, Any] = {"architecture": default_tag(name) if given is True else name}
    if is_reference(given):
        changes["pretrained"] = packaged_weights(given).reference
    if not (config.mean and config.std):
        mean, std = normalisation(name, given)
        changes |= {"mean": config.mean or mean, "std": config.std or std}
    return changes


def _remedy(name: str) -> str:
    """What to give instead of weights that cannot be fetched."""
    local = "give a local file: image.pretrained=/path/to/model.safetensors"
    packages = [known.name for known in KNOWN.values() if known.architecture == name.partition(".")[0]]
    if not packages:
        return local
    (package,) = packages
    return f"{local}, or the package that carries them: {install_command(package)}, image.pretrained={PREFIX}{package}"
