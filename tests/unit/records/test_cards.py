"""Alignment cards as they lie on disk: what was written comes back, and nothing else is taken for cards."""

from __future__ import annotations

import json

import pytest

from harness.errors import InvalidRecord
from harness.records.cards import MOST_CARDS, Card, Cards, Direction, QueryRanks
from harness.records.store import RunStore

CARD = Card(
    image_row=3,
    image_id="dog.jpg",
    caption_row=15,
    caption_id="dog.jpg#0",
    caption="A <b>dog</b> runs",
    correct=True,
    chosen="sample",
    score=0.75,
    ranks={"full": QueryRanks(image=1, caption=2.5)},
    words=("a", "<b>dog</b>", "runs"),
    directions=(
        Direction(
            kind="attention",
            over="regions",
            weights=((0.5, 0.5), (0.9, 0.1), (0.0, 0.0)),
            word_scores=(0.1, 0.9, -0.2),
        ),
    ),
    word_gates=(0.1, 1.0, 0.7),
    region_gates=(0.0, 1.0),
    regions=((1.0, 0.0),),
    word_regions=((1.0,), (1.0,), (0.0,)),
    boxes=(None, (0.0, 0.0, 0.5, 1.0)),
)
CARDS = Cards(run_id="0a1b", model_sha256="f" * 64, sample="v1", cards=(CARD,))


def test_cards_come_back_as_they_were_written(tmp_path):
    store = RunStore(tmp_path)
    assert store.alignments("0a1b") is None
    store.write_alignments(CARDS)
    assert store.alignments("0a1b") == CARDS


def test_a_pair_is_known_by_its_rows_or_by_its_text():
    asked = CARD.model_copy(update={"caption_row": None, "caption": "a cat", "chosen": "asked"})
    assert CARD.pair == (3, 15)
    assert asked.pair == (3, "a cat")
    assert len(CARDS.model_copy(update={"cards": (CARD, asked)}).cards) == 2


def changed(**values):
    return {**CARD.model_dump(mode="json", exclude_none=True), **values}


def direction(**values):
    return changed(directions=[{**CARD.directions[0].model_dump(mode="json", exclude_none=True), **values}])


BROKEN = {
    "a weight above 1": (direction(weights=[[0.5, 0.5], [1.2, 0.1], [0, 0]]), "less than or equal to 1"),
    "a weight that is a text": (direction(weights=[["x", 0.5], [1, 0.1], [0, 0]]), "valid number"),
    "a word without weights": (direction(weights=[[0.5, 0.5], [1, 0]]), "weights has 2 rows, expected 3"),
    "ragged weights": (direction(weights=[[0.5, 0.5], [1], [0, 0]]), "weights has a row of 1 values, expected 2"),
    "no fragment": (direction(weights=[[], [], []]), "of no fragment"),
    "scores of other words": (direction(word_scores=[1.0]), "word_scores has 1 rows, expected 3"),
    "scores of other fragments": (direction(region_scores=[1.0]), "region_scores has 1 rows, expected 2"),
    "a direction of its own": (direction(over="pictures"), "'regions' or 'words'"),
    "gates of other words": (changed(word_gates=[0.5]), "word_gates has 1 rows, expected 3"),
    "a gate below 0": (changed(word_gates=[-0.5, 0, 0]), "greater than or equal to 0"),
    "gates of other fragments": (changed(region_gates=[0.5]), "region_gates has 1 rows, expected 2"),
    "regions of other fragments": (changed(regions=[[1.0]]), "regions has a row of 1 values, expected 2"),
    "words of regions that are not there": (changed(word_regions=[[1, 0]] * 3), "expected 1"),
    "boxes of other fragments": (changed(boxes=[None]), "boxes has 1 rows, expected 2"),
    "a box outside the picture": (changed(boxes=[None, [0, 0, 2, 1]]), "less than or equal to 1"),
    "a box inside out": (changed(boxes=[None, [0.5, 0, 0.1, 1]]), "right or bottom edge"),
    "no word": (changed(words=[]), "at least 1 item"),
    "a rank of 0": (changed(ranks={"full": {"image": 0}}), "greater than or equal to 1"),
    "an unknown key": (changed(colour="red"), "colour"),
}


@pytest.mark.parametrize(("card", "said"), BROKEN.values(), ids=BROKEN)
def test_cards_that_cannot_be_are_refused(tmp_path, card, said):
    path = tmp_path / "runs" / "0a1b" / "alignments.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"schema_version": 1, "run_id": "0a1b", "model_sha256": "f" * 64, "cards": [card]}))
    with pytest.raises(InvalidRecord, match=r"alignments\.json") as refused:
        RunStore(tmp_path).alignments("0a1b")
    assert said in str(refused.value)
    assert "delete the file" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"run_id": "ffff"}, "of run 'ffff', expected 0a1b"),
        ({"schema_version": 2}, "schema version 2"),
        ({"model_sha256": "short"}, "model_sha256"),
        ({"cards": [CARD.model_dump(mode="json")] * 2}, "two cards of one pair"),
        ({"cards": [changed(caption_row=n) for n in range(MOST_CARDS + 1)]}, "at most 200"),
    ],
)
def test_files_that_are_not_of_the_run_are_refused(tmp_path, values, said):
    store = RunStore(tmp_path)
    store.write_alignments(CARDS)
    path = tmp_path / "runs" / "0a1b" / "alignments.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(InvalidRecord) as refused:
        store.alignments("0a1b")
    assert said in str(refused.value)


def test_a_file_of_too_many_weights_is_refused(monkeypatch):
    monkeypatch.setattr("harness.records.cards.MOST_WEIGHTS", 5)
    with pytest.raises(ValueError, match="6 weights, expected at most 5"):
        Cards(run_id="0a1b", model_sha256="f" * 64, cards=(CARD,))
