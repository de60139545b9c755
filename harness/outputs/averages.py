"""Results of which only averages are known: CLIP_benchmark's JSON, and recalls by name as JSON or as a CSV of one row.

Whether a number is a percent or a fraction is never guessed: it is off by a factor of 100 and looks right either way.
"""

from __future__ import annotations

import csv
import itertools
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.errors import InvalidSimilarity, one_line
from harness.files.kinds import identify
from harness.files.reading import Damaged, read_json
from harness.records.ties import KS, RECALLS

Unit = Literal["fraction", "percent"]
#: Their names of the directions: what is retrieved there stands for what is searched here.
_CLIP_BENCHMARK = {"image_retrieval": "t2i", "text_retrieval": "i2t"}
_RECALL = re.compile(r"(image_retrieval|text_retrieval)_recall@(\d+)")
_KEYS = (*RECALLS, "rsum")
#: Averages are a few hundred bytes.
_LARGEST, _LONGEST_HEADING = 2**20, 10_000
#: A printed rSum may differ from the sum of six recalls that are rounded to one decimal, by up to 6 x 0.025.
_ROUNDING = 0.15
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Averages:
    """The recalls that a file states, checked.

    Args:
        path: the file.
        metrics: recalls in percent by name (`i2t_r1`), and `rsum` where it follows or is stated.
        title: what the file holds, in words.
        unit: in which the file states them.
        dataset: what it calls the dataset; "" = it does not say.
        backbone: the model in words; "" = it does not say.
    """

    path: Path
    metrics: dict[str, float]
    title: str
    unit: Unit
    dataset: str = ""
    backbone: str = ""


def is_averages(path: Path) -> bool:
    """Whether a file states averages, rightly or wrongly: CLIP_benchmark's JSON, or recalls by name."""
    kind = identify(path).key
    if kind == "json":
        value = _mapping(path)
        return _is_clip_benchmark(value) or any(key in value for key in _KEYS)
    if path.suffix.lower() != ".csv" or kind not in ("csv", "text"):
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        heading = {name.strip() for name in file.readline(_LONGEST_HEADING).split(",")}
    return bool(heading & set(_KEYS)) and "rank" not in heading


def read_averages(path: Path, unit: Unit | None = None) -> Averages:
    """Read a file of averages.

    Args:
        path: the file.
        unit: of its numbers, as the user says; None = not said. CLIP_benchmark's are fractions.

    Raises:
        InvalidSimilarity: no recall, a value that is none, an order of recalls that cannot be, an rSum that is not their
            sum, or numbers that may be either percents or fractions.
    """
    value = _mapping(path) if identify(path).key == "json" else _row(path)
    return _of_clip_benchmark(path, value, unit) if _is_clip_benchmark(value) else _by_name(path, value, unit)


def zeros(metrics: Mapping[str, float]) -> str:
    """What is odd about recalls of exactly 0, in a sentence; "" = nothing.

    >>> zeros({"i2t_r1": 0.0, "t2i_r1": 20.7})
    'i2t_r1 is exactly 0 while t2i_r1 is not: the directions may have been swapped, or images and captions misaligned'
    >>> zeros({"i2t_r1": 0.0, "t2i_r1": 0.0, "t2i_r5": 0.4})
    ''
    """
    for key in RECALLS:
        other = f"{'t2i' if key.startswith('i2t') else 'i2t'}{key[3:]}"
        beside = [other] if other in metrics else [name for name in metrics if name[:3] == other[:3]]
        if metrics.get(key) == 0 and any(metrics[name] > 0 for name in beside):
            found = next(name for name in beside if metrics[name] > 0)
            return (
                f"{key} is exactly 0 while {found} is not: the directions may have been swapped, or images and captions "
                "misaligned"
            )
    return ""


def _of_clip_benchmark(path: Path, value: Mapping[str, Any], unit: Unit | None) -> Averages:
    if unit == "percent":
        raise InvalidSimilarity(f"{path} is CLIP_benchmark's output, which holds fractions; leave out --unit percent")
    found: dict[str, Any] = {}
    unread = []
    for key, number in value["metrics"].items():
        match = _RECALL.fullmatch(str(key))
        if match and int(match[2]) in KS:
            found[f"{_CLIP_BENCHMARK[match[1]]}_r{int(match[2])}"] = number
        else:
            unread.append(str(key))
    if not found:
        names = ", ".join(unread) or "nothing"
        raise InvalidSimilarity(
            f"{path} is CLIP_benchmark's output of task '{one_line(str(value.get('task')), 40)}' with {names:.120}; "
            "image_retrieval_recall@K and text_retrieval_recall@K of K = 1, 5 or 10 are expected"
        )
    _report_unread(path, unread)
    model, pretrained, dataset, language = (
        one_line(str(value.get(key) or ""), 60) for key in ("model", "pretrained", "dataset", "language")
    )
    return Averages(
        path,
        _checked(path, _numbers(path, found), "fraction"),
        f"averages of CLIP_benchmark ({', '.join(found)})",
        "fraction",
        f"{dataset}{f' ({language})' if language not in ('', 'en') else ''}",
        " ".join(filter(None, (model, pretrained))),
    )


