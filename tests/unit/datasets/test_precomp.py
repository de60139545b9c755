"""SCAN's layout: rows and captions, both ways of storing images, and the one line for everything that can be wrong.

What is guessed of the storage, and what is refused, is in `test_storage.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from precomp_files import IMAGES, REGIONS, WIDTH, features, precomp, refused, whole, write

from harness.backbones.words.vocabulary import Vocabulary
from harness.datasets import open_dataset
from harness.datasets.precomp.dataset import PrecompConfig
from harness.errors import InvalidDataset
from harness.spec import Component


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return whole(tmp_path)


def test_images_stored_once(root):
    dataset = precomp(root)
    split = dataset.split("test")
    assert dataset.title == "flickr30k"
    assert split.images.inputs == {"regions"}
    assert split.images.region_width == WIDTH
    assert split.caption_image.tolist() == [i for i in range(IMAGES) for _ in range(5)]
    assert split.captions[7] == "Caption 7 of test ."
    assert len(set(split.caption_ids)) == 5 * IMAGES
    regions = split.images.regions([2, 0])
    np.testing.assert_array_equal(regions.features, features()[[2, 0]])
    assert regions.mask.all()


def test_images_repeated_for_each_caption_are_the_same_images(root):
    write(root, "test", features().repeat(5, axis=0), 5 * IMAGES)
    split = precomp(root).split("test")
    assert len(split.images) == IMAGES
    assert split.caption_image.tolist() == [i for i in range(IMAGES) for _ in range(5)]
    np.testing.assert_array_equal(split.images.regions(range(IMAGES)).features, features())


@pytest.mark.parametrize("images", [10, 12])
def test_as_many_different_images_as_captions_have_one_each(root, images):
    write(root, "test", features(images), images)
    assert precomp(root).split("test").caption_image.tolist() == list(range(images))


def test_another_number_of_captions_is_configured(root):
    write(root, "test", features(), 3 * IMAGES)
    split = precomp(root, captions_per_image=3).split("test")
    assert split.caption_image.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    write(root, "test", features().repeat(3, axis=0), 3 * IMAGES)
    assert len(precomp(root, captions_per_image=3).split("test").images) == IMAGES


def test_dev_is_the_validation_split_unless_there_is_a_val_which_is_said(root, caplog):
    assert precomp(root).split("val").captions[0] == "Caption 0 of dev ."
    assert "val_*" not in caplog.text
    write(root, "val", features(), 5 * IMAGES)
    assert precomp(root).split("val").captions[0] == "Caption 0 of val ."
    assert "holds val_* and dev_*; val_* is taken" in caplog.text


@pytest.mark.parametrize("repeat", [1, 5])
@pytest.mark.parametrize(
    ("options", "images", "line"),
    [
        ({}, 1014, True),
        ({"validation": "authors"}, 1000, False),
        ({"validation": "authors", "max_val_images": 500}, 500, False),
        ({"validation": "authors", "max_val_images": 1010}, 1000, False),
        ({"max_val_images": 1010}, 1010, False),  # what a user asks for is not told
    ],
)
def test_the_authors_validation_split_is_the_first_five_thousand_captions(root, caplog, options, images, line, repeat):
    caplog.set_level("INFO")
    rows = np.random.default_rng(0).standard_normal((1014, 1, WIDTH)).astype(np.float32)
    write(root, "dev", rows.repeat(repeat, axis=0), 5070)
    split = precomp(root, **options).split("val")
    assert (len(split.image_ids), len(split.captions)) == (images, 5 * images)
    assert split.captions[-1] == f"Caption {5 * images - 1} of dev ."
    np.testing.assert_array_equal(split.images.regions([images - 1]).features, rows[[images - 1]])
    said = "dev_caps.txt: all 5,070 captions are used; the authors' loaders use the first 5,000 (dataset.validation=authors)"
    assert caplog.text.count(said) == line


def test_five_thousand_validation_captions_or_fewer_are_the_same_either_way(root, caplog):
    caplog.set_level("INFO")
    assert precomp(root, validation="authors").sha256 == precomp(root).sha256
    assert "the authors' loaders" not in caplog.text


def test_the_data_s_hash_tells_the_validation_splits_apart(root):
    write(root, "dev", np.random.default_rng(0).standard_normal((1014, 1, WIDTH)).astype(np.float32), 5070)
    assert precomp(root, validation="authors").sha256 == precomp(root, max_val_images=1000).sha256
    assert precomp(root, validation="authors").sha256 != precomp(root).sha256


def test_what_was_taken_is_said(root, caplog):
    caplog.set_level("INFO")
    write(root, "train", features().repeat(5, axis=0), 5 * IMAGES)
    write(root, "testall", features(6), 30)
    precomp(root).sha256  # noqa: B018 - opens every split
    assert "train_ims.npy: 4 images stored 5 times, 5 captions each" in caplog.text
    assert "dev_ims.npy: 4 images stored once, 5 captions each" in caplog.text
    assert "test_* is taken; dataset.test_name=testall takes testall_*" in caplog.text


def test_the_title_is_configured(root):
    assert precomp(root, title="mine").title == "mine"


def test_another_test_set_and_limits(root):
    write(root, "testall", features(6), 30)
    assert len(precomp(root, test_name="testall").split("test").images) == 6
    limited = precomp(root, max_test_images=2).split("test")
    assert (len(limited.images), len(limited.captions)) == (2, 10)


@pytest.mark.parametrize("lines", [IMAGES, 5 * IMAGES])
def test_ids_an_image_or_a_caption(root, lines):
    each = lines // IMAGES
    (root / "test_ids.txt").write_text("".join(f"id{k // each}\n" for k in range(lines)))
    split = precomp(root).split("test")
    assert split.image_ids == ("id0", "id1", "id2", "id3")
    assert split.caption_ids[6] == "id1#1"


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_precisions_become_float32(root, dtype):
    write(root, "test", features(dtype=dtype), 5 * IMAGES)
    regions = precomp(root).split("test").images.regions([1])
    assert str(regions.features.dtype) == "torch.float32"
    np.testing.assert_array_equal(regions.features[0], features(dtype=dtype)[1].astype(np.float32))


def test_one_vector_an_image_is_one_region(root):
    write(root, "test", features()[:, 0], 5 * IMAGES)
    assert precomp(root).split("test").images.regions([0]).features.shape == (1, 1, WIDTH)


CAPTIONS = [f"caption {k} ." for k in range(5 * IMAGES)]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + "\n".join(CAPTIONS) + "\n",
        "\n".join(CAPTIONS),
        "\r\n".join(CAPTIONS) + "\r\n",
        "\r\r\n".join(CAPTIONS),
        "\r".join(CAPTIONS) + "\r",
        "\n".join(CAPTIONS) + "\n\n \n",
    ],
    ids=["byte-order mark", "no last line end", "CR LF", "CR CR LF", "CR", "blank last lines"],
)
def test_captions_are_the_same_under_every_line_end_and_mark(root, content):
    (root / "test_caps.txt").write_bytes(content.encode())
    assert precomp(root).split("test").captions == tuple(CAPTIONS)


def test_ids_and_the_vocabulary_may_have_a_byte_order_mark(root):
    (root / "test_ids.txt").write_bytes("\ufeffa\nb\nc\nd\n".encode())
    (root / "x_vocab.json").write_bytes(b'\xef\xbb\xbf{"word2idx": {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3}}')
    dataset = precomp(root)
    assert dataset.split("test").image_ids == ("a", "b", "c", "d")
    assert dataset.vocabulary_path is not None
    assert len(Vocabulary.load(dataset.vocabulary_path)) == 4


def test_a_caption_keeps_characters_that_only_unicode_takes_for_a_line_end(root):
    text = "\n".join(["two\u2028parts\x0c", *["x"] * (5 * IMAGES - 1), "", ""])
    (root / "test_caps.txt").write_text(text, encoding="utf-8")
    assert precomp(root).split("test").captions[0].startswith("two\u2028parts")


def test_a_blank_line_is_the_caption_of_its_place(root, caplog):
    lines = [f"caption {k}" for k in range(5 * IMAGES)]
    lines[6] = " "
    (root / "test_caps.txt").write_text("\n".join(lines))
    split = precomp(root).split("test")
    assert (split.captions[6], split.captions[7], split.caption_image[7]) == ("", "caption 7", 1)
    assert "1 captions are blank" in caplog.text


def test_features_are_mapped_and_handed_out_as_copies(root):
    split = precomp(root).split("test")
    split.images.regions([0]).features.zero_()
    np.testing.assert_array_equal(split.images.regions([0]).features[0], features()[0])
    assert (np.load(root / "test_ims.npy") == features()).all()


@pytest.mark.parametrize("file", ["train_ims.npy", "dev_caps.txt", "test_ims.npy", "test_ids.txt", "x_vocab.json"])
def test_the_hash_follows_every_file(root, file):
    (root / "test_ids.txt").write_text("a\nb\nc\nd\n")
    (root / "x_vocab.json").write_text('{"word2idx": {}}')
    before = precomp(root).sha256
    assert precomp(root).sha256 == before
    content = bytearray((root / file).read_bytes())
    content[-2 if file == "test_ids.txt" else -3] ^= 1
    if file.endswith(".json"):
        content = bytearray(b'{"word2idx": {"a": 0}}')
    (root / file).write_bytes(bytes(content))
    assert precomp(root).sha256 != before


@pytest.mark.parametrize(
    "option",
    [
        {"captions_per_image": 1},
        {"stored": "repeated"},
        {"vocabulary": "none"},
        {"vocabulary": "other.json"},
        {"test_name": "testall"},
        {"title": "mine"},
        {"max_train_images": 3},
        {"max_val_images": 3},
        {"max_test_images": 3},
        {"root": "elsewhere"},
    ],
    ids=str,
)
def test_every_option_has_an_effect_or_is_refused(root, option):
    assert PrecompConfig.model_fields.keys() == {
        *("root", "captions_per_image", "stored", "vocabulary", "test_name", "title"),
        "validation",  # of more than 5,000 captions, see below
        *("max_train_images", "max_val_images", "max_test_images"),
    }
    (root / "x_vocab.json").write_text('{"word2idx": {"<pad>": 0}}')
    (root / "other.json").write_text('{"word2idx": {"<pad>": 0, "a": 1}}')
    write(root, "testall", features(6), 30)
    before = precomp(root)
    try:
        after = open_dataset(Component(name="precomp", options={"root": str(root), **option}))
        assert (after.sha256, after.title) != (before.sha256, before.title)
    except InvalidDataset as error:
        assert next(iter(option)) in str(error)  # noqa: PT017 - either of the two is right


# --- bad input ----------------------------------------------------------------------------------------------------


def test_missing_files(root):
    (root / "test_caps.txt").unlink()
    refused(root, "cannot read .*test_caps.txt: No such file")
    (root / "test_ims.npy").unlink()
    refused(root, "test_ims.npy is missing")
    refused(root / "gone", "gone does not exist; set dataset.root")


@pytest.mark.parametrize("keep", [0, 40, 200])
def test_truncated_features(root, keep):
    os.truncate(root / "test_ims.npy", keep)
    refused(root, r"test_ims\.npy cannot be read as an array \(truncated\?\)")


def test_features_that_would_execute_a_pickle(root):
    np.save(root / "test_ims.npy", np.array([print], dtype=object), allow_pickle=True)
    refused(root, r"test_ims.npy cannot be read as an array: it holds Python objects .*unequal numbers of regions")


def test_features_are_read_once_and_again_when_the_file_changes(root, monkeypatch):
    monkeypatch.setattr("harness.datasets.store.facts.SETTLED_SECONDS", -1)
    before = precomp(root).sha256
    with monkeypatch.context() as patched:
        patched.setattr("harness.datasets.precomp.features._facts", lambda *_: pytest.fail("read again"))
        assert precomp(root).sha256 == before
    dates = (root / "test_ims.npy").stat()
    rows = features()
    rows[2, 1, 0] += 1e-3  # one value among many, in place, under the old date
    with (root / "test_ims.npy").open("r+b") as file:
        np.save(file, rows)
    os.utime(root / "test_ims.npy", ns=(dates.st_atime_ns, dates.st_mtime_ns))
    assert precomp(root).sha256 != before


def test_the_hash_is_of_the_content_and_not_of_its_storage(root):
    before = precomp(root).sha256
    write(root, "test", features().repeat(5, axis=0), 5 * IMAGES)
    assert precomp(root).sha256 == before
    write(root, "test", features().repeat(5, axis=0)[::-1], 5 * IMAGES)
    assert precomp(root).sha256 != before


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((IMAGES, REGIONS, WIDTH), dtype=np.int64), "floating-point features .* got int64"),
        (np.zeros(IMAGES), r"features \(N, R, D\), got float64 of shape \(4,\)"),
        (np.zeros((IMAGES, 0, WIDTH)), "without regions or without features"),
        (np.zeros((0, REGIONS, WIDTH)), "holds 0 rows"),
    ],
)
def test_arrays_that_are_no_features(root, array, message):
    np.save(root / "test_ims.npy", array)
    refused(root, message)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_found_wherever_they_are(root, value, monkeypatch):
    monkeypatch.setattr("harness.datasets.precomp.features._BLOCK_BYTES", 2 * REGIONS * WIDTH * 4)  # several blocks
    rows = features()
    rows[3, 2, 7] = value
    write(root, "test", rows, 5 * IMAGES)
    refused(root, "test_ims.npy: row 3 holds NaN or inf")
    assert len(precomp(root, max_test_images=3).split("test").images) == 3  # the others are usable


@pytest.mark.parametrize(
    ("rows", "captions", "configured", "message"),
    [
        (4, 19, None, "4 rows and .* 19 captions; expected the same number of captions per image"),
        (4, 20, 4, "4 rows and .* 20 captions; expected 4 captions per image"),
        (4, 3, None, "4 rows and .* 3 captions"),
        (10, 10, 5, "must be repeated captions_per_image = 5 times, but row 1 differs"),
        (12, 12, 5, "12 rows and .* 12 captions; expected 5 captions per image"),
        (4, 0, None, "4 rows and .* 0 captions"),
    ],
)
def test_counts_that_disagree(root, rows, captions, configured, message):
    write(root, "test", features(rows), captions)
    refused(root, message, captions_per_image=configured)


def test_repetition_is_checked_over_every_row(root):
    rows = features().repeat(5, axis=0)
    rows[17] += 1
    write(root, "test", rows, 5 * IMAGES)
    refused(root, "row 17 differs", captions_per_image=5)


def test_ids_that_disagree(root):
    (root / "test_ids.txt").write_text("a\nb\n")
    refused(root, "test_ids.txt has 2 ids for 4 images with 5 captions each")
    (root / "test_ids.txt").write_text("a\nb\na\nc\n")
    refused(root, "1 image ids appear more than once")


def test_captions_that_are_not_text(root):
    (root / "test_caps.txt").write_bytes(b"fine\n\xff\n")
    refused(root, "test_caps.txt is not UTF-8 text: .* at byte 5")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("b'a man'\n" + "x\n" * 19, r"1 captions are bytes printed by Python \(line 1: b'a man'\)"),
        ('b"it\'s"\n' * 20, "20 captions are bytes"),
        ("a\rb\n" * 20, "ends some lines by LF and others by CR"),
        (
            "x\n" * 19 + "\n",
            "19 captions .1 blank line at its end left out: a caption without words cannot be the last",
        ),
    ],
)
def test_captions_that_are_not_what_they_seem(root, content, message):
    (root / "test_caps.txt").write_bytes(content.encode())
    refused(root, message)


def test_features_of_unequal_widths_between_splits(root):
    write(root, "dev", features()[..., :5], 5 * IMAGES)
    with pytest.raises(InvalidDataset, match=r"differ in width \(train_ims.npy 8, dev_ims.npy 5, test_ims.npy 8\)"):
        precomp(root).check()


@pytest.mark.parametrize("name", ["test_caps.txt", "test_ims.npy", "test_ids.txt"])
def test_links_that_leave_the_root_and_pipes(root, tmp_path, name):
    (root / "test_ids.txt").write_text("a\nb\nc\nd\n")
    outside = tmp_path / "outside"
    outside.write_bytes((root / name).read_bytes())
    (root / name).unlink()
    (root / name).symlink_to(outside)
    refused(root, f"{name} is a link to .*outside, which leaves")
    (root / name).unlink()
    os.mkfifo(root / name)
    refused(root, f"{name} is not a regular file")


def test_pixels_are_refused_with_a_way_out(root):
    with pytest.raises(InvalidDataset, match="no pixels; choose the image backbone 'regions'"):
        precomp(root).split("test").images.pixels([0], 64)
