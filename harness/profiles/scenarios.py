"""The scenarios, in the spirit of MLPerf Inference: offline, single query, encoding, training step.

A query ends with the ten best items on the CPU and begins with a caption's tokens or an image's pixels or regions in
main memory: reading files and cutting words are not part of it.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from harness.datasets.base import Split
from harness.fragments import Fragments
from harness.profiles.cascade import Cascade, Direction, Found, Shortlist
from harness.profiles.session import Scenario
from harness.profiles.stored import Precision, StoredIndex, store, stored_scores
from harness.profiles.subjects import Subject
from harness.scorer import Scorer
from harness.scoring import similarity_matrix
from harness.training.loop import training_step

#: Items that a query returns.
BEST = 10
#: What the offline scenario indexes and scores at most: (images, captions).
OFFLINE = (256, 1280)
BATCH = 64
ENCODE_IMAGE, ENCODE_TEXT = "encode one image", "encode one caption"
ENCODE_IMAGES, ENCODE_TEXTS = "encode a batch of images", "encode a batch of captions"
TRAIN, OFFLINE_ALL, PAIRS = "training step", "offline", "score pairs"


def query_key(direction: Direction, gallery: int) -> str:
    """Name of a single-query scenario."""
    return f"query {direction} {gallery}"


@dataclass(frozen=True, eq=False)
class Queries:
    """Captions or images that are asked in turn, and how one of them is encoded.

    Args:
        subject: whose encoder.
        direction: `t2i`: captions are asked.
        prune: what is taken away of the encoder's fragments; None = nothing.
    """

    subject: Subject
    direction: Direction
    prune: Callable[[Fragments], Fragments] | None = None

    def encode(self, number: int) -> Fragments:
        """Encode the query of a sample; the same number is the same query."""
        subject = self.subject
        scorer, device = subject.scorer, subject.scorer.device
        if self.direction == "i2t":
            row = _shuffled(len(subject.pixels_or_regions))[number % len(subject.pixels_or_regions)]
            raw = scorer.encoders[0](_row(subject.pixels_or_regions, row).to(device))
            return scorer.prepare_images(self.prune(raw) if self.prune else raw)
        row = _shuffled(len(subject.tokens))[number % len(subject.tokens)]
        raw = scorer.encoders[1](subject.tokens[slice(row, row + 1)].to(device))
        return scorer.prepare_texts(self.prune(raw) if self.prune else raw)


def base_scenarios(subject: Subject, train: Split) -> list[Scenario]:
    """Encoding, training step and offline of a subject."""
    scorer, device = subject.scorer, subject.scorer.device
    one_image, one_text = Queries(subject, "i2t"), Queries(subject, "t2i")
    images = subject.pixels_or_regions[:BATCH].to(device)
    texts = subject.tokens[:BATCH].to(device)
    recipe = subject.spec.training.model_copy(update={"epochs": max(1, subject.spec.training.epochs)})
    step = training_step(copy.deepcopy(scorer), train, recipe, subject.spec.seed)
    return [
        Scenario(ENCODE_IMAGE, [("encode", one_image.encode)], {"images": 1}),
        Scenario(ENCODE_TEXT, [("encode", one_text.encode)], {"captions": 1}),
        Scenario(ENCODE_IMAGES, [("encode", lambda _: scorer.encode_images(images))], {"images": len(images)}),
        Scenario(ENCODE_TEXTS, [("encode", lambda _: scorer.encode_texts(texts))], {"captions": len(texts)}),
        Scenario(TRAIN, [("step", _with_gradients(step))], {"pairs": recipe.batch_size}),
        offline(subject),
    ]


def offline(subject: Subject) -> Scenario:
    """Index a gallery and score all pairs: images, captions, then every pair of them."""
    scorer, device = subject.scorer, subject.scorer.device
    rows, columns = min(len(subject.pixels_or_regions), OFFLINE[0]), min(len(subject.tokens), OFFLINE[1])
    images, tokens = subject.pixels_or_regions[:rows], subject.tokens[:columns]

    def encode_images(_: int) -> Fragments:
        return Fragments.cat([scorer.encode_images(images[s : s + BATCH].to(device)) for s in range(0, rows, BATCH)])

    def encode_texts(encoded: Fragments) -> tuple[Fragments, Fragments]:
        parts = [scorer.encode_texts(tokens[s : s + BATCH].to(device)) for s in range(0, columns, BATCH)]
        return encoded, Fragments.cat(parts)

    def score(sides: tuple[Fragments, Fragments]) -> Tensor:
        return similarity_matrix(scorer, *sides)

    stages: Sequence[tuple[str, Callable[[Any], Any]]] = (
        ("encode images", encode_images),
        ("encode captions", encode_texts),
        ("score", score),
    )
    return Scenario(OFFLINE_ALL, stages, {"images": rows, "captions": columns, "pairs": rows * columns})


def pairs(scorer: Scorer, images: Fragments, texts: Fragments, precision: Precision, budget: int) -> Scenario:
    """Scoring of encoded pairs at a precision, as a point of the throughput chart."""
    index, queries = store(images[: OFFLINE[0]], precision), texts[: OFFLINE[1]]

    def score(_: int) -> Tensor:
        return stored_scores(scorer, queries, index, "t2i", precision, budget)

    return Scenario(PAIRS, [("score", score)], {"pairs": len(index) * len(queries)})


def query(queries: Queries, index: StoredIndex, precision: Precision, budget: int, apart: bool = True) -> Scenario:
    """One query against a gallery: encode it, score the gallery, take the best."""
    scorer, direction = queries.subject.scorer, queries.direction

    def score(encoded: Fragments) -> Tensor:
        return stored_scores(scorer, encoded, index, direction, precision, budget)[0]

    stages = (("encode", queries.encode), ("score", score), ("best", _best))
    return Scenario(query_key(direction, len(index)), stages, gallery=len(index), apart=apart)


def cascade_query(
    cascade: Cascade, coarse: Queries, fine: Queries, shortlist: Shortlist, gallery: Fragments, budget: int
) -> Scenario:
    """One query through a cascade: both encoders, the shortlist, the second look."""
    direction = fine.direction

    def shortlisted(number: int) -> tuple[int, Tensor]:
        return number, shortlist(coarse.encode(number), cascade.k)

    def rerank(state: tuple[int, Tensor]) -> Found:
        number, rows = state
        return cascade.rerank(fine.encode(number), rows, gallery, direction, budget)

    stages = (("encode and shortlist", shortlisted), ("encode and re-rank", rerank))
    return Scenario(query_key(direction, len(gallery)), cast(Any, stages), gallery=len(gallery))


def _best(scores: Tensor) -> Tensor:
    return torch.topk(scores, min(BEST, len(scores))).indices


def _with_gradients(step: Callable[[int], object]) -> Callable[[int], object]:
    """A session runs without gradients; a training step needs them."""

    def run(number: int) -> object:
        with torch.enable_grad():
            return step(number)

    return run


def _row(batch: Tensor | Fragments, row: int) -> Tensor | Fragments:
    return batch[row : row + 1]


@functools.cache
def _shuffled(count: int) -> list[int]:
    """A fixed random order, so that short samples meet queries of all lengths."""
    return np.random.default_rng(0).permutation(count).tolist()
