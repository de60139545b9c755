"""The robustness report: all that probes found of the methods of one comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from harness.errors import counted
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.reports.document import render
from harness.reports.document.model import Column, Figure, Notice, Report, Section, Table
from harness.reports.document.text import fixed
from harness.reports.robustness import clutter, composition, figures, grounding, perturbed, strata, tables, text, truth
from harness.reports.robustness.loading import Inquiry, ProbeAnswers, load
from harness.reports.robustness.parts import parts_section, whole_of
from harness.reports.robustness.quantities import Findings, answered
from harness.reports.robustness.summary import summary_table
from harness.reports.robustness.testing import Tested, pairs_of, tested
from harness.reports.statistics.outcomes.scores import Score
from harness.reports.statistics.refusals import Claim

_PERTURBED = ("images", "captions", "regions")
_FINDERS: Mapping[str, Callable[[str, Mapping[str, ProbeAnswers], Sequence[str]], Findings]] = {
    **dict.fromkeys(_PERTURBED, perturbed.findings),
    "clutter": clutter.findings,
    "strata": strata.findings,
    "composition": composition.findings,
    "grounding": grounding.findings,
    "truth": truth.findings,
}


def build(
    store: RunStore,
    records: Sequence[RunRecord],
    *,
    title: str,
    families: Sequence[str] | None = None,
    against: str | None = None,
    alpha: float = 0.05,
    claim: Claim | None = None,
) -> Report:
    """The report of what some runs answered to probes.

    Args:
        store: where the runs and their outcomes lie.
        records: finished runs on one split of one dataset.
        title: of the report.
        families: of probes to report; all that have answers by default.
        against: a method that all others are compared with; None = the one that all others are variants of, else all
            pairs up to six methods, else the best one.
        alpha: level of each family of tests.
        claim: None = about methods where all have three seeds, else about these trained models.

    Raises:
        InvalidRecord: no answers, or runs on several splits.
        UnknownName: `against` is no method of these.
    """
    inquiry = load(store, records, families)
    found = [
        answered(_FINDERS[family](family, probes, inquiry.methods))
        for family, probes in inquiry.probes.items()
        if family in _FINDERS
    ]
    order = _order(found, inquiry)
    against = against or whole_of(inquiry.methods)
    pairs = pairs_of(order, against)
    results = [tested(one, pairs, claim, alpha) for one in found]
    return _report(title, inquiry, order, results, alpha, against)


def _order(found: Sequence[Findings], inquiry: Inquiry) -> list[str]:
    """The methods, those with the highest clean rSum first; those without one as they came, at the end."""
    base = perturbed.clean([one for one in found if one.family in _PERTURBED])
    if base is None:
        base = next((one for f in found for one in f.quantities if one.role == "primary" and one.scores), None)
    scores = base.scores if base is not None else {}
    return sorted(inquiry.methods, key=lambda m: -round(scores[m].mean, 9) if m in scores else float("inf"))


def _report(
    title: str, inquiry: Inquiry, order: Sequence[str], results: Sequence[Tested], alpha: float, against: str | None
) -> Report:
    runs = {group.label: " ".join(group.run_ids) for group in inquiry.groups}
    found = [one.findings for one in results]
    summary = summary_table(found, order, runs, alpha)
    flat = [row for one in results for row in tables.flat_scores(one, order, runs)]
    pairs = [
        {"report_family": one.findings.family, **tables.flat_pair(row, quantity)}
        for one in results
        for row in one.rows
        if (quantity := one.findings.get(row.key)) is not None
    ]
    first = [sentence for one in results for sentence in text.headlines(one)]
    opening = _opening(inquiry, results)
    sections = [_section(one, order, runs) for one in results]
    if against and (parts := parts_section(results, inquiry.groups, against, runs)) is not None:
        sections.insert(0, parts)
    return Report(
        title=title,
        stem="robustness",
        sentences=[opening, *first],
        sections=[
            *([Section(title="Summary", tables=[summary], reading=_reading(found))] if summary is not None else []),
            *sections,
            Section(title="Method", sentences=text.method_sentences(results)),
            _runs_section(inquiry),
        ],
        brief=[opening, *first, *([_brief(summary)] if summary is not None else [])],
        main=pd.DataFrame(flat),
        data={
            "run_ids": inquiry.run_ids,
            "dataset": inquiry.gallery.dataset,
            "split": inquiry.gallery.split,
            "alpha": alpha,
            "claims": {one.findings.family: one.claim for one in results},
            "scores": flat,
            "pairs": pairs,
            "inputs": {
                f"{family}/{name}": {"sha256": probe.about.inputs_sha256, "inputs": probe.about.inputs}
                for family, probes in inquiry.probes.items()
                for name, probe in probes.items()
            },
        },
        attachments={"robustness-pairs.csv": render.csv(pd.DataFrame(pairs))} if pairs else {},
    )


def _reading(found: Sequence[Findings]) -> list[str]:
    """How to read the summary."""
    said = []
    base = perturbed.clean([one for one in found if one.family in _PERTURBED])
    if base is not None:
        pictures = next(iter(base.scores.values())).pictures
        said = [
            f"Clean rSum is that of the {pictures:,} pictures that the perturbations use: where that is a sample, the gallery "
            "is smaller than that of the whole test split, and the number is higher than those on the whole split.",
            *_floor(base.scores, perturbed.by_chance([one for one in found if one.family in _PERTURBED])),
            "The worst case is the kind and severity at which the least was left, chosen after all were seen: its interval "
            "is that of the chosen one and too narrow for a minimum.",
        ]
    return [*said, "A dash: the method has no number; its section says why."]


def _floor(clean: Mapping[str, Score], chance: float | None) -> list[str]:
    """What a random order keeps of the methods' clean rSum: where the least was left, often nothing but this."""
    shares = [100.0 * chance / score.mean for score in clean.values() if chance is not None and score.mean > 0]
    if not shares or chance is None:
        return []
    kept = " to ".join(dict.fromkeys(fixed(edge(shares), 1) for edge in (min, max)))
    return [
        f"A random order has an rSum of {fixed(chance, 1)} here, which is {kept} % of the clean rSum of the methods, the more "
        "the weaker a method is: about so much is left even where a model finds nothing."
    ]


