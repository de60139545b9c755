"""Severities of perturbations, and draws that belong to one item."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import InvalidSpec
from harness.robustness.perturbations.severities import draws_of, severity_levels


def test_the_unchanged_input_comes_first_and_the_rest_in_order():
    assert [(level.name, level.value) for level in severity_levels([3, 1])] == [("0", 0.0), ("1", 1.0), ("3", 3.0)]


@pytest.mark.parametrize("wanted", [[], [0], [6], [1, 1], [-1, 2]])
def test_severities_that_no_perturbation_has_are_refused(wanted):
    with pytest.raises(InvalidSpec, match="from 1 to 5, got"):
        severity_levels(wanted)


def test_draws_belong_to_their_key():
    keys = [
        (0, "noise", "a"),
        (1, "noise", "a"),
        (0, "blur", "a"),
        (0, "noise", "b"),
        (0, "noisea"),
        ("0", "noise", "a"),
    ]
    drawn = [draws_of(*key).random() for key in keys]
    assert len(set(drawn)) == len(keys)
    assert [draws_of(*key).random() for key in reversed(keys)] == drawn[::-1]


def test_draws_of_many_items_are_uniform():
    drawn = np.array([draws_of(0, "noise", f"image-{number}").random() for number in range(2000)])
    assert np.abs(np.histogram(drawn, 10, (0, 1))[0] - 200).max() < 60  # 4.5 standard deviations of a cell
