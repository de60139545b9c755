"""`itm describe` on every layout, on bad input, and on Flickr8k, whose numbers were counted another way."""

from __future__ import annotations

import json
import os
from pathlib import Path

import layouts
import pandas as pd
import pytest
import shapes

from harness.records.description import Description

FLICKR8K = Path(os.environ.get("ITM_FLICKR8K", Path(__file__).parents[3] / "shared" / "flickr8k"))


def page(folder: Path) -> Description:
    return Description.model_validate(json.loads((folder / "describe.json").read_text())["data"]["description"])


@pytest.mark.parametrize("make", layouts.LAYOUTS.values(), ids=layouts.LAYOUTS)
def test_every_layout_is_described(itm, tmp_path, make):
    settings = make(tmp_path / "data")["dataset"]
    options = {key: value for key, value in settings.items() if key not in ("name", "root")}
    sets = [part for key, value in options.items() for part in ("--set", f"{key}={value}")]
    path = settings.get("root", settings["name"])
    code, out, err = itm("describe", path, *sets, "--out", tmp_path / "page")
    assert code == 0, err
    facts = page(tmp_path / "page")
    assert {split.name: split.images for split in facts.splits} == layouts.COUNTS
    assert {split.name: split.captions.number for split in facts.splits} == {
        name: layouts.EACH * count for name, count in layouts.COUNTS.items()
    }
    assert "captions with a word that no training caption has" in out
    assert (tmp_path / "page" / "describe.html").is_file()
    assert facts.layout == settings["name"]


def test_the_page_lies_below_results_under_the_title(itm, tmp_path):
    layouts.karpathy(tmp_path / "data")
    code, out, _ = itm("describe", tmp_path / "data")
    assert code == 0
    assert f"written: {tmp_path / 'results'}/describe/small/describe.md" in "".join(out.splitlines())
    assert (tmp_path / "results" / "describe" / "small" / "describe-samples-test" / "00.jpg").is_file()


def test_the_page_of_other_data_with_the_same_title_is_kept(itm, tmp_path):
    for name in ("data", "other", "data"):
        if not (tmp_path / name).exists():
            layouts.karpathy(tmp_path / name)
        assert itm("describe", tmp_path / name, "--quick")[0] == 0
    folders = sorted((tmp_path / "results" / "describe").iterdir())
    assert [len(folder.name) for folder in folders] == [len("small"), len("small-01234567")]
    assert [Path(page(folder).root).name for folder in folders] == ["data", "other"]


