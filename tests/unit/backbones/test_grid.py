"""Where fragments lie in a photograph: the fragment that reacts to a change lies where the change was made."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoConfig, AutoModel

from harness import backbones
from harness.backbones.grid import Grid
from harness.datasets.images import seen_part, to_pixels

SIZES = {"square": (96, 96), "wide": (200, 96), "tall": (90, 150), "odd": (333, 221)}
#: Rows and columns, and the fragments in front of them.
PIXELS = {
    "conv_stem": ({"architecture": "conv_stem", "image_size": 64, "patch_size": 8}, (8, 8), 0),
    "small_vit": ({"architecture": "small_vit", "image_size": 64, "patch_size": 16}, (4, 4), 1),
    "small_vit_without_class_token": (
        {"architecture": "small_vit", "image_size": 64, "patch_size": 16, "keep_class_token": False},
        (4, 4),
        0,
    ),
    "timm_registers": ({"architecture": "test_vit2", "image_size": 64}, (4, 4), 1),
    "timm_map": ({"architecture": "test_convnext", "image_size": 128}, (4, 4), 0),
    "open_clip": ({"name": "open_clip", "model": "small", "output": "tokens"}, (4, 4), 1),
    "open_clip_without_class_token": (
        {"name": "open_clip", "model": "small", "output": "tokens", "keep_class_token": False},
        (4, 4),
        0,
    ),
}


#: Models of the hub: type, settings, side, rows and columns, tokens in front that are kept.
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
SWIN = {"image_size": 64, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4}
HUB = {
    "vit": ({**TINY, "image_size": 64, "patch_size": 16}, (4, 4), 1),
    "dinov2_with_registers": ({**TINY, "image_size": 64, "patch_size": 16, "num_register_tokens": 4}, (4, 4), 1),
    "swin": (SWIN, (8, 8), 0),
    "convnext": ({"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]}, (2, 2), 0),
}


@functools.cache
def built(name, resize):
    torch.manual_seed(0)
    return backbones.build_image({"name": "patches", **PIXELS[name][0], "resize": resize}).eval()


def photograph(size):
    values = np.random.default_rng(0).integers(90, 120, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


def brightened(image, box):
    """The photograph with a white block, given in fractions of it."""
    across, down = image.size
    left, top, right, bottom = (round(edge * side) for edge, side in zip(box, (across, down) * 2, strict=True))
    changed = image.copy()
    changed.paste((255, 255, 255), (left, top, right, bottom))
    return changed


def reactions(encoder, image, changed, resize):
    """How far each fragment moves."""
    pixels = np.stack([to_pixels(picture, encoder.image_size, resize) for picture in (image, changed)])
    with torch.no_grad():
        before, after = encoder(torch.from_numpy(pixels)).features
    return (after - before).norm(dim=1).tolist()


def inside(box, part):
    return part[0] <= (box[0] + box[2]) / 2 <= part[2] and part[1] <= (box[1] + box[3]) / 2 <= part[3]


def assert_quadrants_react(encoder, image, resize):
    """Brighten each quadrant of what the encoder sees in turn."""
    boxes, first = encoder.places(*image.size), encoder.grid.first
    assert [box is None for box in boxes] == [place < first for place in range(encoder.grid.fragments)]
    left, top, right, bottom = seen_part(*image.size, encoder.image_size, resize)
    width, height = (right - left) / 2, (bottom - top) / 2
    for across, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        corner = left + across * width, top + down * height
        quadrant = (*corner, corner[0] + width, corner[1] + height)
        moved = reactions(encoder, image, brightened(image, quadrant), resize)
        assert len(moved) == len(boxes)
        strongest = max(range(first, len(boxes)), key=lambda place: moved[place])
        assert inside(boxes[strongest], quadrant), f"{boxes[strongest]} reacts to {quadrant}"


@pytest.mark.parametrize("resize", ["plain", "crop"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PIXELS)
def test_the_fragment_that_reacts_lies_where_the_picture_was_changed(name, size, resize):
    _, (rows, columns), first = PIXELS[name]
    encoder = built(name, resize)
    assert encoder.grid == Grid(rows, columns, first)
    assert_quadrants_react(encoder, photograph(SIZES[size]), resize)


@pytest.mark.parametrize("kind", HUB)
def test_models_of_the_hub_too(tmp_path, kind):
    settings, (rows, columns), first = HUB[kind]
    torch.manual_seed(1)
    AutoModel.from_config(AutoConfig.for_model(kind, **settings)).save_pretrained(tmp_path)
    encoder = backbones.build_image({"name": "patches", "architecture": str(tmp_path), "image_size": 64}).eval()
    assert encoder.grid == Grid(rows, columns, first)
    assert_quadrants_react(encoder, photograph((150, 90)), "plain")


@pytest.mark.parametrize(
    "options",
    [
        {"name": "open_clip", "model": "small"},
        {"name": "regions"},
        {"architecture": "test_efficientnet", "image_size": 64},
    ],
    ids=str,
)
def test_only_patches_have_places(options):
    encoder = backbones.build_image({"name": "patches", **options}, region_width=16)
    assert (encoder.grid is None) == (options.get("name") in ("open_clip", "regions"))
    assert (encoder.places(10, 20) is None) == (encoder.grid is None)


def test_cells_tile_what_is_seen():
    boxes = Grid(rows=3, columns=2, first=2).boxes((0.25, 0.0, 0.75, 1.0))
    assert boxes[:2] == (None, None)
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in boxes[2:]]
    assert sum(areas) == pytest.approx(0.5)
    assert boxes[2][:2] == (0.25, 0.0)
    assert boxes[3][:2] == (0.5, 0.0)
    assert boxes[4][:2] == (0.25, 1 / 3)
    assert boxes[-1][2:] == (0.75, 1.0)


#: The last is a panorama.
@pytest.mark.parametrize("resize", ["plain", "crop"])
@pytest.mark.parametrize("size", [(64, 64), (500, 375), (333, 500), (101, 257), (640, 90)])
def test_a_point_of_the_photograph_is_found_in_the_pixels_where_the_seen_part_says(size, resize):
    side = 56
    left, top, right, bottom = seen_part(*size, side, resize)
    for across, down in ((0.0, 0.0), (-0.3, 0.2), (0.35, -0.35)):  # from the middle, in units of the shorter side
        image = Image.new("RGB", size)
        middle = size[0] / 2 + across * min(size), size[1] / 2 + down * min(size)
        reach = min(size) / 16
        block = tuple(round(v) for v in (middle[0] - reach, middle[1] - reach, middle[0] + reach, middle[1] + reach))
        image.paste((255, 255, 255), block)
        bright = to_pixels(image, side, resize)[0].astype(float)
        assert bright.sum() > 0
        rows, columns = np.mgrid[:side, :side] + 0.5
        seen = (bright * columns).sum() / bright.sum() / side, (bright * rows).sum() / bright.sum() / side
        expected = (block[0] + block[2]) / 2 / size[0], (block[1] + block[3]) / 2 / size[1]
        found = left + seen[0] * (right - left), top + seen[1] * (bottom - top)
        assert found[0] == pytest.approx(expected[0], abs=1 / side)
        assert found[1] == pytest.approx(expected[1], abs=1 / side)


@pytest.mark.parametrize("size", [(500, 375), (101, 257)])
def test_what_lies_outside_the_crop_is_not_seen(size):
    image = photograph(size)
    left, top, right, bottom = seen_part(*size, 56, "crop")
    reach = 2.5 * min(size) / 56  # of the resampling, in pixels of the photograph
    edges = left * size[0] - reach, top * size[1] - reach, right * size[0] + reach, bottom * size[1] + reach
    kept = tuple(min(max(round(edge), 0), limit) for edge, limit in zip(edges, size * 2, strict=True))
    outside = Image.new("RGB", size, (255, 255, 255))
    outside.paste(image.crop(kept), kept[:2])
    assert np.array_equal(to_pixels(outside, 56, "crop"), to_pixels(image, 56, "crop"))
    assert not np.array_equal(to_pixels(outside, 56), to_pixels(image, 56))
