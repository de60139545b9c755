"""The scenarios, in the spirit of MLPerf Inference: offline, single query, encoding, training step.

A query ends with the ten best items on the CPU and begins with a caption's tokens or an image's pixels or regions in
main memory: reading files and cutting words are not part of it.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.datasets.base import Split
from harness.fragments import Fragments
from harness.profiles.cascade import Cascade
from harness.profiles.galleries import Direction, build
from harness.profiles.session import Scenario
from harness.profiles.trained import TrainedScorer
from harness.profiles.uses import Use
from harness.scoring import Index, packed_form, similarity_matrix
from harness.training.loop import training_step

#: Items that a query returns.
BEST = 10
#: What the offline scenario indexes and scores at most: (images, captions).
OFFLINE = (256, 1280)
BATCH = 64
PAIRS = "score pairs"


def query_key(direction: Direction, gallery: int) -> str:
    """Name of a single-query scenario."""
    return f"query {direction} {gallery}"


@dataclass(frozen=True, eq=False)
class Queries:
    """Captions (`t2i`) or images (`i2t`) that are asked in turn, and how one of them is encoded."""

    trained: TrainedScorer
    direction: Direction
    prune: Callable[[Fragments], Fragments] | None = None  #: what the encoder's fragments go through

    def encode(self, number: int) -> Fragments:
        """Encode the query of a sample; the same number is the same query."""
        scorer = self.trained.scorer
        images = self.direction == "i2t"
        inputs: Any = self.trained.image_inputs if images else self.trained.tokens
        row = _shuffled(len(inputs))[number % len(inputs)]
        raw = scorer.encoders[0 if images else 1](inputs[row : row + 1].to(scorer.device))
        raw = self.prune(raw) if self.prune else raw
        return scorer.prepare_images(raw) if images else scorer.prepare_texts(raw)


@functools.cache
def _shuffled(count: int) -> list[int]:
    """A fixed random order, so that short samples meet queries of all lengths."""
    return np.random.default_rng(0).permutation(count).tolist()


def training(trained: TrainedScorer, train: Split) -> Scenario:
    """A training step on copies of the scorer's weights."""
    recipe = trained.spec.training
    product = trained.record.training.product if trained.scorer.device.type == "cpu" else None
    taken = product.backend if product else "torch"  # of a run that timed both, the one that it trained with
    recipe = recipe.model_copy(update={"epochs": max(1, recipe.epochs), "product": taken})
    step = torch.enable_grad()(training_step(copy.deepcopy(trained.scorer), train, recipe, trained.spec.seed))
    return Scenario("training step", [("step", step)], {"pairs": recipe.batch_size})


def encoding(trained: TrainedScorer) -> list[Scenario]:
    """What is measured once per scorer and needs the test split alone: encoding and offline."""
    scorer, device = trained.scorer, trained.scorer.device
    images, texts = trained.image_inputs[:BATCH].to(device), trained.tokens[:BATCH].to(device)
    one_image, one_text = (Queries(trained, direction).encode for direction in ("i2t", "t2i"))
    return [
        Scenario("encode one image", [("encode", one_image)], {"images": 1}),
        Scenario("encode one caption", [("encode", one_text)], {"captions": 1}),
        Scenario(
            "encode a batch of images", [("encode", lambda _: scorer.encode_images(images))], {"images": len(images)}
        ),
        Scenario(
            "encode a batch of captions", [("encode", lambda _: scorer.encode_texts(texts))], {"captions": len(texts)}
        ),
        _offline(trained),
    ]


def _offline(trained: TrainedScorer) -> Scenario:
    """Index a gallery and score all pairs: images, captions, then every pair of them."""
    scorer = trained.scorer
    images, tokens = trained.image_inputs[: OFFLINE[0]], trained.tokens[: OFFLINE[1]]
    rows, columns = len(images), len(tokens)

    def encoded(encode: Callable[[Any], Fragments], inputs: Any) -> Fragments:
        starts = range(0, len(inputs), BATCH)
        return Fragments.cat([encode(inputs[s : s + BATCH].to(scorer.device)) for s in starts])

    stages = (
        ("encode images", lambda _: encoded(scorer.encode_images, images)),
        ("encode captions", lambda done: (done, encoded(scorer.encode_texts, tokens))),
        ("score", lambda sides: similarity_matrix(scorer, *sides)),
    )
    return Scenario("offline", stages, {"images": rows, "captions": columns, "pairs": rows * columns})


def pairs(use: Use) -> Scenario:
    """Scoring of encoded pairs, as a point of the throughput chart: by the engine where it has the precision."""
    scorer, images, texts = use.trained.scorer, use.images[: OFFLINE[0]], use.texts[: OFFLINE[1]]
    if packed_form(scorer) is not None and use.precision != "int8":
        score = functools.partial(similarity_matrix, scorer, images, texts, dtype=getattr(torch, use.precision))
    else:
        score = functools.partial(build(scorer, images, "t2i", use.precision).index.query, texts)
    return Scenario(PAIRS, [("score", lambda _: score())], {"pairs": len(images) * len(texts)})


def query(queries: Queries, index: Index, apart: bool = True) -> Scenario:
    """One query against a gallery: encode it, search the gallery for the best."""

    def search(encoded: Fragments) -> Tensor:
        return index.top(encoded, BEST).items

    key = query_key(queries.direction, len(index))
    return Scenario(key, (("encode", queries.encode), ("search", search)), gallery=len(index), apart=apart)


def search(queries: Queries, index: Index) -> Scenario:
    """The part of a query that grows with the gallery, of the first query."""
    encoded = queries.encode(0)
    return Scenario("search", [("search", lambda _: index.top(encoded, BEST).items)], gallery=len(index))


def cascade_query(cascade: Cascade, direction: Direction, coarse: Queries, fine: Queries) -> Scenario:
    """One query through a cascade: both encoders, the shortlist, the second look."""
    stages = (
        ("encode and shortlist", lambda number: (number, cascade.shortlisted(coarse.encode(number)))),
        ("encode and re-rank", lambda state: cascade.reranked(fine.encode(state[0]), state[1])),
    )
    gallery = len(cascade.fine)
    return Scenario(query_key(direction, gallery), stages, gallery=gallery)
