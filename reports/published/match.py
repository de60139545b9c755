"""Which printed rows are about the same thing as a measured method, and what else could explain a gap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.records.run import RunRecord
from harness.reports.published.rows import method_key
from harness.reports.runs.groups import Gallery

#: Protocols that print the same numbers under another name.
_PROTOCOLS = {"flickr30k_1k": "full"}
_PLACE, _TOWERS = ["dataset", "protocol"], ["image", "text"]
# How the architectures of `patches` begin, and the family that printed rows name.
_ARCHITECTURES = {"vit_base_patch16": "vit-b/16", "swin_b": "swin-b", "resnet152": "resnet-152"}
_RESOLUTIONS = ("224", "256", "336", "384")
_SETTINGS = {"direction": ("t2i", "i2t"), "pooling": ("mean", "lse", "max", "sum")}


@dataclass(frozen=True)
class Measured:
    """What a record says of the method behind its numbers, in the words of the published rows."""

    key: str  # several methods of an ensemble are joined by " + "
    image: str  # family of the tower
    text: str
    resolution: int | None  # pixels; None where there is none or it is not said
    ensemble: bool  # the scores of several models are averaged
    settings: Mapping[str, str]  # direction and pooling, where they are ones that papers print
    trained: bool  # here
    features: str  # the dataset as the spec names it
    weights: str  # tag of the pretrained image tower, or `none`
    reimplemented: bool  # the code is not the authors'


def measured(record: RunRecord) -> Measured:
    """Read a record."""
    spec = record.spec
    members = spec.get("ensemble") or [spec]
    keys = dict.fromkeys(method_key(str(m.get("scorer") or record.scorer)) for m in members)
    image_name, _, text_name = record.backbone.partition("+")
    image = members[0].get("image") or {"name": image_name}
    text = members[0].get("text") or {"name": text_name}
    ensemble = "ensemble" in spec or record.code_origin == "ensemble"
    config = {} if ensemble else spec.get("config") or {}
    return Measured(
        key=" + ".join(keys),
        image=_image_family(image),
        text=_text_family(text),
        resolution=_resolution(image),
        ensemble=ensemble,
        settings={name: config[name] for name, known in _SETTINGS.items() if config.get(name) in known},
        trained=any((m.get("training") or {}).get("epochs", 1) for m in members),
        features=str((spec.get("dataset") or {}).get("name") or record.dataset),
        weights=str((spec.get("image") or {}).get("pretrained") or "none"),
        reimplemented=record.code_origin.startswith("re-implementation"),
    )


def candidates(ours: Measured, gallery: Gallery, images: int, printed: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The printed rows that share most with a method measured on a gallery of `images` images, nearest first.

    Returns:
        Rows of `printed`, and what is missing for them to be comparable; "" if nothing is.
    """
    protocol = _PROTOCOLS.get(gallery.protocol, gallery.protocol)
    place = f"{gallery.dataset}, {gallery.protocol}"
    keys = pd.DataFrame([{"dataset": gallery.dataset, "protocol": protocol, "images": images} | vars(ours)])
    here = keys[_PLACE].merge(printed, on=_PLACE)
    for columns, lacking in (
        ([*_PLACE, "key", *_TOWERS, "images"], ""),
        ([*_PLACE, "key", *_TOWERS], f"{images:,} test images (printed: {here['images'].max():,})"),
        ([*_PLACE, "key"], "the same backbone"),
        (["key"], f"this method on {place}"),
        (_PLACE, f"the method '{ours.key}'"),
    ):
        rows = keys[columns].merge(printed, on=columns)
        if len(rows):
            elsewhere = rows["dataset"] != gallery.dataset
            other_towers = (rows["image"] != ours.image) | (rows["text"] != ours.text)
            order = (2 * elsewhere + other_towers).argsort(kind="stable")
            return rows.iloc[order], lacking
    return printed[:0], f"the method '{ours.key}', nor any on {place}"


def causes(ours: Measured, row: Mapping[str, Any]) -> list[str]:
    """What, beside chance, is known to differ between a measured method and a printed row: likely causes of a gap."""
    both_regions = row["image"] == ours.image == "regions"
    found = [
        (row["kind"] == "ensemble" and not ours.ensemble, "ensemble: the printed figure averages several models"),
        (row["kind"] != "ensemble" and ours.ensemble, "ensemble: this one averages several models"),
        (
            row["selected_on"] == "test",
            "selection on test: the code behind the printed figure keeps the best epoch on the test split",
        ),
        (
            row["reproduced_by"],
            f"re-implementation: the printed figure is {row['reproduced_by']}'s, not the authors'",
        ),
        (
            (row["image"], row["text"]) != (ours.image, ours.text),
            f"other backbone: printed {row['visual_backbone']} + {row['text_encoder']}",
        ),
        (
            both_regions and ours.features != "precomp",
            f"features: printed on BUTD region features, here those of dataset {ours.features}",
        ),
        (
            ours.resolution and row["resolution"] > 0 and row["resolution"] != ours.resolution,
            f"resolution: printed {row['resolution']:g} px, here {ours.resolution}",
        ),
        (
            row["pretrained"] and row["pretrained"] != ours.weights,
            f"weights: printed {row['pretrained']}, here {ours.weights}",
        ),
        (row["word_vectors"] == "glove" and ours.text == "bigru", "word vectors: printed with GloVe"),
        (
            any(row[name] and own not in row[name].split("+") for name, own in ours.settings.items()),
            f"other variant: printed {row['variant']}",
        ),
        (row["kind"] == "zero-shot" and ours.trained, "training: the printed figure is zero-shot"),
        (ours.reimplemented, "re-implementation: this code is not the authors'"),
        (row["kind"] == "fine-tuned" and not ours.trained, "training: the printed model was fine-tuned"),
    ]
    return [text for holds, text in found if holds]


def _image_family(image: Mapping[str, Any]) -> str:
    name = str(image.get("name", ""))
    model = str(image.get("architecture") or image.get("model") or "").lower()
    if name == "regions" or not model:
        return name
    if "clip" in name:
        return f"clip {model.replace('/', '-')}"
    return next((family for start, family in _ARCHITECTURES.items() if model.startswith(start)), f"{name} {model}")


def _text_family(text: Mapping[str, Any]) -> str:
    name, model = str(text.get("name", "")), str(text.get("model") or "")
    if "clip" in name:
        return "clip"
    return "bert" if "bert" in f"{name} {model}".lower() else name


def _resolution(image: Mapping[str, Any]) -> int | None:
    if image.get("name") == "regions":
        return None
    parts = str(image.get("architecture") or image.get("model") or "").replace("-", "_").split("_")
    size = image.get("image_size") or next((part for part in parts if part in _RESOLUTIONS), None)
    return int(size) if size else None
