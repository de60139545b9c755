"""What a card says in words and numbers: the best fragment of each word, where it lies, and how far its map spreads.

Shape letters: W words, R fragments, K gathered regions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.records.cards import Card, Direction

#: Eighths of a character cell, for bars in a terminal.
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BAR = 10
#: Edges of cells are rounded; closer ones are the same.
_EDGE = 1e-3


@dataclass(frozen=True)
class WordReading:
    """What one direction of a card says of one word."""

    word: str
    best: int | None  #: number of the fragment with the largest weight; None = the word is matched with nothing
    weight: float  #: of that fragment
    spread: float  #: number of fragments that an even map of this entropy would cover; 0 = nothing
    taken: float  #: sum of the weights: where they add up to 1 over the words, the number of fragments that it takes
    score: float | None
    gate: float | None


def word_readings(card: Card, direction: int = 0) -> list[WordReading]:
    """A reading per word of one of the card's directions."""
    part = card.directions[direction]
    return [
        WordReading(
            word=word,
            best=best_of(part.weights[number]),
            weight=max(part.weights[number]),
            spread=spread(part.weights[number]),
            taken=sum(part.weights[number]),
            score=None if part.word_scores is None else part.word_scores[number],
            gate=None if card.word_gates is None else card.word_gates[number],
        )
        for number, word in enumerate(card.words)
    ]


def best_of(weights: Sequence[float]) -> int | None:
    """The place of the largest weight, the first of equal ones; None where all are 0.

    >>> best_of([0.1, 0.6, 0.3]), best_of([0.0, 0.0])
    (1, None)
    """
    return max(range(len(weights)), key=weights.__getitem__) if any(weights) else None


def spread(weights: Sequence[float]) -> float:
    """How many fragments a map covers: the exponential of its entropy, 1 for a single one, R for an even map.

    >>> spread([0, 1, 0]), round(spread([0.25] * 4), 6), spread([0, 0])
    (1.0, 4.0, 0.0)
    """
    total = sum(weights)
    if not total:
        return 0.0
    shares = [weight / total for weight in weights if weight]
    return math.exp(-sum(share * math.log(share) for share in shares))


def place_names(card: Card) -> list[str]:
    """What each fragment is called: its row and column, "whole picture", or its number where it has no place.

    >>> from harness.records.cards import Direction
    >>> boxes = (None, (0, 0, 0.5, 1), (0.5, 0, 1, 1))
    >>> part = Direction(kind="attention", over="regions", weights=((0.2, 0.3, 0.5),))
    >>> place_names(Card(image_row=0, image_id="a", caption="b", chosen="asked", score=0, words=("b",),
    ...     directions=(part,), boxes=boxes))
    ['whole picture', 'row 1, column 1', 'row 1, column 2']
    """
    boxes = card.boxes
    if boxes is None or not any(boxes):
        return [f"region {number + 1}" for number in range(card.fragments)]
    placed = [box for box in boxes if box is not None]
    lefts, tops = _edges([box[0] for box in placed]), _edges([box[1] for box in placed])
    if len(lefts) * len(tops) != len(placed):  # boxes of their own, no grid
        return ["whole picture" if box is None else f"box {number + 1}" for number, box in enumerate(boxes)]
    return [
        "whole picture" if box is None else f"row {_nth(tops, box[1])}, column {_nth(lefts, box[0])}" for box in boxes
    ]


def _edges(values: Sequence[float]) -> list[float]:
    """Different edges, rising."""
    found: list[float] = []
    for value in sorted(values):
        if not found or value - found[-1] > _EDGE:
            found.append(value)
    return found


def _nth(edges: Sequence[float], value: float) -> int:
    return min(range(len(edges)), key=lambda number: abs(edges[number] - value)) + 1


def bar(share: float, width: int = _BAR) -> str:
    """A bar for a terminal, as long as the share of its width.

    >>> bar(0.5, 4), bar(0.0), bar(1.0, 3), bar(0.001, 4)
    ('██', '', '███', '▏')
    """
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(max(eighths, 1 if share > 0 else 0), 8)
    return "█" * full + _EIGHTHS[rest].strip()


def meaning(part: Direction, card: Card) -> str:
    """What the weights of a direction are, in one sentence."""
    cells = "cells" if card.boxes is not None and any(card.boxes) else "regions"
    if part.over == "regions":
        return (
            f"{_sentence(part.kind)}: the weights of a word add up to 1 over the {cells}. A weight says how much of what "
            f"the word is compared with comes from that {cells[:-1]}."
        )
    return (
        f"{_sentence(part.kind)}: the weights in each of the {cells} add up to 1 over the words. A weight says how much of "
        f"what that {cells[:-1]} is compared with comes from the word."
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def ranks_said(card: Card) -> list[str]:
    """The ranks of a card's queries, in words; the protocol is named where there are several."""
    said = []
    for protocol, found in card.ranks.items():
        name = f" ({protocol})" if len(card.ranks) > 1 else ""
        if found.caption is not None:
            said.append(f"caption finds its picture at rank {found.caption:g}{name}")
        if found.image is not None:
            said.append(f"picture finds a correct caption at rank {found.image:g}{name}")
    return said
