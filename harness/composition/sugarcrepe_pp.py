"""SugarCrepe++: `data/{replace_att,...,swap_obj}.json`, lists of rows with two true captions and a false one.

Both true captions must score higher than the false one. The suite's text-only task compares captions with each other,
which a scorer of pictures and captions cannot do: it is left out.

Source:
    Dumpala et al., SugarCrepe++, NeurIPS 2024 (Datasets and Benchmarks); files of Sri-Harsha/scpp, CC-BY-4.0.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, StrictInt, StrictStr

from harness.composition.examples import TWO_TRUE, Example, Kind, Shown, Suite, kind_of
from harness.composition.files import find_files, rows, starts_with

KINDS = ("replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj")
#: As the hub names them.
_LONG = {"att": ("attribute", "atribute"), "obj": ("object",), "rel": ("relation",)}
FOLDERS = ("", "data", "sugarcrepe_pp", "sugarcrepe_pp/data", "SugarCrepe_pp", "SugarCrepe_pp/data", "scpp/data")
_TEXT_ONLY = "the text-only task is left out: a scorer compares captions with pictures, not with each other"


class _Row(BaseModel):
    id: StrictInt | StrictStr
    filename: StrictStr
    caption: StrictStr
    caption2: StrictStr
    negative_caption: StrictStr


def recognise(root: Path) -> dict[str, Path]:
    """The files of the kinds that are there, by kind; SugarCrepe has files of the same names, which are objects."""
    names = {f"{kind}.json": kind for kind in KINDS}
    for kind in KINDS:
        edit, _, what = kind.partition("_")
        names |= {f"{edit}_{word}.json": kind for word in _LONG[what]}
    found = find_files(root, FOLDERS, list(names))
    return {names[name]: path for name, path in found.items() if starts_with(path, "[")}


def load(root: Path) -> list[Kind]:
    """The kinds whose files are there.

    Raises:
        InvalidDataset: a file that cannot be read, or with rows that do not fit.
    """
    return [
        kind_of(
            kind,
            TWO_TRUE,
            [
                Example(f"{kind}#{row.id}", (Shown(row.filename),), (row.caption, row.caption2, row.negative_caption))
                for _, row in rows(path, _Row, "a row of SugarCrepe++")
            ],
            str(path),
            remarks=(_TEXT_ONLY,),
        )
        for kind, path in recognise(root).items()
    ]


SUITE = Suite(
    description="two true captions in different words and a false one: both must score higher",
    files="data/{replace_att,replace_obj,replace_rel,swap_att,swap_obj}.json",
    pictures="val2017/ of COCO",
    recognise=recognise,
    load=load,
)
