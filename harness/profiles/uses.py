"""Uses: the ways to answer queries with trained weights (precision, pruning, cascades), each with its accuracy."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from harness import protocols
from harness.errors import InvalidSpec, UnknownName
from harness.fragments import Fragments
from harness.profiles.cascade import cascade_scores
from harness.profiles.galleries import DIRECTIONS, Direction, Precision, build, is_global, prune
from harness.profiles.trained import Side, TrainedScorer
from harness.protocols import Evaluation
from harness.records.profile import Kind
from harness.records.ties import RECALLS
from harness.scoring import packed_form, similarity_matrix
from harness.scoring.index import SHORTLIST

#: Share of the fragments that stays, by side, and how a label says it.
PRUNINGS: tuple[tuple[Side, float, str], ...] = (
    ("patches", 0.5, "1/2"),
    ("patches", 0.25, "1/4"),
    ("words", 0.5, "1/2"),
)
#: How a label says a reduced precision -> that of the index, and how many items its shortlist holds (0 = none).
PRECISIONS: dict[str, tuple[Precision, int]] = {
    "bf16": ("bfloat16", 0),
    "int8 index": ("int8", 0),
    "int8, exact": ("int8", SHORTLIST),
}
SHORTLISTS = (10, 50, 200, 1000)


@dataclass(frozen=True, eq=False)
class Use:
    """A way to use trained weights."""

    key: str  #: as tables name it
    kind: Kind
    trained: TrainedScorer  #: whose weights; of a cascade, the fine scorer
    images: Fragments  #: the test split as this use encodes it
    texts: Fragments
    precision: Precision = "float32"  #: of the index and of the product
    shortlist: int = 0  #: items that an index of codes ranks by the features themselves
    side: Side | None = None  #: that is pruned
    keep: float = 1.0  #: share of its fragments that stays
    coarse: TrainedScorer | None = None  #: of a cascade
    k: int = 0  #: items that a cascade re-ranks; 0 = the whole gallery
    settings: dict[str, Any] = field(default_factory=dict)  #: as the record shows them

    def gallery(self, direction: Direction) -> Fragments:
        """The side that is searched."""
        return self.images if direction == "t2i" else self.texts

    def prune_query(self, direction: Direction) -> Callable[[Fragments], Fragments] | None:
        """What the encoder's fragments of a query go through; None if nothing is pruned on that side."""
        side = "words" if direction == "t2i" else "patches"
        return functools.partial(prune, keep=self.keep) if self.side == side else None


def all_uses(scorers: Sequence[TrainedScorer], wanted: Sequence[tuple[str, str]] | None, ann: bool) -> Iterator[Use]:
    """Every use of every scorer, then the cascades.

    Args:
        scorers: of the profile.
        wanted, ann: `cascades` and `ann` of `ProfileOptions`.

    Raises:
        UnknownName: no such scorer.
        InvalidSpec: the coarse one has several fragments per item.
    """
    pairs = _cascade_pairs(scorers, wanted)
    for trained in scorers:
        yield from _uses_alone(trained)
    for coarse, fine in pairs:
        yield from _cascades(coarse, fine, ann)


def _uses_alone(trained: TrainedScorer) -> Iterator[Use]:
    """The base, its reduced precisions and, where there is more than one fragment per item, its prunings."""
    images, texts = trained.images, trained.texts
    yield Use(trained.key, "base", trained, images, texts)
    for suffix, (precision, shortlist) in PRECISIONS.items():
        # Without a packed form, items are decoded and multiplied in float32.
        product = precision if packed_form(trained.scorer) else "float32"
        kept: dict[str, Any] = {"index": precision, "product": product, "shortlist": shortlist or None}
        key = f"{trained.key} {suffix}"
        yield Use(key, "precision", trained, images, texts, precision, shortlist, settings=kept)
    for side, keep, share in PRUNINGS:
        raw, prepared = (trained.raw_images, images) if side == "patches" else (trained.raw_texts, texts)
        if raw.features.shape[1] == 1 or prepared.features.shape[1] == 1:
            continue  # a global vector has nothing to prune, or would cost as much as before
        key, less = f"{trained.key} {share} {side}", trained.pruned(side, keep)
        settings: dict[str, Any] = {"side": side, "keep": keep}
        yield Use(key, "pruned", trained, *less, side=side, keep=keep, settings=settings)


