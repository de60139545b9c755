"""SugarCrepe: `data/{add_att,...,swap_obj}.json`, objects of numbered rows; pictures of COCO's val2017.

Keys of swap_obj have gaps. True captions of the files often end in white space and false ones never do, which tells the
label to a tokenizer that keeps it; see `harness.composition.examples.kind_of`.

Source:
    Hsieh et al., SugarCrepe, NeurIPS 2023 (Datasets and Benchmarks); files of RAIVNLab/sugar-crepe.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, StrictStr

from harness.composition.examples import PAIR, Example, Kind, Shown, Suite, kind_of
from harness.composition.files import find_files, rows, starts_with

KINDS = ("add_att", "add_obj", "replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj")
FOLDERS = ("", "data", "sugarcrepe", "sugarcrepe/data", "sugar-crepe", "sugar-crepe/data")


class _Row(BaseModel):
    filename: StrictStr
    caption: StrictStr
    negative_caption: StrictStr


def recognise(root: Path) -> dict[str, Path]:
    """The files of the kinds that are there, by kind; SugarCrepe++ has files of the same names, which are lists."""
    found = find_files(root, FOLDERS, [f"{kind}.json" for kind in KINDS])
    return {name.removesuffix(".json"): path for name, path in found.items() if starts_with(path, "{")}


def load(root: Path) -> list[Kind]:
    """The kinds whose files are there.

    Raises:
        InvalidDataset: a file that cannot be read, or with rows that do not fit.
    """
    return [
        kind_of(
            kind,
            PAIR,
            [
                Example(f"{kind}#{key}", (Shown(row.filename),), (row.caption, row.negative_caption))
                for key, row in rows(path, _Row, "a row of SugarCrepe")
            ],
            str(path),
        )
        for kind, path in recognise(root).items()
    ]


SUITE = Suite(
    description="one false caption per picture, made by a language model so that it reads well: add, replace, swap",
    files="data/{add_att,add_obj,replace_att,replace_obj,replace_rel,swap_att,swap_obj}.json",
    pictures="val2017/ of COCO",
    recognise=recognise,
    load=load,
)
