"""Tests of the text backbone `example`."""

from pathlib import Path

from harness import plugins
from harness.backbones import build_text
from harness.conformance import check_file

FILE = Path(__file__).with_name("example.py")


def test_it_keeps_the_rules_of_text_backbones():
    assert [checked.broken for checked in check_file(FILE)] == [[]]


def test_each_word_is_a_fragment():
    plugins.add(FILE)
    encoder = build_text({"name": "example", "width": 16}, captions=["a dog runs"])
    found = encoder(encoder.tokenizer(["a dog", "a dog runs"]))
    assert found.lengths.tolist() == [4, 5]  # with <start> and <end>