def test_a_folder_comes_before_an_experiment_of_its_name(itm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layouts.karpathy(tmp_path / "flickr8k")
    code, _, err = itm("describe", "flickr8k", "--quick")
    assert code == 0, err
    assert (tmp_path / "results" / "describe" / "small" / "describe.html").is_file()


def test_text_backbones_and_other_data_are_looked_at_on_request(itm, tmp_path):
    layouts.karpathy(tmp_path / "data")
    layouts.karpathy(tmp_path / "other")
    (tmp_path / "ids.txt").write_text("test3.png\ntest4.png\n")
    code, out, err = itm(
        "describe", tmp_path / "data", "--text", "{name: bigru, max_words: 4}", "--against", tmp_path / "other",
        "--against", tmp_path / "ids.txt", "--out", tmp_path / "page", "--quick",
    )  # fmt: skip
    assert code == 0, err
    facts = page(tmp_path / "page")
    assert facts.split("test").captions.limits[-1].cut == 150
    assert {(row.split, row.other, row.other_split): row.any for row in facts.contamination if row.any} == {
        ("train", "small", "train"): 12,
        ("val", "small", "val"): 6,
        ("test", "small", "test"): 30,
        ("test", "ids.txt", "all"): 2,
    }
    assert (
        "test: images that small test has, too, so they are not new to a model trained on it: 30 of 30 (30 by file name)"
        in " ".join(out.split())
    )


def test_what_the_reader_decided_is_on_the_page(itm, tmp_path):
    layouts.precomp_repeated(tmp_path / "data")
    assert itm("describe", tmp_path / "data", "--out", tmp_path / "page")[0] == 0
    assert any("30 images stored 5 times" in line for line in page(tmp_path / "page").decided)
    assert "30 images stored 5 times" in (tmp_path / "page" / "describe.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scnes"], "is neither a folder, nor a dataset or experiment; did you mean 'scenes'?"),
        (["{tmp}/nowhere"], "is neither a folder"),
        (["{tmp}/nowhere", "--layout", "karpathy"], "does not exist"),
        (["{tmp}/file.json"], "is a file"),
        (["{tmp}/empty"], "no known layout"),
        (["{tmp}/both"], "several layouts"),
        (["{tmp}/data", "--layout", "karpaty"], "did you mean 'karpathy'?"),
        (["{tmp}/data", "--layout", "precomp"], "layout"),
        (["{tmp}/data", "--set", "capitons=3"], "unknown key"),
        (["{tmp}/data", "--text", "bigrue"], "did you mean 'bigru'?"),
        (["{tmp}/data", "--text", "[1]"], "--text takes"),
        (["{tmp}/data", "--text", "{name: bigru, widht: 3}"], "widht"),
        (["{tmp}/data", "--text", "{name: transformer, model: /nowhere}"], "nowhere"),
        (["{tmp}/data", "--against", "{tmp}/nowhere"], "does not exist"),
        (["{tmp}/data", "--against", "{tmp}/empty"], "no known layout"),
        (["{tmp}/data", "--near", "99"], "99"),
        (["{tmp}/cut"], "JSON"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line(itm, tmp_path, arguments, message):
    layouts.karpathy(tmp_path / "data")
    layouts.karpathy(tmp_path / "both")
    layouts.precomp_once(tmp_path / "both" / "deeper")
    for path in (tmp_path / "both" / "deeper").iterdir():
        path.rename(tmp_path / "both" / path.name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.json").write_text("{}")
    layouts.karpathy(tmp_path / "cut")
    (tmp_path / "cut" / "dataset_small.json").write_text('{"images": [')
    code, out, err = itm("describe", *(argument.replace("{tmp}", str(tmp_path)) for argument in arguments))
    assert code == 2, out
    (line,) = [line for line in err.splitlines() if line.startswith("itm: error:")]
    assert message in line
    assert "Traceback" not in err
    assert not (tmp_path / "results" / "describe").exists()


@pytest.mark.skipif(not FLICKR8K.is_dir(), reason="Flickr8k is not here")
def test_flickr8k_has_the_numbers_that_pandas_counts(itm, tmp_path):
    code, _, err = itm("describe", FLICKR8K, "--out", tmp_path / "page", "--quick")
    assert code == 0, err
    facts = page(tmp_path / "page")
    images = pd.json_normalize(json.loads((FLICKR8K / "dataset_flickr8k.json").read_text())["images"], max_level=0)
    rows = images.explode("sentences")
    rows["raw"] = rows["sentences"].map(lambda sentence: " ".join(sentence["raw"].split()))
    for name, group in rows.groupby("split"):
        captions = facts.split(name).captions
        words = group["raw"].str.split().str.len()
        assert (captions.number, facts.split(name).images) == (len(group), group["filename"].nunique())
        assert captions.words.median == words.median()
        assert captions.words.p95 == pytest.approx(words.quantile(0.95))
        assert captions.words.largest == words.max()
        assert captions.lengths == words.value_counts().to_dict()
        assert captions.exact.repeats == group["raw"].duplicated().sum()
        owners = group.groupby("raw")["filename"].nunique()
        assert captions.exact.shared_texts == (owners > 1).sum()
        assert captions.exact.sharing_images == group[group["raw"].map(owners) > 1]["filename"].nunique()
        train = set(rows.loc[rows["split"] == "train", "raw"])
        assert captions.also_in_train == (None if name == "train" else group["raw"].isin(train).sum())
    assert [limit.cut for split in facts.splits for limit in split.captions.limits if limit.text == "CLIP"] == [0, 0, 0]


@pytest.mark.parametrize(
    "make",
    [make for makes in (shapes.SHAPES | shapes.WHOLE).values() for make in makes],
    ids=lambda make: make.__name__,
)
def test_every_published_shape_is_described_as_it_lies(itm, tmp_path, make):
    root = make(tmp_path / "data")
    (tmp_path / "ids.txt").write_text("nothing.jpg\n")
    code, _, err = itm("describe", root, "--out", tmp_path / "page", "--against", tmp_path / "ids.txt")
    assert code == 0, err
    facts = page(tmp_path / "page")
    for split in facts.splits:
        assert split.images == shapes.COUNTS[split.name]
        assert sum(number * images for number, images in split.captions.per_image.items()) == split.captions.number
        assert split.files is not None
        assert split.files.width is not None
        assert (split.files.missing, split.files.unreadable) == (0, 0)
        assert split.files.width.number == split.images
    assert not any(pair.equal for pair in facts.duplicates)
    assert list((tmp_path / "page").glob("describe-samples-*/*.jpg"))


def test_white_space_that_a_reader_removes_is_a_finding(itm, tmp_path):
    layouts.karpathy(tmp_path / "data")
    path = tmp_path / "data" / "dataset_small.json"
    path.write_text(path.read_text().replace('"raw": "a ', '"raw": "a  ', 3).replace(' ."}', ' .\\n"}', 2))
    code, out, err = itm("describe", tmp_path / "data", "--quick")
    assert code == 0, err
    assert "white space of 3 of 240 captions normalised (2 begin or end with it" in " ".join(out.split())
