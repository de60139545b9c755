"""Backbones: encoders that turn images and captions into fragments, by name, imported only when used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import InvalidSpec, UnknownName
from harness.spec import Component, build

if TYPE_CHECKING:
    from harness.backbones.base import ImageEncoder, TextEncoder, Tokenizer
    from harness.backbones.vocabulary import Vocabulary

Kind = Literal["image", "text"]

IMAGE_BACKBONES = {
    "regions": "harness.backbones.regions:RegionEncoder",
    "patches": "harness.backbones.patches:PatchEncoder",
    "open_clip": "harness.backbones.open_clip.encoders:ClipImageEncoder",
}
TEXT_BACKBONES = {
    "bigru": "harness.backbones.bigru:BiGruEncoder",
    "transformer": "harness.backbones.transformer:TransformerEncoder",
    "open_clip": "harness.backbones.open_clip.encoders:ClipTextEncoder",
}
_BACKBONES: dict[str, dict[str, str]] = {"image": IMAGE_BACKBONES, "text": TEXT_BACKBONES}


def resolve(kind: Kind, component: Component | Mapping[str, Any] | str) -> Component:
    """A backbone's component with every default filled in.

    Args:
        kind: "image" or "text".
        component: name and options.

    Raises:
        UnknownName: no such backbone; with near matches and the list.
        InvalidSpec: an unknown option (with the nearest valid one) or an impossible value.
    """
    component = Component.model_validate(component)
    return Component(name=component.name, options=_config(kind, component).model_dump(mode="json"))


def build_image(
    component: Component | Mapping[str, Any] | str, *, region_width: int = 0, load_pretrained: bool = True
) -> ImageEncoder:
    """The image encoder of a component.

    Args:
        component: name and options.
        region_width: D of the dataset's region features; 0 where it has none.
        load_pretrained: False skips reading pretrained weights, because those of a saved run will follow.

    Raises:
        UnknownName, InvalidSpec: as `resolve`; also a backbone for regions on a dataset that has none.
        InvalidCheckpoint: pretrained weights that are missing, unsafe to read, or do not fit.
    """
    component = Component.model_validate(component)
    return encoder_class("image", component.name)(
        _config("image", component), region_width, load_pretrained=load_pretrained
    )


def build_text(
    component: Component | Mapping[str, Any] | str,
    *,
    captions: Sequence[str] | None = None,
    vocabulary: Vocabulary | str | Path | None = None,
    state: Mapping[str, Any] | None = None,
) -> TextEncoder:
    """The text encoder of a component.

    Args:
        component: name and options.
        captions: training captions, for the encoders that build a vocabulary.
        vocabulary: a vocabulary or the path of its JSON file, instead of counting captions.
        state: what `tokenizer_state` of a saved encoder gave; neither captions nor pretrained files are then needed,
            and the weights of the saved run must be loaded next.

    Raises:
        UnknownName, InvalidSpec: as `resolve`; also neither captions nor a vocabulary where one is needed.
        InvalidDataset: a vocabulary file that cannot be read.
        InvalidCheckpoint: pretrained weights or a state that do not fit.
    """
    component = Component.model_validate(component)
    config, cls = _config("text", component), encoder_class("text", component.name)
    if state is not None:
        return cls.restored(config, state)
    return cls.fresh(config, captions, _vocabulary(vocabulary))


def tokenizer(
    component: Component | Mapping[str, Any] | str,
    *,
    captions: Sequence[str] | None = None,
    vocabulary: Vocabulary | str | Path | None = None,
    state: Mapping[str, Any] | None = None,
) -> Tokenizer:
    """The tokenizer of the encoder that `build_text` would build; arguments and errors as there."""
    component = Component.model_validate(component)
    config, cls = _config("text", component), encoder_class("text", component.name)
    if state is not None:
        return cls.restored_tokenizer(config, state)
    return cls.fresh_tokenizer(config, captions, _vocabulary(vocabulary))


def reads_vocabulary(component: Component) -> bool:
    """Whether a text backbone learns an embedding of the words that captions or a vocabulary name."""
    return encoder_class("text", component.name).reads_vocabulary(_config("text", component))


def component_of(encoder: ImageEncoder | TextEncoder) -> Component:
    """Name and options that an encoder was built from.

    Raises:
        InvalidSpec: the encoder is no backbone of this package.
    """
    target = f"{type(encoder).__module__}:{type(encoder).__qualname__}"
    for names in _BACKBONES.values():
        for name, known in names.items():
            if known == target:
                return Component(name=name, options=encoder.config.model_dump(mode="json"))
    raise InvalidSpec(f"{type(encoder).__name__} is not a registered backbone, so a saved model cannot name it")


def check_widths(image: ImageEncoder, text: TextEncoder) -> None:
    """Both sides must give fragments of one width to be compared.

    Raises:
        InvalidSpec: they differ; says how to mend it.
    """
    if image.width != text.width:
        image_name, text_name = component_of(image).name, component_of(text).name
        raise InvalidSpec(
            f"image backbone {image_name} gives fragments of width {image.width} but text backbone {text_name} "
            f"of width {text.width}; set one width for both, for example image.width={text.width}"
        )


def _vocabulary(given: Vocabulary | str | Path | None) -> Vocabulary | None:
    if not isinstance(given, (str, Path)):
        return given
    from harness.backbones.vocabulary import Vocabulary

    return Vocabulary.load(given)


def _config(kind: Kind, component: Component) -> Any:
    return build(encoder_class(kind, component.name).Config, component.options, f"{kind} backbone {component.name}")


def encoder_class(kind: Kind, name: str) -> Any:
    """The class behind a name; imports its module.

    Raises:
        UnknownName: with near matches and the list of valid names.
    """
    names = _BACKBONES[kind]
    if name not in names:
        raise UnknownName(f"{kind} backbone", name, names)
    module, _, attribute = names[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
