"""Tests of the dataset `example`."""

from pathlib import Path

from harness import plugins
from harness.conformance import check_file
from harness.datasets import open_dataset

FILE = Path(__file__).with_name("example.py")


def test_it_keeps_the_rules_of_datasets():
    assert [checked.broken for checked in check_file(FILE)] == [[]]


def test_the_caption_names_the_colour_of_the_square():
    plugins.add(FILE)
    split = open_dataset("example").split("test")
    red, green, blue = split.images.pixels([0], 32)[0].max(axis=(1, 2))
    _, brightest = max((red, "red"), (green, "green"), (blue, "blue"))
    assert split.captions[0].split()[1] in (brightest, "white")
