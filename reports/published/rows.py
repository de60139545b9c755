"""Figures printed in papers and model cards, found by dataset, protocol and method.

They are kept as printed. `data/README.md` describes the columns that say the same in the words of our records. Without
per-query ranks none of them can be tested against anything.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness.records.ties import RECALLS

#: Part of the package, so that an emptied results folder does not take them away.
FOLDER = Path(__file__).resolve().parent / "data"
_NUMBERS = ("images", "resolution", *RECALLS, "rsum")
_DATASETS = {"coco": "mscoco", "f30k": "flickr30k", "f8k": "flickr8k"}


@functools.cache
def _shipped() -> pd.DataFrame:
    frame = pd.read_csv(FOLDER / "published.csv", keep_default_na=False, na_values={key: [""] for key in _NUMBERS})
    frame["rsum_printed"] = frame["rsum"].notna()
    frame["rsum"] = frame["rsum"].fillna(frame[list(RECALLS)].sum(axis=1, skipna=False))
    frame["note"] = frame["known_issue"].where(frame["known_issue"] != "", frame["variant"])
    return frame


def published_rows() -> pd.DataFrame:
    """All published figures.

    Returns:
        One row per printed result: the columns of `data/README.md`; `rsum` as printed, else the sum of the six recalls
        (`rsum_printed` tells which); `note`, what a reader must know of the row.
    """
    return _shipped().copy()


def published_metrics() -> pd.DataFrame:
    """Published metrics other than recalls that our protocols have too, in percent; see `data/README.md`."""
    frame = pd.read_csv(FOLDER / "published_extra_metrics.csv", keep_default_na=False)
    return frame[frame["protocol"] != ""]


def published_rows_for(dataset: str, protocol: str, method: str | None = None) -> pd.DataFrame:
    """The published figures of one dataset and protocol, best rSum first.

    Args:
        dataset: a dataset's title (`flickr30k`, `mscoco`; `coco` is the latter).
        protocol: `full`, `coco_1k`, `coco_5k`, `cxc` or `eccv_caption`.
        method: only this method, as printed or as registered; case, spaces and punctuation do not matter.

    Returns:
        Rows of `published_rows`; none where nothing was published.

    >>> sorted(set(published_rows_for("flickr30k", "full", "vse-inf")["method"]))
    ['VSE-inf']
    >>> len(published_rows_for("scenes", "full"))
    0
    """
    frame = published_rows()
    chosen = (frame["dataset"] == _DATASETS.get(dataset.lower(), dataset.lower())) & (frame["protocol"] == protocol)
    if method is not None:
        key = method_key(method)
        chosen &= (frame["key"] == key) | (frame["method"].map(method_key) == key)
    order = ["rsum", "t2i_r1", "method", "variant"]
    return frame[chosen].sort_values(order, ascending=[False, False, True, True], kind="stable").reset_index(drop=True)


def printed_figures(name: str, dataset: str = "", protocol: str = "") -> pd.DataFrame:
    """The published rows with an rSum that a name means, on one dataset and protocol or on any.

    Args:
        name: a method as printed; where it has several rows, with its variant, and its towers in brackets.
        dataset, protocol: as `published_rows_for`; empty = any.

    >>> len(printed_figures("no such method"))
    0
    """
    frame = published_rows_for(dataset, protocol) if dataset else published_rows()
    frame = frame[frame["rsum"].notna()]
    titles = [printed_titles(row) for row in frame.to_dict("records")]
    return frame[[method_key(name) in {method_key(title) for title in some} for some in titles]]


def printed_titles(row: Mapping[Any, Any]) -> tuple[str, str, str]:
    """The names of a published row: the method, with its variant, and with its towers too."""
    variant = f"{row['method']} {row['variant']}".strip()
    return str(row["method"]), variant, f"{variant} [{towers(row)}]"


def towers(row: Mapping[Any, Any]) -> str:
    """The encoders of a published row, as printed."""
    return " + ".join(filter(None, (row["visual_backbone"], row["text_encoder"])))


def method_key(name: str) -> str:
    """A method's name without case, spaces and punctuation, a plus sign as `p`.

    >>> method_key("VSE++"), method_key("vse_inf")
    ('vsepp', 'vseinf')
    """
    return "".join(name.lower().translate(str.maketrans("+", "p", "_.-")).split())
