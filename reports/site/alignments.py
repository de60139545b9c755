"""The pages of alignment cards: per split, the same pairs as the methods see them, two of them side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from harness.errors import counted
from harness.records.cards import DECIMALS, Box, Card, Cards
from harness.records.run import RunRecord
from harness.reports.alignments.reading import meaning, place_names, ranks_said
from harness.reports.alignments.report import words_table
from harness.reports.document.text import fixed, shortened
from harness.reports.site.model import Page
from harness.reports.site.results import Results
from harness.spec import sha256_json

#: Weights in the page are whole numbers of this part of 1.
_UNIT = 10**DECIMALS
#: The methods that stand side by side at first, where there are more than two.
_FIRST = ("grm", "scan")
_LONGEST_ALT = 120


@dataclass(frozen=True)
class Method:
    """A run with cards."""

    record: RunRecord
    cards: Cards
    label: str  #: unique on its page


@dataclass(frozen=True)
class Photo:
    """A thumbnail below the site's folder, and its size in pixels; 0 where it cannot be read."""

    path: str
    width: int
    height: int


def pages(results: Results) -> Iterator[Page]:
    """One page per split of which runs have cards."""
    for methods in by_split(results):
        first = methods[0].record
        pairs = pairs_of(methods)
        pictures = photos(results, first, {row for row, _ in pairs})
        asked = sum(not any(c.chosen == "sample" for c in cards.values()) for cards in pairs.values())
        summary = f"{counted(len(pairs), 'pair')}, {', '.join(method.label for method in methods)}"
        yield Page(
            path=results.page_of_alignments(first.run_id).partition("#")[0],
            title=f"Alignments: {first.dataset} {first.split}",
            kind="alignments",
            template="alignments.html.j2",
            context=partial(_context, methods, pairs, pictures, asked),
            data=partial(data_of, methods, pairs),
            inputs=sha256_json(
                [[m.label, m.record.run_id, m.cards.model_dump(mode="json")] for m in methods]
                + [[row, *astuple(picture)] for row, picture in sorted(pictures.items())]
            ),
            scripts=("alignments/maps.js", "alignments/page.js"),
            summary=summary,
            words=" ".join(next(iter(cards.values())).caption for cards in pairs.values()),
        )


def photos(results: Results, record: RunRecord, rows: set[int]) -> dict[int, Photo]:
    """The thumbnails of some images of a run's split, as far as they lie there."""
    shown = results.exhibits(record)
    if shown is None:
        return {}
    paths = {row: f"exhibits/{shown.folder_name}/{name}" for row, name in shown.pictures.items() if row in rows}
    return {row: Photo(path, *_size(results.site / path)) for row, path in paths.items()}


def _size(picture: Path) -> tuple[int, int]:
    try:
        with Image.open(picture, formats=["JPEG"]) as image:
            return image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 0, 0


def by_split(results: Results) -> Iterator[list[Method]]:
    """The runs with cards of each split."""
    found: dict[tuple[str, str, str], list[Method]] = {}
    for run_id, cards in results.cards.items():
        record = results.finished[run_id]
        key = (record.dataset, record.split, record.data_sha256)
        found.setdefault(key, []).append(Method(record, cards, record.label))
    for methods in found.values():
        yield _labelled(sorted(methods, key=lambda method: (method.record.label, method.record.seed)))


def _labelled(methods: list[Method]) -> list[Method]:
    """Labels that tell the runs of a page apart: by their seed, then by their id, where the method is not enough."""
    for more in (lambda method: f" seed {method.record.seed}", lambda method: f" ({method.record.run_id[:8]})"):
        labels = [method.label for method in methods]
        methods = [
            replace(method, label=method.label + more(method)) if labels.count(method.label) > 1 else method
            for method in methods
        ]
    return methods


def pairs_of(methods: list[Method]) -> dict[tuple[int, int | str], dict[int, Card]]:
    """The cards of each pair by the number of their method: first the sample, in its order, then what was asked for."""
    found: dict[tuple[int, int | str], dict[int, Card]] = {}
    for number, method in enumerate(methods):
        for card in method.cards.cards:
            found.setdefault(card.pair, {})[number] = card
    return dict(sorted(found.items(), key=lambda item: not any(c.chosen == "sample" for c in item[1].values())))


def _context(
    methods: list[Method],
    pairs: Mapping[tuple[int, int | str], Mapping[int, Card]],
    pictures: Mapping[int, Photo],
    asked: int,
) -> dict[str, Any]:
    return {
        "methods": methods,
        "sampled": len(pairs) - asked,
        "asked": asked,
        "cards": [
            {
                "caption": first.caption,
                "image_id": first.image_id,
                "picture": pictures.get(first.image_row),
                "alt": f"picture of “{shortened(first.caption, _LONGEST_ALT)}”",
                "about": about(first),
                "tables": [(methods[number].label, words_table(card, place)) for number, card in sorted(cards.items())],
            }
            for place, cards in enumerate(pairs.values())
            for first in [next(iter(cards.values()))]
        ],
    }


def about(card: Card) -> str:
    """Which pair a card is about."""
    caption = (
        "a text of one's own" if card.caption_row is None else f"caption {card.caption_id} (row {card.caption_row})"
    )
    said = {True: "", False: "; this is no correct pair", None: ""}[card.correct]
    why = "; asked for by itm explain" if card.chosen == "asked" else ""
    return f"Picture {card.image_id} (row {card.image_row}), {caption}{said}{why}."


def data_of(methods: list[Method], pairs: Mapping[tuple[int, int | str], Mapping[int, Card]]) -> dict[str, Any]:
    """What the script of the page draws: weights in ten-thousandths, boxes and names of places once each."""
    boxes: list[list[Box | None]] = []
    places: list[list[str]] = []

    def kept(values: list[Any], value: Any) -> int:
        if value not in values:
            values.append(value)
        return values.index(value)

    return {
        "methods": [{"label": method.label, "run": method.record.run_id} for method in methods],
        "first": _first(methods),
        "unit": _UNIT,
        "cards": [
            {
                str(number): {
                    **_drawn(card),
                    "boxes": -1 if card.boxes is None or not any(card.boxes) else kept(boxes, list(card.boxes)),
                    "places": kept(places, place_names(card)),
                }
                for number, card in cards.items()
            }
            for cards in pairs.values()
        ],
        "boxes": boxes,
        "places": places,
    }


def _first(methods: list[Method]) -> list[int]:
    """The numbers of the methods that stand side by side at first."""
    names = [method.record.scorer for method in methods]
    chosen = [names.index(name) for name in _FIRST if name in names]
    others = [number for number in range(len(methods)) if number not in chosen]
    return [*chosen, *others, 0][:2]


def _drawn(card: Card) -> dict[str, Any]:
    modes = [
        {
            "kind": part.kind,
            "over": part.over,
            "says": meaning(part, card),
            "weights": [_units(row) for row in part.weights],
            "scores": part.word_scores,
        }
        for part in card.directions
    ]
    return {
        "words": card.words,
        "modes": modes,
        "gates": None if card.word_gates is None else _units(card.word_gates),
        "cellGates": None if card.region_gates is None else _units(card.region_gates),
        "regions": None if card.regions is None else [_units(row) for row in card.regions],
        "wordRegions": None if card.word_regions is None else [_units(row) for row in card.word_regions],
        "said": _said(card),
    }


def _units(values: tuple[float, ...]) -> list[int]:
    return [round(value * _UNIT) for value in values]


def _said(card: Card) -> str:
    """Score and ranks, in one line."""
    return " · ".join([f"score {fixed(card.score, 3)}", *ranks_said(card)])
