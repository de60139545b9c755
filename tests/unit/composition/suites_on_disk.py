"""Small suites, written as their authors' files are: keys with gaps, white space at the ends of true captions, odd rows."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from colours import COLOURS, NAMES, picture
from PIL import Image

#: Pictures of each suite.
COUNT = 12


def colour(number: int) -> str:
    """Of picture `number`."""
    return NAMES[number % len(NAMES)]


def other(number: int) -> str:
    """Another colour."""
    return NAMES[(number + 1 + number % 5) % len(NAMES)]


def coco(number: int) -> str:
    """The name of a picture of COCO's val2017."""
    return f"{number + 1000:012d}.jpg"


def write(path: Path, value: Any) -> Path:
    """A JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def sugarcrepe(root: Path) -> Path:
    """Two kinds over the same pictures."""
    for number in range(COUNT):
        picture(root / "val2017" / coco(number), colour(number))
    for kind, ends in (("swap_obj", (" ", "\n", "")), ("add_att", ("", "", ""))):
        rows = {
            str(2 * number): {
                "filename": coco(number),
                "caption": f"a {colour(number)} thing{ends[number % 3]}",
                "negative_caption": f"a {other(number)} thing",
            }
            for number in range(COUNT)
        }
        write(root / "data" / f"{kind}.json", rows)
    return root


def sugarcrepe_pp(root: Path) -> Path:
    """A list of rows; ids are numbers."""
    for number in range(COUNT):
        picture(root / "val2017" / coco(number), colour(number))
    rows = [
        {
            "id": 3 * number,
            "filename": coco(number),
            "caption": f"a {colour(number)} thing",
            "caption2": f"the thing in {colour(number)}",
            "negative_caption": f"a {other(number)} thing ",
        }
        for number in range(COUNT)
    ]
    write(root / "data" / "replace_att.json", rows)
    return root


def _pair(number: int) -> dict[str, Any]:
    first, second = colour(number), other(number)
    return {
        "id": number,
        "caption_0": f"{first} before {second}",
        "caption_1": f"{second} before {first}",
        "tag": "Noun, Adjective",
        "secondary_tag": "",
    }


def _png(name: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 9), COLOURS[name]).save(file, "PNG")
    return file.getvalue()


def winoground_table(root: Path) -> Path:
    """The hub's table, which holds the pictures."""
    root.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            **_pair(number),
            "image_0": {"bytes": _png(colour(number)), "path": f"ex_{number}_img_0.png"},
            "image_1": {"bytes": _png(other(number)), "path": f"ex_{number}_img_1.png"},
        }
        for number in range(COUNT)
    ]
    pq.write_table(pa.Table.from_pylist(rows), root / "test-00000-of-00001.parquet", row_group_size=5)
    return root


def winoground_lines(root: Path) -> Path:
    """`examples.jsonl` and a folder of pictures, which it names without their ending."""
    lines = []
    for number in range(COUNT):
        names = [f"ex_{number}_img_{side}" for side in (0, 1)]
        picture(root / "images" / f"{names[0]}.png", colour(number))
        picture(root / "images" / f"{names[1]}.png", other(number))
        lines.append(json.dumps({**_pair(number), "image_0": names[0], "image_1": names[1]}))
    (root / "examples.jsonl").write_text("\n".join(lines) + "\n")
    return root


def aro_boxes(root: Path) -> Path:
    """Relation and attribution: of each picture the right half has the colour, and the box bounds it."""
    rows = []
    for number in range(COUNT):
        path = root / "images" / f"{number + 1}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (40, 20), COLOURS[other(number)])
        image.paste(COLOURS[colour(number)], (20, 0, 40, 20))
        image.save(path, "PNG")
        rows.append(
            {
                "image_path": f"{number + 1}.jpg",
                "bbox_x": 20,
                "bbox_y": 0,
                "bbox_w": 20,
                "bbox_h": 20,
                "relation_name": "in",
                "true_caption": f"a {colour(number)} thing",
                "false_caption": f"a {other(number)} thing",
            }
        )
    write(root / "visual_genome_relation.json", rows)
    write(root / "visual_genome_attribution.json", [{**row, "attributes": ["x", "y"]} for row in rows])
    return root


def aro_order(root: Path) -> Path:
    """MTEB's table of COCO order: a row per caption, so that pictures repeat."""
    rows = []
    for number in range(COUNT):
        texts = [f"{name} before {colour(number)} thing" for name in NAMES if name != colour(number)][:4]
        row = {f"hard_text_{place}": text for place, text in enumerate(texts, 1)}
        image = {"bytes": _png(colour(number)), "path": None}
        captions = (f"{colour(number)} thing", f"a thing in {colour(number)}")
        rows += [{"images": image, "correct_caption": caption, **row} for caption in captions]
    path = root / "ARO-COCO-order" / "data" / "test-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return root


def valse(root: Path) -> Path:
    """Two kinds; every fourth row is not valid."""
    for kind, folder in (("existence", "visual7w"), ("plurals", "coco/val2017")):
        rows = {}
        for number in range(COUNT):
            name = f"v7w_{number}.jpg" if kind == "existence" else coco(number)
            picture(root / folder / name, colour(number))
            rows[f"{kind}_test_{7 * number}"] = {
                "dataset": "coco_2017" if number % 2 else "coco2017",
                "original_split": "val",
                "image_file": name,
                "caption": f"a {colour(number)} thing",
                "foil": f"a {other(number)} thing",
                "mturk": {"caption": 1 if number % 4 == 3 else 2, "foil": 1, "other": 0},
                "linguistic_phenomena": kind,
            }
        write(root / "data" / f"{kind}.json", rows)
    return root


#: Writer, name of the suite, its kinds, examples per kind, and the chance of each measure.
WRITTEN = {
    "sugarcrepe": (sugarcrepe, "sugarcrepe", ["add_att", "swap_obj"], COUNT, {"correct": 1 / 2}),
    "sugarcrepe_pp": (sugarcrepe_pp, "sugarcrepe_pp", ["replace_att"], COUNT, {"image_to_text": 1 / 3}),
    "winoground table": (
        winoground_table, "winoground", ["all"], COUNT, {"text": 1 / 4, "image": 1 / 4, "group": 1 / 6},
    ),
    "winoground lines": (
        winoground_lines, "winoground", ["all"], COUNT, {"text": 1 / 4, "image": 1 / 4, "group": 1 / 6},
    ),
    "aro boxes": (aro_boxes, "aro", ["attribution", "relation"], COUNT, {"correct": 1 / 2}),
    "aro order": (aro_order, "aro", ["coco_order"], 2 * COUNT, {"correct": 1 / 5}),
    "valse": (valse, "valse", ["existence", "plurals"], 9, {"correct": 1 / 2}),
}  # fmt: skip
