"""Candidate lists too short for rSum: their run is in no table and no test, and whatever leaves it out says so."""

from __future__ import annotations

import numpy as np
import pytest
from outputs_cases import scores, write_dataset

from harness.cli.main import main

IMAGES = 40  # enough to compare


@pytest.fixture
def results(add, tmp_path):
    root = write_dataset(tmp_path / "many_precomp", IMAGES)
    matrix = scores(IMAGES, 5 * IMAGES, seed=1, bonus=1.0)
    for name, found in (("whole", matrix), ("weak", scores(IMAGES, 5 * IMAGES, seed=1, bonus=0.5))):
        np.save(tmp_path / f"{name}.npy", found)
        assert add(tmp_path / f"{name}.npy", root=root, name=name)[0] == 0
    np.savez(tmp_path / "l.npz", i2t=np.argsort(-matrix, 1)[:, :20], t2i=np.argsort(-matrix.T, 1)[:, :5])
    assert add(tmp_path / "l.npz", root=root, name="short")[0] == 0
    return tmp_path / "results"


SAID = "In no table and no test, since candidate lists shorter than 10 decide no rSum: short"
REFUSED = "t2i lists of 5, which decide no rSum"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["report", "{results}"], 0, SAID),
        (["significance", "{results}", "--protocol", "full"], 0, SAID),
        (["significance", "{results}", "--protocol", "full", "--pairs", "whole:short"], 2, REFUSED),
        (["gate", "{results}:whole", "{results}:short"], 2, REFUSED),
        (["freeze", "{results}", "--version", "1.0", "--out", "{results}/frozen-1"], 0, SAID),
    ],
)
def test_it_is_named_where_it_is_left_out(arguments, code, said, results, capsys):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([word.format(results=results) for word in arguments])
    found = capsys.readouterr()
    assert int(stop.value.code or 0) == code, found.err
    assert said in " ".join((found.out + found.err).split())
