"""ARO: relations and attributes of Visual Genome, and captions of COCO and Flickr30K with their words in another order.

Relation and attribution show the part of a picture that their box bounds. The authors shuffle the order suites anew at
every run, two of four shuffles by parts of speech; here those are read from the table in which MTEB froze them
(`correct_caption`, `hard_text_1` to `hard_text_4`). From the JSON lists of BLIP, which hold no shuffles, the two that need
no parts of speech are drawn from a fixed seed; that is a task of its own (chance one third), and says so.

Source:
    Yuksekgonul et al., When and why vision-language models behave like bags-of-words, ICLR 2023.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import BaseModel, StrictFloat, StrictInt, StrictStr

from harness.composition.examples import ONE_OF_FIVE, ONE_OF_THREE, PAIR, Example, Kind, Shown, Suite, kind_of
from harness.composition.files import find_files, rows, starts_with
from harness.datasets.files import require_inside
from harness.datasets.schema import checked
from harness.datasets.table.parquet import Cell, columns_of, rows_of
from harness.errors import InvalidDataset
from harness.spec import sha256_json

_BOXED = {"visual_genome_relation.json": "relation", "visual_genome_attribution.json": "attribution"}
_BLIP = {
    "coco_karpathy_test.json": "coco_trigrams",
    "flickr30k_test.json": "flickr_trigrams",
}
_FOLDERS = ("", "aro", "ARO", "data", "annotations")
_TABLES = ("*.parquet", "data/*.parquet", "aro/*.parquet", "*/data/*.parquet", "*/*.parquet")
_TEXTS = ("correct_caption", "hard_text_1", "hard_text_2", "hard_text_3", "hard_text_4")
_PICTURES = ("images", "image")
#: Seed of the shuffles of BLIP's captions.
SEED = 0
_CLIPPED = "pictures are cut to the box of the objects that the captions speak of"


class _Boxed(BaseModel):
    image_path: StrictStr
    bbox_x: StrictInt | StrictFloat
    bbox_y: StrictInt | StrictFloat
    bbox_w: StrictInt | StrictFloat
    bbox_h: StrictInt | StrictFloat
    true_caption: StrictStr
    false_caption: StrictStr


class _Listed(BaseModel):
    image: StrictStr
    caption: list[StrictStr]


class _Frozen(BaseModel):
    correct_caption: StrictStr
    hard_text_1: StrictStr
    hard_text_2: StrictStr
    hard_text_3: StrictStr
    hard_text_4: StrictStr


def recognise(root: Path) -> list[Path]:
    """The files of any of its parts. BLIP's lists are taken beside another part only: they alone are a dataset."""
    own = [*find_files(root, _FOLDERS, list(_BOXED)).values(), *_tables(root)]
    return [*own, *_lists(root)]


def load(root: Path) -> list[Kind]:
    """The kinds whose files are there.

    Raises:
        InvalidDataset: a file that cannot be read, or with rows that do not fit.
    """
    kinds = [_boxed(path) for path in find_files(root, _FOLDERS, list(_BOXED)).values()]
    tables: dict[str, list[Path]] = {}
    for path in _tables(root):
        tables.setdefault(_order_name(root, path), []).append(require_inside(root, path))
    kinds += [
        kind_of(name, ONE_OF_FIVE, [example for path in paths for example in _frozen(path)], str(paths[0]))
        for name, paths in tables.items()
    ]
    return kinds + [_shuffled(path) for path in _lists(root)]


def _tables(root: Path) -> list[Path]:
    found = dict.fromkeys(path for pattern in _TABLES for path in sorted(root.glob(pattern)))
    return [path for path in found if set(_TEXTS) <= set(columns_of(path))]


def _lists(root: Path) -> list[Path]:
    return [path for path in find_files(root, _FOLDERS, list(_BLIP)).values() if starts_with(path, "[")]


def _order_name(root: Path, path: Path) -> str:
    """`coco_order` or `flickr_order` where the name of the table or of its folders tells, else `order`."""
    told = str(path.relative_to(root.parent)).lower()
    known = [name for name in ("coco", "flickr") if name in told]
    return f"{known[0]}_order" if len(known) == 1 else "order"


def _boxed(path: Path) -> Kind:
    found = []
    for key, row in rows(path, _Boxed, "a row of ARO"):
        if row.bbox_w <= 0 or row.bbox_h <= 0:
            raise InvalidDataset(f"{path}: row {key} has a box of {row.bbox_w:g} x {row.bbox_h:g} pixels")
        left, top, right, bottom = (
            round(value) for value in (row.bbox_x, row.bbox_y, row.bbox_x + row.bbox_w, row.bbox_y + row.bbox_h)
        )
        shown = Shown(row.image_path, (left, top, right, bottom))
        found.append(Example(f"{_BOXED[path.name]}#{key}", (shown,), (row.true_caption, row.false_caption)))
    return kind_of(_BOXED[path.name], PAIR, found, str(path), remarks=(_CLIPPED,))


def _frozen(path: Path) -> Iterator[Example]:
    for number, (values, group, row) in enumerate(rows_of(path, _PICTURES)):
        where = f"{path}: row {number}"
        told = next((name for name in _PICTURES if name in values), None)
        if told is None:
            raise InvalidDataset(f"{path} has no column {' or '.join(_PICTURES)}; it has {', '.join(values)}")
        texts = checked(_Frozen, {name: values.get(name) for name in _TEXTS}, where, "a row of MTEB's ARO order")
        held = values[told]
        if not isinstance(held, str | dict):
            raise InvalidDataset(f"{where}: field '{told}' must hold a picture or the name of one, got {held!r:.60}")
        file = held if isinstance(held, str) else Cell(path, group, row, f"{group}-{row}", told)
        yield Example(f"{path.stem}#{number}", (Shown(file),), tuple(getattr(texts, name) for name in _TEXTS))


def _shuffled(path: Path) -> Kind:
    name, found = _BLIP[path.name], []
    for key, row in rows(path, _Listed, "a row of BLIP's list for evaluation"):
        for number, caption in enumerate(row.caption):
            item = f"{name}#{key}.{number}"
            draws = np.random.default_rng(int(sha256_json([SEED, item])[:16], 16))
            found.append(Example(item, (Shown(row.image),), (caption, *trigram_shuffles(caption, draws))))
    remark = (
        f"the shuffles are drawn here (seed {SEED}): words within each three, and threes of words; ARO's own two by parts of "
        "speech are left out, so the numbers are not those of ARO's order suites"
    )
    return kind_of(name, ONE_OF_THREE, found, str(path), remarks=(remark,))


def trigram_shuffles(caption: str, draws: np.random.Generator) -> tuple[str, str]:
    """A caption with the words of each three in another order, and with its threes in another order.

    >>> trigram_shuffles("a b c d e f g", np.random.default_rng(0))
    ('c a b f e d g', 'g a b c d e f')
    """
    words = re.split(r"\s+", caption.strip())
    threes = [words[start : start + 3] for start in range(0, len(words), 3)]
    within = [[three[place] for place in draws.permutation(len(three))] for three in threes]
    moved = [threes[place] for place in draws.permutation(len(threes))]
    return tuple(" ".join(word for three in some for word in three) for some in (within, moved))  # type: ignore[return-value]


SUITE = Suite(
    description="relations and attributes swapped in parts of Visual Genome; captions of COCO and Flickr30K in another order",
    files="visual_genome_relation.json, visual_genome_attribution.json, Parquet with correct_caption and hard_text_1..4",
    pictures="images/ (Visual Genome); in the table of an order suite",
    recognise=recognise,
    load=load,
)
