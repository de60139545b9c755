"""Figures printed in papers and model cards: read, checked, and found by dataset, protocol and method.

They are kept as printed. A printed rSum that is not the sum of its recalls is marked, never mended. Without per-query
ranks none of them can be tested against anything.
"""

from __future__ import annotations

import functools
import math
import re
from pathlib import Path

import pandas as pd

from harness.errors import InvalidRecord
from harness.files.kinds import identify, mismatch
from harness.reports.statistics.hits import RECALLS

_TEXTS = ("method", "variant", "visual_backbone", "text_encoder", "dataset", "protocol", "source")
#: Papers round six recalls to one decimal each; a printed rSum further off than this is an error in print.
RSUM_TOLERANCE = 0.15
# (dataset, protocol) as printed to the names that records use, and the number of test images they are about.
_PLACES = {
    ("flickr8k", "1K test"): ("flickr8k", "full", 1000),
    ("flickr30k", "1K test"): ("flickr30k", "full", 1000),
    ("mscoco", "1K (5-fold mean)"): ("mscoco", "coco_1k", 5000),
    ("mscoco", "5K test"): ("mscoco", "coco_5k", 5000),
    ("cxc (coco 5K)", "CxC 5K test"): ("mscoco", "cxc", 5000),
    # the package asks 1,261 images and 1,332 captions; the printed heading has the two the other way round
    ("eccv_caption", "ECCV Caption R@1 (1,332 images / 1,261 captions)"): ("mscoco", "eccv_caption", 1261),
}
_DATASETS = {"coco": "mscoco", "mscoco": "mscoco", "f30k": "flickr30k", "f8k": "flickr8k"}
_RSUM_NOTE = re.compile(r"printed rSum [\d.]+, its six recalls sum to [\d.]+")


#: Where the published figures lie, in a checkout and in an installed wheel: beside this file, since they are the
#: package's own and an emptied results folder must not take them away.
FOLDER = Path(__file__).resolve().parent / "data"


@functools.cache
def _shipped() -> pd.DataFrame:
    return read(FOLDER / "published.csv")


def load(path: Path | None = None) -> pd.DataFrame:
    """All published figures.

    Args:
        path: a CSV of the same columns; by default the one that comes with the harness.

    Returns:
        One row a printed result: the columns of the file, with `dataset` and `protocol` as records name them; `images`
        of the test set; `rsum` as printed, else the sum of the six recalls (`rsum_printed` tells which); `rsum_error`,
        printed minus sum where they differ by more than `RSUM_TOLERANCE`, else NaN; `kind` in `single | ensemble |
        ablation | zero-shot | fine-tuned`; `note`, what a reader must know; `origin`, always "published".

    Raises:
        InvalidRecord: missing, of other columns, or with figures that cannot be.
    """
    return (_shipped() if path is None else read(path)).copy()


def read(path: Path) -> pd.DataFrame:
    """Read and check a file; see `load`."""
    if identify(path).key not in ("csv", "text", "missing"):
        raise InvalidRecord(mismatch(path, "a CSV of published results"))
    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys(_TEXTS, str), keep_default_na=False, na_values={
            name: [""] for name in (*RECALLS, "rsum")
        })  # fmt: skip
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise InvalidRecord(f"cannot read {path}: {' '.join(str(error).split()):.200}") from None
    missing = [name for name in (*_TEXTS, *RECALLS, "rsum") if name not in frame.columns]
    if missing:
        raise InvalidRecord(f"{path} lacks the columns {', '.join(missing)}")
    _check_values(path, frame)
    places = [_PLACES.get((d, p), (d, p, 0)) for d, p in zip(frame["dataset"], frame["protocol"], strict=True)]
    frame["dataset"], frame["protocol"], frame["images"] = (list(column) for column in zip(*places, strict=True))
    total = frame[list(RECALLS)].sum(axis=1, skipna=False)
    excess = frame["rsum"] - total
    frame["rsum_printed"] = frame["rsum"].notna()
    frame["rsum_error"] = excess.where(excess.abs() > RSUM_TOLERANCE + 1e-9)
    frame["rsum"] = frame["rsum"].fillna(total)
    frame["kind"] = [kind(variant) for variant in frame["variant"]]
    frame["note"] = [
        _note(variant, wrong) for variant, wrong in zip(frame["variant"], frame["rsum_error"].tolist(), strict=True)
    ]
    frame["origin"] = "published"
    return frame


def kind(variant: str) -> str:
    """What sort of figure a variant's description tells of."""
    text = variant.lower()
    if "ablation" in text:
        return "ablation"
    if "ensemble" in text:
        return "ensemble"
    if "zero-shot" in text:
        return "zero-shot"
    return "fine-tuned" if "fine-tuned" in text else "single"


def rows_for(dataset: str, protocol: str, method: str | None = None, *, path: Path | None = None) -> pd.DataFrame:
    """The published figures of one dataset and protocol, best rSum first.

    Args:
        dataset: a dataset's title (`flickr30k`, `mscoco`; `coco` is the latter).
        protocol: `full`, `coco_1k`, `coco_5k`, `cxc` or `eccv_caption`.
        method: only this method; case, spaces and punctuation do not matter.
        path: as `load`.

    Returns:
        The rows of `load`; none where nothing was published.
    """
    frame = load(path)
    name = _DATASETS.get(dataset.lower(), dataset.lower())
    chosen = (frame["dataset"] == name) & (frame["protocol"] == protocol)
    if method is not None:
        chosen &= frame["method"].map(method_key) == method_key(method)
    order = ["rsum", "t2i_r1", "method", "variant"]
    return frame[chosen].sort_values(order, ascending=[False, False, True, True], kind="stable").reset_index(drop=True)


def method_key(name: str) -> str:
    """A method's name without case and punctuation: `VSE++` and `vse++` are one, `VSE-inf` and `vse_inf` too."""
    return re.sub(r"[\s_.-]+", "", name.lower())


def _check_values(path: Path, frame: pd.DataFrame) -> None:
    for name, top in (*((recall, 100.0) for recall in RECALLS), ("rsum", 600.0)):
        values = pd.to_numeric(frame[name], errors="coerce")
        wrong = frame.index[(values.isna() & frame[name].notna()) | (values < 0) | (values > top)]
        if len(wrong):
            # + 2: the heading, and counting from 1
            raise InvalidRecord(
                f"{path}, line {wrong[0] + 2}: {name} must be 0 to {top:g}, got {frame[name][wrong[0]]}"
            )
        frame[name] = values
    nameless = frame.index[(frame["method"] == "") | (frame["source"] == "")]
    if len(nameless):
        raise InvalidRecord(f"{path}, line {nameless[0] + 2}: a published figure needs a method and a source")


def _note(variant: str, rsum_error: float) -> str:
    if math.isnan(rsum_error) or _RSUM_NOTE.search(variant):
        return variant
    mark = f"printed rSum is {abs(rsum_error):.1f} {'above' if rsum_error > 0 else 'below'} the sum of its recalls"
    return f"{variant}; {mark}" if variant else mark
