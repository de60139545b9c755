"""Where a file of ranks counts from, and whether its ranks can be ranks at all.

Ranks are counted from 0 here and from 1 in many other programs. A file that counts from 1 gets every recall wrong, so it
is never guessed: wherever no query has rank 0, the user says what the first place is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from harness.records.ranks import OWN_GALLERY
from harness.reports.statistics.errors import InvalidRanks

Origin = Literal[0, 1]


def from_zero(path: Path, frame: pd.DataFrame, origin: Origin | None) -> tuple[pd.DataFrame, str]:
    """The same rows with ranks counted from 0.

    Args:
        path: the file, for the messages.
        frame: columns method, seed, direction, rank.
        origin: what the first place is called where no query of a method, seed and direction has rank 0; None = not
            said. A rank 0 says that it is 0, whatever is given.

    Returns:
        The rows, and what a reader must know of them, empty if nothing.

    Raises:
        InvalidRanks: no rank 0 and no origin, or an origin of 1 that the ranks contradict.
    """
    smallest = frame.groupby(["method", "seed", "direction"], sort=False)["rank"].agg(["min", "size"])
    without = smallest[smallest["min"] >= 1]
    if without.empty:
        return frame, ""
    (method, seed, direction), found = without.index[0], without.iloc[0]
    first = dict.fromkeys(smallest.index[smallest["min"] == 0].get_level_values(0))
    others = [name for name in first if name != method]
    beside = f", though {' and '.join(others[:3])} beside it has" if others else ""
    if method in first:
        beside = ", though others of its ranks are 0"
    what = f"'{method}' seed {seed} has no rank 0 among {int(found['size']):,} {direction} queries (smallest {found['min']:g})"
    if origin is None:
        raise InvalidRanks(
            f"{path}: {what}{beside}; ranks are counted from 0 here, and a file that counts from 1 gets every recall wrong: "
            "say --ranks-from 1 if 1 is its first place, or --ranks-from 0 if no query was answered at once"
        )
    if origin == 0:
        return frame, f"{path.name}: {what}; it is read as counted from 0, as --ranks-from says."
    rows = pd.MultiIndex.from_frame(frame[["method", "seed", "direction"]]).isin(without.index)
    shifted = frame.assign(rank=frame["rank"].where(~rows, frame["rank"] - 1))
    names = ", ".join(dict.fromkeys(without.index.get_level_values(0)))
    return shifted, f"{path.name}: ranks of {names} are counted from 1, as --ranks-from says; 1 is subtracted."


def require_within_gallery(path: Path, frame: pd.DataFrame, protocol: str) -> None:
    """Refuse ranks that no item of the gallery can have.

    The gallery of a protocol on the dataset's own pairs is what the file names: its captions and images. Protocols of
    other judgements ask only some of them, so that the file does not tell.

    Raises:
        InvalidRanks: with the first such line.
    """
    if protocol and protocol not in OWN_GALLERY:
        return
    for direction, other, items in (("i2t", "captions", _captions(frame)), ("t2i", "images", _images(frame))):
        beyond = frame.index[(frame["direction"] == direction) & (frame["rank"] >= items)]
        if len(beyond):
            raise InvalidRanks(
                f"{path}, line {beyond[0] + 2}: rank {frame['rank'][beyond[0]]:g} of {direction}, but the file names "
                f"{items:,} {other}, so that ranks are 0 to {items - 1:,}; list every query of the gallery, or name the "
                "protocol in a column 'protocol' if only some are asked"
            )


def unlike_the_others(names: Sequence[str], smallest: Sequence[tuple[float, float]]) -> list[str]:
    """What to say of recorded methods that have no rank 0 while others of their table have.

    Args:
        names: of the methods.
        smallest: smallest i2t and t2i rank of each.
    """
    said = []
    for place, direction in enumerate(("i2t", "t2i")):
        values = [both[place] for both in smallest]
        if min(values, default=1) > 0:
            continue
        said += [
            f"{name} has no rank 0 in {direction} while others have: either its R@1 is 0, or its ranks are counted from 1."
            for name, value in zip(names, values, strict=True)
            if value >= 1
        ]
    return said


def _captions(frame: pd.DataFrame) -> int:
    return int(frame.loc[frame["direction"] == "t2i", "query_id"].nunique())


def _images(frame: pd.DataFrame) -> int:
    asked = frame.loc[frame["direction"] == "i2t", "query_id"]
    owners = frame.loc[frame["direction"] == "t2i", "image_id"]
    return int(pd.concat([asked, owners[owners != ""]]).nunique())
