"""The report of a plan of evidence: for a terminal in brief, and as pages."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pandas as pd

from harness.reports.document.model import Report, Section, Table
from harness.reports.power import figures, tables, text
from harness.reports.power.plan import Plan
from harness.reports.statistics.hits import metric_name
from harness.reports.statistics.planning import Components

STEM = "power"


def build(plan: Plan) -> Report:
    """The report.

    Returns:
        The report; `main` holds one row per number of seeds, `data` all numbers at full precision.
    """
    rows, basis = tables.grid(plan), text.basis(plan)
    headline, pairs, figure = text.headline(plan), tables.pairs_table(plan), figures.seeds_figure(plan)
    brief: list[Table | str] = [*headline, tables.grid_table(plan, rows, brief=True), *basis]
    return Report(
        title=f"Power: {plan.setup.title}",
        stem=STEM,
        sentences=headline,
        sections=[
            Section(
                title="Seeds and images",
                tables=[tables.grid_table(plan, rows)],
                figures=[figure] if figure else [],
                reading=text.method(plan),
            ),
            Section(title="What it rests on", sentences=basis, tables=[pairs] if pairs else []),
        ],
        brief=brief,
        main=pd.DataFrame(rows),
        data=_data(plan, rows),
    )


def _data(plan: Plan, rows: list[dict[str, Any]]) -> dict[str, Any]:
    question = asdict(plan.question) | {"difference": plan.question.points, "comparisons": plan.comparisons}
    return {
        "question": question,
        "unit": metric_name(plan.question.metric),
        "setup": asdict(plan.setup),
        "components": _variances(plan.components),
        "stated": list(plan.stated),
        "recorded_images": plan.recorded_images,
        "recorded_seeds": list(plan.recorded_seeds),
        "pairs": [{"a": a, "b": b, **_variances(found)} for (a, b), found in plan.pairs.items()],
        "sd_seeds": plan.pooled.sd_seeds if plan.pooled else None,
        "df_seeds": plan.pooled.df_seeds if plan.pooled else None,
        "seeds_needed": plan.target.seeds_needed(plan.components, plan.setup.images, plan.question.points),
        "cost": asdict(plan.cost) if plan.cost else None,
        "plan": rows,
        "run_ids": list(plan.run_ids),
    }


def _variances(found: Components) -> dict[str, Any]:
    return {
        "variance_images": found.images,
        "variance_interactions": list(found.interactions),
        "variance_seeds": None if found.seeds is None else list(found.seeds),
        "strata": found.strata,
    }
