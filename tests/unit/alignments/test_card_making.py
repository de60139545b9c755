"""Cards say what the saved model computes: checked against maxima, ranks and scores that are found another way."""

from __future__ import annotations

import logging
import os
import re
import shutil

import numpy as np
import pytest
import torch

from harness.alignments import kept, preparation
from harness.alignments.choice import COUNT, RULE, Pair
from harness.alignments.explain import explain
from harness.errors import InvalidDataset, InvalidSpec
from harness.records.cards import MOST_CARDS
from harness.records.exhibits import exhibits_folder, read_exhibits
from harness.runs.building import load_scorer
from harness.runs.reopening import RunDatasets, dataset_of
from harness.scoring import encode_split

CPU = torch.device("cpu")
CELLS = 16  # 32 pixels in patches of 8


def of(store, scorer, seed=0):
    return next(record for record in store.records() if record.scorer == scorer and record.seed == seed)


def prepared(store):
    preparation.prepare(store, store.records(), CPU)
    return store


@pytest.fixture(scope="module")
def made(trained, tmp_path_factory):
    """A store whose cards are made; not to be written to."""
    from harness.records.store import RunStore

    results = tmp_path_factory.mktemp("made") / "results"
    shutil.copytree(trained.results, results)
    return prepared(RunStore(results))


def encoded(store, record):
    """Normalised features of all images (I, R, D) and captions (T, W, D), their masks, and the split."""
    split = dataset_of(record).split("test")
    images, texts = encode_split(load_scorer(store, record.run_id), split)
    sides = [(side.normalized().features.detach().double().numpy(), side.mask.numpy()) for side in (images, texts)]
    return *sides, split


def test_late_interaction_gives_each_word_the_cell_of_the_largest_cosine(made):
    record = of(made, "late_interaction")
    (image, _), (text, mask), split = encoded(made, record)
    cards = made.alignments(record.run_id).cards
    assert len(cards) == COUNT
    for card in cards:
        words = text[card.caption_row][mask[card.caption_row]]
        cosine = words @ image[card.image_row].T  # (W, R)
        part = card.directions[0]
        assert np.array(part.weights).argmax(1).tolist() == cosine.argmax(1).tolist()
        assert np.array(part.weights).sum(1).tolist() == [1] * len(words)
        assert part.word_scores == pytest.approx(cosine.max(1), abs=2e-4)
        assert card.caption == split.captions[card.caption_row]
        assert card.image_id == split.image_ids[card.image_row]
        assert card.correct is True


def test_words_are_those_of_the_caption_between_its_ends(made):
    for card in made.alignments(of(made, "scan").run_id).cards:
        assert list(card.words[1:-1]) == card.caption.lower().replace(",", " ,").replace(".", " .").split()


def test_the_score_and_the_ranks_are_those_of_the_whole_split(made):
    record = of(made, "scan")
    split = dataset_of(record).split("test")
    scorer = load_scorer(made, record.run_id)
    images, texts = encode_split(scorer, split)
    with torch.no_grad():
        similarity = scorer.score(images, texts).numpy()
    for card in made.alignments(record.run_id).cards:
        own = split.caption_image == card.image_row
        assert card.score == pytest.approx(similarity[card.image_row, card.caption_row], abs=1e-5)
        column, row = similarity[:, card.caption_row], similarity[card.image_row]
        assert card.ranks["full"].caption == 1 + (column > column[card.image_row]).sum()
        assert card.ranks["full"].image == 1 + (row[~own] > row[own].max()).sum()


def test_attention_adds_up_and_cells_cover_the_picture(made):
    for name in ("scan", "grm", "late_interaction"):
        for card in made.alignments(of(made, name).run_id).cards:
            assert card.fragments == CELLS
            assert card.boxes[0] == (0, 0, 0.25, 0.25)
            assert card.boxes[5] == (0.25, 0.25, 0.5, 0.5)  # second row, second column
            assert sum((r - left) * (b - t) for left, t, r, b in card.boxes) == pytest.approx(1)
            for part in card.directions:
                totals = np.array(part.weights).sum(1 if part.over == "regions" else 0)
                assert ((abs(totals - 1) < 2e-3) | (totals == 0)).all(), (name, part.kind)
    assert any(card.regions for card in made.alignments(of(made, "grm").run_id).cards)


def test_the_pictures_of_the_cards_lie_beside_the_site(made):
    record = of(made, "scan")
    folder = exhibits_folder(made.results, record.dataset, record.split, record.data_sha256)
    shown = read_exhibits(folder)
    cards = made.alignments(record.run_id).cards
    assert {card.image_row for card in cards} <= shown.pictures.keys()
    objects = [shown.clutter[card.image_row] for card in cards]  # few objects first, as the sample goes through clutter
    assert objects[0] == min(objects) < max(objects) == objects[-1]


def test_every_method_has_the_same_pairs(made):
    pairs = [
        [card.pair for card in made.alignments(of(made, name).run_id).cards]
        for name in ("scan", "grm", "late_interaction")
    ]
    assert pairs[0] == pairs[1] == pairs[2]


