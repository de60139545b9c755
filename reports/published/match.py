"""Which printed row is about the same thing as a measured method, and what else could explain a gap."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.records.run import RunRecord
from harness.reports.published import rows as published

#: Our registered names, as `published.method_key` writes them, where papers use another.
_METHODS = {"vseinfinity": "vseinf", "vsepp": "vse++"}
#: Protocols that print the same numbers under another name.
PROTOCOLS = {"flickr30k_1k": "full"}
# Their public training code keeps the epoch that is best on the test split.
_SELECTED_ON_TEST = frozenset(("laps", "avse"))
# On ViT and Swin towers these rows are not their authors' but LAPS's re-implementations, cited on from paper to paper.
_CITED_FROM_LAPS = frozenset(("vse++", "scan", "sgr", "chan"))
_MARKS = re.compile(r"conflict|printed|misplaced|ensemble figures|marks the same", re.IGNORECASE)
_POOLING = {"mean": "AVE", "lse": "LSE", "max": "MAX", "sum": "SUM"}


@dataclass(frozen=True)
class Backbone:
    """A pair of towers, in words that ours and printed rows share.

    Args:
        image, text: families: regions, grid, vit-b/16, swin-b, clip vit-b-32, ...; bigru, bert, clip, ...
        resolution: side of the pixels, or None where there are none or they are not said.
    """

    image: str
    text: str
    resolution: int | None = None

    @property
    def families(self) -> tuple[str, str]:
        """What must be equal for two rows to be about the same backbone."""
        return self.image, self.text


@dataclass(frozen=True)
class Measured:
    """What a record says of the method behind its numbers.

    Args:
        method: key as `published.method_key`; several methods of an ensemble are joined by " + ".
        backbone: its towers.
        ensemble: whether the scores of several models are averaged.
        variant: marks that printed variants use, such as {"T2I", "AVE"}.
        trained: whether it was trained here.
        record: where this comes from.
    """

    method: str
    backbone: Backbone
    ensemble: bool
    variant: frozenset[str]
    trained: bool
    record: RunRecord


def measured(record: RunRecord) -> Measured:
    """Read a record."""
    members = record.spec.get("ensemble") or [record.spec]
    names = [published.method_key(str(m.get("scorer") or record.scorer)) for m in members]
    methods = list(dict.fromkeys(_METHODS.get(name, name) for name in names))
    image_name, _, text_name = record.backbone.partition("+")
    first = members[0]
    backbone = _own_backbone(first.get("image") or {"name": image_name}, first.get("text") or {"name": text_name})
    ensemble = "ensemble" in record.spec or record.code_origin == "ensemble"
    marks = frozenset() if ensemble else _variant_marks(record.spec.get("config") or {})
    epochs = [(m.get("training") or {}).get("epochs", 1) for m in members]
    return Measured(" + ".join(methods), backbone, ensemble, marks, any(epochs), record)


def printed_method(row: Mapping[str, Any]) -> str:
    """The key of a printed row's method."""
    return published.method_key(str(row["method"]))


def printed_backbone(row: Mapping[str, Any]) -> Backbone:
    """The towers of a printed row."""
    visual, text = str(row["visual_backbone"]), str(row["text_encoder"])
    size = re.search(r"(?:-|^|\D)(224|256|336|378|384|512)(?:px)?(?:\D|$)", visual)
    return Backbone(_visual_family(visual), _text_family(text), int(size[1]) if size else None)


def same_backbone(ours: Measured, row: Mapping[str, Any]) -> bool:
    """Whether both towers are of the same family; a resolution that differs is a cause, not another backbone."""
    return ours.backbone.families == printed_backbone(row).families


def marks(row: Mapping[str, Any]) -> str:
    """What is known to be wrong or contested about a printed row; "" if nothing is."""
    note = str(row["note"])
    return note if _MARKS.search(note) else ""


