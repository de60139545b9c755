"""From the outcomes of runs to what each method answered to each probe, on equal questions only.

Shape letters: S seeds, L levels, Q items.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import InvalidRecord, counted
from harness.records.outcomes import About, Measure, OutcomeTable, Unit
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.reports.document.text import listed
from harness.reports.runs.groups import Gallery, Group, groups

logger = logging.getLogger(__name__)

#: The command that makes what is missing.
AGAIN = "run `itm robustness` again"


@dataclass(frozen=True, eq=False)
class Answers:
    """What one method answered on one measure of a probe.

    Args:
        unit: of the values.
        item: (Q,) ids, sorted.
        image: (Q,) the picture of each.
        values: (S, L, Q), NaN = no such item at this level.
    """

    unit: Unit
    item: NDArray[np.str_]
    image: NDArray[np.str_]
    values: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ProbeAnswers:
    """What the methods answered to one probe.

    Args:
        about: of the questions, the same for all.
        answers: by method and measure.
        seeds: by method.
        absent: why a method has no answers, by method.
        remarks: what a reader must know.
    """

    about: About
    answers: Mapping[str, Mapping[str, Answers]]
    seeds: Mapping[str, tuple[int, ...]]
    absent: Mapping[str, str]
    remarks: tuple[str, ...]

    @property
    def title(self) -> str:
        """In a few words."""
        return self.about.title or self.about.name.replace("_", " ")

    def of(self, method: str, measure: str) -> Answers | None:
        """The answers of a method on a measure; None where it has none."""
        return self.answers.get(method, {}).get(measure)


@dataclass(frozen=True, eq=False)
class Inquiry:
    """Everything that a report is made of.

    Args:
        gallery: the data that the runs were measured on.
        groups: the methods, in the order of their records.
        probes: family -> name -> answers, in the order in which families are reported.
        seeds: that answered something, by method.
        remarks: which runs answered nothing.
    """

    gallery: Gallery
    groups: tuple[Group, ...]
    probes: Mapping[str, Mapping[str, ProbeAnswers]]
    seeds: Mapping[str, tuple[int, ...]]
    remarks: tuple[str, ...] = ()

    @property
    def methods(self) -> tuple[str, ...]:
        """The labels of the methods that answered something."""
        return tuple(group.label for group in self.groups if self.seeds[group.label])

    @property
    def run_ids(self) -> list[str]:
        """All runs."""
        return [run_id for group in self.groups for run_id in group.run_ids]


#: Families in the order in which they are reported.
FAMILIES = ("images", "captions", "regions", "clutter", "strata", "composition", "grounding", "truth")


def load(store: RunStore, records: Sequence[RunRecord], families: Sequence[str] | None = None) -> Inquiry:
    """Read what some runs of one dataset and split answered.

    Args:
        store: where the runs lie.
        records: finished runs.
        families: to read; all by default.

    Raises:
        InvalidRecord: no run, runs on several splits, or no answers at all.
    """
    gallery, members = _members(records)
    found: dict[tuple[str, str], dict[str, dict[int, OutcomeTable]]] = {}
    for group in members:
        for record in group.records:
            for family, name in store.probes(record.run_id):
                if families is None or family in families:
                    table = _readable(store, record, family, name)
                    if table is not None:
                        found.setdefault((family, name), {}).setdefault(group.label, {})[record.seed] = table
    if not found:
        which = f" about {listed(list(families))}" if families else ""
        raise InvalidRecord(
            f"none of {counted(len(records), 'run')} below {store.results}/runs has answers to probes{which}; "
            "run `itm robustness` without --report-only"
        )
    # A run without any answers, such as one without a saved model, is left out; what others lack takes the method out.
    seeds = {
        group.label: tuple(
            seed for seed in group.seeds if any(seed in own.get(group.label, {}) for own in found.values())
        )
        for group in members
    }
    probes: dict[str, dict[str, ProbeAnswers]] = {}
    for family, name in sorted(found, key=_order):
        made = _asked(found[family, name], seeds)
        probes.setdefault(family, {})[name] = made
    silent = tuple(
        f"{group.label}: no answers of {'seed' if len(lost) == 1 else 'seeds'} {listed(lost)}"
        for group in members
        if (lost := [str(seed) for seed in group.seeds if seed not in seeds[group.label]])
    )
    return Inquiry(gallery, tuple(members), probes, seeds, silent)


def _members(records: Sequence[RunRecord]) -> tuple[Gallery, list[Group]]:
    """The methods on the one split that the records are about."""
    splits = {(record.dataset, record.split, record.data_sha256) for record in records}
    if len(splits) > 1:
        named = sorted({f"{dataset} {split} ({sha[:8]})" for dataset, split, sha in splits})
        raise InvalidRecord(
            f"the runs are on {len(named)} splits ({', '.join(named)}): make one report for each, by --dataset"
        )
    measured = [record for record in records if record.has_ranks]
    galleries = groups(measured)
    if not galleries:
        raise InvalidRecord(f"none of {counted(len(records), 'run')} is a finished measurement; see `itm ls runs`")
    # Protocols share their models: the one that most methods have names them all.
    gallery = max(galleries, key=lambda one: len(galleries[one]))
    return gallery, galleries[gallery]


def _order(probe: tuple[str, str]) -> tuple[int, str, str]:
    family, name = probe
    return (FAMILIES.index(family) if family in FAMILIES else len(FAMILIES), family, name)


def _readable(store: RunStore, record: RunRecord, family: str, name: str) -> OutcomeTable | None:
    try:
        return store.outcomes(record.run_id, family, name)
    except InvalidRecord as error:
        logger.warning("%s/%s of run %s is left out: %s", family, name, record.run_id, error)
        return None


def _asked(tables: Mapping[str, Mapping[int, OutcomeTable]], seeds: Mapping[str, tuple[int, ...]]) -> ProbeAnswers:
    """One probe: those who were asked the same as most, and why the others are not compared with them."""
    chosen = _most_common(tables)
    absent, answers, answered = {}, {}, {}
    remarks: dict[str, None] = {}
    about = next(t.about for own in tables.values() for t in own.values() if t.about.inputs_sha256 == chosen)
    for method, wanted in seeds.items():
        own = tables.get(method, {})
        equal = {seed: table for seed, table in own.items() if table.about.inputs_sha256 == chosen}
        refused = next((table.about.refused for table in equal.values() if table.about.refused), "")
        if reason := refused or _unequal(own, equal, wanted):
            absent[method] = reason
            continue
        try:
            answers[method] = _stacked(equal)
        except InvalidRecord as error:
            absent[method] = str(error)
            continue
        answered[method] = tuple(sorted(equal))
        about = equal[min(equal)].about
        remarks |= dict.fromkeys(said for table in equal.values() for said in _said(table.about))
    different = _other_items(answers)
    absent |= different
    answers = {method: own for method, own in answers.items() if method not in different}
    return ProbeAnswers(about, answers, answered, absent, tuple(remarks))


def _most_common(tables: Mapping[str, Mapping[int, OutcomeTable]]) -> str:
    """The questions that most runs answered; of equally many the first met."""
    every = [table.about.inputs_sha256 for own in tables.values() for table in own.values()]
    return max(dict.fromkeys(every), key=every.count)


def _unequal(own: Mapping[int, OutcomeTable], equal: Mapping[int, OutcomeTable], wanted: Sequence[int]) -> str:
    """Why a method cannot be compared; empty = it can."""
    if not own:
        return f"not asked; {AGAIN}"
    lacking = [str(seed) for seed in wanted if seed not in equal]
    if not lacking:
        return ""
    seeds = f"seed {lacking[0]} was" if len(lacking) == 1 else f"seeds {listed(lacking)} were"
    if len(equal) < len(own):
        return f"{seeds} asked other questions, which are not compared; {AGAIN}"
    return f"{seeds} not asked; {AGAIN}"


def _said(about: About) -> Iterator[str]:
    if about.partial:
        yield f"partial: {about.partial}"
    yield from about.remarks


def _stacked(tables: Mapping[int, OutcomeTable]) -> dict[str, Answers]:
    """The measures of a method, its seeds on each other.

    Raises:
        InvalidRecord: seeds that contradict each other.
    """
    seeds = sorted(tables)
    found = {}
    for name in (measure.name for measure in tables[seeds[0]].measures):
        every = [measure for seed in seeds if (measure := tables[seed].measure(name)) is not None]
        if len(every) == len(seeds):  # some measures exist for some models only, such as an uncertainty that is not 0
            found[name] = _one(name, every)
    return found


def _one(name: str, measures: Sequence[Measure]) -> Answers:
    ordered = []
    for measure in measures:
        order = np.argsort(measure.item, kind="stable")
        ordered.append((measure, measure.item[order], measure.image[order], measure.values[:, order]))
    first, item, image, _ = ordered[0]
    for other, its_item, its_image, its_values in ordered[1:]:
        if not (np.array_equal(item, its_item) and np.array_equal(image, its_image) and other.unit == first.unit):
            raise InvalidRecord(f"its seeds answered different items of '{name}'; {AGAIN}")
        if len(its_values) != len(first.values):
            raise InvalidRecord(f"its seeds answered different levels of '{name}'; {AGAIN}")
    return Answers(first.unit, item, image, np.stack([values for *_, values in ordered]))


def _other_items(answers: Mapping[str, Mapping[str, Answers]]) -> dict[str, str]:
    """Methods whose items are not those of the first: equal questions that were not answered equally."""
    found: dict[str, str] = {}
    first: dict[str, Answers] = {}
    for method, own in answers.items():
        for name, one in own.items():
            other = first.setdefault(name, one)
            if not (np.array_equal(other.item, one.item) and np.array_equal(other.image, one.image)):
                found[method] = f"its items of '{name}' are not those of the other methods; {AGAIN}"
    return found


def pictures_of(probes: Sequence[ProbeAnswers]) -> NDArray[np.str_]:
    """(N,) ids of all pictures that some probes ask about, sorted."""
    every = {id(one.image): one.image for probe in probes for own in probe.answers.values() for one in own.values()}
    return np.unique(np.concatenate(list(every.values()))) if every else np.zeros(0, dtype="U1")
