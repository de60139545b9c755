"""What a site shows of a split: pictures, captions, further correct pairs; made once, kept, and shown without the data."""

from __future__ import annotations

import io
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapes
from PIL import Image

from harness import datasets
from harness.errors import InvalidRecord, ResultsNotWritable
from harness.exhibits import knowledge, preparation, prepare
from harness.exhibits.thumbnails import SIDE, thumbnail
from harness.records import exhibits as records
from harness.records.exhibits import FILE, exhibits_folder, listed_images, read_exhibits, write_exhibits
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.records.tops import TopTable
from harness.runs.reopening import RunDatasets

SCENES = {"name": "scenes", "train_images": 4, "val_images": 4, "test_images": 8, "image_size": 32}


def run(store: RunStore, spec: dict[str, Any], run_id: str = "a" * 16, **changes: Any) -> RunRecord:
    """A finished run on a dataset, as far as exhibits look at one."""
    dataset = datasets.open_dataset(spec)
    record = RunRecord(
        **{
            "run_id": run_id,
            "scorer": "scan",
            "backbone": "regions+bigru",
            "dataset": dataset.title,
            "protocols": ("full",),
            "seed": 0,
            "data_sha256": dataset.sha256,
            "spec": {"dataset": datasets.DATASETS.resolve(spec).model_dump(mode="json")},
            "status": "finished",
            "started": "2026-01-01T00:00:00+00:00",
            **changes,
        }
    )
    store.write(record)
    return record


def folder_of(store: RunStore, record: RunRecord) -> Path:
    return exhibits_folder(store.results, record.dataset, record.split, record.data_sha256)


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "results")


@pytest.fixture
def never_opened(monkeypatch):
    """Opening a dataset is an error from the call on."""

    def forbid() -> None:
        monkeypatch.setattr(datasets, "open_dataset", lambda component: pytest.fail("the dataset was opened again"))

    return forbid


def decoded(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.copy()


def far_apart(small: Image.Image, picture: Image.Image) -> float:
    """Mean difference of the pixels, of the same size."""
    return float(np.abs(np.asarray(small, dtype=float) - np.asarray(picture.resize(small.size), dtype=float)).mean())


def test_scenes_have_pictures_captions_true_pairs_and_clutter(store):
    record = run(store, SCENES)
    (shown,) = prepare(store, [record])
    split, dataset = datasets.open_dataset(SCENES).split("test"), datasets.open_dataset(SCENES)
    assert (shown.image_ids, shown.captions) == (split.image_ids, split.captions)
    assert (shown.caption_ids, shown.caption_image) == (split.caption_ids, tuple(split.caption_image.tolist()))
    relevance = split.relevance.copy()
    relevance[split.caption_image, np.arange(len(split.captions))] = False
    assert sorted(shown.unlabelled["scenes_relevance"].pairs) == sorted(zip(*np.nonzero(relevance), strict=True))
    assert list(shown.unlabelled) == ["scenes_relevance"]
    assert shown.clutter == {row: len(scene) for row, scene in enumerate(dataset.scenes("test"))}
    folder = folder_of(store, record)
    assert {path.name for path in folder.iterdir()} == {FILE, *(f"{row}.jpg" for row in range(8))}
    for row in range(8):
        small = decoded(folder / shown.pictures[row])
        assert small.size == (32, 32)  # smaller pictures are not enlarged
        assert far_apart(small, split.images.original(row)) < 8
        assert far_apart(small, split.images.original((row + 2) % 8)) > 8
    assert read_exhibits(folder) == shown


@pytest.mark.parametrize("layout", [shapes.karpathy, shapes.webdataset, shapes.hub_with_pictures])
def test_photographs_of_every_kind_of_layout_have_the_same_pictures(store, tmp_path, layout):
    reference = datasets.open_dataset({"root": str(shapes.karpathy(tmp_path / "reference"))}).split("test")
    record = run(store, {"root": str(layout(tmp_path / "data"))})
    (shown,) = prepare(store, [record])
    assert shown.captions == reference.captions
    folder = folder_of(store, record)
    for row in range(shapes.COUNTS["test"]):
        expected = thumbnail(reference.images.original(row))
        assert (folder / shown.pictures[row]).read_bytes() == expected
    assert not shown.unlabelled
    assert not shown.clutter


def test_judgements_of_people_are_pairs_that_the_dataset_does_not_have(store, tmp_path):
    root = shapes.flickr8k_text(tmp_path / "data")
    split = datasets.open_dataset({"root": str(root)}).split("test")
    lines = [(0, 0, "4\t4\t4"), (0, 5, "3\t3\t3"), (1, 0, "3\t3\t2"), (2, 5, "4\t4\t1")]
    (root / "ExpertAnnotations.txt").write_text(
        "".join(f"{split.image_ids[i]}\t{split.caption_ids[c]}\t{grades}\n" for i, c, grades in lines)
    )
    (shown,) = prepare(store, [run(store, {"root": str(root)})])
    assert {source: known.pairs for source, known in shown.unlabelled.items()} == {"human": ((0, 5), (2, 5))}


def precomp(root: Path, ids: str = "{}.jpg") -> dict[str, Any]:
    root.mkdir(parents=True)
    for prefix, images in (("train", 3), ("dev", 2), ("test", 4)):
        features = np.random.default_rng(images).standard_normal((images, 2, 6)).astype(np.float32)
        np.save(root / f"{prefix}_ims.npy", features)
        shapes.write_lines(root / f"{prefix}_caps.txt", [f"{prefix} {n}" for n in range(5 * images)])
    shapes.write_lines(root / "test_ids.txt", [ids.format(n) for n in range(4)])
    return {"name": "precomp", "root": str(root), "title": "pets"}


def test_region_features_have_no_pictures_and_one_line_says_so(store, tmp_path, caplog, never_opened):
    record = run(store, precomp(tmp_path / "data"))
    caplog.set_level(logging.INFO)
    (shown,) = prepare(store, [record])
    assert (shown.pictures, shown.pictureless, len(shown.captions)) == ({}, True, 20)
    said = "the site has no pictures of pets test: its images are region features, and no photographs lie beside them"
    assert caplog.messages.count(said) == 1
    never_opened()
    assert prepare(store, [record]) == [shown]


@pytest.mark.parametrize("place", ["data/images", "images", "pets-images"])
@pytest.mark.parametrize("ids", ["{}.jpg", "{}"])
def test_photographs_beside_region_features_are_found_by_their_ids(store, tmp_path, caplog, place, ids):
    record = run(store, precomp(tmp_path / "data", ids))
    folder = tmp_path / place
    folder.mkdir(exist_ok=True)
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (90, 90, 90)]
    for row, colour in enumerate(colours):
        Image.new("RGB", (300, 30), colour).save(folder / f"{row}.jpg")
    caplog.set_level(logging.INFO)
    (shown,) = prepare(store, [record])
    assert f"pictures of pets test are taken from {folder}, by the ids of the images" in caplog.messages
    for row, colour in enumerate(colours):
        small = decoded(folder_of(store, record) / shown.pictures[row])
        assert small.size == (256, 26)
        assert np.abs(np.array(small.getpixel((9, 9))) - colour).max() < 9


