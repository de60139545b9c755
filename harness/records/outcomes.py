"""Outcomes: what a trained model answered to a probe, item by item, as `runs/<id>/outcomes/<family>/<name>.npz` holds it.

A probe puts questions to a model beside its test split: pictures under noise, captions with a wrong attribute, words that
have to be found in a picture. Its items belong to pictures, and the picture is the unit of every test and interval.

Shape letters: L levels, N items.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
from pydantic import Field, ValidationError, model_validator

from harness.errors import InvalidRecord
from harness.files.names import is_safe_name
from harness.files.reading import Damaged, parse_json, read_arrays
from harness.files.writing import atomic_path
from harness.settings.base import explain
from harness.spec import Spec

SCHEMA_VERSION = 1
FOLDER = "outcomes"
REMEDY = "delete the file to have it made again"
#: Levels of a probe at most: more is no file of ours.
MOST_LEVELS = 1000
#: What a value is: a rank from 0 (best) in a gallery, whether an answer is right (0 or 1), a share from 0 to 1, or any
#: other finite number.
Unit = Literal["rank", "hit", "share", "value"]


class About(Spec):
    """What outcomes are of."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    family: str = Field(description="images, captions, regions, clutter, strata, composition, grounding or truth")
    name: str = Field(description="of the probe within its family: blur, objects, swap_attribute")
    title: str = Field("", description="of the probe, in a few words")
    axis: str = Field("", description="what the values of the levels count: severity, objects; empty = one level")
    levels: tuple[str, ...] = Field(min_length=1, max_length=MOST_LEVELS, description="names, in their order")
    values: tuple[float, ...] = Field(description="of the levels along the axis")
    inputs: dict[str, Any] = Field(description="all that decides the questions: data, sample, seed, settings, versions")
    inputs_sha256: str = Field(description="of `inputs`: models are compared on equal questions only")
    model_sha256: str = Field(description="of the weights that answered")
    counts: dict[str, int] = Field(default_factory=dict, description="pictures, items, missing pictures, ...")
    refused: str = Field(
        "", description="why this model cannot be asked, such as a method that aligns nothing; then no answers"
    )
    partial: str = Field("", description="why the items are not all that the probe has; empty = they are")
    remarks: tuple[str, ...] = Field((), description="what a reader must know: contamination, what was left out")
    seconds: float = Field(0.0, ge=0, description="that the answers took")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if len(self.values) != len(self.levels) or not all(map(math.isfinite, self.values)):
            raise ValueError(f"{len(self.levels)} levels need as many finite values, got {self.values!r:.80}")
        if not (is_safe_name(self.family) and is_safe_name(self.name)):
            raise ValueError(f"'{self.family:.40}' and '{self.name:.40}' must be names of a folder and a file")
        return self


@dataclass(frozen=True, eq=False)
class Measure:
    """One answer per item and level.

    Args:
        name: such as `i2t_rank`, `t2i_rank`, `correct`, `pointing`.
        unit: of the values.
        item: (N,) ids of the items; the same in every run.
        image: (N,) id of the picture that each item belongs to, the cluster of all intervals.
        values: (L, N) float64; NaN = the item has no such level (an item of another stratum), or takes no part.
    """

    name: str
    unit: Unit
    item: np.ndarray
    image: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class OutcomeTable:
    """The outcomes of one probe for one run."""

    about: About
    measures: tuple[Measure, ...]

    def measure(self, name: str) -> Measure | None:
        """The measure of that name; None where the probe has none."""
        return next((measure for measure in self.measures if measure.name == name), None)


def write_outcomes(path: Path, table: OutcomeTable) -> None:
    """Write a table, whole or not at all.

    Raises:
        ResultsNotWritable: the folder cannot be written.
    """
    arrays: dict[str, np.ndarray] = {
        "about": np.asarray(json.dumps(table.about.model_dump(mode="json"), allow_nan=False))
    }
    for measure in table.measures:
        arrays[f"{measure.name}.unit"] = np.asarray(measure.unit)
        for key in ("item", "image", "values"):
            arrays[f"{measure.name}.{key}"] = getattr(measure, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_outcomes(path: Path, run_id: str) -> OutcomeTable:
    """The table of a file.

    Raises:
        InvalidRecord: damaged, of another version or another run, or outcomes that cannot be.
    """
    try:
        arrays = read_arrays(path)
        about = _about(arrays)
        names = [key.removesuffix(".values") for key in arrays if key.endswith(".values")]
        table = OutcomeTable(about, tuple(_measure(arrays, name, len(about.levels)) for name in names))
    except Damaged as error:
        raise InvalidRecord(f"cannot read {path}: {error}; {REMEDY}") from None
    if about.run_id != run_id:
        raise InvalidRecord(f"{path} is of run '{about.run_id:.40}', expected {run_id}; {REMEDY}")
    return table


def _about(arrays: Mapping[str, np.ndarray]) -> About:
    text = arrays.get("about")
    if text is None or text.shape != () or text.dtype.kind != "U":
        raise Damaged("it does not say what it is about")
    values = parse_json(str(text))
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != SCHEMA_VERSION:
        raise Damaged(f"it has schema version {version!r:.20}, this version reads {SCHEMA_VERSION}")
    try:
        return About.model_validate(values)
    except ValidationError as error:
        raise Damaged(explain(About, error)) from None


def _measure(arrays: Mapping[str, np.ndarray], name: str, levels: int) -> Measure:
    found = {key: arrays.get(f"{name}.{key}") for key in ("unit", "item", "image", "values")}
    lacks = [key for key, array in found.items() if array is None]
    if lacks:
        raise Damaged(f"the measure '{name:.40}' lacks {', '.join(lacks)}")
    unit, item, image, values = (array for array in found.values() if array is not None)
    if unit.shape != () or str(unit) not in get_args(Unit):
        raise Damaged(f"the measure '{name:.40}' has an unknown unit")
    for key, ids in (("item", item), ("image", image)):
        if ids.ndim != 1 or ids.dtype.kind != "U":
            raise Damaged(f"{name}.{key} is {ids.dtype} of shape {ids.shape}, expected a list of ids")
    if len(np.unique(item)) < len(item):
        raise Damaged(f"{name}.item names an item twice")
    if values.dtype.kind != "f" or values.shape != (levels, len(item)) or len(item) != len(image):
        raise Damaged(
            f"{name}.values is {values.dtype} of shape {values.shape}, expected numbers ({levels}, {len(item)})"
        )
    _check_range(name, str(unit), values[~np.isnan(values)])
    return Measure(name, str(unit), item, image, values.astype(np.float64))  # type: ignore[arg-type]


def _check_range(name: str, unit: str, values: np.ndarray) -> None:
    if not len(values):
        return
    low, high = float(values.min()), float(values.max())
    largest = {"rank": math.inf, "hit": 1.0, "share": 1.0}.get(unit, math.inf)
    least = -math.inf if unit == "value" else 0.0
    if not (math.isfinite(low) and math.isfinite(high)) or low < least or high > largest:
        raise Damaged(f"{name}.values range from {low:g} to {high:g}, which no {unit} does")
