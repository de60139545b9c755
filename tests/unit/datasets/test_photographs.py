"""Photographs as pixels: decoded once, cached, followed when a file changes, and refused in one line when they cannot be."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from karpathy_files import karpathy, photograph, refused, whole
from PIL import Image

from harness.errors import InvalidDataset, InvalidSpec


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return whole(tmp_path)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ITM_CACHE", str(folder))
    return folder


@pytest.mark.parametrize("gib", ["8", "0"])
def test_pixels_are_the_plainly_resized_photographs_cached_or_not(root, cache, monkeypatch, gib):
    monkeypatch.setenv("ITM_CACHE_GIB", gib)
    images = karpathy(root).split("test").images
    pixels = images.pixels(np.array([1, 0, 1]), 12)
    assert pixels.dtype == np.uint8
    for row, number in zip(pixels, (4, 3, 4), strict=True):
        with Image.open(root / "images" / f"{number}.png") as image:
            np.testing.assert_array_equal(
                row, np.moveaxis(np.asarray(image.resize((12, 12), Image.Resampling.BICUBIC)), -1, 0)
            )
    assert len(list(cache.rglob("*.npy"))) == (gib == "8")


def test_a_photograph_of_the_asked_size_is_not_changed(root):
    photograph(root / "images" / "3.png", 9, (16, 16))
    with Image.open(root / "images" / "3.png") as image:
        np.testing.assert_array_equal(np.moveaxis(karpathy(root).split("test").images.pixels([0], 16)[0], 0, -1), image)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_photographs_of_other_modes_become_rgb(root, mode):
    with Image.open(root / "images" / "3.png") as image:
        converted = image.convert(mode)
    converted.save(root / "images" / "3.png", format="TIFF" if mode == "CMYK" else "PNG")
    pixels = karpathy(root).split("test").images.pixels([0], 20)
    assert pixels.shape == (1, 3, 20, 20)
    if mode == "L":
        assert (pixels[0, 0] == pixels[0, 1]).all()


def test_decoded_pixels_are_kept_until_a_file_changes(root, monkeypatch):
    first = karpathy(root).split("test").images.pixels([0], 12)
    photograph(root / "images" / "3.png", 77)
    os.utime(root / "images" / "3.png", (time.time() + 5, time.time() + 5))
    changed = karpathy(root).split("test").images.pixels([0], 12)
    assert (first != changed).any()
    with monkeypatch.context() as patched:
        patched.setattr("harness.datasets.photographs.files.decode_bytes", lambda *_: pytest.fail("decoded again"))
        np.testing.assert_array_equal(karpathy(root).split("test").images.pixels([0], 12), changed)


def test_a_long_decoding_says_how_far_it_is(root, monkeypatch, caplog):
    monkeypatch.setattr("harness.datasets.photographs.files._BLOCK", 1)
    monkeypatch.setattr("harness.datasets.store.facts._BLOCK", 1)
    monkeypatch.setattr("harness.datasets.store.facts.REPORT_SECONDS", 0)
    caplog.set_level("INFO")
    karpathy(root).split("test").images.pixels([0], 12)
    for work in ("reading images", "decoding images to 12 px"):
        assert f"{work}: 1 of 2" in caplog.text
        assert f"{work}: 2 in 0 s" in caplog.text


def test_a_truncated_cache_is_decoded_anew(root, cache):
    before = karpathy(root).split("test").images.pixels([0, 1], 12)
    file = next(cache.rglob("*.npy"))
    os.truncate(file, file.stat().st_size - 10)
    np.testing.assert_array_equal(karpathy(root).split("test").images.pixels([0, 1], 12), before)


def test_regions_are_refused_with_a_way_out(root):
    with pytest.raises(InvalidDataset, match="no region features; choose an image backbone that takes pixels"):
        karpathy(root).split("test").images.regions([0])


@pytest.mark.parametrize("gib", ["8", "0"])
@pytest.mark.parametrize("harm", ["truncate", "empty", "text", "remove"])
def test_an_image_that_cannot_be_read_is_named(root, cache, harm, gib, monkeypatch):
    monkeypatch.setenv("ITM_CACHE_GIB", gib)
    photograph(root / "images" / "3.png", 5, (200, 200))
    dataset = karpathy(root)
    test = dataset.split("test")
    path = root / "images" / "3.png"
    if harm == "truncate":
        os.truncate(path, path.stat().st_size // 2)
    elif harm == "empty":
        os.truncate(path, 0)
    elif harm == "text":
        path.write_text("not an image")
    else:
        path.unlink()
    with pytest.raises(InvalidDataset, match=r"image .*3\.png (is missing|is not an image|cannot be decoded)"):
        test.images.pixels([0], 8)
    assert not [file for file in cache.rglob("*") if file.is_file()]


def test_all_images_that_cannot_be_decoded_are_found_before_any_is_used(root):
    for number in (3, 4):
        (root / "images" / f"{number}.png").write_bytes(b"<html>")
    with pytest.raises(
        InvalidDataset, match=r"3\.png is not an image .*\(2 of 2 images of this split cannot be read\)"
    ):
        karpathy(root).check()


def test_images_that_are_no_files_or_lie_elsewhere(root, tmp_path_factory):
    path = root / "images" / "3.png"
    outside = tmp_path_factory.mktemp("outside") / "3.png"
    path.rename(outside)
    path.symlink_to(outside)
    refused(root, r"3\.png is a link to .*outside.*, which leaves")
    path.unlink()
    path.symlink_to("4.png")  # inside
    assert karpathy(root).split("test").images.pixels([0], 8).shape == (1, 3, 8, 8)
    path.unlink()
    os.mkfifo(path)
    refused(root, r"1 of 2 images are no regular files \(first: .*3\.png\)")


def test_a_folder_of_images_that_is_a_link_out_of_the_root(root, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "images"
    (root / "images").rename(outside)
    (root / "images").symlink_to(outside)
    refused(root, "images is a link to .*, which leaves .*set dataset.root to a folder that holds both")


def test_an_impossible_cache_limit(root, monkeypatch):
    monkeypatch.setenv("ITM_CACHE_GIB", "lots")
    with pytest.raises(InvalidSpec, match="ITM_CACHE_GIB must be a number of GiB, got 'lots'"):
        karpathy(root).split("test").images.pixels([0], 8)
