"""`itm explain`: a page and a card of the pair that is asked for, and the words in the terminal."""

from __future__ import annotations

import logging

import pytest
from click.testing import CliRunner

from harness.cli.main import cli
from harness.errors import InvalidCheckpoint, InvalidSpec
from harness.reports.document.stored import read_report


def of(store, scorer):
    return next(record for record in store.records() if record.scorer == scorer and record.seed == 0)


def run(store, *arguments):
    result = CliRunner().invoke(cli, ["explain", *arguments, "--results", str(store.results)], catch_exceptions=True)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_one_pair_in_the_terminal_on_a_page_and_with_the_run(store):
    record = of(store, "late_interaction")
    out = run(store, record.run_id[:10], "--image", "row:4", "--text", "a <i>red</i> circle").output
    (card,) = store.alignments(record.run_id).cards
    assert card.pair == (4, "a <i>red</i> circle")
    for word, weights in zip(card.words, card.directions[0].weights, strict=True):
        row, column = divmod(weights.index(1), 4)  # 4 x 4 cells
        told = word.split()
        line = next(line for line in out.splitlines() if line.split()[: len(told)] == told)
        assert f"row {row + 1}, column {column + 1}" in line
    assert "█" in out
    (page,) = store.results.glob("explanations/*/explain.html")
    assert str(page.parent) in out.replace("\n", "")
    text = page.read_text()
    assert "&lt;i&gt;red&lt;/i&gt;" in text
    assert "<i>red" not in text
    report = read_report(page.with_suffix(".json"))
    assert report.data["run_ids"] == [record.run_id]
    maps = next(gallery for gallery in report.galleries if gallery.key == "maps-1-1")
    assert [tile.title for tile in maps.tiles] == list(card.words)


def test_all_captions_of_a_picture_are_one_page(store):
    record = of(store, "scan")
    run(store, record.run_id, "--image", "row:4")
    (page,) = store.results.glob("explanations/*/explain.json")
    assert len(read_report(page).sections) == len(store.alignments(record.run_id).cards) == 5


def test_each_pair_has_a_page_of_its_own(store):
    record = of(store, "scan")
    for text in ("a b", "a-b", "a/b", "../.."):
        run(store, record.run_id, "--image", "row:4", "--text", text)
    assert len(list(store.results.glob("explanations/*/explain.html"))) == 4


def test_a_text_of_unknown_words_says_so(store, caplog):
    with caplog.at_level(logging.INFO, "harness"):
        run(store, of(store, "scan").run_id, "--image", "row:1", "--text", "zyx wvu")
    assert "of 1 caption the text encoder knows no word" in caplog.text


def test_what_has_nothing_to_explain_writes_nothing(store):
    (store.folder(of(store, "grm").run_id) / "model.safetensors").unlink()
    with pytest.raises(InvalidCheckpoint, match="no model at"):
        run(store, of(store, "grm").run_id, "--image", "0")
    with pytest.raises(InvalidSpec, match="one vector per side"):
        run(store, of(store, "vsepp").run_id, "--image", "0")
    with pytest.raises(InvalidSpec, match="or 'test-00003'"):
        run(store, of(store, "scan").run_id, "--image", "test-0003")
    assert not (store.results / "explanations").exists()
