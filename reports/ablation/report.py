"""The ablation report: what each component contributes, with interval, corrected p, cost and the published effect."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.records import noise
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.reports.ablation import tables
from harness.reports.ablation.figures import effects_figure
from harness.reports.ablation.rows import COSTS, Ablated, Effects, Published, effects
from harness.reports.document.model import Report, Section
from harness.reports.runs.loading import finished_records
from harness.reports.runs.sizes import with_size
from harness.reports.statistics.verdicts import verdict


def build(
    store: RunStore,
    models: Sequence[Ablated],
    reference: str,
    *,
    title: str,
    published: Published | None = None,
    failures: Sequence[RunRecord] = (),
) -> Report:
    """Compare every model with the reference, one section per protocol.

    Args:
        store: where the runs lie.
        models: the reference and at least one other, each with finished runs.
        reference: label of the model that the others are compared with.
        title: heading.
        published: effects that a paper prints, shown beside the measured ones.
        failures: records of runs that failed, to be listed.

    Returns:
        The report; `main` holds one flat row per model and protocol.

    Raises:
        InvalidRecord: a run is missing or damaged.
        InvalidComparison: the runs cannot be compared (other queries, too few images, ...).
    """
    made = effects(store, models, reference, published)
    source = published.source if published else ""
    sentences = [
        f"{len(models) - 1} models are compared with {reference}; each name says which variants it differs in."
    ]
    if source:
        (first, *_) = finished_records(store, models[0].run_ids)
        sentences.append(
            f"Published: {source}. This code is a {first.code_origin}, on other data, backbones and training: only signs and "
            "orders of magnitude can be compared."
        )
    sections = [_section(part, source) for part in made]
    if failures:
        lines = [f"{record.title}: {record.error}" for record in failures]
        sections.append(Section(title="Failed runs", sentences=lines))
    rows = [row for part in made for row in part.rows]
    return Report(
        title=title,
        stem="ablation",
        sentences=sentences,
        sections=sections,
        brief=[tables.brief(part, source) for part in made],
        main=pd.DataFrame(rows),
        data={
            "run_ids": [run_id for model in models for run_id in model.run_ids],
            "reference": reference,
            "models": [vars(model) for model in models],
            "rows": rows,
        },
    )


def _section(part: Effects, source: str) -> Section:
    comparison = part.comparison
    return Section(
        title=part.gallery.title,
        sentences=[
            *(notice.message for notice in comparison.notices),
            *(verdict(comparison, row) for row in comparison.of_metric("rsum")),
        ],
        tables=[
            with_size(table, part.size) for table in (tables.effects_table(part, source), tables.recalls_table(part))
        ],
        figures=[effects_figure(part, source)],
        footnotes=[
            f"Measured on {'; '.join(part.devices)}. Costs are medians over seeds, as a change from the reference in percent.",
            "Positive differences: the model is better than the reference. The image is the unit of every interval and "
            f"test; rSum: Holm over the {len(part.rows) - 1} comparisons; recalls: step-down maxT over all of them.",
            *([noise.LEGEND] if any(row[column.noise] for row in part.rows for column in COSTS) else []),
        ],
    )
