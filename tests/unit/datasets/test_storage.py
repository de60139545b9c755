"""What is taken of rows and captions: what the files prove and what is stated. Everything else is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from harness.datasets.precomp.features import open_features
from harness.datasets.precomp.storage import Storage, find_storage
from harness.errors import InvalidDataset

REGIONS, WIDTH = 3, 8


def different(images: int) -> np.ndarray:
    return np.random.default_rng(images).standard_normal((images, REGIONS, WIDTH)).astype(np.float32)


def noisy(images: int, times: int, size: float) -> np.ndarray:
    rows = different(images).repeat(times, axis=0)
    return rows + (size * np.random.default_rng(1).standard_normal(rows.shape)).astype(np.float32)


def first_region_zero(images: int) -> np.ndarray:
    rows = different(images)
    rows[:, 0] = 0
    return rows


def one_row_differs(images: int, times: int) -> np.ndarray:
    rows = different(images).repeat(times, axis=0)
    rows[-1, -1, -1] += 1e-6
    return rows


def with_a_double(images: int) -> np.ndarray:
    rows = different(images)
    rows[3] = rows[2]
    return rows


def storage(folder: Path, rows: np.ndarray, captions: int, ids: list[str] | None = None, **stated) -> Storage:
    np.save(folder / "x_ims.npy", rows)
    told = f"x_ims.npy has {len(rows)} rows and x_caps.txt {captions} captions"
    return find_storage(
        open_features(folder / "x_ims.npy"),
        captions,
        folder / "x_ids.txt",
        ids,
        stated.get("captions_per_image"),
        stated.get("stored"),
        told,
    )


def names(images: int, times: int = 1) -> list[str]:
    return [f"{image}.jpg" for image in range(images) for _ in range(times)]


@pytest.mark.parametrize(
    ("rows", "captions", "stated", "expected"),
    [
        # once: five captions an image, as all published data have
        (different(8), 40, {}, Storage(8, 5, True)),
        (different(8), 32, {"captions_per_image": 4}, Storage(8, 4, True)),
        (different(8), 200, {"captions_per_image": 25}, Storage(8, 25, True)),
        (with_a_double(8), 40, {}, Storage(8, 5, True)),
        (different(4).repeat(5, 0), 100, {"stored": "once"}, Storage(20, 5, True)),
        # repeated: rows that are equal in every value
        (different(8).repeat(5, 0), 40, {}, Storage(8, 5, False)),
        (different(8).repeat(3, 0), 24, {}, Storage(8, 3, False)),
        (with_a_double(8).repeat(5, 0), 40, {}, Storage(8, 5, False)),
        (different(1).repeat(5, 0), 5, {}, Storage(1, 5, False)),
        (np.ones((20, REGIONS, WIDTH), np.float32), 20, {"captions_per_image": 4}, Storage(5, 4, False)),
        # one caption each: no row repeats, or it is stated
        (different(10), 10, {}, Storage(10, 1, True)),
        (different(12), 12, {}, Storage(12, 1, True)),
        (first_region_zero(10), 10, {}, Storage(10, 1, True)),
        (noisy(8, 5, 1e-7), 40, {"captions_per_image": 1}, Storage(40, 1, True)),
        (different(8).repeat(5, 0), 40, {"captions_per_image": 1}, Storage(40, 1, True)),
    ],
)
def test_what_is_proved_or_stated_is_taken(tmp_path, rows, captions, stated, expected):
    assert storage(tmp_path, rows, captions, **stated) == expected


@pytest.mark.parametrize(
    ("rows", "captions", "stated", "message"),
    [
        (different(4).repeat(5, 0), 100, {}, "groups of 5 equal ones, so an image seems to be stored 5 times"),
        (different(8), 32, {}, "4 captions per image would be a guess; set dataset.captions_per_image=4"),
        (different(8), 200, {}, "25 captions per image would be a guess; set dataset.captions_per_image=25"),
        (noisy(8, 5, 1e-7), 40, {}, "every 5 are so near to each other .* set dataset.captions_per_image=1 if"),
        (noisy(8, 5, 1e-2), 40, {}, "every 5 are so near to each other"),
        (noisy(8, 5, 1e-7), 200, {}, "every 5 are so near to each other .* dataset.stored=once"),
        (one_row_differs(8, 5), 40, {}, "31 rows equal the row before .*no even repetition; set dataset.captions_per"),
        (one_row_differs(8, 5), 40, {"captions_per_image": 5}, "= 5 times, but row 39 differs from the row before"),
        (with_a_double(10), 10, {}, "1 rows equal the row before .* set dataset.captions_per_image=1"),
        (np.ones((20, REGIONS, WIDTH), np.float32), 20, {}, "in 1 runs of equal ones; set dataset.captions_per_image"),
        (different(4).repeat(10, 0), 40, {}, "in 4 runs of equal ones; set dataset.captions_per_image"),
        (different(8), 40, {"captions_per_image": 4}, "expected 4 captions per image"),
        (different(8), 41, {}, "expected the same number of captions per image"),
        (different(8), 7, {}, "expected the same number of captions per image"),
        (different(8), 40, {"stored": "repeated"}, "stored=repeated there must be one row per caption"),
        (different(8), 8, {"stored": "repeated"}, "no even repetition"),
    ],
)
def test_what_nothing_proves_is_refused_with_the_option_that_states_it(tmp_path, rows, captions, stated, message):
    with pytest.raises(InvalidDataset, match=message) as caught:
        storage(tmp_path, rows, captions, **stated)
    assert re.match(rf"x_ims.npy has {len(rows)} rows and x_caps.txt {captions} captions", str(caught.value))


@pytest.mark.parametrize(
    ("rows", "captions", "ids", "expected"),
    [
        (different(8), 40, names(8), Storage(8, 5, True)),
        (different(8), 40, names(8, 5), Storage(8, 5, True)),
        (different(8).repeat(5, 0), 40, names(8), Storage(8, 5, False)),
        (different(8).repeat(5, 0), 40, names(8, 5), Storage(8, 5, False)),
        (different(8), 32, names(8, 4), Storage(8, 4, True)),  # ids a caption prove the number of captions
        (different(10), 10, names(10), Storage(10, 1, True)),
    ],
)
def test_ids_an_image_or_a_caption(tmp_path, rows, captions, ids, expected):
    assert storage(tmp_path, rows, captions, ids) == expected


@pytest.mark.parametrize(
    ("rows", "captions", "ids", "message"),
    [
        (different(8), 40, names(7), "x_ids.txt has 7 ids for 8 images with 5 captions each"),
        (different(8), 40, names(10, 4), "expected 4 captions per image"),
        (different(8).repeat(5, 0), 40, names(10, 4), r"each id must repeat 5 times, but line 5 holds '1.jpg' after"),
        (different(8), 40, [*names(7, 5), *names(5)], "each id must repeat 5 times, but line 37"),
    ],
)
def test_ids_that_contradict_the_rows(tmp_path, rows, captions, ids, message):
    with pytest.raises(InvalidDataset, match=message):
        storage(tmp_path, rows, captions, ids)
