"""The tables of a plan: what is found with which seeds and images, and where the uncertainty comes from."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from harness.reports.document.model import Column, Table
from harness.reports.document.text import duration
from harness.reports.power.plan import TIMES, Plan
from harness.reports.statistics.hits import decimals, metric_name


def grid(plan: Plan) -> list[dict[str, Any]]:
    """One row per number of seeds: detectable differences by images, the chance at the target, images needed, hours."""
    target, found, points, images = plan.target, plan.components, plan.question.points, plan.setup.images
    return [
        {
            "seeds": seeds,
            "claim": "checkpoint" if seeds == 1 else "method",
            **{f"detectable_{times}": target.detectable(found, times * images, seeds) for times in TIMES},
            "chance": target.chance(found, images, seeds, points),
            "images_needed": target.images_needed(found, seeds, points),
            "hours": plan.hours(seeds),
            "planned": seeds == plan.setup.seeds,
        }
        for seeds in plan.planned_seeds
    ]


def grid_table(plan: Plan, rows: list[dict[str, Any]], *, brief: bool = False) -> Table:
    """The grid as it is shown."""
    digits, points, images = decimals(plan.question.metric), plan.question.points, plan.setup.images
    shown = [
        {
            **row,
            "seeds_shown": f"{row['seeds']}{' (planned)' if row['planned'] else ''}",
            "chance": 100.0 * row["chance"],
            "needed": "not with any number" if row["images_needed"] is None else f"{row['images_needed']:,}",
            "time": "" if row["hours"] is None else duration(3600.0 * row["hours"]),
        }
        for row in rows
    ]
    group = "Detectable with images" if brief else "Detectable difference in points with images"
    timed = [Column("time", "Training", help="of all methods, one run after the other")] if plan.cost else []
    columns = [
        Column("seeds_shown", "Seeds", pinned=True, help="of each method"),
        Column("claim", "Claim"),
        *(Column(f"detectable_{times}", f"{times * images:,}", "number", digits, group=group) for times in TIMES),
        Column("chance", f"Power for {points:g}, %", "number", 0, help=f"at {images:,} images"),
        Column("needed", f"Images for {points:g}", help=f"to find it with {100 * plan.question.power:g} % power"),
        *timed,
    ]
    return Table(
        pd.DataFrame(shown),
        columns,
        f"What is found with {100 * plan.question.power:g} % power: {metric_name(plan.question.metric)}",
        "power",
    )


def pairs_table(plan: Plan) -> Table | None:
    """The recorded variances pair by pair; None for a guess."""
    if not plan.pairs or plan.recorded_images is None:
        return None
    digits = decimals(plan.question.metric)
    own = plan.setup.seeds or (min(plan.recorded_seeds) if plan.recorded_seeds else 1)
    seeds = own if plan.knows_seeds and own != 2 else 1
    rows = []
    for (a, b), found in plan.pairs.items():
        counted = seeds if found.seeds is not None else 1
        rows.append(
            {
                "a": a,
                "b": b,
                "sd_images": math.sqrt(found.images),
                "sd_interaction": math.sqrt(sum(found.interactions)),
                "sd_a": None if found.seeds is None else math.sqrt(found.seeds[0]),
                "sd_b": None if found.seeds is None else math.sqrt(found.seeds[1]),
                "seeds": counted,
                "detectable": plan.target.detectable(found, plan.setup.images, counted),
            }
        )
    columns = [
        Column("a", "A"),
        Column("b", "B"),
        Column(
            "sd_images", "Images", "number", digits, group="SD, points", help="of an image's contribution, all seeds"
        ),
        Column(
            "sd_interaction", "Images by seeds", "number", digits, group="SD, points", help="beyond it, seed by seed"
        ),
        Column("sd_a", "Seeds of A", "number", digits, group="SD, points", help="of the score, on endless images"),
        Column("sd_b", "Seeds of B", "number", digits, group="SD, points"),
        Column("seeds", "Seeds", "count"),
        Column("detectable", "Detectable", "number", digits, help=f"with {plan.setup.images:,} images, points"),
    ]
    return Table(
        pd.DataFrame(rows),
        columns,
        "Recorded pairs: components of the variance, and what this pair alone would say",
        "pairs",
        collapsed=len(rows) > 30,
        for_paper=len(rows) <= 45,
    )
