"""Random views of images: boxes and crops against torchvision's own, and streams that depend on nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from harness.datasets.images import ArrayImages
from harness.errors import InvalidSpec
from harness.training.views import CROP_AREA, CROP_RATIO, Form, crop_box, cropped, view_of

SIZES = [(500, 375), (375, 500), (64, 64), (640, 480), (31, 97), (500, 80), (60, 600), (3, 2), (1, 1)]


class Torchs:
    """Draws from torch's global stream, as torchvision takes them."""

    def uniform(self, low, high):
        return float(torch.empty(1).uniform_(low, high))

    def integers(self, low, high):
        return int(torch.randint(low, high, (1,)))


def picture(width, height, seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_boxes_are_torchvisions(width, height):
    transforms = pytest.importorskip("torchvision.transforms")
    image = torch.empty(3, height, width)
    for seed in range(60):
        torch.manual_seed(seed)
        top, left, tall, wide = transforms.RandomResizedCrop.get_params(image, list(CROP_AREA), list(CROP_RATIO))
        torch.manual_seed(seed)
        assert crop_box(width, height, Torchs()) == (left, top, left + wide, top + tall)


@pytest.mark.parametrize("box", [(0, 0, 500, 375), (40, 20, 440, 340), (17, 3, 402, 370), (0, 0, 10, 8)])
@pytest.mark.parametrize("size", [24, 224])
def test_crops_are_torchvisions(box, size):
    functional = pytest.importorskip("torchvision.transforms.functional")
    image = picture(500, 375)
    left, top, right, bottom = box
    expected = functional.resized_crop(
        image, top, left, bottom - top, right - left, [size, size], functional.InterpolationMode.BICUBIC
    )
    np.testing.assert_array_equal(cropped(image, box, size), np.moveaxis(np.asarray(expected), -1, 0))


@pytest.mark.parametrize(
    ("width", "height", "box"),
    [(1000, 100, (433, 0, 566, 100)), (100, 1000, (0, 433, 100, 566))],  # by hand: 133 x 100 in the middle
)
def test_a_panorama_is_cropped_in_the_middle(width, height, box):
    assert crop_box(width, height, np.random.default_rng(0)) == box


def test_crops_have_the_area_and_ratio_of_the_recipes():
    rng = np.random.default_rng(0)
    boxes = np.array([crop_box(500, 375, rng) for _ in range(3000)], dtype=float)
    left, top, right, bottom = boxes.T
    wide, tall = right - left, bottom - top
    assert left.min() >= 0
    assert top.min() >= 0
    assert right.max() <= 500
    assert bottom.max() <= 375
    area = wide * tall / (500 * 375)
    assert 0.595 < area.min() < 0.62
    assert 0.97 < area.max() <= 1
    ratio = wide / tall
    assert 3 / 4 - 0.01 < ratio.min() < 0.85  # many tall ones do not fit and are drawn again
    assert 1.30 < ratio.max() <= 4 / 3 + 0.01
    assert left.std() > 10


class Pictures:
    """Images at their own size, and as squares."""

    def __init__(self, *images):
        self.images = images

    def original(self, row):
        return self.images[row]

    def pixels(self, rows, size, resize="plain"):
        return np.stack([np.moveaxis(np.asarray(self.images[row].resize((size, size))), -1, 0) for row in rows])


FORM = Form(16, "plain", seed=3)


def test_a_crop_is_of_the_image_at_its_own_size_and_mirrored_in_half_of_the_cases():
    image = picture(120, 90)
    images = Pictures(*[image] * 200)
    views = view_of("crop_flip").read(images, np.arange(200), FORM, epoch=1)
    mirrored = 0
    for row, view in enumerate(views):
        draws = FORM.draws(1, row)
        plain = cropped(image, crop_box(120, 90, draws), 16)
        if draws.uniform(0, 1) < 0.5:
            mirrored += 1
            plain = plain[..., ::-1]
        np.testing.assert_array_equal(view, plain)
    assert 80 < mirrored < 120
    assert len({view.tobytes() for view in views}) > 190


def test_flip_mirrors_half_of_the_squares():
    images = Pictures(*[picture(20, 20)] * 1000)
    squares = images.pixels(range(1000), 16)
    views = view_of("flip").read(images, np.arange(1000), FORM, epoch=0)
    mirrored = (views == squares[..., ::-1]).all(axis=(1, 2, 3))
    same = (views == squares).all(axis=(1, 2, 3))
    assert (mirrored ^ same).all()
    assert mirrored.mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("kind", ["flip", "crop_flip"])
def test_a_view_depends_on_seed_epoch_and_image_alone(kind):
    images = Pictures(*(picture(40, 30, seed) for seed in range(20)))
    read = view_of(kind).read
    rows = np.arange(20)
    views = read(images, rows, FORM, 2)
    np.testing.assert_array_equal(read(images, rows[::-1], FORM, 2)[::-1], views)
    np.testing.assert_array_equal(read(images, rows[7:8], FORM, 2), views[7:8])
    assert (read(images, rows, FORM, 3) != views).any()
    assert (read(images, rows, Form(16, "plain", seed=4), 2) != views).any()


def test_threads_do_not_change_a_view():
    images = Pictures(*(picture(40, 30, seed) for seed in range(8)))
    before = torch.get_num_threads()
    try:
        views = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            views.append(view_of("crop_flip").read(images, np.arange(8), FORM, 0))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*views)


def test_no_stream_of_an_epoch_is_another_one():
    """A generator's seeds are padded with zeros: [7, 1] would be the stream of [7, 1, 0, 0]."""
    firsts = {tuple(np.random.default_rng([7, 1, *more]).random(2)) for more in ([], [1], [2])}
    firsts |= {tuple(Form(8, "plain", 7).draws(1, row).random(2)) for row in range(4)}
    assert len(firsts) == 7


def test_arrays_are_cropped_at_the_size_that_is_stored():
    stored = np.moveaxis(np.asarray(picture(24, 24)), -1, 0)[None]
    images = ArrayImages(stored, np.zeros((1, 1, 2), np.float32), np.array([1]))
    np.testing.assert_array_equal(np.moveaxis(np.asarray(images.original(0)), -1, 0), stored[0])
    (view,) = view_of("crop_flip").read(images, np.array([0]), Form(48, "plain", 0), 0)
    assert view.shape == (3, 48, 48)


def test_none_is_the_squares_and_another_kind_is_refused():
    images = Pictures(picture(20, 20))
    np.testing.assert_array_equal(view_of("none").read(images, np.array([0]), FORM, 0), images.pixels([0], 16))
    with pytest.raises(InvalidSpec, match="valid: none, flip, crop_flip"):
        view_of("rotate")


def test_the_ratio_is_log_uniform():
    ratios = []
    for seed in range(2000):
        left, top, right, bottom = crop_box(2000, 2000, np.random.default_rng(seed))
        ratios.append(math.log((right - left) / (bottom - top)))
    assert abs(np.mean(ratios)) < 0.01  # as often wider as taller
