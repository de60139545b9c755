"""Alignment cards: which words of a caption a run matched with which fragments of a picture, as `alignments.json` holds them.

Shape letters: W words, R fragments of an image (regions or patches), K regions that a method gathers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.errors import InvalidRecord
from harness.files.writing import atomic_path
from harness.records.documents import read_document
from harness.spec import Spec

SCHEMA_VERSION = 1
FILE = "alignments.json"
REMEDY = "delete the file to have it made again"
#: Cards of a run, words and fragments of a card, regions of a method: more is no file of ours.
MOST_CARDS, MOST_WORDS, MOST_FRAGMENTS, MOST_REGIONS = 200, 1024, 8192, 1024
#: Weights of all cards of a run; 200 cards of 16 words and 577 patches have 1.8 million.
MOST_WEIGHTS = 8_000_000
#: Decimals of weights, gates and boxes: a picture needs no more, and 577 weights of a uniform map still add up.
DECIMALS = 4

Weight = Annotated[float, Field(ge=0, le=1)]
Weights = Annotated[tuple[Weight, ...], Field(max_length=MOST_FRAGMENTS)]
#: Left, top, right, bottom, in fractions of the picture's width and height.
Box = tuple[Weight, Weight, Weight, Weight]
#: Why a pair has a card.
Chosen = Literal["sample", "asked"]


class Direction(Spec):
    """One direction in which a method matches words with fragments."""

    kind: str = Field(description="what the weights are, for a reader")
    over: Literal["regions", "words"] = Field(description="along which side they are normalised")
    weights: tuple[Weights, ...] = Field(description="(W, R): how strongly word w is matched with fragment r")
    word_scores: tuple[float, ...] | None = Field(None, description="(W,) similarity of each word with its match")
    region_scores: tuple[float, ...] | None = Field(None, description="(R,) likewise of each fragment")


class QueryRanks(Spec):
    """What ranks the queries of a pair reach under one protocol, from 1; None = no query there."""

    image: float | None = Field(None, ge=1, description="the picture searches captions: rank of its best correct one")
    caption: float | None = Field(None, ge=1, description="the caption searches pictures: rank of its picture")


class Card(Spec):
    """How a run aligns one caption with one picture. W words, R fragments, K gathered regions."""

    image_row: int = Field(ge=0)
    image_id: str
    caption_row: int | None = Field(None, ge=0, description="None: a text that is no caption of the dataset")
    caption_id: str = ""
    caption: str = Field(max_length=100_000)
    correct: bool | None = Field(None, description="whether the dataset calls the pair correct; None = it cannot say")
    chosen: Chosen
    score: float = Field(description="what ranks the pair")
    ranks: dict[str, QueryRanks] = Field(default_factory=dict, description="by protocol")
    words: tuple[str, ...] = Field(min_length=1, max_length=MOST_WORDS, description="W words, their pieces joined")
    directions: tuple[Direction, ...] = Field(min_length=1, max_length=2)
    word_gates: tuple[Weight, ...] | None = Field(None, description="(W,) how far the method lets each word in")
    region_gates: Weights | None = Field(None, description="(R,) likewise of each fragment")
    regions: Annotated[tuple[Weights, ...], Field(max_length=MOST_REGIONS)] | None = Field(
        None, description="(K, R) where each region that the method gathers looks"
    )
    word_regions: tuple[Weights, ...] | None = Field(None, description="(W, K) weights of those regions for each word")
    boxes: tuple[Box | None, ...] | None = Field(
        None, description="(R,) place of each fragment; None = of the whole picture, or unknown"
    )

    @property
    def fragments(self) -> int:
        """R."""
        return len(self.directions[0].weights[0])

    @property
    def size(self) -> int:
        """Weights that it holds."""
        return len(self.directions) * len(self.words) * self.fragments

    @property
    def pair(self) -> tuple[int, int | str]:
        """What the card is about: the picture's row, and the caption's row or the text itself."""
        return self.image_row, self.caption if self.caption_row is None else self.caption_row

    @model_validator(mode="after")
    def _agree(self) -> Self:
        words, fragments, gathered = len(self.words), self.fragments, len(self.regions or ())
        if self.word_regions is not None and self.regions is None:
            raise ValueError("word_regions without regions")
        if not fragments:
            raise ValueError("the weights are of no fragment")
        wanted: list[tuple[str, Sequence[object] | None, int, int | None]] = [
            ("word_gates", self.word_gates, words, None),
            ("region_gates", self.region_gates, fragments, None),
            ("regions", self.regions, gathered, fragments),
            ("word_regions", self.word_regions, words, gathered),
            ("boxes", self.boxes, fragments, None),
        ]
        for part in self.directions:
            wanted += [
                ("weights", part.weights, words, fragments),
                ("word_scores", part.word_scores, words, None),
                ("region_scores", part.region_scores, fragments, None),
            ]
        for name, values, rows, columns in wanted:
            if values is not None:
                _check_shape(name, values, rows, columns)
        if any(box is not None and not (box[0] < box[2] and box[1] < box[3]) for box in self.boxes or ()):
            raise ValueError("a box whose right or bottom edge does not come after its left or top one")
        return self


class Cards(Spec):
    """The cards of a run: those of its dataset's sample, then those that somebody asked for.

    >>> Cards(run_id="0a1b", model_sha256="0" * 64).cards
    ()
    """

    schema_version: int = SCHEMA_VERSION
    run_id: str
    model_sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of the weights that the cards were made with")
    model_bytes: int = Field(0, ge=0, description="size of that file")
    model_changed_ns: int = Field(
        0, ge=0, description="when it was last changed: while both are as here, it is not read"
    )
    sample: str = Field("", description="how the pairs of the sample were chosen; empty = only what was asked for")
    without: str = Field("", description="why the run has no cards: what its method does instead")
    cards: tuple[Card, ...] = Field((), max_length=MOST_CARDS)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        weights = sum(card.size for card in self.cards)
        if weights > MOST_WEIGHTS:
            raise ValueError(f"{weights:,} weights, expected at most {MOST_WEIGHTS:,}")
        pairs = [card.pair for card in self.cards]
        if len(set(pairs)) < len(pairs):
            raise ValueError("two cards of one pair")
        return self


def _check_shape(name: str, values: Sequence[object], rows: int, columns: int | None) -> None:
    if len(values) != rows:
        raise ValueError(f"{name} has {len(values)} rows, expected {rows}")
    if columns is not None:
        for row in values:
            if len(row) != columns:  # type: ignore[arg-type]
                raise ValueError(f"{name} has a row of {len(row)} values, expected {columns}")  # type: ignore[arg-type]


def write_cards(path: Path, cards: Cards) -> None:
    """Write the cards of a run, whole or not at all, in as few bytes as JSON takes.

    Raises:
        ResultsNotWritable: the folder cannot be written.
    """
    values = cards.model_dump(mode="json", exclude_none=True)
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_cards(path: Path, run_id: str) -> Cards | None:
    """The cards in a file; None where there is none.

    Raises:
        InvalidRecord: the file is damaged, of another version or another run, or contradicts itself.
    """
    if not os.path.lexists(path):
        return None
    found = read_document(path, Cards, SCHEMA_VERSION, REMEDY)
    if found.run_id != run_id:
        raise InvalidRecord(f"{path} is of run '{found.run_id:.40}', expected {run_id}; {REMEDY}")
    return found
