"""Points: the ways to use one subject's trained weights (precision, pruning, cascades), each with its accuracy."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from harness.errors import InvalidSpec, UnknownName
from harness.fragments import Fragments
from harness.profiles.accuracy import evaluate_directions
from harness.profiles.cascade import Cascade, cascade_scores, is_global
from harness.profiles.stored import Precision, prune, store, stored_scores
from harness.profiles.subjects import Subject
from harness.protocols import Evaluation
from harness.records.profile import Kind

#: Share of the fragments that stays, by side, and how a label says it.
PRUNINGS = (("patches", 0.5, "1/2"), ("patches", 0.25, "1/4"), ("words", 0.5, "1/2"))
PRECISIONS: tuple[Precision, ...] = ("bfloat16", "int8")
SHORTLISTS = (10, 50, 200, 1000)


@dataclass(frozen=True, eq=False)
class Use:
    """A way to use a subject.

    Args:
        key: as tables name it.
        kind: of the point.
        subject: whose weights; of a cascade, the fine scorer.
        images, texts: the test split as this use encodes it.
        precision: of the index and of the product.
        side, keep: what is pruned; empty = nothing.
        coarse, k: of a cascade.
    """

    key: str
    kind: Kind
    subject: Subject
    images: Fragments
    texts: Fragments
    precision: Precision = "float32"
    side: str = ""
    keep: float = 1.0
    coarse: Subject | None = None
    k: int = 0
    settings: dict[str, Any] = field(default_factory=dict)

    def prune_query(self, side: str) -> Any:
        """What the encoder's fragments of a query go through; None if nothing is pruned on that side."""
        return functools.partial(prune, keep=self.keep) if self.side == side else None


def uses_of(subject: Subject) -> Iterator[Use]:
    """The base, its reduced precisions and, where there is more than one fragment an item, its prunings."""
    images, texts = subject.images, subject.texts
    yield Use(subject.key, "base", subject, images, texts)
    for precision in PRECISIONS:
        suffix = "bf16" if precision == "bfloat16" else "int8 index"
        settings = {"index": precision, "product": "bfloat16" if precision == "bfloat16" else "float32"}
        yield Use(f"{subject.key} {suffix}", "precision", subject, images, texts, precision, settings=settings)
    for side, keep, share in PRUNINGS:
        raw = subject.raw_images if side == "patches" else subject.raw_texts
        prepared = images if side == "patches" else texts
        if raw.features.shape[1] == 1 or prepared.features.shape[1] == 1:
            continue  # a global vector has nothing to prune, or would cost as much as before
        fewer_images, fewer_texts = subject.pruned(side, keep)
        yield Use(
            f"{subject.key} {share} {side}",
            "pruned",
            subject,
            fewer_images,
            fewer_texts,
            side=side,
            keep=keep,
            settings={"side": side, "keep": keep},
        )


def cascade_pairs(
    subjects: Sequence[Subject], wanted: Sequence[tuple[str, str]] | None
) -> list[tuple[Subject, Subject]]:
    """Which subjects shortlist for which.

    Args:
        subjects: of the profile.
        wanted: (coarse, fine) keys; None = every global one for every fine-grained one.

    Raises:
        UnknownName: no such subject.
        InvalidSpec: the coarse one has several fragments an item, or the two are of different data.
    """
    if wanted is None:
        coarse = [s for s in subjects if is_global(s.images, s.texts)]
        return [(a, b) for a in coarse for b in subjects if not is_global(b.images, b.texts)]
    by_key = {subject.key: subject for subject in subjects}
    for key in (key for pair in wanted for key in pair):
        if key not in by_key:
            raise UnknownName("scorer in --cascade", key, by_key)
    for key, _ in wanted:
        subject = by_key[key]
        if not is_global(subject.images, subject.texts):
            raise InvalidSpec(
                f"--cascade: {key} keeps {subject.images.features.shape[1]} fragments an image; the first scorer of a "
                "cascade must keep one vector an item (clip, vsepp, vse_infinity)"
            )
    return [(by_key[a], by_key[b]) for a, b in wanted]


def cascades_of(coarse: Subject, fine: Subject, ann: bool) -> Iterator[Use]:
    """The cascade of two subjects for each size of the shortlist; the last one is the whole gallery."""
    largest = max(len(fine.images), len(fine.texts))
    for k in (*(k for k in SHORTLISTS if k < largest), 0):
        label = f"cascade({coarse.key}, {fine.key}, {k or 'all'})"
        yield Use(
            label,
            "cascade",
            fine,
            fine.images,
            fine.texts,
            coarse=coarse,
            k=k,
            settings={"coarse": coarse.key, "fine": fine.key, "k": k or None, "ann": ann},
        )


def cascade_of(use: Use, gallery: int) -> Cascade:
    """The cascade of a use on a gallery of that size (k = 0 means all of it)."""
    if use.coarse is None:
        raise ValueError(f"{use.key} is no cascade")
    return Cascade(use.coarse.scorer, use.subject.scorer, use.k or gallery)


def accuracy(use: Use, similarity: dict[str, Tensor]) -> Evaluation:
    """Metrics and ranks of a use on its test split.

    Args:
        use: what to judge.
        similarity: (I, T) of each subject's base by key; that of `use` is added where it is a base.
    """
    subject = use.subject
    i2t, t2i = _cascade_directions(use, similarity) if use.coarse is not None else _directions(use)
    if use.kind == "base":
        similarity[use.key] = t2i
    return evaluate_directions(i2t, t2i, subject.split, subject.protocol, subject.spec.evaluation.ties)


@torch.no_grad()
def _directions(use: Use) -> tuple[Tensor, Tensor]:
    """(I, T) scores by which captions and images are ranked; one tensor where the index does not matter."""
    scorer, precision = use.subject.scorer, use.precision
    t2i = stored_scores(scorer, use.texts, store(use.images, precision), "t2i", precision).T
    if precision != "int8":
        return t2i, t2i
    return stored_scores(scorer, use.images, store(use.texts, precision), "i2t", precision), t2i


def _cascade_directions(use: Use, similarity: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    assert use.coarse is not None
    coarse, fine = similarity[use.coarse.key], similarity[use.subject.key]
    k = use.k or max(fine.shape)
    return cascade_scores(coarse, fine, k), cascade_scores(coarse.T, fine.T, k).T
