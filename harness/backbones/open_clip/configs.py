"""What the name of an open_clip model and its weights decide: architecture, activation, and how images are prepared.

The activation and the normalisation are no part of a file of weights: with others than in training every score is wrong,
and nothing fails. They are read from the tag, from the `open_clip_config.json` beside a file, or else from what all
published weights of the model agree on; where these disagree, a line says what was taken.
"""

from __future__ import annotations

import copy
import functools
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
from open_clip.factory import _get_hf_config as hub_config

from harness.backbones.hub import fetched
from harness.backbones.open_clip.names import HUB, LOCAL, has_own_weights
from harness.backbones.open_clip.recipes import Trained, is_siglip, trained
from harness.backbones.open_clip.small import SMALL, SMALL_CONFIG
from harness.datasets.base import Resize
from harness.errors import InvalidSpec, did_you_mean, reported_as
from harness.files.packages import is_reference, packaged_weights

CONFIG = "open_clip_config.json"
#: open_clip's modes of resizing -> ours; its own default comes first.
RESIZES: dict[str, Resize] = {"shortest": "crop", "squash": "plain"}
DEFAULT_MODE = "shortest"
FOLDER = "a folder that holds its config, weights and tokenizer as model: local-dir:/folder"
_log = logging.getLogger(__name__)


class Model(NamedTuple):
    """A model as its weights were trained."""

    config: dict[str, Any]  #: open_clip's description of both towers
    tag: str | None  #: of open_clip's published weights
    file: Path | None  #: of local weights that `pretrained` names
    quick_gelu: bool  #: the activation of OpenAI's models
    mean: tuple[float, ...]  #: of pixels in [0, 1], per channel
    std: tuple[float, ...]
    resize: Resize  #: how a photograph becomes a square
    captions: Trained  #: how captions become tokens
    siglip2: bool  #: whether the text tower is SigLIP 2's


def describe(name: str, pretrained: str | None, quick_gelu: bool | None = None) -> Model:
    """What a model and its weights are.

    Args:
        name: "small", a name of `open_clip.list_models()`, `local-dir:/folder`, or `hf-hub:owner/name`.
        pretrained: one of open_clip's tags, the path of a file of weights, `package:NAME`, or None.
        quick_gelu: the activation, where it is known.

    Raises:
        InvalidSpec: no such model or tag, or a config that cannot be read.
    """
    config, preparation = _stored(name, pretrained)
    tag = _tag(name, pretrained)
    file = _file(pretrained) if pretrained and not tag else None
    own, text = bool(config.get("quick_gelu", False)), config["text_cfg"]
    published = _published(name, tag) if not has_own_weights(name) else []
    if file is not None:
        beside, preparation = _beside(file)
        own, text = bool(beside.get("quick_gelu", False)) if beside else own, beside.get("text_cfg", text)
        if not beside and quick_gelu is None:
            activations = frozenset(bool(weights.get("quick_gelu", False)) for weights in published)
            _report_activation(name, file, own, activations)
    elif tag is not None:
        own = bool(published[0].get("quick_gelu", False))
    found = {
        key: tuple(preparation.get(key) or ()) or _agreed(name, key, published, bool(file)) for key in ("mean", "std")
    }
    known = [preparation] if preparation else published
    resize = _resize(name, known, trained=bool(pretrained) or has_own_weights(name))
    return Model(
        config, tag, file, own if quick_gelu is None else quick_gelu, found["mean"], found["std"], resize,
        trained(text), is_siglip(name, text, "2"),
    )  # fmt: skip


def plain_name(name: str) -> str:
    """A model's name as open_clip writes it.

    >>> plain_name("ViT-B/32")
    'ViT-B-32'
    """
    return name.replace("/", "-")  # as OpenAI writes it


