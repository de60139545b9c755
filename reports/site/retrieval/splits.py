"""The splits of which a results folder can show retrievals, with their methods and runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from harness.errors import InvalidRecord
from harness.records.exhibits import (
    FILE,
    Exhibits,
    exhibits_folder,
    folder_name,
    listed_images,
)
from harness.records.run import RunRecord
from harness.records.store import TOP
from harness.records.tops import TopTable
from harness.reports.runs.groups import Group, groups
from harness.reports.site.results import Results
from harness.reports.site.retrieval.answers import DIRECTIONS, Answers, Direction, answers, best_own, whole_gallery
from harness.spec import sha256_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Method:
    """The runs of one method that can be shown, by rising seed."""

    label: str
    runs: tuple[RunRecord, ...]

    def seed(self, seed: int) -> RunRecord | None:
        """Its run of a seed."""
        return next((run for run in self.runs if run.seed == seed), None)


@dataclass(frozen=True, eq=False)
class Retrieval:
    """The answers of one run in both directions, and the best own caption (I,) of each image; None where not known."""

    i2t: Answers
    t2i: Answers
    best: np.ndarray | None

    def of(self, direction: Direction) -> Answers:
        """One direction."""
        return self.i2t if direction == "i2t" else self.t2i


class Split:
    """One split with all runs on it whose first results are kept. Files are read when they are needed.

    Args:
        results: the folder.
        methods: of the split, the one with the highest rSum first.
        absent: runs without first results, which no page can show.
    """

    def __init__(self, results: Results, methods: Sequence[Method], absent: Sequence[str] = ()):
        self.results = results
        self.methods = tuple(methods)
        self.absent = tuple(absent)
        first = self.runs[0]
        self.dataset, self.split, self.data_sha256 = first.dataset, first.split, first.data_sha256
        self.key = folder_name(self.dataset, self.split, self.data_sha256)
        self._read: dict[str, Retrieval | None] = {}

    @property
    def title(self) -> str:
        """For headings; with the data's version where the folder has runs on several."""
        alike = {run.data_sha256 for run in self.results.finished.values() if _named(run) == _named(self.runs[0])}
        version = f" (data {self.data_sha256[:8]})" if len(alike) > 1 else ""
        return f"{self.dataset} {self.split}{version}"

    @property
    def runs(self) -> list[RunRecord]:
        """All runs, method by method."""
        return [run for method in self.methods for run in method.runs]

    @property
    def folder(self) -> Path:
        """Of the exhibits."""
        return exhibits_folder(self.results.store.results, self.dataset, self.split, self.data_sha256)

    @cached_property
    def exhibits(self) -> Exhibits:
        """The captions, pictures and what else is known of the split."""
        found = self.results.exhibits(self.runs[0])
        assert found is not None, "splits without exhibits are not shown"
        return found

    @cached_property
    def unlabelled(self) -> dict[str, np.ndarray]:
        """(P, 2) image and caption rows by source, see `answers`."""
        return {
            source: np.array(known.pairs, dtype=np.int64).reshape(-1, 2)
            for source, known in self.exhibits.unlabelled.items()
        }

    @cached_property
    def sound(self) -> list[Method]:
        """The methods with the runs that can be read; for each other run a line says why it is left out."""
        kept = [Method(m.label, tuple(run for run in m.runs if self.retrieval(run))) for m in self.methods]
        return [method for method in kept if method.runs]

    @property
    def chosen(self) -> dict[str, RunRecord]:
        """One run per method: that of the lowest seed that all share; the method's lowest where they share none."""
        seeds = [{run.seed for run in method.runs} for method in self.sound]
        common = set.intersection(*seeds) if seeds else set()
        lowest = min(common) if common else None
        return {m.label: (m.seed(lowest) if lowest is not None else None) or m.runs[0] for m in self.sound}

    @cached_property
    def listed(self) -> dict[Direction, np.ndarray]:
        """The rows of the queries that pages list: all, or those of a seeded sample of the images."""
        images = listed_images(len(self.exhibits.image_ids))
        captions = np.flatnonzero(np.isin(np.array(self.exhibits.caption_image), images))
        return {"i2t": images, "t2i": captions}

    @property
    def sampled(self) -> str:
        """What a page says of the sample; empty where all queries are listed."""
        images, listed = len(self.exhibits.image_ids), len(self.listed["i2t"])
        if listed == images:
            return ""
        return f"Listed is a sample of {listed:,} of {images:,} images, with their captions; counts are of all."

    def retrieval(self, run: RunRecord) -> Retrieval | None:
        """What a run answers; None, with one line that says why, where its files cannot be used."""
        if run.run_id not in self._read:
            try:
                self._read[run.run_id] = self._retrieval(run)
            except InvalidRecord as error:
                logger.warning("run %s is left out of the galleries: %s", run.run_id, error)
                self._read[run.run_id] = None
        return self._read[run.run_id]

    def inputs(self, runs: Sequence[RunRecord]) -> str:
        """Hash of what pages about these runs are made from, without reading it."""
        store = self.results.store
        files = [self.folder / FILE, *sorted(Path(__file__).parents[1].glob("**/*.py"))]
        files += [store.folder(run.run_id) / name for run in runs for name in ("record.json", TOP, "ranks.npz")]
        labels = [[method.label, [run.run_id for run in method.runs]] for method in self.methods]
        return sha256_json(
            [self.title, labels, list(self.absent), len(self.exhibits.pictures), *(_stamp(path) for path in files)]
        )

    def _retrieval(self, run: RunRecord) -> Retrieval:
        top = self.results.store.top(run.run_id)
        if top is None:
            raise InvalidRecord(f"its {TOP} is gone")
        _check_alike(top, self.exhibits)
        ranks = whole_gallery(self.results.store.ranks_of(run), top)
        i2t, t2i = (answers(top, ranks, self.unlabelled, direction) for direction in DIRECTIONS)
        return Retrieval(i2t, t2i, None if ranks is None else best_own(top, ranks))


