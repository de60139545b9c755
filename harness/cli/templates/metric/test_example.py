"""Tests of the metric `example`."""

from pathlib import Path

import numpy as np
import pytest

from harness import plugins
from harness.conformance import check_file
from harness.metrics.catalogue import METRICS

FILE = Path(__file__).with_name("example.py")


def test_it_keeps_the_rules_of_metrics():
    assert [checked.broken for checked in check_file(FILE)] == [[]]


def test_the_second_place_is_worth_less_than_the_first():
    plugins.add(FILE)
    values = METRICS.get("example")().values(np.array([0, 1, 2]), gallery=10)
    assert values == pytest.approx([100.0, 63.0930, 50.0])