def _by_name(path: Path, value: Mapping[str, Any], unit: Unit | None) -> Averages:
    found = {key: value[key] for key in _KEYS if value.get(key) not in (None, "")}
    if not any(key in RECALLS for key in found):
        raise InvalidSimilarity(f"{path} states no recall; any of {', '.join(RECALLS)} are expected")
    numbers = _numbers(path, found)
    recalls = [number for key, number in numbers.items() if key != "rsum"]
    if unit is None and max(recalls) <= 1:
        raise InvalidSimilarity(
            f"{path} holds no recall above 1 (largest {max(recalls):g}): are these fractions, or percents of a method that "
            "finds next to nothing? say --unit fraction or --unit percent"
        )
    _report_unread(path, [str(key) for key in value if key not in _KEYS])
    unit = unit or "percent"
    return Averages(path, _checked(path, numbers, unit), f"averages by name ({', '.join(found)})", unit)


def _checked(path: Path, numbers: Mapping[str, float], unit: Unit) -> dict[str, float]:
    """In percent, with rSum where all six are known."""
    largest = 1 if unit == "fraction" else 100
    for key, number in numbers.items():
        bound = largest * (len(RECALLS) if key == "rsum" else 1)
        if not 0 <= number <= bound:
            raise InvalidSimilarity(f"{path}: {key} is {number:g}; a {unit} of 0 to {bound} is expected")
    # 0.581 x 100 is 58.099999999999994
    metrics = {key: round(number * 100 / largest, 10) for key, number in numbers.items()}
    for way in ("i2t", "t2i"):
        known = [f"{way}_r{k}" for k in KS if f"{way}_r{k}" in metrics]
        for low, high in itertools.pairwise(known):
            if metrics[low] > metrics[high]:
                raise InvalidSimilarity(
                    f"{path}: {low} is {metrics[low]:g} % and {high} {metrics[high]:g} %, but more items find no fewer; the "
                    "values or their names have been swapped"
                )
    return _with_rsum(path, metrics)


def _with_rsum(path: Path, metrics: dict[str, float]) -> dict[str, float]:
    """The sum where all six recalls are known; else a stated one that can be."""
    known = [metrics[key] for key in RECALLS if key in metrics]
    lacking, stated = len(RECALLS) - len(known), metrics.get("rsum")
    least, most = sum(known) - _ROUNDING, sum(known) + 100 * lacking + _ROUNDING
    if stated is not None and not least - 1e-9 <= stated <= most + 1e-9:
        of = (
            f"the sum of the six is {sum(known):.2f}"
            if not lacking
            else f"the {len(known)} known make {sum(known):.2f}"
        )
        raise InvalidSimilarity(f"{path}: rsum is {stated:g}, but {of}; correct the value that is wrong")
    if not lacking:
        return metrics | {"rsum": sum(known)}
    if stated is not None:
        _log.warning("%s states rSum %g without all six recalls: it is taken as it stands", path, stated)
    return metrics


def _numbers(path: Path, values: Mapping[str, Any]) -> dict[str, float]:
    numbers = {}
    for key, value in values.items():
        try:
            number = float(value) if not isinstance(value, bool) else math.nan
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise InvalidSimilarity(f"{path}: {key} is {one_line(repr(value), 40)}; a number is expected")
        numbers[key] = number
    return numbers


def _mapping(path: Path) -> dict[str, Any]:
    """A JSON object; {} where the file holds something else, or too much for averages."""
    if path.stat().st_size > _LARGEST:
        return {}
    try:
        value = read_json(path, _LARGEST)
    except Damaged:
        return {}
    return value if isinstance(value, dict) else {}


def _row(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8-sig", newline="", errors="replace") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(cell.strip() for cell in row)]
    heading, data = rows[0], rows[1:]
    if len(data) != 1 or len(data[0]) != len(heading):
        what = f"{len(data)} rows" if len(data) != 1 else f"{len(data[0])} values under {len(heading)} names"
        raise InvalidSimilarity(
            f"{path} holds {what}; a heading and one row of averages are expected, one file per result"
        )
    if len(set(heading)) < len(heading):
        raise InvalidSimilarity(f"{path} names a column twice: {', '.join(heading):.120}")
    return dict(zip(heading, data[0], strict=True))


def _is_clip_benchmark(value: Mapping[str, Any]) -> bool:
    metrics = value.get("metrics")
    if not isinstance(metrics, Mapping):
        return False
    return any(_RECALL.fullmatch(str(key)) for key in metrics) or {"dataset", "model", "task"} <= value.keys()


def _report_unread(path: Path, names: Sequence[str]) -> None:
    if names:
        _log.info("%s: %s not read", path, f"{', '.join(names):.160} {'is' if len(names) == 1 else 'are'}")