def splits(results: Results) -> Iterator[Split]:
    """The splits that can be shown: their exhibits are there, and the first results of at least one run."""
    by_split: dict[str, list[RunRecord]] = {}
    for run in results.finished.values():
        if run.has_ranks and results.exhibits(run) is not None:
            by_split.setdefault(folder_name(run.dataset, run.split, run.data_sha256), []).append(run)
    for runs in by_split.values():
        shown = [run for run in runs if (results.store.folder(run.run_id) / TOP).is_file()]
        if shown:
            absent = [run.run_id for run in runs if run not in shown]
            yield Split(results, _methods(shown), absent)


def _methods(runs: Sequence[RunRecord]) -> list[Method]:
    """The methods by falling rSum of their first protocol, each once, however many protocols it was measured by."""
    found: dict[str, Group] = {}
    for members in groups(runs).values():
        for group in members:
            found.setdefault(group.identity, group)
    labels = [group.label for group in found.values()]
    made = [(group.metric("rsum") or 0.0, Method(_unique(group, labels), group.records)) for group in found.values()]
    return [method for _, method in sorted(made, key=lambda pair: (-pair[0], pair[1].label))]


def _named(run: RunRecord) -> tuple[str, str]:
    return run.dataset, run.split


def _unique(group: Group, labels: Sequence[str]) -> str:
    """Labels are unique within a protocol; two protocols may give one label to two methods."""
    return group.label if labels.count(group.label) == 1 else f"{group.label} [{group.identity[:6]}]"


def _check_alike(top: TopTable, exhibits: Exhibits) -> None:
    pairs = (
        ("images", top.image_id, exhibits.image_ids),
        ("captions", top.caption_id, exhibits.caption_ids),
        ("pairs", top.caption_image, exhibits.caption_image),
    )
    for what, found, expected in pairs:
        if list(map(str, found.tolist())) != list(map(str, expected)):
            raise InvalidRecord(f"its {TOP} is about other {what} than the exhibits of its split; delete {TOP} or both")


def _stamp(path: Path) -> list[str | int]:
    try:
        found = path.stat()
    except OSError:
        return [path.name]
    return [path.name, found.st_size, found.st_mtime_ns]
