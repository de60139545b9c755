"""Webdataset archives: the data of the karpathy layout, decoded in place, and every member that is not a plain file refused."""

from __future__ import annotations

import gzip
import logging
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapes

from harness import datasets
from harness.datasets.webdataset.archives import members_of
from harness.errors import InvalidDataset, InvalidSpec

IMAGE = {"name": "image.jpg"}


def opened(root: Path, **options: Any) -> datasets.base.Dataset:
    return datasets.open_dataset({"root": str(root), **options})


def test_archives_hold_what_the_karpathy_layout_of_the_same_data_holds(tmp_path):
    root = shapes.webdataset(tmp_path / "archives")
    reference = datasets.open_dataset({"root": str(shapes.karpathy(tmp_path / "karpathy"))})
    assert datasets.identify(root) == "webdataset"
    dataset = opened(root)
    dataset.check()
    assert (dataset.title, dataset.splits) == ("flickr30k", ("train", "val", "test"))
    for split in dataset.splits:
        ours, theirs = dataset.split(split), reference.split(split)
        assert ours.captions == theirs.captions
        assert ours.image_ids == tuple(f"{split}/s{row:07d}" for row in range(shapes.COUNTS[split]))
        assert ours.caption_ids[5 * 1 + 2] == f"{split}/s0000001#2"
        np.testing.assert_array_equal(ours.caption_image, theirs.caption_image)
        assert dataset.image_digests(split) == reference.image_digests(split)
        rows = [3, 0, 2]
        np.testing.assert_array_equal(ours.images.pixels(rows, 16), theirs.images.pixels(rows, 16))


def test_pixels_are_the_same_where_they_are_not_cached(tmp_path, monkeypatch):
    root = shapes.webdataset(tmp_path)
    cached = opened(root).split("test").images.pixels(range(6), 12)
    monkeypatch.setenv("ITM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ITM_CACHE_GIB", "0")
    np.testing.assert_array_equal(opened(root).split("test").images.pixels(range(6), 12), cached)


def test_most_come_with_a_test_split_alone(tmp_path):
    root = tmp_path / "wds_mscoco_captions"
    shapes.tar(root, "test", [(p.captions, b"") for p in shapes.of("test")])
    dataset = opened(root)
    assert (dataset.title, dataset.splits) == ("mscoco", ("test",))
    with pytest.raises(InvalidDataset, match="dataset mscoco has no train split; it has test"):
        dataset.split("train")


def test_line_breaks_inside_captions_are_blanks(tmp_path):
    shapes.tar(tmp_path, "test", [(["one\ncaption", "  two  blanks "], b"")])
    assert opened(tmp_path).split("test").captions == ("one caption", "two blanks")


def test_an_archive_that_changes_is_decoded_anew(tmp_path):
    root = shapes.webdataset(tmp_path)
    before = opened(root)
    sha256, pixels = before.sha256, before.split("test").images.pixels([0], 12)
    (root / "test" / "0.tar").write_bytes((root / "train" / "0.tar").read_bytes())
    after = opened(root)
    assert after.sha256 != sha256
    assert (after.split("test").images.pixels([0], 12) != pixels).any()


def test_an_image_that_cannot_be_decoded_is_named_by_archive_and_member(tmp_path):
    shapes.tar(tmp_path, "test", [(["a"], b"<html>"), (["b"], b"<html>")])
    with pytest.raises(InvalidDataset, match=r"test/0.tar/s0000000.jpg is not an image .*\(2 of 2 images"):
        opened(tmp_path).check()


# --- archives -----------------------------------------------------------------------------------------------------


def test_the_place_of_each_member_is_found_without_unpacking(tmp_path):
    path = tmp_path / "0.tar"
    with tarfile.open(path, "w") as archive:
        shapes.add(archive, "folder", type=tarfile.DIRTYPE)
        shapes.add(archive, "./folder/a.txt", b"first")
        shapes.add(archive, "b" * 150 + ".txt", b"second, with a long name")
    first, second = members_of(path)
    assert (first.name, second.name) == ("folder/a.txt", "b" * 150 + ".txt")
    with path.open("rb") as file:
        assert [member.read(file) for member in (first, second)] == [b"first", b"second, with a long name"]
    assert sorted(tmp_path.iterdir()) == [path]


