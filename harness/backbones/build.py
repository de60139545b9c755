"""Backbones by name, imported only when used, and the encoders that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InvalidSpec
from harness.settings.components import Component, Parts

if TYPE_CHECKING:
    from harness.backbones.base import ImageEncoder, TextEncoder
    from harness.backbones.words.vocabulary import Vocabulary

IMAGE_BACKBONES: Parts[ImageEncoder] = Parts(
    "image backbone",
    {
        "regions": "harness.backbones.regions:RegionEncoder",
        "patches": "harness.backbones.patches.encoder:PatchEncoder",
        "open_clip": "harness.backbones.open_clip.encoders:ClipImageEncoder",
        "blip": "harness.backbones.blip.encoders:BlipImageEncoder",
    },
)
TEXT_BACKBONES: Parts[TextEncoder] = Parts(
    "text backbone",
    {
        "bigru": "harness.backbones.bigru:BiGruEncoder",
        "transformer": "harness.backbones.transformer:TransformerEncoder",
        "open_clip": "harness.backbones.open_clip.encoders:ClipTextEncoder",
        "blip": "harness.backbones.blip.encoders:BlipTextEncoder",
    },
)
BACKBONES: dict[str, Parts[Any]] = {"image": IMAGE_BACKBONES, "text": TEXT_BACKBONES}


def build_image(
    component: Component | Mapping[str, Any] | str, *, region_width: int = 0, load_pretrained: bool = True
) -> ImageEncoder:
    """The image encoder of a component.

    Args:
        component: name and options.
        region_width: D of the dataset's region features; 0 where it has none.
        load_pretrained: False skips reading pretrained weights, because those of a saved run will follow.

    Raises:
        UnknownName, InvalidSpec: as `Parts.resolve`; also a backbone for regions on a dataset that has none.
        InvalidCheckpoint: pretrained weights that are missing, unsafe to read, or do not fit.

    >>> build_image({"name": "regions", "width": 8}, region_width=2048).width
    8
    """
    backbone, config = IMAGE_BACKBONES.part_and_config(component)
    config = backbone.pinned(config) if load_pretrained else config  # what its weights bring is kept with a saved model
    return backbone(config, region_width, load_pretrained=load_pretrained)


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
        UnknownName, InvalidSpec: as `Parts.resolve`; also neither captions nor a vocabulary where one is needed.
        InvalidDataset: a vocabulary file that cannot be read.
        InvalidCheckpoint: pretrained weights or a state that do not fit.

    >>> build_text("bigru", captions=["a dog runs"]).tokenizer.vocabulary_size  # with five special words
    8
    """
    backbone, config = TEXT_BACKBONES.part_and_config(component)
    if state is not None:
        return backbone.restored(config, state)
    if isinstance(vocabulary, (str, Path)):
        from harness.backbones.words.vocabulary import Vocabulary  # imports torch

        vocabulary = Vocabulary.load(vocabulary)
    return backbone.fresh(backbone.pinned(config), captions, vocabulary)


def pinned(backbones: Parts[Any], component: Component | Mapping[str, Any] | str) -> Component:
    """A component resolved, with what its pretrained weights bring written out: a package's version, mean and deviation.

    Args:
        backbones: `IMAGE_BACKBONES` or `TEXT_BACKBONES`.
        component: name and options.

    Raises:
        UnknownName, InvalidSpec: as `Parts.resolve`; also a package that is not installed.
        InvalidCheckpoint: a package without weights, or with a file that was changed.

    >>> pinned(TEXT_BACKBONES, {"name": "bigru", "width": 8}).options.width
    8
    """
    backbone, config = backbones.part_and_config(component)
    return Component(name=Component.model_validate(component).name, options=backbone.pinned(config))


def require_tower(image: Component, text: Component, setting: str) -> None:
    """Refuse a setting that is about towers where neither backbone has one.

    Raises:
        InvalidSpec: names the setting and the backbones.
    """
    backbones = [BACKBONES[side].get(component.name) for side, component in (("image", image), ("text", text))]
    if not any(backbone.has_tower() for backbone in backbones):
        raise InvalidSpec(
            f"{setting} is for towers (a ViT, a BERT), and neither '{image.name}' nor '{text.name}' has one; set it to false"
        )


def require_recomputing(image: Component, text: Component, keeps_trained: bool) -> None:
    """Refuse `training.gradient_checkpointing` for backbones that cannot.

    Args:
        image, text: resolved.
        keeps_trained: whether towers that come trained are frozen, so that nothing is kept of them anyway.

    Raises:
        InvalidSpec: a tower that is trained cannot compute its layers again, or no tower is trained.
    """
    require_tower(image, text, "training.gradient_checkpointing")
    can = False
    for side, component in (("image", image), ("text", text)):
        backbone, config = BACKBONES[side].part_and_config(component)
        if not backbone.has_tower() or (keeps_trained and backbone.comes_trained(config)):
            continue
        can = backbone.recomputes(config)
        if not can:
            named = config.architecture if hasattr(config, "architecture") else getattr(config, "model", "")
            raise InvalidSpec(
                f"training.gradient_checkpointing: {side} backbone '{component.name}' with '{named}' cannot compute its "
                "layers again; set it to false, or choose a transformer"
            )
    if not can:
        raise InvalidSpec(
            f"training.gradient_checkpointing: the towers of '{image.name}' and '{text.name}' are frozen, and nothing is kept "
            "of a frozen tower; set it to false"
        )


def component_of(encoder: ImageEncoder | TextEncoder) -> Component:
    """Name and options that an encoder was built from.

    Raises:
        InvalidSpec: the encoder is no backbone of this package.
    """
    target = f"{type(encoder).__module__}:{type(encoder).__qualname__}"
    for backbones in BACKBONES.values():
        for name, source in backbones.sources.items():
            if source.target == target or (source.kind != "module" and backbones.get(name) is type(encoder)):
                return Component(name=name, options=encoder.config)
    raise InvalidSpec(f"{type(encoder).__name__} is not a registered backbone, so a saved model cannot name it")
