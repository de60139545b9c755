"""Perturbations of pictures against independent references, and what holds of all of them."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from harness.robustness.perturbations.images import IMAGE_PERTURBATIONS, LARGEST_SIDE, reduced
from harness.robustness.perturbations.severities import SEVERITIES, draws_of

KINDS = sorted(IMAGE_PERTURBATIONS)


def photograph(height: int = 96, width: int = 128, seed: int = 0) -> np.ndarray:
    """Smooth colours and a sharp shape: what each perturbation changes is there."""
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin((6 + 3 * c + seed) * rows + (9 - 2 * c) * columns + c) for c in range(3)]
    pixels = 110 + 60 * np.stack(waves, axis=2)
    for place in np.random.default_rng(seed).uniform(0, 0.8, (6, 2)):
        top, left = (place * (height, width)).astype(int)
        pixels[top : top + height // 6, left : left + width // 7] = 60 * place[0] + np.array((100, 40, 20))
    return np.rint(pixels).astype(np.uint8)


def damaged(kind: str, pixels: np.ndarray, severity: int, name: str = "a") -> np.ndarray:
    return IMAGE_PERTURBATIONS[kind].apply(pixels, severity, draws_of(0, kind, name))


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return math.sqrt(np.square(one.astype(float) - other).mean())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(96, 128), (64, 64), (224, 300)])
def test_each_severity_is_further_from_the_original(kind, shape):
    """On average: whether large pixels happen to end where a shape does differs from picture to picture."""
    pictures = [photograph(*shape, seed) for seed in range(8)]
    far = [
        np.mean(
            [distance(damaged(kind, pixels, severity, str(number)), pixels) for number, pixels in enumerate(pictures)]
        )
        for severity in (0, *SEVERITIES)
    ]
    assert far[0] == 0
    assert np.all(np.diff(far) > 0), far


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (8, 8), (3, 500), (500, 3), (64, 64), (300, 256)])
def test_pictures_of_any_size_keep_it(kind, shape):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for severity in SEVERITIES:
        found = damaged(kind, pixels, severity)
        assert (found.shape, found.dtype) == (pixels.shape, np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_original_is_not_written_to(kind):
    pixels = photograph()
    before = pixels.copy()
    pixels.flags.writeable = False
    for severity in SEVERITIES:
        damaged(kind, pixels, severity)
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_pictures_of_any_mode_are_taken(mode):
    image = Image.fromarray(photograph(10, 12)).convert(mode)
    assert reduced(image).shape == (10, 12, 3)
    np.testing.assert_array_equal(reduced(image), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((500, 375), (256, 341)), ((300, 900), (768, 256)), ((256, 300), (300, 256)), ((20, 9), (9, 20))],
)
def test_large_pictures_are_reduced_and_keep_their_aspect_ratio(size, expected):
    assert reduced(Image.new("RGB", size)).shape[:2] == expected
    assert min(expected) <= LARGEST_SIDE


@pytest.mark.parametrize("kind", KINDS)
def test_amounts_are_the_published_ones_at_their_sides_and_lie_between_them_elsewhere(kind):
    perturbation = IMAGE_PERTURBATIONS[kind]
    for severity in SEVERITIES:
        small, large = perturbation.small[severity - 1], perturbation.large[severity - 1]
        for side, expected in ((64, small), (224, large), (8, small), (4000, large), (120, None)):
            amount = perturbation.amount(severity, side)
            assert amount == pytest.approx(expected) if expected else min(small, large) <= amount <= max(small, large)
        middle = round(math.sqrt(64 * 224))
        assert perturbation.amount(severity, middle) == pytest.approx((small + large) / 2, rel=0.01)


@pytest.mark.parametrize("severity", [1, 2, 3])  # beyond, much is clipped
def test_noise_has_the_stated_spread_in_every_channel(severity):
    pixels = np.full((224, 224, 3), 128, np.uint8)
    added = (damaged("noise", pixels, severity).astype(float) - 128) / 255
    sigma = IMAGE_PERTURBATIONS["noise"].amount(severity, 224)
    np.testing.assert_allclose(added.std(axis=(0, 1)), sigma, rtol=0.02)
    np.testing.assert_allclose(added.mean(axis=(0, 1)), 0, atol=5 * sigma / 224)
    correlation = np.corrcoef(added.reshape(-1, 3).T) - np.eye(3)
    assert np.abs(correlation).max() < 0.03


def test_noise_is_one_field_that_grows():
    pixels = np.full((64, 64, 3), 128, np.uint8)
    one, two = (damaged("noise", pixels, severity).astype(float) - 128 for severity in (1, 2))
    np.testing.assert_allclose(two, 2 * one, atol=1.6)  # 0.04 and 0.08, each rounded


@pytest.mark.parametrize("severity", SEVERITIES)
def test_blur_is_that_of_torchvision(severity):
    from torchvision.transforms.v2 import functional

    pixels = photograph(224, 240)
    sigma = (1, 2, 3, 4, 6)[severity - 1]
    radius = math.ceil(4 * sigma)
    size = [2 * radius + 1] * 2
    expected = functional.gaussian_blur(torch.from_numpy(pixels).permute(2, 0, 1).float(), size, [float(sigma)] * 2)
    inside = np.s_[radius:-radius, radius:-radius]  # the edges go on differently
    found = damaged("blur", pixels, severity)
    assert np.abs(found[inside] - expected.permute(1, 2, 0).numpy()[inside]).max() < 1


@pytest.mark.parametrize("severity", SEVERITIES)
def test_jpeg_has_the_stated_quality(severity):
    from torchvision.io import decode_jpeg, encode_jpeg

    pixels = photograph(224, 240)
    encoded = encode_jpeg(torch.from_numpy(pixels).permute(2, 0, 1), (25, 18, 15, 10, 7)[severity - 1])
    expected = decode_jpeg(encoded).permute(1, 2, 0).numpy().astype(int)
    found = damaged("jpeg", pixels, severity)
    assert np.abs(found - expected).mean() < 0.5  # another build of libjpeg
    assert distance(found, pixels) > 2


@pytest.mark.parametrize("severity", SEVERITIES)
def test_brightness_adds_value_and_keeps_hue_and_saturation(severity):
    pixels = np.random.default_rng(severity).integers(0, 256, (9, 9, 3), np.uint8)
    pixels[0, :4] = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [7, 7, 7]]
    found = damaged("brightness", pixels, severity)
    for row, column in np.ndindex(9, 9):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixels[row, column] / 255))
        expected = np.array(colorsys.hsv_to_rgb(hue, saturation, min(1, value + severity / 10))) * 255
        np.testing.assert_allclose(found[row, column], expected, atol=0.51)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_contrast_is_that_of_pillow_on_grey_pictures(severity):
    grey = Image.fromarray(photograph()).convert("L").convert("RGB")
    expected = ImageEnhance.Contrast(grey).enhance((0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1])
    found = damaged("contrast", np.asarray(grey), severity)
    assert np.abs(found - np.asarray(expected).astype(int)).max() <= 1  # Pillow's mean is a whole number


def test_contrast_leaves_the_mean_of_each_channel_and_its_share_of_the_spread():
    pixels = photograph()
    found = damaged("contrast", pixels, 2).astype(float)
    np.testing.assert_allclose(found.mean(axis=(0, 1)), pixels.mean(axis=(0, 1)), atol=0.2)
    np.testing.assert_allclose(found.std(axis=(0, 1)), 0.3 * pixels.std(axis=(0, 1)), rtol=0.02)


@pytest.mark.parametrize("shape", [(64, 64), (150, 300)])
def test_occlusion_is_a_grey_bar_of_the_stated_area_and_larger_ones_cover_smaller_ones(shape):
    pixels = np.full((*shape, 3), 255, np.uint8)
    aspects = []
    for name in map(str, range(30)):
        before = np.zeros(shape, bool)
        for severity in SEVERITIES:
            covered = (damaged("occlusion", pixels, severity, name) == 128).all(axis=2)
            rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
            height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
            assert covered.sum() == height * width  # a rectangle
            assert covered.mean() == pytest.approx(severity / 10, abs=0.02)
            assert covered[before].all()
            before = covered
        aspects.append((width / shape[1]) / (height / shape[0]))
    assert 0.49 < min(aspects) < 0.7
    assert 1.4 < max(aspects) < 2.05


def test_bars_lie_anywhere():
    pixels = np.zeros((64, 64, 3), np.uint8)
    hits = sum((damaged("occlusion", pixels, 1, str(n))[..., 0] == 128).astype(int) for n in range(400))
    assert hits.min() == 0 or hits.min() < 15  # corners: seldom
    assert hits[16:48, 16:48].min() > 20
    quarters = [
        hits[rows, columns].sum() for rows in (slice(32), slice(32, 64)) for columns in (slice(32), slice(32, 64))
    ]
    assert max(quarters) < 1.3 * min(quarters)


def test_resize_averages_areas_into_square_pixels():
    pixels = photograph(64, 64)
    found = damaged("resize", pixels, 5)  # half of the resolution
    for row, column in np.ndindex(32, 32):
        block = np.s_[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        mean = pixels[block].reshape(-1, 3).mean(axis=0)
        assert np.abs(found[block].reshape(-1, 3) - mean).max() <= 1


def test_draws_belong_to_the_picture():
    pixels = photograph()
    for kind in ("noise", "occlusion"):
        assert distance(damaged(kind, pixels, 3, "a"), damaged(kind, pixels, 3, "b")) > 1
        np.testing.assert_array_equal(damaged(kind, pixels, 3, "a"), damaged(kind, pixels, 3, "a"))
    assert damaged("noise", photograph(40, 50), 3, "a").shape == (40, 50, 3)
