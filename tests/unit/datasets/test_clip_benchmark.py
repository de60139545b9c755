"""CLIP_benchmark's text files: languages, quotation marks, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shapes
from shapes import change_lines, opened

from harness import datasets
from harness.errors import InvalidDataset


def text(change: Callable[[list[str]], Any]) -> Callable[[Path], None]:
    return lambda root: change_lines(root / "flickr30k_test_karpathy.txt", change)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (text(lambda v: v[1:]), "the first line must be 'image,caption', got '.*.jpg,a .* , seen near test 0"),
        (
            lambda root: (root / "flickr30k_test_karpathy.txt").write_text(""),
            "must be 'image,caption', got an empty file",
        ),
        (text(lambda v: v[:1]), "holds no captions; expected lines <file>.jpg,<caption>"),
        (text(lambda v: [f"{v[0]},more", *v[1:]]), "the first line must be 'image,caption', got 'image,caption,more'"),
        (text(lambda v: [*v, "no file name, a caption"]), r"line 32 must be <file>.jpg,<caption>, got 'no file name"),
        (text(lambda v: [*v, "../x.jpg,a caption"]), "names the path '../x.jpg', which leaves"),
        (
            lambda root: (root / "flickr30k_test_karpathy.txt").write_bytes(b"image,caption\na.jpg,\xff\n"),
            "is not UTF-8",
        ),
        (
            lambda root: (root / "flickr30k_test_karpathy.txt").rename(root / "flickr8k_test_karpathy.txt"),
            "set dataset.prefix and",
        ),
        (
            lambda root: [p.rename(root / "captions.txt") for p in root.glob("*.txt")],
            "captions.txt lists all images, and no file says which split each is of",
        ),
    ],
)
def test_bad_files_of_clip_benchmark(tmp_path, harm, message):
    root = shapes.clip_benchmark(tmp_path)
    harm(root)
    with pytest.raises(InvalidDataset, match=message) as caught:
        opened(root).split("test")
    assert "\n" not in str(caught.value)


def test_one_file_of_all_captions_is_no_split(tmp_path):
    root = shapes.clip_benchmark(tmp_path)
    for path in root.glob("*.txt"):
        path.rename(root / "captions.txt")
    with pytest.raises(InvalidDataset, match=r"found none; captions.txt lists all images without their splits; set"):
        datasets.open_dataset({"name": "clip_benchmark", "root": str(root)})


def test_another_language_beside_english_is_an_option(tmp_path, caplog):
    caplog.set_level("INFO")
    root = shapes.clip_benchmark(tmp_path)
    lines = [f"{picture.file},一只狗 {k}" for picture in shapes.of("test") for k in range(5)]
    shapes.write_lines(root / "flickr30k_test_zh.txt", ["image,caption", *lines])
    english, chinese = opened(root), opened(root, language="zh")
    assert "the English captions are taken; dataset.language takes zh" in caplog.text
    assert (english.title, chinese.title) == ("flickr30k", "flickr30k-zh")
    assert (english.splits, chinese.splits) == (("train", "val", "test"), ("test",))
    assert chinese.split("test").captions[0] == "一只狗 0"
    for path in root.glob("*_karpathy.txt"):
        path.unlink()
    assert opened(root).title == "flickr30k-zh"


def test_captions_that_a_csv_writer_quoted_lose_their_quotation_marks(tmp_path, caplog, reference):
    caplog.set_level("INFO")
    root = shapes.clip_benchmark(tmp_path)

    def quoted(lines: list[str]) -> list[str]:
        pairs = (line.split(".jpg,", 1) for line in lines[1:])
        return [lines[0], *('{}.jpg,"{}"'.format(name, text.replace('"', '""')) for name, text in pairs)]

    text(quoted)(root)
    assert opened(root).split("test").captions == reference.split("test").captions
    assert "the quotation marks of a CSV table are taken off 30 captions" in caplog.text