def _opening(inquiry: Inquiry, results: Sequence[Tested]) -> str:
    asked = [probe for one in results for probe in one.findings.asked]
    answered_ones = [probe for probe in asked if probe.answers]
    equal = all(not probe.absent for probe in answered_ones)
    seeds = [len(own) for own in inquiry.seeds.values() if own]
    spelled = f"{seeds[0]}" if len(set(seeds)) == 1 else f"{min(seeds)} to {max(seeds)}"
    each = f", {spelled} {'seed' if spelled == '1' else 'seeds'} each" if seeds else ""
    return (
        f"{counted(len(inquiry.methods), 'method')}{each}, answered {counted(len(answered_ones), 'probe')} on "
        f"{inquiry.gallery.dataset} {inquiry.gallery.split}; "
        f"{'all answered the same' if equal else 'on each, only those that answered the same are compared'}."
    )


def _section(one: Tested, order: Sequence[str], runs: Mapping[str, str]) -> Section:
    found, alpha = one.findings, one.alpha
    made = [
        tables.main_table(one, order, runs),
        tables.pairs_table(one),
        tables.levels_table(one, order, runs),
        tables.lacking_table(found),
    ]
    reading = list(text.READING["perturbed"]) if found.family in _PERTURBED else []
    reading = [*reading, *text.READING.get(found.family, ())] if found.quantities else []
    said = [*text.headlines(one), *text.verdicts(one), *list(text.ends(found))[1:], *text.noticed(found)]
    said += text.at_chance(found, alpha)
    return Section(
        title=text.TITLES.get(found.family, found.family),
        sentences=[*said, *text.opening(one)],
        notices=[Notice("warning" if said.startswith("partial") else "note", said) for said in text.remarks(found)],
        tables=[table for table in made if table is not None],
        figures=[figure for figure in _figures(one, order) if figure is not None],
        reading=reading,
    )


def _figures(one: Tested, order: Sequence[str]) -> list[Figure | None]:
    found, alpha = one.findings, one.alpha
    if found.family == "composition":
        shown = [q for q in found.quantities if q.role != "shown"]
        return [figures.bars(shown, order, alpha, "composition-bars", "Percent right of every kind", "chance")]
    if found.family == "grounding":
        shown = [q for q in found.quantities if q.key.endswith("_gain")]
        return [
            figures.bars(
                shown, order, alpha, "grounding-bars", "Gain over a map that looks everywhere alike", "uniform"
            )
        ]
    if found.family == "truth":
        shown = [q for q in found.quantities if q.role == "primary"]
        return [figures.bars(shown, order, alpha, "truth-bars", "Errors that are correct all the same", "chance")]
    return [figures.curves(found, order, alpha)]


def _brief(summary: Table) -> Table:
    """The summary with the columns that a terminal has room for."""
    columns = [replace(c, kind="number") if c.kind == "estimate" else c for c in summary.columns]
    return replace(summary, columns=columns[:8])


def _runs_section(inquiry: Inquiry) -> Section:
    rows: list[dict[str, Any]] = [
        {"method": group.label, "seed": record.seed, "run": record.run_id, "backbone": record.backbone,
         "answered": "yes" if record.seed in inquiry.seeds[group.label] else "no"}
        for group in inquiry.groups
        for record in group.records
    ]  # fmt: skip
    columns = [
        Column("method", "Method"),
        Column("seed", "Seed", "count"),
        Column("run", "Run", link="run"),
        Column("backbone", "Backbone"),
        Column("answered", "Answered"),
    ]
    table = Table(pd.DataFrame(rows), columns, "Runs that took part", "runs", collapsed=True, for_paper=False)
    return Section(title="Runs", sentences=list(inquiry.remarks), tables=[table])
