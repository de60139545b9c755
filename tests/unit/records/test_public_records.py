"""What is published of a record names no folder and no person, and still is the same record."""

from __future__ import annotations

import json

import pytest

from harness.records.frozen.public import names_a_path, public_record, without_paths
from harness.records.run import RunRecord

RECORD = {
    "run_id": "0f3a",
    "scorer": "scan",
    "backbone": "regions+bigru",
    "dataset": "flickr8k",
    "protocols": ("full",),
    "seed": 0,
    "metrics": {"full": {"rsum": 300.0}},
    "data_sha256": "a" * 64,
    "status": "finished",
    "error": "cannot read /home/ann/x",
    "started": "2026-01-01T00:00:00+00:00",
    "spec": {
        "dataset": {"name": "karpathy", "root": "/home/ann/flickr8k"},
        "text": {"embeddings": "~/vectors/glove.txt", "model": "bert-base-uncased"},
        "image": {"pretrained": "/mnt/ann/vit.safetensors", "architecture": "package:a/b"},
        "weights": "file:///home/ann/w.pt",
        "other": ["../ann/x.npy", {"C:\\Users\\ann\\y.json": 1}],
    },
    "code": {"revision": "abc", "plugin": "/home/ann/plugins/mine.py"},
}


def test_no_folder_and_no_person_is_named():
    values = public_record(RunRecord(**RECORD))
    text = json.dumps(values)
    for private in ("ann", "/home", "/mnt", "Users", ".."):
        assert private not in text
    assert values["spec"]["dataset"] == {"name": "karpathy"}
    for kept in (
        "glove.txt",
        "vit.safetensors",
        "w.pt",
        "x.npy",
        "y.json",
        "mine.py",
        "package:a/b",
        "bert-base-uncased",
    ):
        assert kept in text
    assert not names_a_path(values)
    assert names_a_path(json.loads(RunRecord(**RECORD).model_dump_json()))
    again = public_record(RunRecord.model_validate(values))
    assert again == values


@pytest.mark.parametrize(
    "text",
    [
        "</b><script>alert(1)</script>",
        "a/b",
        "SGRAF (SAF + SGR)",
        "r<b>4</b>",
        "x </i> y",
        "with / without",
        "Lee et al. / ECCV 2018",
        "ViT-B /16",
        "</a href>",
    ],
)
def test_names_with_markup_or_slashes_are_no_paths(text):
    assert without_paths(text) == text


def test_two_files_of_one_name_stay_apart():
    assert without_paths("/a/w.pt") != without_paths("/b/w.pt")


@pytest.mark.parametrize(
    "text",
    [
        "i2t/t2i",
        "pairs/s",
        "https://example.org/a/b",
        "a / b",
        "1/2",
        "hub:timm/vit_base",
        "~5 %",
        "A: B",
        "scenes",
        "...",
        "/",
    ],
)
def test_other_texts_stay_as_they_are(text):
    expected = text if text not in ("/", "a / b") else without_paths(text)
    assert without_paths(text) == expected
