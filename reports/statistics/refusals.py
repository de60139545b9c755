"""What makes methods comparable, and what a reader must be warned of: every refusal names ids, counts and the fix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from harness.reports.statistics import errors
from harness.reports.statistics.runs import MethodRuns

MINIMUM_IMAGES = 30
COMFORTABLE_IMAGES = 200
MINIMUM_SEEDS = 3
Claim = Literal["checkpoint", "method"]


@dataclass(frozen=True)
class Notice:
    """A warning that belongs beside the numbers: a stable code and a sentence."""

    code: str
    message: str


def default_claim(methods: Sequence[MethodRuns]) -> Claim:
    """The widest claim that every method has the seeds for."""
    return "method" if min(len(runs.seeds) for runs in methods) >= MINIMUM_SEEDS else "checkpoint"


def held_back(names: Sequence[str], seeds: Sequence[int]) -> list[str]:
    """The methods whose few seeds keep others, which have enough, from a claim about methods; empty where there are none."""
    few = [name for name, count in zip(names, seeds, strict=True) if count < MINIMUM_SEEDS]
    return few if few and len(names) - len(few) >= 2 else []


def refuse_aggregate_only(names: Sequence[str]) -> None:
    """Raise `AggregateOnlyResults` if any method exists only as published averages."""
    if names:
        raise errors.AggregateOnlyResults(
            f"only published averages for {errors.listing(names)}: a test needs every query's rank, which papers do not "
            "print; run these methods here or import their rank files"
        )


def aligned(methods: Sequence[MethodRuns]) -> list[MethodRuns]:
    """The same runs with rows in the order of the sorted ids, if they answered the same queries on the same gallery.

    Raises:
        InvalidSetting, DuplicateQueries, DifferentQueries, MissingQueries, DifferentGalleries, DifferentCaptionMaps.
    """
    if len(methods) < 2:
        raise errors.InvalidSetting(f"a comparison needs at least 2 methods, got {len(methods)}; name another one")
    names = [m.name for m in methods]
    repeated = sorted({n for n in names if names.count(n) > 1})
    if repeated:
        raise errors.DuplicateQueries(f"methods named twice: {errors.listing(repeated)}; give each a name of its own")
    first, *others = methods
    for other in others:
        _same_ids(first, other, "image")
        _same_ids(first, other, "caption")
        if other.gallery != first.gallery:
            raise errors.DifferentGalleries(
                f"'{first.name}' searched the gallery '{first.gallery}' and '{other.name}' '{other.gallery}'; "
                "compare runs of one dataset, split and protocol"
            )
    ordered = [_sorted(m) for m in methods]
    for other in ordered[1:]:
        _same_maps(ordered[0], other)
    return ordered


def _same_ids(a: MethodRuns, b: MethodRuns, kind: str) -> None:
    ids_a, ids_b = getattr(a, f"{kind}_ids"), getattr(b, f"{kind}_ids")
    if np.array_equal(ids_a, ids_b):
        return
    only_a, only_b = np.setdiff1d(ids_a, ids_b), np.setdiff1d(ids_b, ids_a)
    if len(only_a) and len(only_b):
        raise errors.DifferentQueries(
            f"'{a.name}' and '{b.name}' were asked different {kind} queries: {errors.listing(only_a)} only in '{a.name}', "
            f"{errors.listing(only_b)} only in '{b.name}'; evaluate both on one split and protocol"
        )
    if len(only_a) or len(only_b):
        lacking, lost = (b, only_a) if len(only_a) else (a, only_b)
        raise errors.MissingQueries(
            f"'{lacking.name}' lacks {kind} queries {errors.listing(lost)}; evaluate it on all queries, they are not filled in"
        )


def _sorted(runs: MethodRuns) -> MethodRuns:
    images, captions = np.argsort(runs.image_ids, kind="stable"), np.argsort(runs.caption_ids, kind="stable")
    ordered = np.arange(len(images))
    if np.array_equal(images, ordered) and np.array_equal(captions, np.arange(len(captions))):
        return runs
    place = np.empty_like(images)
    place[images] = ordered
    return replace(
        runs,
        i2t_ranks=runs.i2t_ranks[:, images],
        t2i_ranks=runs.t2i_ranks[:, captions],
        i2t_ties=None if runs.i2t_ties is None else runs.i2t_ties[:, images],
        t2i_ties=None if runs.t2i_ties is None else runs.t2i_ties[:, captions],
        caption_image=place[runs.caption_image[captions]],
        image_ids=runs.image_ids[images],
        caption_ids=runs.caption_ids[captions],
        fold=runs.fold[images],
        image_queried=runs.image_queried[images],
        rivals=None if runs.rivals is None else tuple(rivals.reordered(images) for rivals in runs.rivals),
    )


def _same_maps(a: MethodRuns, b: MethodRuns) -> None:
    for kind, ids, of_a, of_b in (
        ("image of the captions", a.caption_ids, a.caption_image, b.caption_image),
        ("fold of the images", a.image_ids, a.fold, b.fold),
        ("choice of image queries", a.image_ids, a.image_queried, b.image_queried),
    ):
        different = of_a != of_b
        if np.any(different):
            raise errors.DifferentCaptionMaps(
                f"'{a.name}' and '{b.name}' differ in the {kind} for {errors.listing(ids[different])}; "
                "evaluate both with one version of the dataset's annotations"
            )


def refuse_few_images(size: int) -> None:
    """Raise `TooFewImages` if this number of images is below 30."""
    if size < MINIMUM_IMAGES:
        raise errors.TooFewImages(
            f"{size} images are too few for a test, at least {MINIMUM_IMAGES} are needed; evaluate on a larger split"
        )


def check_seeds(methods: Sequence[MethodRuns], claim: Claim, *, allow_unequal_seeds: bool) -> None:
    """Raise `BestSeedRuns`, `TooFewSeeds` or `UnequalSeeds` if the seeds cannot carry the claim."""
    picked = [m.name for m in methods if m.seed_selection == "best"]
    if picked:
        raise errors.BestSeedRuns(
            f"best-of-several-seeds runs of {errors.listing(picked)}: the best of 5 beats an equal method in 12 to 25 % of "
            "tests; give all seeds that were run"
        )
    counts = {m.name: len(m.seeds) for m in methods}
    if claim == "method" and min(counts.values()) < MINIMUM_SEEDS:
        few = [f"'{n}' {s}" for n, s in counts.items() if s < MINIMUM_SEEDS]
        raise errors.TooFewSeeds(
            f"a claim about methods needs {MINIMUM_SEEDS} seeds (5 recommended), too few for {errors.listing(few)}; "
            "train more seeds or claim the checkpoints only"
        )
    if len(set(counts.values())) > 1 and not allow_unequal_seeds:
        spelled = [f"'{n}' {s}" for n, s in counts.items()]
        raise errors.UnequalSeeds(
            f"the methods have different numbers of seeds: {errors.listing(spelled)}; train the missing seeds, or allow it "
            "by --allow-unequal-seeds"
        )


def warnings_for(methods: Sequence[MethodRuns]) -> list[Notice]:
    """What a reader must know about the runs themselves: `few_images`, `chosen_on_test`, `unequal_captions`."""
    size = len(methods[0].image_ids)
    on_test = [m.name for m in methods if m.checkpoint_chosen_on == "test"]
    counts = np.unique(np.bincount(methods[0].caption_image, minlength=size))
    found = {
        "few_images": size < COMFORTABLE_IMAGES
        and f"Only {size} images: intervals are wide and their coverage approximate below {COMFORTABLE_IMAGES}.",
        "chosen_on_test": on_test
        and f"The checkpoints of {errors.listing(on_test)} were chosen on test data: scores are biased up.",
        "unequal_captions": len(counts) > 1
        and f"Images have {counts[0]} to {counts[-1]} captions: the ratio estimator is used for t2i and rSum.",
    }
    return [Notice(code, message) for code, message in found.items() if message]