def test_a_method_of_one_vector_says_so_and_other_seeds_are_left_alone(made):
    cards = made.alignments(of(made, "vsepp").run_id)
    assert cards.cards == ()
    assert "one vector per side" in cards.without
    assert made.alignments(of(made, "scan", seed=1).run_id) is None


def test_what_lies_there_is_not_made_again(store, monkeypatch, caplog):
    prepared(store)
    monkeypatch.setattr(preparation, "scorer_of", lambda *_: pytest.fail("a model was opened"))
    monkeypatch.setattr(RunDatasets, "of", lambda *_: pytest.fail("a dataset was opened"))
    with caplog.at_level(logging.INFO, "harness"):
        prepared(store)
    assert "alignment cards" not in caplog.text


def test_cards_are_of_the_weights_that_lie_there(store):
    prepared(store)
    record, other = of(store, "scan"), of(store, "scan", seed=1)
    before = store.alignments(record.run_id)
    model = store.folder(record.run_id) / "model.safetensors"
    os.utime(model, ns=(1, 1))  # as a copy of the folder does
    assert kept.kept(store, record.run_id) == before
    shutil.copy(store.folder(other.run_id) / "model.safetensors", model)
    assert kept.kept(store, record.run_id) is None
    prepared(store)
    after = store.alignments(record.run_id)
    assert [card.pair for card in after.cards] == [card.pair for card in before.cards]
    assert after.cards[0].directions != before.cards[0].directions
    assert after.model_sha256 != before.model_sha256


def test_cards_that_cannot_be_read_are_made_again(store, caplog):
    prepared(store)
    path = store.folder(of(store, "scan").run_id) / "alignments.json"
    before = path.read_text()
    path.write_text("{")
    prepared(store)
    assert path.read_text() == before
    assert "alignment cards are made again" in caplog.text


def test_what_could_not_be_made_is_told_in_one_line(store, monkeypatch, caplog):
    def moved(self, record):
        raise InvalidDataset("the data moved away")

    (store.folder(of(store, "grm").run_id) / "model.safetensors").unlink()
    monkeypatch.setattr(RunDatasets, "of", moved)
    with caplog.at_level(logging.INFO, "harness"):
        prepared(store)
    (line,) = [message for message in caplog.messages if "alignment cards" in message]
    assert "grm seed 0 (no saved model)" in line
    (titles,) = re.findall(r"; ([^;]*) \(the data moved away\)", line)  # in the order in which the runs were started
    assert sorted(titles.split(", ")) == ["late_interaction seed 0", "scan seed 0", "vsepp seed 0"]
    assert not list(store.results.glob("runs/*/alignments.json"))


def test_a_plug_in_that_raises_does_not_cost_the_others_their_cards(store, monkeypatch, caplog):
    from harness.registry import scorer_class

    def broken(self, images, texts):
        raise ZeroDivisionError("words")

    monkeypatch.setattr(scorer_class("scan"), "align", broken)
    with caplog.at_level(logging.INFO, "harness"):
        prepared(store)
    assert "scan seed 0 (ZeroDivisionError: words)" in caplog.text
    assert store.alignments(of(store, "grm").run_id).sample == RULE


def test_asked_pairs_are_kept_and_those_of_the_sample_stay_in_it(store):
    record = of(store, "scan")
    found = explain(store, record.run_id, {"text": "a red circle", "image": "3"}, CPU)
    assert [card.pair for card in found.cards] == [(3, "a red circle")]
    assert found.cards[0].correct is None
    assert found.cards[0].ranks["full"].caption is None
    assert found.pictures[3][:3] == b"\xff\xd8\xff"
    prepared(store)
    cards = store.alignments(record.run_id).cards
    assert [card.chosen for card in cards] == ["sample"] * COUNT + ["asked"]
    again = explain(store, record.run_id, {"caption": f"row:{cards[0].caption_row}"}, CPU).cards
    assert again == cards[:1]
    assert store.alignments(record.run_id).cards == cards


def test_a_picture_with_all_its_captions(store):
    record = of(store, "late_interaction")
    found = explain(store, record.run_id, {"image": "row:2"}, CPU)
    split = dataset_of(record).split("test")
    assert [card.caption_row for card in found.cards] == np.flatnonzero(split.caption_image == 2).tolist()


def test_a_method_that_aligns_nothing_is_refused(store):
    record = of(store, "vsepp")
    with pytest.raises(InvalidSpec, match="one vector per side"):
        explain(store, record.run_id, {"image": "0"}, CPU)


def test_the_oldest_asked_cards_make_room(store, monkeypatch, caplog):
    record = of(store, "scan")
    monkeypatch.setattr(kept, "MOST_CARDS", 3)
    split = dataset_of(record).split("test")
    with caplog.at_level(logging.INFO, "harness"):
        for word in ("one", "two", "three", "four"):
            preparation.add_cards(store, record, split, [Pair(0, None, word, "asked")], CPU)
    assert [card.caption for card in store.alignments(record.run_id).cards] == ["two", "three", "four"]
    assert "1 alignment card" in caplog.text
    assert MOST_CARDS > 3