def test_photographs_beside_region_features_are_none_where_one_is_missing(store, tmp_path):
    record = run(store, precomp(tmp_path / "data"))
    (tmp_path / "images").mkdir()
    for row in range(3):
        Image.new("RGB", (30, 30)).save(tmp_path / "images" / f"{row}.jpg")
    (shown,) = prepare(store, [record])
    assert shown.pictureless


def test_what_is_there_is_kept_and_shown_without_the_data(store, tmp_path, caplog, never_opened):
    root = shapes.karpathy(tmp_path / "data")
    record = run(store, {"root": str(root)})
    (shown,) = prepare(store, [record], rows=[4, 1])
    folder = folder_of(store, record)
    assert shown.pictures == {1: "1.jpg", 4: "4.jpg"}
    root.rename(tmp_path / "elsewhere")
    before = (folder / "1.jpg").stat().st_mtime_ns
    caplog.clear()
    assert prepare(store, [record], rows=[1]) == [shown]
    assert not caplog.messages
    assert prepare(store, [record]) == [shown]  # all, as far as they are there
    (line,) = caplog.messages
    assert line.startswith("the site has no further pictures of flickr30k test: dataset folder")
    (whole,) = prepare(store, [record], data=RunDatasets({"root": str(tmp_path / "elsewhere")}))
    assert list(whole.pictures) == list(range(6))
    assert (folder / "1.jpg").stat().st_mtime_ns == before
    never_opened()
    assert prepare(store, [record]) == [whole]


def test_data_that_are_gone_or_changed_are_told_of_once_for_all_runs(store, tmp_path, caplog):
    root = shapes.karpathy(tmp_path / "data")
    members = [run(store, {"root": str(root)}, run_id=letter * 16) for letter in "abc"]
    scenes = run(store, SCENES, run_id="d" * 16)
    Image.new("RGB", (9, 9)).save(next((root / "images").glob("*.jpg")))
    found = prepare(store, [*members, scenes])
    assert [shown.dataset for shown in found] == ["scenes"]
    (line,) = [message for message in caplog.messages if "the site has no" in message]
    assert "captions or pictures of flickr30k test: the data of 'flickr30k' are not those of run" in line
    assert not folder_of(store, members[0]).exists()


