"""The page of one or several cards of a run: words with their best places, and a map per word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.errors import counted
from harness.records.cards import Card, Direction
from harness.records.run import RunRecord
from harness.reports.alignments.overlays import overlay
from harness.reports.alignments.reading import bar, meaning, place_names, ranks_said, word_readings
from harness.reports.document.model import Column, Gallery, Picture, Report, Section, Table, Tile
from harness.reports.document.text import fixed, shortened

#: Maps of a card at most; a longer caption has the rest in its table alone.
MOST_MAPS = 48
_LONGEST_TITLE = 90

_HOW = (
    "The colour of a map is the weight over the largest weight of that map: full colour is the best cell, none is a "
    "weight of 0. So maps show where a word looks, not how strongly it counts.",
    "Cells: where a word looks for cells, the number that an even map of the same entropy would cover (1 = a single one); "
    "where cells look for words, the number of cells that take the word.",
    "A map shows what the method computes with. That a word looks at a place does not prove that the place decided the rank.",
)


def build(record: RunRecord, cards: Sequence[Card], pictures: Mapping[int, bytes]) -> Report:
    """Build the page.

    Args:
        record: of the run that made the cards.
        cards: at least one.
        pictures: JPEGs by image row; a picture that is missing is drawn as numbered cells.
    """
    tables = [words_table(card, number) for number, card in enumerate(cards)]
    picture = shortened(cards[0].image_id, _LONGEST_TITLE)
    main = pd.concat(
        [
            table.frame.assign(image=card.image_id, caption=card.caption)
            for table, card in zip(tables, cards, strict=True)
        ]
    )
    opening = f"{record.title} on {record.dataset} {record.split}: what it matches in {_counted_pairs(cards)}."
    return Report(
        title=f"How {record.label} matches the words of a caption with picture {picture}",
        stem="explain",
        sentences=[opening],
        sections=[
            _section(card, table, number, pictures.get(card.image_row))
            for number, (card, table) in enumerate(zip(cards, tables, strict=True))
        ],
        brief=[
            part
            for number, card in enumerate(cards)
            for part in (_capital(said_of(card)), words_table(card, number, bars=True))
        ],
        main=main,
        data={"run_ids": [record.run_id], "cards": [card.model_dump(mode="json") for card in cards]},
    )


def said_of(card: Card) -> str:
    """Which pair a card is about, its score and the ranks of its queries, in one line."""
    caption = "own text" if card.caption_row is None else f"caption {card.caption_id} (row {card.caption_row})"
    kind = {True: "a correct pair", False: "no correct pair", None: ""}[card.correct]
    picture = f"picture {card.image_id} (row {card.image_row})"
    return "; ".join(filter(None, [picture, caption, kind, f"score {fixed(card.score, 3)}", *ranks_said(card)]))


def words_table(card: Card, number: int = 0, *, bars: bool = False) -> Table:
    """Words with their best place per direction, its weight, how many cells it covers, scores and gates.

    Args:
        card: what is shown.
        number: of the card on its page, for the key.
        bars: show scores as bars too, for a terminal.
    """
    names = place_names(card)
    rows: list[dict[str, Any]] = [{"word": word} for word in card.words]
    columns = [Column("word", "Word", pinned=True)]
    for way, part in enumerate(card.directions):
        readings = word_readings(card, way)
        highest = max((abs(found.score) for found in readings if found.score is not None), default=0.0) or 1.0
        for row, found in zip(rows, readings, strict=True):
            row |= {
                f"place_{way}": "nothing" if found.best is None else names[found.best],
                f"weight_{way}": found.weight,
                f"cells_{way}": found.spread if part.over == "regions" else found.taken,
                f"score_{way}": found.score,
                f"bar_{way}": "" if found.score is None else bar(found.score / highest),
                "gate": found.gate,
            }
        columns += _columns(part, way, grouped=len(card.directions) > 1, bars=bars)
    if card.word_gates is not None:
        columns.append(Column("gate", "Gate", "number", 2, help="how far the method lets the word in, 0 to 1"))
    caption = f"Words of “{shortened(card.caption, _LONGEST_TITLE)}”"
    return Table(pd.DataFrame(rows), columns, caption, key=f"words-{number + 1}", for_paper=False)


def _columns(part: Direction, way: int, *, grouped: bool, bars: bool) -> list[Column]:
    """The columns of one direction; a second one is left out of a narrow terminal."""
    group, wide = part.kind if grouped else "", bool(way)
    looks, covers = (
        ("Looks at", "cells that its map covers") if part.over == "regions" else ("Best in", "cells it takes")
    )
    columns = [
        Column(f"place_{way}", looks, group=group, help=f"cell with the largest weight: {part.kind}", wide=wide),
        Column(f"weight_{way}", "Weight", "number", 2, group=group, help="of that cell", wide=wide),
        Column(f"cells_{way}", "Cells", "number", 1, group=group, help=covers, wide=True),
    ]
    if part.word_scores is not None:
        said = "similarity of the word with what it is matched with"
        columns.append(Column(f"score_{way}", "Score", "number", 3, group=group, help=said, wide=wide))
        if bars:
            columns.append(Column(f"bar_{way}", "", group=group, wide=wide))
    return columns


def _section(card: Card, table: Table, number: int, picture: bytes | None) -> Section:
    alone = Gallery([Tile([Picture(picture, "the picture")])], f"picture-{number + 1}", "Picture") if picture else None
    galleries = [
        *([alone] if alone is not None else []),
        *(_maps(card, part, f"maps-{number + 1}-{way + 1}", picture) for way, part in enumerate(card.directions)),
    ]
    if card.regions is not None:
        tiles = [
            Tile([Picture(overlay(picture, weights, card.boxes), f"where region {k} looks")], title=f"region {k}")
            for k, weights in enumerate(card.regions[:MOST_MAPS], 1)
        ]
        galleries.append(Gallery(tiles, f"regions-{number + 1}", "Where each region looks that the method gathers"))
    if card.region_gates is not None:
        gates = Picture(overlay(picture, card.region_gates, card.boxes), "gates of the cells")
        galleries.append(Gallery([Tile([gates])], f"gates-{number + 1}", "Gates: how far each cell is let in"))
    left_out = len(card.words) - MOST_MAPS
    more = [f"{counted(left_out, 'word')} more have no map here, only a row in the table."] if left_out > 0 else []
    return Section(
        title=shortened(card.caption, _LONGEST_TITLE),
        sentences=[f"{_capital(said_of(card))}.", *more],
        tables=[table],
        galleries=galleries,
        reading=[*(meaning(part, card) for part in card.directions), *_HOW],
    )


def _maps(card: Card, part: Direction, key: str, picture: bytes | None) -> Gallery:
    tiles = [
        Tile([Picture(overlay(picture, weights, card.boxes), f"where “{word}” looks")], title=word)
        for word, weights in list(zip(card.words, part.weights, strict=True))[:MOST_MAPS]
    ]
    return Gallery(tiles, key, f"Map of each word: {part.kind}")


def _counted_pairs(cards: Sequence[Card]) -> str:
    if len(cards) == 1:
        return "one pair of a picture and a caption"
    images = len({card.image_row for card in cards})
    return f"{len(cards)} pairs of {counted(images, 'picture')} and its captions"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
