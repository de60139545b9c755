"""Pixels are those that a viewer shows: scaled by their bit depth, upright, on white; and only photographs are opened."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.datasets.images import to_pixels
from harness.datasets.photographs.decoding import as_shown, decode_bytes, problem_of, read_image
from harness.errors import InvalidDataset

SIDE = 8
RAMP = np.linspace(0, 255, SIDE * SIDE).round().astype(np.uint8).reshape(SIDE, SIDE)


def shown(image: Image.Image, path: Path, **options) -> np.ndarray:
    """(S, S, 3) of a file."""
    image.save(path, **options)
    return np.moveaxis(to_pixels(decode_bytes(read_image(path), path), SIDE), 0, -1)


@pytest.mark.parametrize(
    ("image", "suffix"),
    [
        (Image.fromarray(RAMP), "png"),
        (Image.fromarray(RAMP.astype(np.uint16) * 257), "png"),
        (Image.fromarray(RAMP.astype(np.uint16) * 257), "tiff"),
        (Image.fromarray(RAMP.astype(np.uint16) * 257), "pgm"),
        (Image.fromarray((RAMP.astype(np.uint16) * 257).astype(">u2")), "tiff"),
        (Image.fromarray(RAMP).convert("P"), "png"),
        (Image.merge("RGB", [Image.fromarray(RAMP)] * 3), "png"),
        (Image.merge("LA", [Image.fromarray(RAMP), Image.new("L", (SIDE, SIDE), 255)]), "png"),
        (Image.merge("CMYK", [Image.new("L", (SIDE, SIDE), 0)] * 3 + [Image.fromarray(255 - RAMP)]), "tiff"),
    ],
    ids=["8 bits", "16 bits", "16 bits TIFF", "16 bits PGM", "16 bits big-endian", "palette", "RGB", "LA", "CMYK"],
)
def test_a_grey_ramp_is_the_same_ramp_in_every_type_of_pixel(tmp_path, image, suffix):
    pixels = shown(image, tmp_path / f"ramp.{suffix}")
    np.testing.assert_array_equal(pixels, np.stack([RAMP] * 3, axis=-1))
    assert pixels.mean() == pytest.approx(127.5, abs=0.5)


def test_sixteen_bits_are_rounded_to_the_nearest(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (SIDE, SIDE)).astype(np.uint16)
    pixels = shown(Image.fromarray(values), tmp_path / "deep.png")[..., 0]
    np.testing.assert_array_equal(pixels, np.rint(values / 65535 * 255))


def test_one_bit_is_black_and_white(tmp_path):
    pixels = shown(Image.fromarray(RAMP > 100), tmp_path / "bits.png")
    assert set(np.unique(pixels)) == {0, 255}


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (RAMP.astype(np.int32) * 70_000, "32-bit integers, whose range is not known; save it with 8 or 16 bits"),
        (RAMP.astype(np.float32) / 255, "floating-point numbers, whose range is not known"),
    ],
)
def test_pixels_without_a_known_range_are_refused(tmp_path, array, message):
    with pytest.raises(InvalidDataset, match=f"deep.tiff cannot be decoded: its pixels are {message}"):
        shown(Image.fromarray(array), tmp_path / "deep.tiff")


def _orientations() -> dict[int, np.ndarray]:
    """How the stored array must be turned, as the EXIF standard says it."""
    a = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE) * 3
    return {
        1: a,
        2: a[:, ::-1],
        3: a[::-1, ::-1],
        4: a[::-1],
        5: a.T,
        6: np.rot90(a, -1),
        7: a[::-1, ::-1].T,
        8: np.rot90(a),
        9: a,  # no such orientation
    }


@pytest.mark.parametrize(("tag", "expected"), _orientations().items())
def test_photographs_stand_upright(tmp_path, tag, expected):
    exif = Image.Exif()
    exif[0x0112] = tag
    pixels = shown(Image.fromarray(_orientations()[1]), tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(pixels[..., 0], expected)


def test_a_turned_photograph_that_is_not_square_changes_its_shape(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "wide.jpg", exif=exif)
    with Image.open(tmp_path / "wide.jpg") as image:
        assert as_shown(image).size == (20, 30)


def test_damaged_exif_data_leave_the_picture_as_it_lies(tmp_path):
    pixels = shown(Image.fromarray(RAMP), tmp_path / "odd.png", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")
    np.testing.assert_array_equal(pixels[..., 0], RAMP)


def _transparent() -> dict[str, tuple[Image.Image, dict]]:
    """Pictures whose left half is red and hidden, and whose right half is green."""
    colour = np.zeros((SIDE, SIDE, 3), np.uint8)
    colour[:, : SIDE // 2, 0] = 200
    colour[:, SIDE // 2 :, 1] = 200
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    alpha[:, SIDE // 2 :] = 255
    rgb, mask = Image.fromarray(colour), Image.fromarray(alpha)
    palette = rgb.convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    return {
        "RGBA": (Image.merge("RGBA", [*rgb.split(), mask]), {}),
        "RGB with a hidden colour": (rgb, {"transparency": (200, 0, 0)}),
        "palette with a hidden entry": (palette, {"transparency": palette.getpixel((0, 0))}),
    }


@pytest.mark.parametrize(("image", "options"), _transparent().values(), ids=_transparent())
def test_what_is_transparent_is_white(tmp_path, image, options):
    pixels = shown(image, tmp_path / "hole.png", **options)
    np.testing.assert_array_equal(pixels[0, 0], [255, 255, 255])
    np.testing.assert_array_equal(pixels[0, -1], [0, 200, 0])


def test_half_transparent_grey_is_half_way_to_white(tmp_path):
    image = Image.merge("LA", [Image.new("L", (SIDE, SIDE), 0), Image.new("L", (SIDE, SIDE), 102)])
    np.testing.assert_allclose(shown(image, tmp_path / "grey.png"), 255 * (1 - 0.4), atol=1)


def test_a_hidden_value_of_sixteen_bits_is_white(tmp_path):
    values = RAMP.astype(np.uint16) * 257
    pixels = shown(Image.fromarray(values), tmp_path / "deep.png", transparency=int(values[2, 2]))
    assert pixels[2, 2].tolist() == [255, 255, 255]
    assert pixels[2, 3].tolist() == [RAMP[2, 3]] * 3


def test_documents_that_call_programs_are_not_opened(tmp_path):
    path = tmp_path / "picture.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    with pytest.raises(InvalidDataset, match=r"picture\.jpg is not an image that can be read \(JPEG, PNG"):
        decode_bytes(read_image(path), path)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_refused_without_waiting(tmp_path, kind):
    path = tmp_path / "picture.jpg"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(InvalidDataset, match=r"picture\.jpg is not a regular file"):
        read_image(path)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.datasets.photographs.decoding.MOST_PIXELS", 99)
    with pytest.raises(InvalidDataset, match="claims 10 x 10 pixels, too many to decode"):
        shown(Image.new("L", (10, 10)), tmp_path / "bomb.png")


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_the_quick_trial_finds_what_the_decoder_finds(kind):
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    content = buffer.getvalue()
    assert problem_of(content, Path("x")) == ""
    assert "x cannot be decoded" in problem_of(content[: len(content) // 2], Path("x"))
    assert "x is not an image" in problem_of(b"", Path("x"))
