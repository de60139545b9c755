"""Top lists on disk: round trip, size, and what a damaged or foreign file does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.errors import InvalidRecord
from harness.records.store import TOP, RunStore
from harness.records.tops import NAMES, TopTable

TABLE = TopTable(
    image_id=np.array(["a", "b"]),
    caption_id=np.array(["a#0", "b#0", "b#1"]),
    caption_image=np.array([0, 1, 1]),
    i2t_top=np.array([[0, 2], [1, 2]], dtype=np.int32),
    i2t_score=np.array([[0.5, 0.25], [0.5, 0.5]], dtype=np.float32),
    t2i_top=np.array([[0, 1], [1, 0], [0, 1]], dtype=np.int32),
    t2i_score=np.array([[1, 0], [3, -2], [0, 0]], dtype=np.float32),
)


def written(store: RunStore, **changes: np.ndarray | None) -> None:
    """The table with other arrays, without those that are None."""
    arrays = {name: changes.get(name, getattr(TABLE, name)) for name in NAMES}
    path = store.folder("abc") / TOP
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


def test_a_table_comes_back_as_it_was_written(tmp_path):
    store = RunStore(tmp_path)
    assert store.top("abc") is None
    store.write_top("abc", TABLE)
    found = store.top("abc")
    assert found is not None
    for name in NAMES:
        np.testing.assert_array_equal(getattr(found, name), getattr(TABLE, name))
        assert getattr(found, name).dtype == getattr(TABLE, name).dtype


def test_types_of_other_writers_become_ours(tmp_path):
    store = RunStore(tmp_path)
    written(
        store,
        i2t_top=TABLE.i2t_top.astype(">i8"),
        t2i_score=TABLE.t2i_score.astype(np.float16),
        caption_image=TABLE.caption_image.astype(np.uint8),
        image_id=np.array([7, 9]),
    )
    found = store.top("abc")
    assert found is not None
    assert (found.i2t_top.dtype, found.t2i_score.dtype, found.caption_image.dtype) == (np.int32, np.float32, np.int64)
    np.testing.assert_array_equal(found.i2t_top, TABLE.i2t_top)


def test_two_writings_have_equal_bytes(tmp_path):
    files = []
    for name in ("one", "two"):
        store = RunStore(tmp_path / name)
        store.write_top("abc", replace(TABLE))
        files.append((store.folder("abc") / TOP).read_bytes())
    assert files[0] == files[1]


CASES = {
    "it lacks i2t_top, t2i_score": {"i2t_top": None, "t2i_score": None},
    "image_id names an item twice": {"image_id": np.array(["a", "a"])},
    r"image_id is float64 of shape \(2,\), expected a list of ids": {"image_id": np.array([0.5, 1.5])},
    r"caption_id is <U3 of shape \(0,\), expected a list of ids": {"caption_id": np.array([], dtype="<U3")},
    r"caption_image is int64 of shape \(2,\), expected whole numbers of shape \(3,\)": {
        "caption_image": np.array([0, 1])
    },
    "caption_image holds 2, expected rows 0 to 1": {"caption_image": np.array([0, 1, 2])},
    "1 images have no caption, the first is row 1": {"caption_image": np.array([0, 0, 0])},
    r"i2t_top has shape \(2,\), expected \(2, 1 to 3\)": {"i2t_top": np.array([0, 1])},
    r"i2t_top has shape \(2, 4\), expected \(2, 1 to 3\)": {"i2t_top": np.tile(np.arange(4), (2, 1))},
    r"i2t_top has shape \(2, 0\)": {"i2t_top": np.empty((2, 0), dtype=np.int32)},
    r"i2t_top is int64 of shape \(3, 2\), expected whole numbers of shape \(2, 2\)": {
        "i2t_top": np.tile(np.arange(2), (3, 1))
    },
    r"t2i_top is float64 of shape \(3, 2\), expected whole numbers": {"t2i_top": TABLE.t2i_top.astype(float)},
    r"t2i_score is int64 of shape \(3, 2\), expected numbers": {"t2i_score": TABLE.t2i_score.astype(int)},
    r"t2i_score is float32 of shape \(3, 1\), expected numbers of shape \(3, 2\)": {
        "t2i_score": TABLE.t2i_score[:, :1]
    },
    "i2t_top holds -1, expected rows 0 to 2": {"i2t_top": np.array([[0, -1], [1, 2]])},
    "t2i_top holds 2, expected rows 0 to 1": {"t2i_top": np.array([[0, 1], [2, 0], [0, 1]])},
    "t2i_top names an item twice for query 2": {"t2i_top": np.array([[0, 1], [1, 0], [1, 1]])},
    "i2t_score holds nan; scores must be finite": {"i2t_score": np.array([[np.nan, 0.25], [0.5, 0.5]])},
    r"i2t_score holds 1e\+300; scores must be finite, as float32": {"i2t_score": np.array([[1e300, 1], [1, 1]])},
    "i2t_score rises along the list of query 1": {"i2t_score": np.array([[0.5, 0.25], [0.5, 0.75]])},
}


@pytest.mark.parametrize("problem", CASES)
def test_lists_that_no_evaluation_makes_are_refused_in_one_line(tmp_path, problem):
    store = RunStore(tmp_path)
    written(store, **CASES[problem])
    with pytest.raises(InvalidRecord, match=f"{problem}.*; delete top.npz to have it made again") as refused:
        store.top("abc")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    store = RunStore(tmp_path)
    written(store)
    (store.folder("abc") / TOP).write_bytes(content)
    with pytest.raises(InvalidRecord, match=r"cannot read .*top.npz: .*; delete top.npz"):
        store.top("abc")
