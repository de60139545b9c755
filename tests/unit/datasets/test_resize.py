"""Photographs as squares, against torchvision's transforms as open_clip puts them together."""

import numpy as np
import open_clip
import pytest
from PIL import Image

from harness.datasets.images import to_pixels
from harness.datasets.photographs.files import Photographs
from harness.datasets.photographs.sources import ImageFiles
from harness.features.items import ImageItems

SIZES = [(40, 30), (30, 40), (33, 57), (57, 33), (20, 10), (10, 20), (3, 50), (32, 32), (31, 100), (101, 31), (64, 64)]


def noise(width: int, height: int) -> Image.Image:
    random = np.random.default_rng([width, height])
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(("resize", "mode"), [("crop", "shortest"), ("plain", "squash")])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_a_square_is_open_clips(size, resize, mode):
    image = noise(*size)
    transform = open_clip.image_transform(32, is_train=False, mean=(0, 0, 0), std=(1, 1, 1), resize_mode=mode)
    expected = np.rint(255 * transform(image).numpy()).astype(np.uint8)
    np.testing.assert_array_equal(to_pixels(image, 32, resize), expected)


@pytest.fixture
def photographs(tmp_path, monkeypatch) -> Photographs:
    monkeypatch.setenv("ITM_CACHE", str(tmp_path / "cache"))
    for number, size in enumerate(SIZES):
        noise(*size).save(tmp_path / f"{number}.png")
    return Photographs(ImageFiles(tmp_path, [f"{number}.png" for number in range(len(SIZES))]))


def test_both_forms_are_cached_apart(photographs, tmp_path):
    rows = np.arange(len(SIZES))
    for _ in range(2):  # decoded, then from the cache
        for resize in ("plain", "crop"):
            expected = np.stack([to_pixels(noise(*size), 16, resize) for size in SIZES])
            np.testing.assert_array_equal(photographs.pixels(rows, 16, resize), expected)
    names = sorted(path.name for path in (tmp_path / "cache" / "photographs").glob("*.npy"))
    assert [name.partition("-")[2] for name in names] == ["16-crop.npy", "16.npy"]
    assert len({name.partition("-")[0] for name in names}) == 1


def test_the_feature_store_tells_both_forms_apart(photographs):
    content = [digest.encode() for digest in photographs.digests]
    plain, crop = (set(ImageItems(photographs, (16, resize), content).digests) for resize in ("plain", "crop"))
    assert not plain & crop
    assert len(plain) == len(crop) == len(SIZES)
