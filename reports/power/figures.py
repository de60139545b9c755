"""The figure of a plan: detectable difference against seeds, a line for each number of images."""

from __future__ import annotations

from harness.reports.document import figures
from harness.reports.document.model import Figure
from harness.reports.document.text import fixed
from harness.reports.power.plan import TIMES, Plan
from harness.reports.statistics.hits import decimals, metric_name

_SEEDS = (3, 4, 5, 6, 8, 10, 12, 15, 20)


def seeds_figure(plan: Plan) -> Figure | None:
    """Draw it; None where nothing is known of seeds."""
    if not plan.knows_seeds:
        return None
    unit, digits, points = metric_name(plan.question.metric), decimals(plan.question.metric), plan.question.points
    with figures.canvas(6.4, 3.6) as drawing:
        axes = drawing.subplots()
        handles = []
        for number, times in enumerate(TIMES):
            images = times * plan.setup.images
            found = [plan.target.detectable(plan.components, images, seeds) for seeds in _SEEDS]
            mark = figures.mark(number)
            (line,) = axes.plot(_SEEDS, found, label=f"{images:,} images", markersize=5, linewidth=1.5, **mark)
            said = ", ".join(f"{s} seeds {fixed(v, digits)}" for s, v in zip(_SEEDS, found, strict=True))
            figures.describe(line, f"{images:,} images: {said}")
            handles.append(line)
        goal = axes.axhline(points, color="black", linestyle="--", linewidth=1, label=f"{points:g} {unit}")
        handles.append(goal)
        axes.set_yscale("log")
        figures.plain_ticks(axes.yaxis)
        axes.set_xticks(_SEEDS)
        axes.set_xlabel("seeds of each method")
        axes.set_ylabel(f"detectable difference, {unit}")
        figures.legend_below(drawing, handles)
    return Figure(
        drawing,
        "seeds",
        f"Smallest true difference in {unit} between methods that is found with {100 * plan.question.power:g} % power, by "
        "seeds and images (logarithmic; lower is better). Below the dashed line, the difference of interest is found.",
        "Detectable difference against seeds for three numbers of images; the table has the numbers.",
    )