MALICIOUS: dict[str, tuple[dict[str, Any], str]] = {
    "climbs": ({"name": "../../etc/cron.d/x.jpg"}, r"names the path '../../etc/cron.d/x.jpg', which leaves"),
    "climbs inside": ({"name": "a/../../x.jpg"}, r"names the path 'a/../../x.jpg', which leaves"),
    "absolute": ({"name": "/etc/passwd.jpg"}, r"names the path '/etc/passwd.jpg', which leaves"),
    "backslash": ({"name": "..\\x.jpg"}, r"names the path .*, which leaves"),
    "symbolic link": ({**IMAGE, "type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "'image.jpg' is a symbolic link"),
    "hard link": ({**IMAGE, "type": tarfile.LNKTYPE, "linkname": "s0.txt"}, "'image.jpg' is a hard link"),
    "pipe": ({**IMAGE, "type": tarfile.FIFOTYPE}, "'image.jpg' is a device or a pipe"),
    "character device": ({**IMAGE, "type": tarfile.CHRTYPE}, "'image.jpg' is a device or a pipe"),
    "block device": ({**IMAGE, "type": tarfile.BLKTYPE}, "'image.jpg' is a device or a pipe"),
    "unknown type": ({**IMAGE, "type": b"Z"}, "'image.jpg' is no regular file"),
    "twice": ({"name": "s0000000.txt"}, "holds member 's0000000.txt' twice"),
    "twice in other letters": ({"name": "./s0000000.txt"}, "holds member 's0000000.txt' twice"),
    "two photographs": (
        {"name": "s0000000.png"},
        "one sample has 2 members for its photograph: s0000000.jpg, s0000000.png",
    ),
    "no captions": ({"name": "s9.jpg"}, r"1 of 2 samples have no captions \(.txt\) \(first: 's9'\)"),
    "no photograph": ({"name": "s9.txt"}, r"1 of 2 samples have no photograph \(first: 's9'\)"),
    "another kind alone": ({"name": "s9.cls"}, r"1 of 2 samples have no photograph \(first: 's9'\)"),
}


@pytest.mark.parametrize("case", MALICIOUS)
def test_members_that_are_refused(tmp_path, case):
    header, message = MALICIOUS[case]
    shapes.tar(tmp_path, "test", [(["a caption"], b"image")])
    with tarfile.open(tmp_path / "test" / "0.tar", "a") as archive:
        shapes.add(archive, **header)
    with pytest.raises(InvalidDataset, match=message) as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path.parent / "x.jpg").exists()


def test_a_sparse_member_is_refused(tmp_path):
    shapes.tar(tmp_path, "test", [(["a caption"], b"image")])
    with tarfile.open(tmp_path / "test" / "0.tar", "a", format=tarfile.PAX_FORMAT) as archive:
        headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "9"}
        shapes.add(archive, "image.jpg", b"x", pax_headers=headers)
    with pytest.raises(InvalidDataset, match=r"'image.jpg' is a sparse file"):
        opened(tmp_path)


def test_a_member_of_negative_size_is_refused_in_time(tmp_path):
    """CVE-2025-8194: tarfile goes back by a negative size, and reads the same header for ever."""
    shapes.tar(tmp_path, "test", [(["a caption"], b"image")])
    path = tmp_path / "test" / "0.tar"
    info = tarfile.TarInfo("x.jpg")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 10 + (-512).to_bytes(2, "big", signed=True)
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:512]))
    path.write_bytes(path.read_bytes()[: 512 * 4] + bytes(header) + bytes(1024))
    with pytest.raises(InvalidDataset, match=r"impossible place|cannot be read as an uncompressed tar archive"):
        opened(tmp_path)


def _cut(size: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, size)


def _damage_header(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[1024] ^= 1  # of the second member
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_cut(0), "cannot be read as an uncompressed tar archive: empty file"),
        (_cut(300), "cannot be read as an uncompressed tar archive"),
        (_cut(700), "cannot be read as an uncompressed tar archive: unexpected end of data"),
        (_cut(1024), "is cut off at byte 1,024; download it again"),
        (_cut(1300), "is cut off at byte 1,024; download it again"),
        (_damage_header, "is damaged at byte 1,024; download it again"),
        (lambda path: path.write_bytes(path.read_bytes() * 2), "goes on after its end, as if archives had been joined"),
        (
            lambda path: path.write_bytes(gzip.compress(path.read_bytes())),
            "cannot be read as an uncompressed tar archive",
        ),
        (
            lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n" * 20),
            "cannot be read as an unc",
        ),
        (lambda path: path.unlink(), r"1 of 1 archives are missing \(first: 0.tar\)"),
        (lambda path: path.unlink() or os.mkfifo(path), "is not a regular file"),
        (lambda path: path.unlink() or path.symlink_to("/etc/passwd"), "is a link to /etc/passwd, which leaves"),
    ],
)
def test_archives_that_are_refused(tmp_path, harm, message):
    shapes.tar(tmp_path, "test", [(["a caption"], b"image")])
    harm(tmp_path / "test" / "0.tar")
    with pytest.raises(InvalidDataset, match=message) as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)