def causes(ours: Measured, row: Mapping[str, Any]) -> list[str]:
    """What, beside chance, is known to differ between a measured method and a printed row: likely causes of a gap."""
    printed, record = printed_backbone(row), ours.record
    method = printed_method(row)
    on_towers = printed.image.startswith(("vit", "swin"))
    found = []
    if row["kind"] == "ensemble" and not ours.ensemble:
        found.append("ensemble: the printed figure averages several models")
    if ours.ensemble and row["kind"] != "ensemble":
        found.append("ensemble: this one averages several models")
    if method in _SELECTED_ON_TEST or (method in _CITED_FROM_LAPS and on_towers):
        found.append("selection on test: the code behind the printed figure keeps the best epoch on the test split")
    if method in _CITED_FROM_LAPS and on_towers:
        found.append("re-implementation: the printed figure is LAPS's, not the authors'")
    if ours.backbone.families != printed.families:
        found.append(f"other backbone: printed {row['visual_backbone']} + {row['text_encoder']}")
    if printed.image == ours.backbone.image == "regions" and _dataset_name(record) != "precomp":
        found.append(f"features: printed on BUTD region features, here those of dataset {_dataset_name(record)}")
    if printed.resolution and ours.backbone.resolution and printed.resolution != ours.backbone.resolution:
        found.append(f"resolution: printed {printed.resolution} px, here {ours.backbone.resolution}")
    weights = str((record.spec.get("image") or {}).get("pretrained") or "none")
    printed_weights = re.search(r"pretrained=([\w.-]+)", str(row["variant"]))
    if printed_weights and printed_weights[1] != weights:
        found.append(f"weights: printed {printed_weights[1]}, here {weights}")
    if "glove" in str(row["text_encoder"]).lower() and ours.backbone.text == "bigru":
        found.append("word vectors: printed with GloVe")
    other = _other_variant(ours, str(row["variant"]))
    if other:
        found.append(f"other variant: printed {other}")
    if row["kind"] == "zero-shot" and ours.trained:
        found.append("training: the printed figure is zero-shot")
    if record.code_origin.startswith("re-implementation"):
        found.append("re-implementation: this code is not the authors'")
    if row["kind"] == "fine-tuned" and not ours.trained:
        found.append("training: the printed model was fine-tuned")
    return found


def _dataset_name(record: RunRecord) -> str:
    return str((record.spec.get("dataset") or {}).get("name") or record.dataset)


def _own_backbone(image: Mapping[str, Any], text: Mapping[str, Any]) -> Backbone:
    name = str(image.get("name", ""))
    model = str(image.get("architecture") or image.get("model") or "")
    size = image.get("image_size") or next(iter(re.findall(r"(?:_|-)(224|256|336|384)", model)), None)
    if name == "regions":
        return Backbone("regions", _own_text(text))
    if "clip" in name:
        family = f"clip {model.lower().replace('/', '-')}"
    else:
        family = _visual_family(model) if model else name
    return Backbone(family, _own_text(text), int(size) if size else None)


def _own_text(text: Mapping[str, Any]) -> str:
    name, model = str(text.get("name", "")), str(text.get("model") or "")
    if "clip" in name:
        return "clip"
    return "bert" if "bert" in f"{name} {model}".lower() else name


def _visual_family(text: str) -> str:
    lower = text.lower().replace("_", "-")
    if "grid" in lower:
        return "regions+grid" if "region" in lower else "grid"
    if re.search(r"butd|r-?cnn|region", lower):
        return "regions"
    if lower.startswith("clip "):
        return lower
    for pattern, family in (
        (r"^vit-b(?:ase)?(?:/|-patch)16", "vit-b/16"),
        (r"^swin-b", "swin-b"),
        (r"resnet-?152", "resnet-152"),
    ):
        if re.search(pattern, lower):
            return family
    # bare names of open_clip's list: ViT-B-32, RN50, convnext_base
    return f"clip {lower}" if re.match(r"(vit-|rn\d|convnext|eva|coca|nllb|xlm|roberta)", lower) else lower


def _text_family(text: str) -> str:
    lower = text.lower()
    if "own text tower" in lower or not lower:
        return "clip"
    if "bert" in lower:
        return "bert"
    return "bigru" if "gru" in lower else lower


def _variant_marks(config: Mapping[str, Any]) -> frozenset[str]:
    found = {str(config[key]).upper() for key in ("direction", "coding") if key in config}
    return frozenset(found | {_POOLING[config["pooling"]]} if config.get("pooling") in _POOLING else found)


def _other_variant(ours: Measured, variant: str) -> str:
    """The printed variant's mark of direction or pooling that contradicts ours, "" if none does."""
    for options in (("T2I", "I2T"), ("AVE", "LSE", "MAX", "SUM")):
        printed = set(re.findall(r"[A-Z0-9]+", variant)) & set(options)
        own = ours.variant & set(options)
        if own and printed and not printed & own:
            return variant
    return ""
