"""VALSE: `data/*.json`, objects of rows with a caption, a foil, and what three annotators said of them.

A row is valid where at least two of three annotators took the caption, but not the foil, for the true one. Only valid rows
are asked, as the suite's authors do.

Source:
    Parcalabescu et al., VALSE, ACL 2022; files of Heidelberg-NLP/VALSE.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, StrictInt, StrictStr

from harness.composition.examples import PAIR, Example, Kind, Shown, Suite, kind_of
from harness.composition.files import find_files, rows
from harness.datasets.files import head
from harness.errors import InvalidDataset

KINDS = (
    "actant-swap", "action-replacement", "coreference-hard", "coreference-standard", "counting-adversarial",
    "counting-hard", "counting-small-quant", "existence", "foil-it", "plurals", "relations",
)  # fmt: skip
FOLDERS = ("", "data", "valse", "valse/data", "VALSE", "VALSE/data")
#: Annotators of three who must have taken the caption for the true one.
VALID = 2


class _Votes(BaseModel):
    caption: StrictInt


class _Row(BaseModel):
    image_file: StrictStr
    caption: StrictStr
    foil: StrictStr
    mturk: _Votes | None = None


def recognise(root: Path) -> dict[str, Path]:
    """The files of the kinds that are there, by kind."""
    found = find_files(root, FOLDERS, [f"{kind}.json" for kind in KINDS])
    return {name.removesuffix(".json"): path for name, path in found.items() if b'"foil"' in head(path, 65_536)}


def load(root: Path) -> list[Kind]:
    """The kinds whose files are there.

    Raises:
        InvalidDataset: a file that cannot be read, with rows that do not fit, or without a valid one.
    """
    return [_kind(kind, path) for kind, path in recognise(root).items()]


def _kind(kind: str, path: Path) -> Kind:
    found = list(rows(path, _Row, "a row of VALSE"))
    valid = [(key, row) for key, row in found if row.mturk is not None and row.mturk.caption >= VALID]
    if not valid:
        raise InvalidDataset(
            f"{path}: none of its {len(found):,} rows is valid (mturk.caption of at least {VALID}); expected VALSE's own file"
        )
    unvoted = sum(row.mturk is None for _, row in found)
    remarks = [
        f"{len(valid):,} of {len(found):,} rows are valid (at least {VALID} of 3 annotators); the others are left out"
    ]
    if unvoted:
        remarks.append(f"{unvoted:,} rows without votes count as not valid")
    examples = [Example(f"{kind}#{key}", (Shown(row.image_file),), (row.caption, row.foil)) for key, row in valid]
    return kind_of(kind, PAIR, examples, str(path), {"rows": len(found), "not_valid": len(found) - len(valid)}, remarks)


SUITE = Suite(
    description="a caption and a foil per picture, by linguistic phenomenon: existence, plurals, counting, relations, ...",
    files="data/{existence,plurals,counting-hard,relations,...}.json",
    pictures="those of COCO, Visual7W, SWiG and VisDial that its files name",
    recognise=recognise,
    load=load,
)
