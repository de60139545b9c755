"""Tests of the section `example`."""

from pathlib import Path

import pytest

from harness import plugins
from harness.conformance import check_file
from harness.conformance.sections import made_runs
from harness.sections.catalogue import SECTIONS

FILE = Path(__file__).with_name("example.py")


def test_it_keeps_the_rules_of_sections():
    assert [checked.broken for checked in check_file(FILE)] == [[]]


def test_a_row_counts_the_captions_beyond_ten():
    plugins.add(FILE)
    runs = made_runs(["scan"], seeds=2)
    ranks = [rank for record in runs.records for rank in runs.ranks(record.run_id)["full"].t2i_rank.tolist()]
    section = SECTIONS.get("example")().build(runs)
    assert section is not None
    (table,) = section.tables
    assert table.frame["beyond"].tolist() == pytest.approx([100 * sum(rank >= 10 for rank in ranks) / len(ranks)])