def _cascade_pairs(
    scorers: Sequence[TrainedScorer], wanted: Sequence[tuple[str, str]] | None
) -> list[tuple[TrainedScorer, TrainedScorer]]:
    shortlists = {trained.key: is_global(trained.images, trained.texts) for trained in scorers}
    if wanted is None:
        return [(a, b) for a in scorers if shortlists[a.key] for b in scorers if not shortlists[b.key]]
    by_key = {trained.key: trained for trained in scorers}
    for key in (key for pair in wanted for key in pair):
        if key not in by_key:
            raise UnknownName("scorer in --cascade", key, by_key)
    for key, _ in wanted:
        if not shortlists[key]:
            raise InvalidSpec(
                f"--cascade: {key} keeps {by_key[key].images.features.shape[1]} fragments per image; the first scorer of "
                "a cascade must keep one vector per item (clip, vsepp, vse_infinity)"
            )
    return [(by_key[a], by_key[b]) for a, b in wanted]


def _cascades(coarse: TrainedScorer, fine: TrainedScorer, ann: bool) -> Iterator[Use]:
    """The cascade of two scorers for each size of the shortlist; the last one is the whole gallery."""
    largest = max(len(fine.images), len(fine.texts))
    for k in (*(k for k in SHORTLISTS if k < largest), 0):
        key = f"cascade({coarse.key}, {fine.key}, {k or 'all'})"
        settings = {"coarse": coarse.key, "fine": fine.key, "k": k or None, "ann": ann}
        yield Use(key, "cascade", fine, fine.images, fine.texts, coarse=coarse, k=k, settings=settings)


def accuracy(use: Use, similarity: dict[str, Tensor]) -> Evaluation:
    """Metrics and ranks of a use on its test split.

    `similarity` holds the (I, T) scores of each scorer's base by key, which comes first; those of `use` are added where it
    is a base.
    """
    i2t, t2i = _directions(use, similarity) if use.coarse is None else _cascade_directions(use, similarity)
    if use.kind == "base":
        similarity[use.key] = t2i
    return _evaluated(i2t, t2i, use.trained)


def _evaluated(i2t: Tensor, t2i: Tensor, trained: TrainedScorer) -> Evaluation:
    """Each direction by its own (I, T) scores; the tie rate weighs the two by their queries."""
    split, ties = trained.split, trained.spec.evaluation.ties

    def one(similarity: Tensor) -> Evaluation:
        return protocols.evaluate(
            trained.protocol, similarity, split.caption_image, split.image_ids, split.caption_ids, ties
        )

    first = one(i2t)
    if i2t is t2i:
        return first
    second = one(t2i)
    of_second = {f.name: getattr(second.ranks, f.name) for f in fields(second.ranks) if f.name.startswith("t2i")}
    ranks = replace(first.ranks, **of_second)
    metrics = {**first.metrics, **{key: value for key, value in second.metrics.items() if key.startswith("t2i")}}
    metrics["rsum"] = sum(metrics[recall] for recall in RECALLS)
    tied = int((ranks.i2t_ties > 0).sum()) + int((ranks.t2i_ties > 0).sum())
    metrics["tie_rate"] = tied / (len(ranks.i2t_rank) + len(ranks.t2i_rank))
    return Evaluation(metrics, ranks)


@torch.no_grad()
def _directions(use: Use, similarity: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(I, T) scores by which images and captions ask; one tensor where the index does not matter."""
    scorer = use.trained.scorer
    if use.precision == "float32":
        scores = similarity_matrix(scorer, use.images, use.texts)
        return scores, scores
    found: dict[Direction, Tensor] = {}
    for direction in DIRECTIONS:
        gallery, queries = (use.images, use.texts) if direction == "t2i" else (use.texts, use.images)
        scores = build(scorer, gallery, direction, use.precision).index.query(queries)
        if use.shortlist:
            exact = similarity[use.trained.key]
            scores = cascade_scores(scores, exact.T if direction == "t2i" else exact, use.shortlist)
        found[direction] = scores
    return found["i2t"], found["t2i"].T


def _cascade_directions(use: Use, similarity: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    assert use.coarse is not None
    coarse, fine = similarity[use.coarse.key], similarity[use.trained.key]
    k = use.k or max(fine.shape)
    return cascade_scores(coarse, fine, k), cascade_scores(coarse.T, fine.T, k).T
