"""What a plan says in words: what the set-up finds, what it would take, and what the answers rest on."""

from __future__ import annotations

import math

from harness.errors import counted
from harness.reports.document.text import duration, fixed
from harness.reports.power.plan import Plan
from harness.reports.statistics.hits import decimals, metric_name
from harness.reports.statistics.planning import MOST_SEEDS


def headline(plan: Plan) -> list[str]:
    """What the planned set-up finds, and what would find the difference of interest."""
    return [sentence for sentence in (_finds(plan), _checkpoints(plan), _takes(plan), _budget(plan)) if sentence]


def basis(plan: Plan) -> list[str]:
    """Where the variances come from, and how sure they are."""
    said = [f"Stated, not measured: {'; '.join(plan.stated)}."] if plan.stated else []
    pooled = plan.pooled
    if pooled is None:
        if not plan.knows_seeds:
            said.append("Nothing is said of methods retrained: give --sd-seeds, the SD of a score over seeds.")
        return said
    digits, unit = decimals(plan.question.metric), metric_name(plan.question.metric)
    one_seed = pooled.components.images + sum(pooled.components.interactions)
    said.append(
        f"Variances of images: the median over {counted(len(plan.pairs), 'recorded pair')} on "
        f"{plan.recorded_images:,} images. An image's contribution to a difference has an SD of "
        f"{fixed(math.sqrt(pooled.components.images), digits)} points that all seeds share"
        + (
            f", {fixed(math.sqrt(one_seed), digits)} with one seed each."
            if one_seed > pooled.components.images
            else "."
        )
    )
    if pooled.sd_seeds is None:
        if plan.knows_seeds:
            return said
        return [*said, "No method has 2 seeds: nothing is known of retraining. Record more, or give --sd-seeds."]
    low, high = (factor * pooled.sd_seeds for factor in pooled.seed_range)
    several = sum(seeds > 1 for seeds in plan.recorded_seeds)
    said.append(
        f"Variances of seeds: the median over {counted(several, 'method')} with 2 seeds or more, corrected for "
        f"the median of chi-square; a score has an SD of {fixed(pooled.sd_seeds, digits)} {unit} over seeds. "
        f"{counted(pooled.df_seeds, 'degree')} of freedom leave {fixed(low, digits)} to {fixed(high, digits)} open (90 %)."
    )
    return said


def method(plan: Plan) -> list[str]:
    """How the answers were computed."""
    return [
        f"Tests at alpha {plan.question.alpha:g} over {counted(plan.comparisons, 'comparison')}: each at "
        f"{plan.target.level:.2g}, as the strictest of Holm's, so other pairs do not matter.",
        "The chance that the test of a report finds a difference is averaged over what it would estimate: the variance of "
        "images and of each method's seeds are drawn as chi-squares, and the degrees of freedom are Satterthwaite's of each "
        "draw. Normal quantiles promise too much from few seeds.",
        "More images than now are taken to be of the same kind. More seeds average out how seeds differ on an image, too.",
        "With few seeds, more images can seem to do harm: the variance of images is well known, and without it the few "
        "degrees of freedom of the seeds decide. Seeds are what is missing there.",
        "This is for planning. The power at an observed difference is never computed: it says nothing that p does not.",
    ]


def _finds(plan: Plan) -> str:
    seeds = plan.setup.seeds
    if not plan.knows_seeds or seeds is None or seeds == 1:
        return ""
    if seeds == 2:
        return "Two seeds carry no claim about methods: plan for 3 or more."
    found = plan.target.detectable(plan.components, plan.setup.images, seeds)
    return (
        f"{plan.setup.title}: with {seeds} seeds per method and {plan.setup.images:,} images, a true difference of "
        f"{_points(plan, found)} between methods is found with {100 * plan.question.power:g} % power ({_level(plan)})."
    )


def _checkpoints(plan: Plan) -> str:
    found = plan.target.detectable(plan.components, plan.setup.images, 1)
    start = "Between checkpoints, one seed each" if _finds(plan) else f"{plan.setup.title}: between checkpoints"
    level = "" if _finds(plan) else f" ({_level(plan)})"
    return f"{start}, {plan.setup.images:,} images find {_points(plan, found)}{level}."


def _takes(plan: Plan) -> str:
    target, found, points = plan.target, plan.components, plan.question.points
    checkpoint = target.images_needed(found, 1, points)
    parts = [f"{checkpoint:,} images for checkpoints" if checkpoint else "no number of images for checkpoints"]
    if plan.knows_seeds:
        seeds = target.seeds_needed(found, plan.setup.images, points)
        enough = f"{seeds} seeds" if seeds else f"more than {MOST_SEEDS} seeds"
        parts.append(f"{enough} per method at {plan.setup.images:,} images")
        more = [(s, target.images_needed(found, s, points)) for s in (5, 10)]
        parts += [f"{images:,} images with {s} seeds" for s, images in more if images and (not seeds or s < seeds)]
    return f"To find {_points(plan, points)}: {'; '.join(parts)}."


def _budget(plan: Plan) -> str:
    if plan.cost is None:
        return ""
    seeds = plan.setup.seeds or 5
    hours = plan.hours(seeds)
    assert hours is not None
    return (
        f"{counted(seeds, 'seed')} x {counted(plan.cost.methods, 'method')} = {duration(3600 * hours)} of training, one run "
        f"after the other, as the {counted(plan.cost.recorded, 'recorded run')} took on {plan.cost.computed_on}."
    )


def _points(plan: Plan, value: float) -> str:
    return f"{fixed(value, decimals(plan.question.metric))} {metric_name(plan.question.metric)}"


def _level(plan: Plan) -> str:
    over = f" over {counted(plan.comparisons, 'comparison')}" if plan.comparisons > 1 else ""
    return f"alpha {plan.question.alpha:g}{over}"
