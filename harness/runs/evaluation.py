"""Evaluation: a trained scorer and a test split in, metrics and per-query ranks of every protocol out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness import protocols
from harness.datasets.base import Dataset, Split
from harness.datasets.repeats import duplicate_captions
from harness.fragments import Fragments
from harness.metrics import Similarity, TopItems
from harness.protocols.further import further_metrics
from harness.records.ranks import RankTable
from harness.records.scores import write_scores
from harness.records.tops import TopTable
from harness.runs.origins import further_metrics_of
from harness.runs.subjects import subject_of, top_table
from harness.scorer import Scorer
from harness.scoring import StreamedScores, encode_sides, scores_of
from harness.scoring.spilled import SideInFile
from harness.spec import EvaluationSpec

USUAL = EvaluationSpec()


@dataclass(frozen=True, eq=False)
class Scored:
    """A split encoded and scored.

    Args:
        images, texts: I images and T captions: fragments, or in a file what does not fit in memory.
        similarity: (I, T) float32: the matrix, one mapped from `scores.npy`, or tiles that are scored when they are asked
            for.
    """

    images: Fragments | SideInFile
    texts: Fragments | SideInFile
    similarity: Similarity

    def save(self, path: Path) -> None:
        """Write the scores as `path`, unless they are mapped from there."""
        if isinstance(self.similarity, Tensor):
            write_scores(path, self.similarity.cpu().numpy())
        elif isinstance(self.similarity, StreamedScores):
            self.similarity.saved(path)


@dataclass(frozen=True, eq=False)
class Results:
    """Metrics and per-query ranks by protocol.

    `info` is for the record: `ties`, `duplicate_captions`, and `protocols` with what each rests on (queries, positives,
    hashes of judgement files). `top` holds the first items of every query in the whole split, whatever the protocols.
    """

    metrics: dict[str, dict[str, float]]
    ranks: dict[str, RankTable]
    top: TopTable
    info: dict[str, Any] = field(default_factory=dict)


@torch.no_grad()
def score_split(scorer: Scorer, split: Split, spec: EvaluationSpec = USUAL, scores: Path | None = None) -> Scored:
    """Encode a split and score all its pairs; tile by tile where they do not fit in memory.

    Args:
        scorer: with both encoders.
        split: I images, T captions.
        spec: items encoded at once, and whether scores come tile by tile.
        scores: file that the scores are kept in, if they are kept: what does not fit in memory is written there first and
            read from there, so that nothing is scored twice.

    Raises:
        InvalidFragments: an encoder returned features that are not finite.
        InvalidSimilarity: the scorer returned the wrong shape or values that are not finite.
        ItmError: what does not fit in memory does not fit on the disk either.
    """
    images, texts = encode_sides(scorer, split, spec.batch_size)
    found = scores_of(scorer, images, texts, spec.streaming)
    if scores is not None and isinstance(found, StreamedScores):
        return Scored(images, texts, found.saved(scores))
    return Scored(images, texts, found)


def evaluate(
    similarity: Similarity,
    split: Split,
    names: Sequence[str],
    spec: EvaluationSpec,
    dataset: Dataset | None = None,
) -> Results:
    """All protocols, and the first items of every query, from one pass over the scores.

    Args:
        similarity: (I, T); a matrix, or a source that gives it tile by tile.
        split: what was scored.
        names: protocols.
        spec: tie rule.
        dataset: of the split; see `subject_of`.

    Raises:
        UnknownName: no such protocol.
        InvalidProtocol: a protocol does not fit the split.
        InvalidSimilarity: as `harness.metrics.ranks`.
    """
    subject = subject_of(split, dataset)
    every, (lists,) = protocols.evaluate_with(names, similarity, subject, (spec.ties,), [TopItems()])
    results = {name: rules[spec.ties] for name, rules in every.items()}
    shape = len(split.image_ids), len(split.captions)
    return Results(
        {
            name: {**result.metrics, **further_metrics(spec.metrics, result.ranks, shape, spec.ties)}
            for name, result in results.items()
        },
        {name: result.ranks for name, result in results.items()},
        top_table(split, lists),
        {
            "ties": spec.ties,
            "duplicate_captions": duplicate_captions(split.captions, split.caption_image).as_dict(),
            "protocols": {name: result.info for name, result in results.items() if result.info},
            **({"metrics": further_metrics_of(spec.metrics)} if spec.metrics else {}),
        },
    )
