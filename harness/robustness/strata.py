"""Strata: where in the test split does a method fail? Its own ranks, sorted by what is hard about the queries.

Nothing is measured anew: the ranks are those of the run's evaluation, in the gallery of the whole split. Only the queries are
grouped: by the number of objects or regions of their picture, the share of strong edges in it, or the length of the caption.
The boundaries come from the data alone, so they are the same for every method.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.datasets.base import Dataset, Images, Split
from harness.datasets.store.arrays import load_array, write_array
from harness.errors import InvalidDataset, one_line
from harness.exhibits.knowledge import clutter
from harness.files.caches import cache_folder
from harness.probes.base import Answers, Level, Probe
from harness.probes.model import Model
from harness.protocols import SAME_NUMBERS
from harness.records.outcomes import Measure
from harness.records.ranks import RankTable
from harness.robustness.edges import DECIMALS, edge_density
from harness.robustness.perturbations.words import parse

logger = logging.getLogger(__name__)

FAMILY = "strata"
#: Part of every identity and of the cache's names: raise it when queries come into other strata than before.
VERSION = 1
#: Up to so many different numbers get a stratum each; more are cut in thirds.
FEW = 5
_BLOCK, _THREADS = 256, 2
GALLERY = "the gallery is the whole test split; only the queries are grouped"


@dataclass(frozen=True)
class Stratum:
    """Queries whose value lies in (low, high].

    Args:
        name: as tables show it.
        low, high: bounds; the lowest stratum has -inf, the highest inf.
        middle: the median of the values in it.
    """

    name: str
    low: float
    high: float
    middle: float


@dataclass(frozen=True)
class Quantity:
    """What queries are grouped by.

    Args:
        name: of the probe.
        title: for tables.
        one, many: the unit in the names of strata, for 1 and for other values.
        scale: values are multiplied by it in names.
        by_caption: whether it belongs to captions, so that pictures are not grouped.
    """

    name: str
    title: str
    one: str
    many: str
    scale: float = 1.0
    by_caption: bool = False

    def said(self, value: float) -> str:
        """A value with its unit."""
        return f"{value * self.scale:g} {self.one if value * self.scale == 1 else self.many}"


OBJECTS = Quantity("objects", "number of objects in the picture", "object", "objects")
REGIONS = Quantity("regions", "number of detected regions", "region", "regions")
LENGTH = Quantity("caption_length", "length of the caption", "word", "words", by_caption=True)
EDGES = Quantity("edge_density", "share of strong edges in the picture", "% edges", "% edges", scale=100.0)


def strata_of(values: np.ndarray, quantity: Quantity) -> tuple[Stratum, ...]:
    """Groups of nearly equal size: one per value where there are few, else three.

    A boundary is a value that occurs, so equal values are in one group; groups that this leaves empty are left out. Values
    that are no whole numbers are to be rounded before, as names say boundaries exactly.

    Args:
        values: one per query.
        quantity: whose values they are.

    >>> [stratum.name for stratum in strata_of(np.array([2, 3, 3, 4]), OBJECTS)]
    ['2 objects', '3 objects', '4 objects']
    >>> [stratum.name for stratum in strata_of(np.arange(1, 31), LENGTH)]
    ['up to 10 words', '11 to 20 words', '21 words and more']
    """
    distinct = np.unique(values)
    if len(distinct) <= FEW:
        highs = distinct[:-1].tolist()
    else:
        cuts = np.quantile(values, [1 / 3, 2 / 3], method="inverted_cdf")
        highs = np.unique(np.minimum(cuts, distinct[-2])).tolist()
    bounds = [-np.inf, *highs, np.inf]
    found = []
    for low, high in itertools.pairwise(bounds):
        within = np.sort(values[(values > low) & (values <= high)])
        name = _named(float(within[0]), float(within[-1]), low, high, quantity)
        found.append(Stratum(name, float(low), float(high), float(np.median(within))))
    return tuple(found)


def _named(least: float, most: float, low: float, high: float, quantity: Quantity) -> str:
    if least == most:
        return quantity.said(least)
    if np.isinf(low):
        return f"up to {quantity.said(high)}"
    return (
        f"{quantity.said(least)} and more" if np.isinf(high) else f"{least * quantity.scale:g} to {quantity.said(most)}"
    )


class StrataProbe(Probe):
    """The ranks of a run by strata of its queries.

    An image query is in the stratum of its picture, a caption query in that of its own picture or, for a quantity of
    captions, of its text; a quantity of captions groups no image queries, as a picture has captions of several lengths.

    Args:
        quantity: what to group by.
        split: the whole test split.
        data: hash of the dataset.
        values: makes one value per image (I,), or per caption (T,); called once, when first needed.
    """

    family = FAMILY
    needs_model = False

    def __init__(self, quantity: Quantity, split: Split, data: str, values: Callable[[], np.ndarray]):
        self.name, self.title, self.axis = quantity.name, quantity.title, quantity.many
        self.quantity, self._split, self._data, self._make = quantity, split, data, values

    @functools.cached_property
    def values(self) -> np.ndarray:
        """(I,) or (T,) float64, what the queries are grouped by."""
        return np.asarray(self._make(), dtype=np.float64)

    @functools.cached_property
    def strata(self) -> tuple[Stratum, ...]:
        """From the lowest values to the highest."""
        return strata_of(self.values, self.quantity)

    @functools.cached_property
    def levels(self) -> tuple[Level, ...]:  # type: ignore[override]
        """One level per stratum, at the median of its values."""
        return tuple(Level(stratum.name, round(stratum.middle * self.quantity.scale, 6)) for stratum in self.strata)

    @property
    def identity(self) -> dict[str, Any]:
        """Data, boundaries and version."""
        return {
            "data": self._data,
            "split": self._split.name,
            "boundaries": [stratum.high for stratum in self.strata[:-1]],
            "version": VERSION,
        }

    def refusal(self, model: Model) -> str:
        """Data that do not differ, or a run that has no ranks of all queries in one gallery."""
        if len(self.strata) < 2:
            return f"all queries have {self.quantity.said(self.values[0])}"
        if self._table(model) is None:
            return (
                f"the run has none of the protocols {', '.join(sorted(SAME_NUMBERS))}, whose gallery is the whole split"
            )
        return ""

    def answers(self, model: Model) -> Answers:
        """`i2t_rank` and `t2i_rank`, as the run has them, each query at the level of its stratum and NaN at the others.

        Raises:
            InvalidRecord: the run's ranks are damaged.
        """
        table = self._table(model)
        assert table is not None  # refused
        split, values = self._split, self.values
        image_ids, caption_ids = np.asarray(split.image_ids), np.asarray(split.caption_ids)
        of_caption = values if self.quantity.by_caption else values[split.caption_image]
        t2i = self._placed(of_caption, _in_order(caption_ids, table.t2i_caption_id, table.t2i_rank))
        measures = [Measure("t2i_rank", "rank", caption_ids, image_ids[split.caption_image], t2i)]
        counts = {f"captions: {level.name}": int(n) for level, n in zip(self.levels, _present(t2i), strict=True)}
        remarks = [GALLERY]
        if self.quantity.by_caption:
            remarks.append("captions alone are grouped: a picture has captions of several lengths")
        else:
            i2t = self._placed(values, _in_order(image_ids, table.i2t_image_id, table.i2t_rank))
            measures.insert(0, Measure("i2t_rank", "rank", image_ids, image_ids, i2t))
            counts |= {f"images: {level.name}": int(n) for level, n in zip(self.levels, _present(i2t), strict=True)}
        return Answers(tuple(measures), counts, remarks=tuple(remarks))

    def _placed(self, values: np.ndarray, ranks: np.ndarray) -> np.ndarray:
        """(L, N): the rank of each query at its stratum, NaN elsewhere."""
        return np.stack([np.where((values > s.low) & (values <= s.high), ranks, np.nan) for s in self.strata])

    def _table(self, model: Model) -> RankTable | None:
        """The run's ranks of all queries of the split in one gallery."""
        tables = model.store.ranks(model.record.run_id)
        asked = {"image": set(self._split.image_ids), "caption": set(self._split.caption_ids)}
        for name in sorted(SAME_NUMBERS & tables.keys()):
            table = tables[name]
            if asked == {"image": set(table.i2t_image_id.tolist()), "caption": set(table.t2i_caption_id.tolist())}:
                return table
        return None


