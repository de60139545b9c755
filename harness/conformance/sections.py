"""The rules of report sections, on the made-up runs of leaderboards of several kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from harness.conformance import expect
from harness.records.ranks import RankTable
from harness.records.run import RunRecord
from harness.reports.document.model import Section
from harness.sections.base import ReportSection, Runs
from harness.sections.placing import checked, try_out

_IMAGES, _CAPTIONS = 12, 2
#: What formats a section has to be shown in.
_SHOWN = {"html": "HTML", "tex": "LaTeX", "md": "Markdown", "json": "JSON", "terminal": "a terminal"}


@dataclass(frozen=True)
class Subject:
    """The section that `make` makes, under examination."""

    name: str
    make: Callable[[], ReportSection]

    def build(self, runs: Runs) -> Section | None:
        """As it is placed on a page: its parts fit each other and can be shown."""
        return checked(self.make(), runs, self.name)


def made_runs(methods: Sequence[str], seeds: int, protocols: Sequence[str] = ("full",), printed: bool = False) -> Runs:
    """Runs as a leaderboard has them.

    Args:
        methods: their scorers.
        seeds: of each.
        protocols: of each.
        printed: whether one more has averages only.
    """
    records: list[RunRecord] = []
    tables: dict[str, dict[str, RankTable]] = {}
    for method in methods:
        for seed in range(seeds):
            run_id = f"{len(records):016x}"
            table = _table(np.random.default_rng([seed, *method.encode()]))
            tables[run_id] = dict.fromkeys(protocols, table)
            records.append(_record(run_id, method, seed, protocols, table))
    if printed:
        records.append(records[0].model_copy(update={"run_id": "f" * 16, "scorer": "printed", "origin": "published"}))
    labels = {record.run_id: record.scorer for record in records}
    return Runs(tuple(records), labels, lambda record: tables[record.run_id])


def _table(draw: np.random.Generator) -> RankTable:
    images = np.array([f"image {number}" for number in range(_IMAGES)])
    captions = np.array([f"caption {number}" for number in range(_IMAGES * _CAPTIONS)])
    return RankTable(
        i2t_rank=draw.integers(0, len(captions) - 1, len(images)),
        i2t_ties=np.zeros(len(images), np.int64),
        i2t_image_id=images,
        i2t_caption_id=captions[::_CAPTIONS],
        t2i_rank=draw.integers(0, len(images), len(captions)),
        t2i_ties=np.zeros(len(captions), np.int64),
        t2i_caption_id=captions,
        t2i_image_id=images.repeat(_CAPTIONS),
        i2t_fold=np.zeros(len(images), np.int64),
        t2i_fold=np.zeros(len(captions), np.int64),
        i2t_best_tied=np.ones(len(images), np.int64),
        t2i_best_tied=np.ones(len(captions), np.int64),
    )


def _record(run_id: str, method: str, seed: int, protocols: Sequence[str], table: RankTable) -> RunRecord:
    recalls = {
        f"{way}_r{k}": 100.0 * float(np.mean(getattr(table, f"{way}_rank") < k))
        for way in ("i2t", "t2i")
        for k in (1, 5, 10)
    }
    metrics = {**recalls, "rsum": sum(recalls.values()), "tie_rate": 0.0}
    return RunRecord.model_validate(
        {
            "run_id": run_id,
            "scorer": method,
            "backbone": "regions+bigru",
            "dataset": "scenes",
            "protocols": list(protocols),
            "seed": seed,
            "metrics": dict.fromkeys(protocols, metrics),
            "cost": {"pairs_per_second": 1000.0 + seed, "params_millions": 1.5},
            "data_sha256": "0" * 64,
            "spec": {"scorer": method, "seed": seed, "evaluation": {"ties": "pessimistic"}},
            "status": "finished",
            "started": "2026-01-01T00:00:00+00:00",
        }
    )


def several() -> Runs:
    """Three methods, one of which is named as text that means something to HTML and to LaTeX."""
    return made_runs(["scan", "chan", "<b>50 % & more_{x}</b>"], 2, ("full", "of_another_gallery"))


def declared(subject: Subject) -> None:
    """It has a description of one line."""
    text = subject.make().description
    one_line = isinstance(text, str) and bool(text.strip()) and "\n" not in text
    expect.that(one_line, f"expected a description of one line, found {text!r:.60}")


def many_runs(subject: Subject) -> None:
    """Runs of several methods, seeds and protocols make a section that says something."""
    section = subject.build(several())
    expect.that(section is not None, "expected a section for three methods of two seeds, found None")
    assert section is not None
    said = any(
        (section.sentences, section.notices, section.listings, section.tables, section.galleries, section.figures)
    )
    expect.that(said, "expected sentences, tables or figures, found a title alone")


def one_run(subject: Subject) -> None:
    """A leaderboard of one run is no error."""
    subject.build(made_runs(["scan"], 1))


def averages_only(subject: Subject) -> None:
    """Neither is a run that has no ranks."""
    subject.build(made_runs(["scan", "chan"], 1, printed=True))


def rendered(subject: Subject) -> None:
    """It can be shown in every format, and its title stands in each that has prose."""
    section = subject.build(several())
    found = {} if section is None else try_out(section)
    for format, what in _SHOWN.items():
        expect.that(not found or bool(found[format].strip()), f"expected something to show in {what}, found nothing")


def deterministic(subject: Subject) -> None:
    """A second call gives the same bytes in every format."""
    runs = several()
    first, second = (try_out(section) if (section := subject.build(runs)) else {} for _ in range(2))
    different = [format for format in first if first[format] != second.get(format)]
    expect.that(
        first.keys() == second.keys() and not different,
        f"expected the same section from a second call, found another one in {', '.join(different) or 'its figures'}",
    )


def runs_kept(subject: Subject) -> None:
    """The runs stay as they are."""
    runs = several()
    before = list(_state(runs))
    subject.build(runs)
    changed = [name for (name, then), (_, now) in zip(before, _state(runs), strict=True) if then != now]
    expect.that(not changed, f"expected the runs as they were, found a changed {', '.join(changed[:3])}")


def _state(runs: Runs) -> Iterator[tuple[str, object]]:
    yield "frame", runs.frame.to_csv()
    for record in runs.records:
        yield f"record of {record.scorer} seed {record.seed}", record.model_dump(mode="json")
        for protocol, table in runs.read(record).items():
            for field in fields(table):
                yield f"{field.name} of {protocol}", getattr(table, field.name).tolist()


#: By name, simple ones first.
RULES: dict[str, Callable[[Subject], None]] = {
    rule.__name__: rule for rule in (declared, many_runs, one_run, averages_only, rendered, deterministic, runs_kept)
}
