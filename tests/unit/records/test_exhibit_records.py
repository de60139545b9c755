"""Exhibits on disk: round trip, names of folders, and what a damaged or foreign file does."""

from __future__ import annotations

import json

import pytest

from harness.errors import InvalidRecord
from harness.records.exhibits import FILE, Exhibits, exhibits_folder, read_exhibits, write_exhibits

SHOWN = Exhibits(
    dataset="pets",
    split="test",
    data_sha256="0123456789abcdef" * 4,
    image_ids=("a.jpg", "b.jpg"),
    captions=("a cat", "", "</script> \u2028"),
    caption_ids=("a.jpg#0", "b.jpg#0", "b.jpg#1"),
    caption_image=(0, 1, 1),
    pictures={0: "0.jpg", 1: "1.jpg"},
    unlabelled={"human": {"pairs": ((0, 2),)}},
    clutter={1: 4},
)


def test_exhibits_come_back_with_the_pictures_that_lie_there(tmp_path):
    write_exhibits(tmp_path, SHOWN)
    (tmp_path / "1.jpg").write_bytes(b"jpeg")
    assert read_exhibits(tmp_path) == SHOWN.model_copy(update={"pictures": {1: "1.jpg"}})


def test_a_picture_that_is_a_link_is_left_out(tmp_path):
    write_exhibits(tmp_path, SHOWN)
    (tmp_path / "secret").write_bytes(b"of somebody")
    (tmp_path / "0.jpg").symlink_to(tmp_path / "secret")
    found = read_exhibits(tmp_path)
    assert found is not None
    assert found.pictures == {}


def test_a_folder_without_exhibits_has_none(tmp_path):
    assert read_exhibits(tmp_path / "missing") is None


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("pets", "pets-test-01234567"),
        ("../../etc", "etc-test-01234567-c2d06f"),
        ("a<b>", "a-b--test-01234567-dd961d"),
    ],
)
def test_a_dataset_names_one_plain_folder(tmp_path, dataset, expected):
    shown = SHOWN.model_copy(update={"dataset": dataset})
    folder = exhibits_folder(tmp_path, shown.dataset, shown.split, shown.data_sha256)
    assert folder == tmp_path / "site" / "exhibits" / expected
    assert folder.name == shown.folder_name


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"schema_version": 2}, "has schema version 2, expected 1"),
        ({"image_ids": []}, "'image_ids'"),
        ({"data_sha256": "../../x"}, "'data_sha256'"),
        ({"caption_ids": ["a.jpg#0"]}, "3 captions, 1 caption_ids and 3 caption_image; all three must agree"),
        ({"caption_image": [0, 1, 2]}, "image row 2 of 2"),
        ({"caption_image": [0, 1, -1]}, "'caption_image.2'"),
        ({"caption_image": [0, 1, True]}, "'caption_image.2'"),
        ({"pictures": {"2": "2.jpg"}}, "image row 2 of 2"),
        ({"pictures": {"0": "../../secret.jpg"}}, "the picture of image row n is n.jpg"),
        ({"pictures": {"0": "1.jpg"}}, "the picture of image row n is n.jpg"),
        ({"pictures": {"x": "1.jpg"}}, "'pictures.x"),
        ({"unlabelled": {"human": {"pairs": [[2, 0]]}}}, "image row 2 of 2"),
        ({"unlabelled": {"human": {"pairs": [[0, 3]]}}}, "caption row 3 of 3"),
        ({"unlabelled": {"human": {"pairs": [[0, 1, 2]]}}}, "'unlabelled.human.pairs.0"),
        ({"clutter": {"0": 1.5}}, "'clutter.0'"),
        ({"owner": "me"}, "unknown key 'owner'"),
    ],
)
def test_exhibits_that_contradict_themselves_are_refused_in_one_line(tmp_path, changes, problem):
    write_exhibits(tmp_path, SHOWN)
    path = tmp_path / FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(InvalidRecord) as refused:
        read_exhibits(tmp_path)
    assert problem in str(refused.value)
    assert str(refused.value).endswith("; delete the folder to have it made again")
    assert "\n" not in str(refused.value)
