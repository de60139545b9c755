"""Alignment cards on pages: what they say of made-up cards, what is drawn, and that no text is obeyed."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from rank_tables import rank_table

from harness.records.cards import Card, Cards, Direction, QueryRanks
from harness.records.exhibits import Exhibits, exhibits_folder, write_exhibits
from harness.reports.alignments.overlays import CELL, HEAT, OPACITY, overlay
from harness.reports.alignments.reading import bar, place_names, spread, word_readings
from harness.reports.alignments.report import build, said_of, words_table
from harness.reports.site.alignments import data_of, pages
from harness.reports.site.build import write_site
from harness.reports.site.results import Results

QUARTERS = ((0.0, 0.0, 0.5, 0.5), (0.5, 0.0, 1.0, 0.5), (0.0, 0.5, 0.5, 1.0), (0.5, 0.5, 1.0, 1.0))
HOSTILE = "</script><img src=x onerror=alert(1)> [a](b)"


def card(**changes):
    values = {
        "image_row": 1,
        "image_id": "image1",
        "caption_row": 3,
        "caption_id": "caption3",
        "caption": "a dog",
        "correct": True,
        "chosen": "sample",
        "score": 0.5,
        "ranks": {"full": QueryRanks(image=1, caption=2)},
        "words": ("a", "dog"),
        "directions": (
            Direction(
                kind="attention",
                over="regions",
                weights=((0.25, 0.25, 0.25, 0.25), (0.0, 0.0, 0.75, 0.25)),
                word_scores=(-0.1, 0.4),
            ),
        ),
        "boxes": QUARTERS,
    }
    return Card(**{**values, **changes})


def direction(over="regions", **changes):
    values = {"kind": "attention", "over": over, "weights": ((1.0, 0.0, 0.0, 1.0), (0.0, 1.0, 0.0, 0.0)), **changes}
    return Direction(**values)


def photograph(size=(40, 20)):
    file = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(file, "JPEG", quality=95)
    return file.getvalue()


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=float)


def test_words_are_read_with_their_best_place_and_how_far_they_spread():
    even, dog = word_readings(card())
    assert (even.best, even.weight, even.score) == (0, 0.25, -0.1)
    assert even.spread == pytest.approx(4)
    assert (dog.best, dog.weight) == (2, 0.75)
    assert dog.spread == pytest.approx(2 ** (0.75 * np.log2(4 / 3) + 0.25 * 2))  # two to the entropy in bits
    assert spread((0.0, 0.0)) == 0


@pytest.mark.parametrize(
    ("boxes", "names"),
    [
        (QUARTERS, ["row 1, column 1", "row 1, column 2", "row 2, column 1", "row 2, column 2"]),
        ((None, *QUARTERS[:2], None), ["whole picture", "row 1, column 1", "row 1, column 2", "whole picture"]),
        (None, ["region 1", "region 2", "region 3", "region 4"]),
        ((None,) * 4, ["region 1", "region 2", "region 3", "region 4"]),
        (((0, 0, 1, 1), (0.1, 0.2, 0.3, 0.9), (0.4, 0, 0.6, 0.6), None), ["box 1", "box 2", "box 3", "whole picture"]),
    ],
)
def test_places_are_named_by_row_and_column_where_they_have_them(boxes, names):
    assert place_names(card(boxes=boxes)) == names


def test_the_table_counts_cells_by_direction():
    two = card(directions=(card().directions[0], direction("words")), word_gates=(0.1, 1.0))
    frame = words_table(two, bars=True).frame
    assert frame.place_0.tolist() == ["row 1, column 1", "row 2, column 1"]
    assert frame.cells_0.tolist() == pytest.approx([4, 1.7547], abs=1e-3)
    assert frame.place_1.tolist() == ["row 1, column 1", "row 1, column 2"]
    assert frame.cells_1.tolist() == [2, 1]  # "a" is the word of two cells
    assert frame.gate.tolist() == [0.1, 1.0]
    assert frame.bar_0.tolist() == ["", bar(1.0)]


def test_a_line_says_which_pair_it_is_and_how_it_ranks():
    assert said_of(card()) == (
        "picture image1 (row 1); caption caption3 (row 3); a correct pair; score 0.500; caption finds its picture at rank 2; "
        "picture finds a correct caption at rank 1"
    )
    own = card(caption_row=None, caption_id="", correct=None, ranks={})
    assert said_of(own) == "picture image1 (row 1); own text; score 0.500"


def test_the_heat_of_an_overlay_follows_the_weights():
    found = pixels(overlay(photograph(), (0.0, 0.5, 0.25, 0.0), QUARTERS))
    assert found.shape == (20, 40, 3)
    grey = np.full(3, 0.299 * 200 + 0.587 * 30 + 0.114 * 30)
    for (row, column), share in {(5, 10): 0, (5, 30): 1, (15, 10): 0.5, (15, 30): 0}.items():
        expected = grey * (1 - OPACITY * share) + np.array(HEAT) * OPACITY * share
        assert found[row, column] == pytest.approx(expected, abs=14)  # a JPEG is not exact


def test_an_overlay_is_small_and_bounded():
    made = Image.open(io.BytesIO(overlay(photograph((4000, 1000)), (1.0,), ((0, 0, 1, 1),))))
    assert made.size == (256, 64)


def test_fragments_without_a_place_are_numbered_cells():
    made = pixels(overlay(photograph(), (0.0, 1.0) + (0.0,) * 8, None))
    assert made.shape == (2 * CELL, 8 * CELL, 3)
    warm = made[..., 0] - made[..., 2]  # red over blue
    assert warm[6, CELL + 6] > 100  # the second cell, beside its number
    assert abs(warm[6, 6]) < 20


def test_a_map_of_nothing_is_the_grey_picture():
    found = pixels(overlay(photograph(), (0.0,) * 4, QUARTERS))
    assert abs(found[..., 0] - found[..., 2]).max() < 8


def test_a_report_has_a_map_of_every_word_and_of_every_region(three_scorers):
    three_scorers.add(rank_table([0, 0], [0, 0, 0, 0], [0, 0, 1, 1]))
    record = three_scorers.store.records()[0]
    full = card(regions=((0.1, 0.9, 0, 0),), region_gates=(1, 1, 0, 0), directions=(direction(), direction("words")))
    report = build(record, [full], {1: photograph()})
    (section,) = report.sections
    assert [len(gallery.tiles) for gallery in section.galleries] == [1, 2, 2, 1, 1]
    assert report.data["run_ids"] == [record.run_id]


def with_cards(runs, *cards, scorers=("scan", "chan"), pictures=True):
    """A results folder whose runs of seed 0 have these cards."""
    records = [record for record in runs.store.records() if record.seed == 0 and record.scorer in scorers]
    for record in records:
        runs.store.write_alignments(
            Cards(run_id=record.run_id, model_sha256="0" * 64, sample="v", cards=cards or (card(),))
        )
    if pictures:
        record = records[0]
        folder = exhibits_folder(runs.store.results, record.dataset, record.split, record.data_sha256)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "1.jpg").write_bytes(photograph())
        write_exhibits(
            folder,
            Exhibits(
                dataset=record.dataset,
                split=record.split,
                data_sha256=record.data_sha256,
                image_ids=("image0", "image1"),
                captions=("one", "two", "three", "a dog"),
                caption_ids=("caption0", "caption1", "caption2", "caption3"),
                caption_image=(0, 0, 1, 1),
                pictures={1: "1.jpg"},
            ),
        )
    return records


def read(runs):
    write_site(runs.store)
    (path,) = runs.store.results.glob("site/alignments/*.html")
    text = path.read_text()
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return text, json.loads(data[1])


def test_a_page_holds_the_cards_of_all_methods_of_a_split(three_scorers):
    with_cards(three_scorers)
    text, data = read(three_scorers)
    assert [method["label"] for method in data["methods"]] == ["chan", "scan"]
    assert data["cards"][0]["0"]["modes"][0]["weights"] == [[2500] * 4, [0, 0, 7500, 2500]]
    assert data["boxes"] == [[list(box) for box in QUARTERS]]
    assert 'src="../exhibits/scenes-test-aaaaaaaa/1.jpg"' in text
    assert "1 pair of a picture and its own caption was drawn at random" in text
    assert "row 2, column 1" in text  # in the table, for those without scripts


def test_runs_without_cards_have_no_page(three_scorers):
    assert not list(pages(Results(three_scorers.store)))
    record = three_scorers.store.records()[0]
    three_scorers.store.write_alignments(
        Cards(run_id=record.run_id, model_sha256="0" * 64, without="one vector per side")
    )
    assert not list(pages(Results(three_scorers.store)))


def test_no_text_of_a_card_is_obeyed(three_scorers):
    with_cards(three_scorers, card(caption=HOSTILE, image_id=HOSTILE, caption_id=HOSTILE, words=(HOSTILE, "dog")))
    text, data = read(three_scorers)
    assert "<img src=x" not in text
    assert data["cards"][0]["0"]["words"] == [HOSTILE, "dog"]
    assert "innerHTML" not in next(three_scorers.store.results.glob("site/assets/alignments/page.js")).read_text()


def test_without_pictures_the_cards_are_shown_all_the_same(three_scorers):
    with_cards(three_scorers, pictures=False)
    text, _ = read(three_scorers)
    assert "The picture is not at hand." in text
    assert "<img" not in text.partition("<article")[2].partition("</article>")[0]


def test_damaged_cards_are_left_out_in_one_line(three_scorers, caplog):
    record, _ = with_cards(three_scorers)
    (three_scorers.store.folder(record.run_id) / "alignments.json").write_text("{")
    _, data = read(three_scorers)
    assert len(data["methods"]) == 1
    assert caplog.text.count("alignment cards are left out of the site") == 1


def test_the_sample_comes_before_what_was_asked_for_and_gaps_stay_gaps(three_scorers):
    first, second = with_cards(three_scorers)
    asked = card(caption_row=None, caption="my own", chosen="asked", correct=None)
    three_scorers.store.write_alignments(Cards(run_id=second.run_id, model_sha256="0" * 64, cards=(asked, card())))
    text, data = read(three_scorers)
    number = [method["run"] for method in data["methods"]].index(second.run_id)
    assert [sorted(cards) for cards in data["cards"]] == [["0", "1"], [str(number)]]
    assert "asked for by itm explain" in text
    assert "1 more was asked for" in text
    assert first.run_id != second.run_id


def test_a_page_is_made_again_when_a_card_changes(three_scorers):
    with_cards(three_scorers)
    read(three_scorers)
    (path,) = three_scorers.store.results.glob("site/alignments/*.html")
    before = path.stat().st_mtime_ns
    write_site(three_scorers.store)
    assert path.stat().st_mtime_ns == before
    with_cards(three_scorers, card(score=0.125))
    assert "score 0.125" in read(three_scorers)[0]


def test_two_runs_of_one_method_are_told_apart(three_scorers):
    for record in three_scorers.store.records():
        if record.scorer == "scan":
            three_scorers.store.write_alignments(Cards(run_id=record.run_id, model_sha256="0" * 64, cards=(card(),)))
    _, data = read(three_scorers)
    labels = [method["label"] for method in data["methods"]]
    assert labels == ["scan seed 0", "scan seed 1", "scan seed 2"]


def test_boxes_and_places_are_stored_once():
    cards = {0: card(), 1: card(score=1.0)}
    data = data_of([], {(1, 3): cards})
    assert len(data["boxes"]) == len(data["places"]) == 1
    assert [data["cards"][0][number]["boxes"] for number in ("0", "1")] == [0, 0]


def test_runs_lead_to_their_cards(three_scorers):
    record, _ = with_cards(three_scorers)
    results = Results(three_scorers.store)
    path, _, chosen = results.page_of_alignments(record.run_id).partition("#")
    assert chosen == f"a={record.run_id}"
    read(three_scorers)
    assert (three_scorers.store.results / "site" / path).is_file()
    assert {run for run in results.finished if results.page_of_alignments(run)} == set(results.cards)