def strata_probes(dataset: Dataset, split: Split) -> tuple[StrataProbe, ...]:
    """By number of objects where it is known, else of regions where the data have any; by caption length and by edges.

    Regions and edges are counted when they are first asked for, and kept in the cache folder.

    Args:
        dataset: whose split it is.
        split: the whole split that runs were evaluated on.
    """
    made: list[tuple[Quantity, Callable[[], np.ndarray]]] = []
    images, key = split.images, f"{dataset.sha256[:16]}-{split.name}"
    objects = clutter(dataset, split)
    if objects:
        made.append((OBJECTS, lambda: np.array([objects[row] for row in range(len(split.image_ids))])))
    elif "regions" in images.inputs:
        made.append((REGIONS, lambda: _kept(f"regions of {key}", images, _regions)))
    made.append((LENGTH, lambda: caption_lengths(split.captions)))
    if "pixels" in images.inputs:
        made.append((EDGES, lambda: _kept(f"edges of {key}", images, _edges)))
    return tuple(StrataProbe(quantity, split, dataset.sha256, values) for quantity, values in made)


def caption_lengths(captions: tuple[str, ...]) -> np.ndarray:
    """(T,) words per caption; punctuation is no word.

    >>> caption_lengths(("A dog .", "two dogs, one ball")).tolist()
    [2, 4]
    """
    return np.array([len(parse(caption).words) for caption in captions])


def _kept(name: str, images: Images, count: Callable[[Images], Iterator[float]]) -> np.ndarray:
    """(I,) one number per image, from the cache folder or counted now."""
    path = cache_folder() / "strata" / f"{name.replace(' ', '-')}-{VERSION}.npy"
    kept = load_array(path, (len(images),), np.float64)
    if kept is not None:
        return np.asarray(kept)
    counted = np.fromiter(count(images), np.float64, len(images))
    try:
        write_array(path, counted.shape, np.float64, [counted])
    except InvalidDataset as error:
        logger.warning("%s are counted again next time: %s", name, one_line(error))
    return counted


def _regions(images: Images) -> Iterator[float]:
    """Regions of each image."""
    for first in range(0, len(images), _BLOCK):
        block = images.regions(np.arange(first, min(first + _BLOCK, len(images))))
        yield from block.mask.sum(dim=1).tolist()


def _edges(images: Images) -> Iterator[float]:
    """Edge density of each image, rounded so that boundaries can be told exactly."""
    with ThreadPoolExecutor(_THREADS) as pool:
        yield from pool.map(lambda row: round(edge_density(images.original(row)), DECIMALS), range(len(images)))


def _in_order(ids: np.ndarray, found: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values by id, in the order of `ids`."""
    place = {query: row for row, query in enumerate(found.tolist())}
    return values[[place[query] for query in ids.tolist()]].astype(np.float64)


def _present(values: np.ndarray) -> np.ndarray:
    """(L,) items of each level."""
    return (~np.isnan(values)).sum(axis=1)