def _stored(name: str, pretrained: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The config of a model, and how its images are prepared where the config says it."""
    if name == SMALL:
        if pretrained:
            raise InvalidSpec(
                "open_clip model 'small' has no pretrained weights; leave 'pretrained' out or name a model"
            )
        return copy.deepcopy(SMALL_CONFIG), {}
    if name.startswith(LOCAL):
        with reported_as(InvalidSpec, f"cannot read the config of open_clip model '{name}'"):
            return _read(Path(name.removeprefix(LOCAL)) / CONFIG)
    if name.startswith(HUB):
        with fetched(InvalidSpec, f"the config of open_clip model '{name}'", f"give {FOLDER}"):
            stored = hub_config(name.removeprefix(HUB))
            return dict(stored["model_cfg"]), dict(stored.get("preprocess_cfg", {}))
    config = open_clip.get_model_config(plain_name(name))
    if config is None:
        known = (SMALL, *open_clip.list_models())
        valid = did_you_mean(name, known, "small, local-dir:/folder, or a name of open_clip.list_models()")
        raise InvalidSpec(f"unknown open_clip model '{name}'{valid}")
    return config, {}


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    stored = json.loads(file.read_text(encoding="utf-8-sig"))
    return dict(stored["model_cfg"]), dict(stored.get("preprocess_cfg", {}))


def _tag(name: str, pretrained: str | None) -> str | None:
    """`pretrained` where it is one of open_clip's tags; None where it is a path or nothing."""
    if not pretrained:
        return None
    if has_own_weights(name):
        raise InvalidSpec(f"open_clip model '{name}' comes with its own weights; leave 'pretrained' out")
    tags = open_clip.list_pretrained_tags_by_model(plain_name(name))
    if pretrained in tags:
        return pretrained
    path = Path(pretrained)
    if is_reference(pretrained) or path.exists() or path.suffix or len(path.parts) > 1:
        return None
    valid = f"{', '.join(tags) or 'no tag'}, or the path of a local file"
    raise InvalidSpec(f"open_clip has no weights '{pretrained}' of {name}{did_you_mean(pretrained, tags, valid)}")


def _file(pretrained: str) -> Path:
    return packaged_weights(pretrained).path if is_reference(pretrained) else Path(pretrained).expanduser()


def _published(name: str, tag: str | None) -> list[dict[str, Any]]:
    """What open_clip knows of a model's published weights: of one, or of all."""
    plain = plain_name(name)
    tags = [tag] if tag else open_clip.list_pretrained_tags_by_model(plain)
    return [open_clip.get_pretrained_cfg(plain, each) for each in tags]


def _beside(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The config and the preparation that lie beside a file of weights, empty where there are none."""
    if not (file.parent / CONFIG).is_file():
        return {}, {}
    with reported_as(InvalidSpec, f"cannot read {file.parent / CONFIG}, which says how {file.name} was trained"):
        return _read(file.parent / CONFIG)


@functools.lru_cache(maxsize=64)  # said once per file and process, however many runs use it
def _report_activation(name: str, file: Path, taken: bool, published: frozenset[bool]) -> None:
    """Say what was taken where a file's activation cannot be known."""
    if published - {taken}:
        _log.warning(
            "%s does not say with which activation it was trained, and published weights of %s differ in it: %s is taken; "
            "set quick_gelu: %s for weights of OpenAI, MetaCLIP or DFN, or those fine-tuned from them, false for others",
            file, name, "QuickGELU" if taken else "GELU", "true",
        )  # fmt: skip


def _resize(name: str, weights: list[dict[str, Any]], *, trained: bool) -> Resize:
    """How images are resized for evaluation.

    Args:
        name: of the model.
        weights: what is known of the weights, or of all that are published where nothing is known of these.
        trained: whether there are weights at all; a model without any has nothing to follow.
    """
    modes = {str(each.get("resize_mode") or DEFAULT_MODE) for each in weights} or {DEFAULT_MODE}
    mode = modes.pop() if len(modes) == 1 else DEFAULT_MODE
    if trained and modes:
        _log.warning("published weights of %s differ in how images are resized: the middle is cropped", name)
    if trained and mode not in RESIZES:
        _log.warning("%s is evaluated on images that are resized '%s'; the middle is cropped instead", name, mode)
    if trained and weights and all(each.get("interpolation") == "bilinear" for each in weights):
        _say_bilinear(name)
    return RESIZES.get(mode, "crop")


@functools.lru_cache(maxsize=64)  # said once per model and process
def _say_bilinear(name: str) -> None:
    _log.warning("%s is evaluated on images that are resized bilinearly; here they are resized bicubically", name)


def _agreed(name: str, key: str, published: list[dict[str, Any]], from_file: bool) -> tuple[float, ...]:
    """Mean or deviation that the published weights of a model agree on; CLIP's own where they do not or there are none."""
    default: tuple[float, ...] = open_clip.OPENAI_DATASET_MEAN if key == "mean" else open_clip.OPENAI_DATASET_STD
    choices = {tuple(weights.get(key) or default) for weights in published} or {default}
    if len(choices) == 1:
        return choices.pop()
    if from_file:
        _log.warning(
            "published weights of %s differ in the %s of the pixels: CLIP's own, %s, is taken", name, key, default
        )
    return default
