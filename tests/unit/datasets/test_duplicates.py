"""Exact duplicate captions: found, counted, and told apart by whether they tie as right and wrong."""

from __future__ import annotations

import logging

from harness.datasets.repeats import duplicate_captions, report_captions


def test_repeats_within_and_across_images():
    captions = ["a dog", "a dog", "a cat", "a cat", "A cat", "a bird"]
    found = duplicate_captions(captions, [0, 0, 0, 1, 1, 2])
    assert (found.captions, found.repeats, found.texts, found.across_images) == (6, 2, 2, 2)
    assert found.example == "a dog"
    assert found.as_dict()["repeats"] == 2


def test_a_text_of_three_images_counts_each_of_its_captions(caplog):
    with caplog.at_level(logging.INFO, logger="harness"):
        found = report_captions(["x", "x", "x", "y"], [0, 1, 2, 3], "scenes test")
    assert (found.repeats, found.texts, found.across_images) == (2, 1, 3)
    (line,) = caplog.messages
    assert line.startswith("scenes test: 2 of 4 captions repeat another one word for word (3 share")


def test_nothing_is_said_where_nothing_repeats(caplog):
    with caplog.at_level(logging.INFO, logger="harness"):
        assert report_captions(["a", "b"], [0, 1], "x").repeats == 0
    assert not caplog.messages