def test_a_run_that_names_where_the_data_are_now_helps_the_others(store, tmp_path):
    first = run(store, {"root": str(shapes.karpathy(tmp_path / "data"))})
    (tmp_path / "data").rename(tmp_path / "moved")
    second = run(store, {"root": str(tmp_path / "moved")}, run_id="b" * 16)
    for order in ([first, second], [second, first]):
        shutil.rmtree(store.results / "site", ignore_errors=True)
        (shown,) = prepare(store, order)
        assert len(shown.pictures) == 6


def test_a_picture_that_cannot_be_decoded_is_left_out_and_said(store, tmp_path, caplog, never_opened):
    root = shapes.karpathy(tmp_path / "data")
    bad = root / "images" / shapes.of("test")[2].file
    bad.write_bytes(bad.read_bytes()[:200])
    record = run(store, {"root": str(root)})
    (shown,) = prepare(store, [record])
    assert list(shown.pictures) == [0, 1, 3, 4, 5]
    (line,) = [message for message in caplog.messages if "cannot be shown" in message]
    assert line.startswith(f"1 of 6 pictures of flickr30k test cannot be shown, the first: image {bad}")
    never_opened()
    assert prepare(store, [record]) == [shown]


def test_pictures_that_all_fail_are_tried_again(store, tmp_path, monkeypatch):
    record = run(store, {"root": str(shapes.karpathy(tmp_path / "data"))})
    with monkeypatch.context() as patched:
        patched.setattr(preparation, "thumbnail", lambda image: (_ for _ in ()).throw(OSError("the disk is gone")))
        (shown,) = prepare(store, [record])
        assert (shown.pictures, shown.unreadable) == ({}, ())
    (shown,) = prepare(store, [record])
    assert len(shown.pictures) == 6