# --- splits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "two\n", "0\n", "-1\n", "2.5\n", "1\n1\n", "9" * 30])
def test_the_number_of_archives_is_a_number(tmp_path, text):
    shapes.tar(tmp_path, "test", [(["a caption"], b"image")])
    (tmp_path / "test" / "nshards.txt").write_text(text)
    with pytest.raises(InvalidDataset, match=r"nshards.txt must hold the number of archives, got"):
        opened(tmp_path)


def test_missing_and_further_archives_are_told(tmp_path, caplog):
    shapes.tar(tmp_path, "test", [([f"caption {row}"], b"image") for row in range(6)], per_archive=2)
    (tmp_path / "test" / "nshards.txt").write_text("5\n")
    with pytest.raises(InvalidDataset, match=r"2 of 5 archives are missing \(first: 3.tar\)"):
        opened(tmp_path)
    (tmp_path / "test" / "nshards.txt").write_text("2\n")
    assert opened(tmp_path).split("test").captions == ("caption 0", "caption 1", "caption 2", "caption 3")
    assert "1 archive left out (first: 2.tar): nshards.txt says 2" in caplog.text


def test_archives_follow_their_numbers_and_not_their_letters(tmp_path):
    shapes.tar(tmp_path, "test", [([f"caption {row}"], b"image") for row in range(12)], per_archive=1)
    assert opened(tmp_path).split("test").captions == tuple(f"caption {row}" for row in range(12))


def test_a_key_in_two_archives_is_refused(tmp_path):
    shapes.tar(tmp_path, "test", [([f"caption {row}"], b"image") for row in range(2)], per_archive=1)
    (tmp_path / "test" / "1.tar").write_bytes((tmp_path / "test" / "0.tar").read_bytes())
    with pytest.raises(InvalidDataset, match=r"1.tar/s0000000.jpg: the key 's0000000' occurs in 0.tar already"):
        opened(tmp_path)


def test_another_task_is_refused(tmp_path):
    shapes.tar(tmp_path, "test", [(["a caption"], b"image")])
    (tmp_path / "dataset_type.txt").write_text("zeroshot_classification\n")
    with pytest.raises(
        InvalidDataset, match=r"says 'zeroshot_classification'; only archives of captions \(retrieval\)"
    ):
        opened(tmp_path)


def test_two_folders_of_a_split_need_to_be_told_apart(tmp_path):
    for folder in ("val", "dev"):
        shapes.tar(tmp_path, folder, [(["a caption"], b"image")])
    with pytest.raises(InvalidDataset, match="several folders for split 'val': val, dev; keep one"):
        opened(tmp_path)


def test_members_of_other_kinds_are_counted(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    shapes.tar(tmp_path, "test", [(["a caption"], b"image")])
    with tarfile.open(tmp_path / "test" / "0.tar", "a") as archive:
        shapes.add(archive, "s0000000.json", b"{}")
    assert opened(tmp_path).split("test").captions == ("a caption",)
    assert "members of other kinds are not read: .json 1" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "s0.txt holds no caption; each photograph needs at least one"),
        (b"\n\n", "s0.txt holds no caption"),
        (b"\xff\xfe", "s0.txt is not UTF-8 text"),
        (b"x" * (2**20 + 1), "s0.txt has 1,048,577 bytes, too many for captions"),
    ],
)
def test_captions_that_are_refused(tmp_path, content, message):
    shapes.tar(tmp_path, "test", [(["a caption"], b"image")])
    with tarfile.open(tmp_path / "test" / "0.tar", "w") as archive:
        shapes.add(archive, "s0.txt", content)
        shapes.add(archive, "s0.jpg", b"image")
    with pytest.raises(InvalidDataset, match=message):
        opened(tmp_path)


def test_a_folder_of_images_is_no_option(tmp_path):
    shapes.tar(tmp_path, "test", [(["a caption"], b"image")])
    with pytest.raises(InvalidSpec, match="'images'"):
        opened(tmp_path, images="images")
