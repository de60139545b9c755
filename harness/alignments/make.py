"""Cards from a trained scorer: its alignment of some pairs, cut to their words and fragments, with scores and ranks.

Shape letters: N pairs, W words, R fragments of an image.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.alignment import Alignment
from harness.alignments.choice import Pair
from harness.alignments.places import boxes_of, words_of
from harness.backbones.words.tokenizers import Tokenizer
from harness.datasets.base import Split
from harness.errors import counted
from harness.records.cards import DECIMALS, Card, Direction, QueryRanks
from harness.records.ranks import RankTable
from harness.scorer import Scorer
from harness.scoring import evaluating, image_batch

#: Pairs that are encoded and aligned at once.
BATCH = 16

logger = logging.getLogger(__name__)


def cards_of(
    scorer: Scorer, split: Split, pairs: Sequence[Pair], ranks: Mapping[str, RankTable]
) -> tuple[Card, ...] | None:
    """The cards of some pairs.

    Images and captions are encoded anew. Where the run read them from a feature store, a score may differ from the
    run's own in its last digits.

    Args:
        scorer: trained, with both encoders, on the device to compute on.
        split: the images and captions.
        pairs: of it; at least one.
        ranks: of the run, by protocol.

    Returns:
        A card per pair; None where the method aligns nothing.

    Raises:
        CannotEncode, InvalidDataset, InvalidFragments: the split cannot be encoded by this scorer.
        InvalidPlugin: an alignment that breaks its contract.
    """
    found: list[Card] = []
    for start in range(0, len(pairs), BATCH):
        part = pairs[start : start + BATCH]
        made = _cards(scorer, split, part, ranks)
        if made is None:
            return None
        found += made
    return tuple(found)


def _cards(scorer: Scorer, split: Split, pairs: Sequence[Pair], ranks: Mapping[str, RankTable]) -> list[Card] | None:
    image_encoder, text_encoder = scorer.encoders
    tokens = text_encoder.tokenizer([pair.text for pair in pairs])
    _report_losses(text_encoder.tokenizer, [pair.text for pair in pairs if pair.chosen == "asked"])
    with evaluating(scorer):
        images = scorer.encode_images(image_batch(split, image_encoder, [p.image for p in pairs]).to(scorer.device))
        texts = scorer.encode_texts(tokens.to(scorer.device))
        alignment = scorer.align(images, texts)
        if alignment is None:
            return None
        scores = [float(scorer.score(images[[n]], texts[[n]])) for n in range(len(pairs))]
    alignment = alignment.to("cpu")
    cards = []
    for number, pair in enumerate(pairs):
        real = images.mask[number].nonzero()[:, 0].tolist()
        words = words_of(text_encoder, pair.text, int(texts.mask[number].sum()), alignment.word_mask[number])
        cards.append(
            Card(
                **_about(split, pair),
                score=round(scores[number], 6),
                ranks=_ranks(split, pair, ranks),
                words=tuple(word.text for word in words),
                **_readings(alignment, number, [word.places for word in words], real),
                boxes=boxes_of(image_encoder, split.images, pair.image, len(real)),
            )
        )
    return cards


def _report_losses(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    """Say what the text encoder does not see of texts that somebody asks about."""
    losses = tokenizer.losses(texts)
    if losses.unknown:
        logger.warning("of %s the text encoder knows no word", counted(losses.unknown, "caption"))
    if losses.cut:
        logger.warning(
            "%s longer than the %d tokens that the text encoder reads: the rest is left out, as in the run",
            "1 caption is" if losses.cut == 1 else f"{losses.cut} captions are",
            tokenizer.longest,
        )


def _about(split: Split, pair: Pair) -> dict[str, Any]:
    caption = pair.caption
    correct = None
    if caption is not None:
        relevance = split.relevance
        own = int(split.caption_image[caption]) == pair.image
        correct = own if relevance is None else bool(relevance[pair.image, caption])
    return {
        "image_row": pair.image,
        "image_id": split.image_ids[pair.image],
        "caption_row": caption,
        "caption_id": "" if caption is None else split.caption_ids[caption],
        "caption": pair.text,
        "correct": correct,
        "chosen": pair.chosen,
    }


def _ranks(split: Split, pair: Pair, tables: Mapping[str, RankTable]) -> dict[str, QueryRanks]:
    """Ranks from 1 of the picture and of the caption as queries; the caption's only if it is one of the dataset."""
    caption_id = None if pair.caption is None else split.caption_ids[pair.caption]
    found = {
        protocol: QueryRanks(
            image=_rank(table.i2t_image_id, table.i2t_rank, split.image_ids[pair.image]),
            caption=_rank(table.t2i_caption_id, table.t2i_rank, caption_id),
        )
        for protocol, table in tables.items()
    }
    return {protocol: one for protocol, one in found.items() if one != QueryRanks()}


def _rank(ids: np.ndarray, ranks: np.ndarray, query: str | None) -> float | None:
    if query is None:
        return None
    places = np.flatnonzero(ids.astype(str) == query)
    return float(ranks[places[0]]) + 1 if len(places) else None


def _readings(alignment: Alignment, number: int, words: list[list[int]], fragments: list[int]) -> dict[str, Any]:
    """What an alignment says of its pair `number`, per word and per fragment of it.

    The pieces of a word look together: shares of a word are the mean of its pieces' (each sums to 1 over the fragments),
    shares in a fragment their sum (all sum to 1 over the words), scores and gates their mean.
    """

    def of_words(values: Tensor | None, join: str = "mean") -> Tensor | None:
        if values is None:
            return None
        return torch.stack([getattr(values[number][places], join)(0) for places in words])

    def of_fragments(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[number][..., fragments]

    def direction(part: Alignment) -> Direction:
        joined = of_words(part.weights, "mean" if part.over == "regions" else "sum")
        assert joined is not None
        return Direction(
            kind=part.kind,
            over=part.over,
            weights=_numbers(joined[:, fragments], share=True),
            word_scores=_numbers(of_words(part.word_scores)),
            region_scores=_numbers(of_fragments(part.region_scores)),
        )

    parts = [alignment, *([alignment.reverse] if alignment.reverse is not None else [])]
    return {
        "directions": tuple(map(direction, parts)),
        "word_gates": _numbers(of_words(alignment.word_gates), share=True),
        "region_gates": _numbers(of_fragments(alignment.region_gates), share=True),
        "regions": _numbers(of_fragments(alignment.regions), share=True),
        "word_regions": _numbers(of_words(alignment.word_regions), share=True),
    }


def _numbers(values: Tensor | None, *, share: bool = False) -> Any:
    """Rounded, as nested tuples; shares lie in [0, 1] but for the last bits of a sum."""
    if values is None or not values.numel():
        return None
    values = values.double().clamp(0, 1) if share else values.double()
    rounded = torch.round(values, decimals=DECIMALS).tolist()
    return tuple(tuple(row) if isinstance(row, list) else row for row in rounded)