def test_an_interrupted_call_leaves_whole_files_that_the_next_one_uses(store, tmp_path, monkeypatch):
    record = run(store, {"root": str(shapes.karpathy(tmp_path / "data"))})
    folder, made = folder_of(store, record), []

    def interrupted(image: Image.Image) -> bytes:
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(thumbnail(image))
        return made[-1]

    with monkeypatch.context() as patched:
        patched.setattr(preparation, "each", lambda work, items: [work(item) for item in items])
        patched.setattr(preparation, "thumbnail", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(store, [record])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {f"{n}.jpg": made[n] for n in range(3)}
    assert read_exhibits(folder) is None
    written = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    (shown,) = prepare(store, [record])
    assert len(shown.pictures) == 6
    assert {name: (folder / name).stat().st_mtime_ns for name in written} == written


def test_damaged_exhibits_are_set_aside_and_made_again(store):
    record = run(store, SCENES)
    (shown,) = prepare(store, [record])
    path = folder_of(store, record) / FILE
    path.write_text("{}")
    assert prepare(store, [record]) == [shown]
    assert path.with_name(f"{FILE}.damaged").read_text() == "{}"


def test_exhibits_of_another_split_are_made_again(store):
    record = run(store, SCENES)
    (shown,) = prepare(store, [record])
    folder = folder_of(store, record)
    write_exhibits(folder, shown.model_copy(update={"image_ids": shown.image_ids[::-1], "pictures": {}}))
    assert prepare(store, [record]) == [shown]


@pytest.mark.parametrize(("bound", "most"), [("MOST_CAPTIONS", 39), ("MOST_CHARACTERS", 1000)])
def test_a_split_that_is_too_large_to_be_listed_has_none_and_a_line_says_so(store, monkeypatch, caplog, bound, most):
    monkeypatch.setattr(preparation, bound, most)
    assert prepare(store, [run(store, SCENES)]) == []
    (line,) = [message for message in caplog.messages if "the site has no" in message]
    assert "of scenes test: its 40 captions and their ids hold" in line
    assert not (store.results / "site").exists()


def test_too_many_correct_pairs_are_left_out_and_a_line_says_so(store, monkeypatch, caplog):
    monkeypatch.setattr(knowledge, "MOST_PAIRS", 3)
    (shown,) = prepare(store, [run(store, SCENES)])
    assert not shown.unlabelled
    assert "the correct pairs that scenes_relevance knows of scenes test are left out of the site" in caplog.text


def test_a_folder_that_leads_out_of_the_results_is_refused(store, tmp_path):
    record = run(store, SCENES)
    outside = tmp_path / "outside"
    outside.mkdir()
    (store.results / "site").symlink_to(outside)
    with pytest.raises(ResultsNotWritable, match="is a link to"):
        prepare(store, [record])
    assert not list(outside.iterdir())


@pytest.mark.parametrize("title", ["../../../evil", "<script>alert(1)</script>", "con", "a" * 300])
def test_hostile_names_and_captions_stay_data(store, tmp_path, title):
    root = shapes.karpathy(tmp_path / "data")
    texts = ["</script><img src=x onerror=alert(1)>", "\u202eevil\u0000", "half \ud800 of a character", "😀", "a"]

    def change(value: Any) -> None:
        image = next(image for image in value["images"] if image["split"] == "test")
        image["sentences"] = [{"raw": text} for text in texts]

    shapes.change_json(root / "dataset_flickr30k.json", change)
    record = run(store, {"root": str(root)}).model_copy(update={"dataset": title})
    (shown,) = prepare(store, [record])
    assert shown.captions[:5] == (*texts[:2], "half ? of a character", *texts[3:])
    (folder,) = (store.results / "site" / "exhibits").iterdir()
    assert folder == folder_of(store, record)
    assert read_exhibits(folder) == shown
    assert sorted(path.name for path in store.results.parent.iterdir()) == ["data", "results"]


def test_rows_that_a_split_does_not_have_are_refused(store):
    with pytest.raises(InvalidRecord, match="image row 8 is asked for, scenes test has 8 images"):
        prepare(store, [run(store, SCENES)], rows=[1, 8])


def test_runs_that_did_not_finish_are_not_looked_at(store):
    assert prepare(store, [run(store, SCENES, status="failed"), run(store, SCENES, origin="published")]) == []


def test_of_a_large_split_what_pages_list_and_what_runs_find_has_pictures(store, monkeypatch):
    monkeypatch.setattr(records, "MOST_IMAGES", 6)
    monkeypatch.setattr(records, "SAMPLE", 2)
    monkeypatch.setattr(preparation, "MOST_IMAGES", 6)
    monkeypatch.setattr(preparation, "SHOWN", 1)
    record = run(store, {**SCENES, "test_images": 12})
    split = datasets.open_dataset({**SCENES, "test_images": 12}).split("test")
    listed = listed_images(12).tolist()
    assert len(listed) == 2
    others = [row for row in range(12) if row not in listed]
    find = np.repeat(others[::-1][:1] + others[:2] * 4, 1)  # what the captions of the two listed images find first
    order = np.tile(np.arange(12), (60, 1))
    for caption, row in zip(np.flatnonzero(np.isin(split.caption_image, listed)), [*find, others[0]], strict=True):
        order[caption] = np.roll(np.arange(12), -row)
    store.write_top(
        record.run_id,
        TopTable(
            image_id=np.array(split.image_ids),
            caption_id=np.array(split.caption_ids),
            caption_image=split.caption_image,
            i2t_top=np.tile(np.arange(10), (12, 1)),
            i2t_score=np.zeros((12, 10), dtype=np.float32),
            t2i_top=order[:, :10],
            t2i_score=np.zeros((60, 10), dtype=np.float32),
        ),
    )
    (shown,) = prepare(store, [record])
    assert list(shown.pictures) == sorted([*listed, others[0], others[1], others[-1]])


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK", "P"])
@pytest.mark.parametrize("size", [(1, 1), (2000, 3), (300, 500), (64, 64)])
def test_thumbnails_are_small_rgb_jpeg_files(mode, size):
    content = thumbnail(Image.new(mode, size))
    with Image.open(io.BytesIO(content)) as small:
        assert (small.format, small.mode) == ("JPEG", "RGB")
        assert max(small.size) == min(SIDE, max(size))
    assert content == thumbnail(Image.new(mode, size))


def test_thumbnails_are_upright_and_hold_no_metadata(store, tmp_path):
    root = shapes.karpathy(tmp_path / "data")
    picture = Image.new("RGB", (400, 200), "blue")
    picture.paste("red", (0, 0, 200, 200))
    exif = Image.Exif()
    exif[274], exif[271] = 6, "a camera with a name"  # turned by 90 degrees: red is on top
    picture.save(root / "images" / shapes.of("test")[0].file, exif=exif, comment=b"a secret", quality=95)
    record = run(store, {"root": str(root)})
    prepare(store, [record])
    path = folder_of(store, record) / "0.jpg"
    small = decoded(path)
    assert small.size == (128, 256)
    assert small.getpixel((64, 40))[0] > 200
    assert small.getpixel((64, 200))[2] > 200
    assert b"camera" not in path.read_bytes()
    assert b"secret" not in path.read_bytes()
    assert not small.getexif()


def test_photographs_take_about_ten_kilobytes():
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    photograph = coarse.resize((640, 480), Image.Resampling.BICUBIC)
    assert 2_000 < len(thumbnail(photograph)) < 20_000
