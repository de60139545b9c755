"""A gallery in files: mapped, the same scores, and nothing damaged, foreign or half written is read."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from gallery_sides import GALLERIES, prepared, sides

from harness import registry
from harness.errors import InvalidIndex, ResultsNotWritable
from harness.fragments import Fragments
from harness.scoring import Index
from harness.scoring.index.stored import Header


@pytest.mark.parametrize("gallery", GALLERIES)
@pytest.mark.parametrize("name", ["chan", "grm", "vsepp", "sgraf"])
def test_a_saved_index_gives_the_same_scores(name, gallery, tmp_path):
    scorer = registry.create(name)
    images, texts = prepared(scorer)
    stored, queries = sides(gallery, images, texts)
    ids = [f"item {number}" for number in range(len(stored))]
    built = Index.build(scorer, stored, gallery=gallery, ids=ids)
    built.save(tmp_path / "saved")
    streamed = Index.build(
        scorer, (stored[start : start + 10] for start in range(0, len(stored), 10)), gallery=gallery, ids=ids,
        path=tmp_path / "streamed",
    )  # fmt: skip
    for index in (Index.open(tmp_path / "saved", scorer, check=True), streamed):
        assert index.ids == tuple(ids)
        torch.testing.assert_close(index.query(queries), built.query(queries), atol=1e-6, rtol=0)


def test_features_of_a_saved_index_are_mapped_not_copied(chan, tmp_path):
    images, _ = prepared(chan)
    index = Index.build(chan, images, path=tmp_path / "index")
    (segment,) = index._state.segments
    mapped = segment.items.features.untyped_storage().data_ptr()
    assert all(tile.rows.untyped_storage().data_ptr() == mapped for part in segment.parts for tile in part.lefts or ())


def test_equal_items_are_kept_once(chan, tmp_path):
    images, texts = prepared(chan)
    ids = [str(number) for number in range(2 * len(images))]
    index = Index.build(chan, Fragments.cat([images, images]), ids=ids, path=tmp_path / "index")
    assert (tmp_path / "index" / "features.bin").stat().st_size == images.features.numel() * 4
    assert len(index) == 2 * len(images)
    assert torch.equal(index.query(texts[:1])[:, : len(images)], index.query(texts[:1])[:, len(images) :])


def test_a_damaged_or_foreign_index_is_refused(chan, tmp_path):
    images, _ = prepared(chan)
    folder = tmp_path / "index"
    Index.build(chan, images, path=folder)
    with pytest.raises(ResultsNotWritable, match="exists already"):
        Index.build(chan, images, path=folder)
    with pytest.raises(InvalidIndex, match="made for another Chan"):
        Index.open(folder, registry.create("chan", pooling="mean"))
    with pytest.raises(InvalidIndex, match="is no index"):
        Index.open(tmp_path, chan)
    content = bytearray((folder / "features.bin").read_bytes())
    content[100] ^= 1
    (folder / "features.bin").write_bytes(content)
    Index.open(folder, chan)
    with pytest.raises(InvalidIndex, match="was changed"):
        Index.open(folder, chan, check=True)
    (folder / "features.bin").write_bytes(content[:-4])
    with pytest.raises(InvalidIndex, match="was cut off"):
        Index.open(folder, chan)
    (folder / "features.bin").unlink()
    with pytest.raises(InvalidIndex, match="No such file"):
        Index.open(folder, chan)


def restate(folder, change):
    """Change a header, and state the checksum of what it says now."""
    header = Header.model_validate(json.loads((folder / "index.json").read_text()) | change | {"sha256": ""})
    (folder / "index.json").write_text(header.model_copy(update={"sha256": header.own_sha256}).model_dump_json())


def test_names_that_were_exchanged_are_noticed(chan, tmp_path):
    Index.build(chan, prepared(chan)[0], path=tmp_path / "index")
    header = json.loads((tmp_path / "index" / "index.json").read_text())
    header["ids"][0], header["ids"][1] = header["ids"][1], header["ids"][0]
    (tmp_path / "index" / "index.json").write_text(json.dumps(header))
    with pytest.raises(InvalidIndex, match=r"index.json was changed"):
        Index.open(tmp_path / "index", chan)


def test_lengths_that_contradict_the_features_are_refused(chan, tmp_path):
    Index.build(chan, prepared(chan)[0], path=tmp_path / "index")
    lengths = np.fromfile(tmp_path / "index" / "lengths.bin", dtype=np.int64)
    for wrong in (lengths + np.eye(1, len(lengths), dtype=np.int64)[0], np.where(lengths == lengths[0], 0, lengths)):
        wrong.tofile(tmp_path / "index" / "lengths.bin")
        with pytest.raises(InvalidIndex, match="contradicts itself"):
            Index.open(tmp_path / "index", chan)


def test_an_opened_index_numbers_new_items_by_free_numbers(chan, tmp_path):
    images, _ = prepared(chan)
    index = Index.build(chan, images[:5])
    index.remove(["0", "1"])
    index.save(tmp_path / "index")
    opened = Index.open(tmp_path / "index", chan)
    opened.add(images[5:7])
    assert opened.ids == ("2", "3", "4", "5", "6")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2"),
        ({"arrays": {"../../evil": {"dtype": "float32", "shape": [1], "sha256": "0" * 64}}}, "names an array"),
        ({"ids": ["a"]}, "does not hold the features"),
    ],
)
def test_a_header_is_not_trusted(chan, tmp_path, change, message):
    Index.build(chan, prepared(chan)[0], path=tmp_path / "index")
    restate(tmp_path / "index", change)
    with pytest.raises(InvalidIndex, match=message):
        Index.open(tmp_path / "index", chan)


def test_a_build_that_fails_leaves_nothing(chan, tmp_path):
    images, _ = prepared(chan)

    def blocks():
        yield images[:10]
        raise RuntimeError("the tower is gone")

    with pytest.raises(RuntimeError, match="tower"):
        Index.build(chan, blocks(), path=tmp_path / "index")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_writer_left_is_removed_by_the_next(chan, tmp_path):
    images, _ = prepared(chan)
    script = (
        "import os, sys; from harness.scoring.index import IndexWriter\n"
        "IndexWriter(sys.argv[1], 'images', 'Chan', '0' * 64); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path / "index")]).returncode == 9
    (left,) = tmp_path.iterdir()
    other = tmp_path / f".other{left.name.removeprefix('.index')}"
    other.mkdir()
    Index.build(chan, images, path=tmp_path / "index")
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "index"]
