"""What splits share is counted by content: pictures whatever their names, pairs, ids, and captions where they are many."""

from __future__ import annotations

import numpy as np
import pytest

from harness.datasets.base import Dataset, Split
from harness.datasets.repeats import report_splits


class Rows:
    inputs = frozenset(("regions",))
    region_width = 1

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count


class Small(Dataset):
    """Splits from (id, content, captions) of each image."""

    title = "small"

    def __init__(self, generated: bool = False, **splits: list[tuple[str, bytes, list[str]]]):
        self._splits, self._generated = splits, generated

    def split(self, name: str) -> Split:
        images = self._splits[name]
        captions = [text for _, _, texts in images for text in texts]
        return Split(
            name=name,
            images=Rows(len(images)),
            image_ids=tuple(name for name, _, _ in images),
            captions=tuple(captions),
            caption_ids=tuple(map(str, range(len(captions)))),
            caption_image=np.repeat(np.arange(len(images)), [len(texts) for _, _, texts in images]),
        )

    def image_digests(self, split: str) -> tuple[bytes, ...] | None:
        return None if self._generated else tuple(content for _, content, _ in self._splits[split])


TRAIN = [("a", b"A", ["one a", "two a"]), ("b", b"B", ["one b", "two b"])]
VAL = [("v", b"V", ["one v", "two v"])]


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ([("x", b"X", ["one x", ""])], []),
        (
            [("x", b"A", ["one a", "two x"]), ("y", b"Y", ["one b", "y"])],
            ["train: 1 of 2 pictures, 1 of 4 pairs of picture and caption, 0 of 2 image ids, 2 of 4 captions"],
        ),
        (
            [("a", b"X", ["x", "y"])],
            ["train: 0 of 1 pictures, 0 of 2 pairs of picture and caption, 1 of 1 image ids, 0 of 2 captions"],
        ),
        (
            [("x", b"X", ["one a", "y"])],  # another language of pictures, the same captions
            ["train: 0 of 1 pictures, 0 of 2 pairs of picture and caption, 0 of 1 image ids, 1 of 2 captions"],
        ),
        (
            [("x", b"V", ["one v", "two v"])],
            ["val: 1 of 1 pictures, 2 of 2 pairs of picture and caption, 0 of 1 image ids, 2 of 2 captions"],
        ),
        ([("x", b"X", ["one a", *[f"caption {k}" for k in range(9)]])], []),  # one in ten: short captions recur
    ],
)
def test_what_test_shares_is_counted(test, expected, caplog):
    lines = report_splits(Small(train=TRAIN, val=VAL, test=test))
    assert lines == [f"test shares with {line}" for line in expected]
    assert all(f"small: {line}" in caplog.text for line in lines)


def test_generated_data_are_not_looked_at():
    assert report_splits(Small(generated=True, train=TRAIN, val=VAL, test=TRAIN)) == []
