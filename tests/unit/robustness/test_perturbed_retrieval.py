"""Probes of retrieval under perturbations: from the images of a split to the ranks of scorers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image

from harness.datasets.base import Images, Split
from harness.datasets.images import ArrayImages, to_pixels
from harness.errors import InvalidDataset, InvalidSpec
from harness.fragments import Fragments
from harness.metrics import ranks
from harness.probes.model import Model
from harness.probes.sampling import SomeImages
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.robustness.perturbations import views
from harness.robustness.perturbations.images import IMAGE_PERTURBATIONS, reduced
from harness.robustness.perturbations.probes import ImageProbe, RegionProbe, image_probes, region_probes
from harness.robustness.perturbations.regions import REGION_PERTURBATIONS
from harness.robustness.perturbations.severities import SEVERITIES, draws_of
from harness.runs.building import build_scorer, open_dataset
from harness.runs.planning import plan
from harness.scoring import encode_split, similarity_matrix
from harness.spec import load_experiment

COUNT = 6


class Photographs:
    """Pictures of several sizes and no regions; counts how often each is decoded."""

    inputs = frozenset(("pixels",))
    region_width = 0

    def __init__(self, sizes):
        generator = np.random.default_rng(1)
        self.images = [Image.fromarray(generator.integers(0, 256, (h, w, 3), np.uint8)) for w, h in sizes]
        self.decoded = [0] * len(self.images)

    def __len__(self):
        return len(self.images)

    def original(self, row):
        self.decoded[row] += 1
        return self.images[row]

    def pixels(self, indices, size, resize="plain"):
        return np.stack([to_pixels(self.images[int(row)], size, resize) for row in indices])

    def regions(self, indices):
        raise NotImplementedError


def array_images(count: int = COUNT, side: int = 16) -> ArrayImages:
    generator = np.random.default_rng(0)
    counts = 1 + np.arange(count) % 5
    regions = generator.normal(size=(count, 5, 8)).astype(np.float32)
    regions[np.arange(5) >= counts[:, None]] = 7.0  # padding that nobody may read
    return ArrayImages(generator.integers(0, 256, (count, 3, side, side), np.uint8), regions, counts)


def split_of(images: Images, names=None) -> Split:
    names = tuple(names or (f"image-{number}" for number in range(len(images))))
    captions = tuple(f"caption {name} {k}" for name in names for k in range(2))
    owner = np.repeat(np.arange(len(names)), 2)
    return Split("test", images, names, captions, tuple(f"{name}#{k}" for name in names for k in range(2)), owner)


def shown(probe: ImageProbe | RegionProbe, level: int, rows=None):
    images = probe.split(level).images
    rows = range(len(images)) if rows is None else rows
    return images.pixels(rows, 16) if isinstance(probe, ImageProbe) else images.regions(rows)


PROBES = [(ImageProbe, kind) for kind in IMAGE_PERTURBATIONS] + [(RegionProbe, kind) for kind in REGION_PERTURBATIONS]


@pytest.mark.parametrize(("probe", "kind"), PROBES, ids=lambda value: getattr(value, "__name__", value))
class TestEveryProbe:
    def test_severity_0_is_the_split_itself_and_every_level_has_its_captions(self, probe, kind):
        split = split_of(array_images())
        made = probe(kind, split, "ab")
        assert made.split(0) is split
        for level in range(1, 6):
            assert made.split(level) is made.split(level)
            assert made.split(level).captions is split.captions
            assert made.split(level).image_ids == split.image_ids
        assert [level.value for level in made.levels] == [0, 1, 2, 3, 4, 5]

    def test_neither_order_nor_other_pictures_nor_other_severities_change_a_picture(self, probe, kind):
        split = split_of(array_images())
        made = probe(kind, split, "ab")
        rows = np.array([4, 1])
        part = split_of(SomeImages(split.images, rows), [split.image_ids[row] for row in rows])
        for level, severity in enumerate(SEVERITIES, 1):
            whole, again = shown(made, level), shown(probe(kind, split, "ab", [severity]), 1, rows)
            few = shown(probe(kind, part, "ab"), level)
            for place, row in enumerate(rows):
                for one in (few, again):
                    assert _item(one, place) == _item(whole, row)

    def test_another_seed_gives_other_draws_where_there_are_draws(self, probe, kind):
        split = split_of(array_images())
        one, other = (probe(kind, split, "ab", seed=seed) for seed in (0, 1))
        same = all(_item(shown(one, 3), row) == _item(shown(other, 3), row) for row in range(COUNT))
        assert same == (kind in ("blur", "jpeg", "brightness", "contrast", "resize"))
        assert one.identity != other.identity

    def test_the_identity_changes_with_the_data_and_the_sample(self, probe, kind):
        split = split_of(array_images())
        fewer = split_of(SomeImages(split.images, np.arange(3)))
        found = [probe(kind, split, "ab"), probe(kind, split, "cd"), probe(kind, fewer, "ab")]
        assert len({str(one.identity) for one in found}) == 3
        assert probe(kind, split, "ab").identity == found[0].identity


def _item(batch: np.ndarray | Fragments, row: int) -> bytes:
    return (
        batch[row].tobytes()
        if isinstance(batch, np.ndarray)
        else batch.features[row][batch.mask[row]].numpy().tobytes()
    )


def test_pixels_are_perturbed_and_then_resized_as_the_encoder_wants_it():
    photographs = Photographs([(40, 30), (300, 400), (9, 9)])
    split = split_of(photographs)
    for kind in ("noise", "blur", "occlusion"):
        probe = ImageProbe(kind, split, "ab")
        for form in ((24, "plain"), (24, "crop"), (9, "plain")):
            for severity in (1, 5):
                found = probe.split(severity).images.pixels([2, 0, 1], *form)
                for place, row in enumerate((2, 0, 1)):
                    draws = draws_of(0, "images", kind, split.image_ids[row])
                    picture = reduced(photographs.images[row])
                    expected = IMAGE_PERTURBATIONS[kind].apply(picture, severity, draws)
                    np.testing.assert_array_equal(found[place], to_pixels(Image.fromarray(expected), *form))
                    assert probe.split(severity).images.original(row).tobytes() == Image.fromarray(expected).tobytes()


def test_photographs_are_decoded_once_for_all_probes():
    photographs = Photographs([(40, 30), (300, 400), (9, 9)])
    probes = image_probes(split_of(photographs), "ab")
    assert [probe.name for probe in probes] == list(IMAGE_PERTURBATIONS)
    for probe in probes:
        for level in range(6):
            probe.split(level).images.pixels(range(3), 12)
            probe.split(level).images.pixels(range(3), 16)
        probe.forget()
    assert photographs.decoded == [1, 1, 1]


@pytest.mark.parametrize(("decoded", "kept"), [(0, 2**29), (2**28, 0), (0, 0), (3000, 5000)])
def test_what_does_not_fit_in_memory_is_made_again_and_equal(decoded, kept, monkeypatch):
    photographs = Photographs([(40, 30), (300, 400), (9, 9)])
    expected = [
        image_probes(split_of(photographs), "ab")[0].split(level).images.pixels([2, 1], 12) for level in range(6)
    ]
    monkeypatch.setattr(views, "LARGEST_DECODED", decoded)
    monkeypatch.setattr(views, "LARGEST_KEPT", kept)
    probe = ImageProbe("noise", split_of(photographs), "ab")
    for level in range(6):
        np.testing.assert_array_equal(probe.split(level).images.pixels([2, 1], 12), expected[level])


def test_pixels_of_all_severities_are_made_at_once_and_forgotten(monkeypatch):
    split = split_of(array_images())
    calls = []
    counting = SimpleNamespace(apply=lambda *args: calls.append(args[1]) or args[0])
    monkeypatch.setitem(views.IMAGE_PERTURBATIONS, "blur", counting)
    damage = views.Damage("blur", views.Pictures(split.images, split.image_ids), (1, 3))
    for _ in range(2):
        for severity in (1, 3):
            damage.pixels(severity, np.arange(2), (16, "plain"))
    assert len(calls) == 2 * COUNT
    damage.forget()
    damage.pixels(3, np.arange(2), (16, "plain"))
    assert len(calls) == 4 * COUNT


def test_regions_keep_their_padding_out():
    split = split_of(array_images())
    for kind in REGION_PERTURBATIONS:
        probe = RegionProbe(kind, split, "ab")
        for level in range(1, 6):
            found = shown(probe, level)
            assert found.mask[:, 0].all()
            assert bool((found.mask.long().diff(dim=1) <= 0).all())  # real ones first
            assert not found.features[~found.mask].any()
            assert not (found.features == 7.0).any()
            assert found.width == split.images.region_width == probe.split(level).images.region_width


def test_regions_are_those_of_each_picture_by_itself():
    split = split_of(array_images())
    whole = split.images.regions(range(COUNT))
    for kind, perturbation in REGION_PERTURBATIONS.items():
        found = shown(RegionProbe(kind, split, "ab"), 4)
        for row in range(COUNT):
            draws = draws_of(0, "regions", kind, split.image_ids[row])
            expected = perturbation.apply(whole.features[row][whole.mask[row]].numpy(), 4, draws)
            np.testing.assert_array_equal(found.features[row][found.mask[row]].numpy(), expected)


def test_perturbed_images_have_the_one_form_that_is_perturbed():
    split = split_of(array_images())
    images, regions = (
        ImageProbe("blur", split, "ab").split(2).images,
        RegionProbe("dropped", split, "ab").split(2).images,
    )
    assert (images.inputs, regions.inputs) == ({"pixels"}, {"regions"})
    with pytest.raises(InvalidDataset, match="have no region features"):
        images.regions([0])
    with pytest.raises(InvalidDataset, match="have no pixels"):
        regions.pixels([0], 16)
    assert regions.original(0).tobytes() == split.images.original(0).tobytes()


def test_datasets_have_the_probes_of_what_they_hold():
    both = split_of(array_images())
    assert len(image_probes(both, "ab")) == 7
    assert [probe.name for probe in region_probes(both, "ab")] == list(REGION_PERTURBATIONS)
    assert region_probes(split_of(Photographs([(9, 9)])), "ab") == ()
    assert image_probes(RegionProbe("dropped", both, "ab").split(1), "ab") == ()
    with pytest.raises(InvalidSpec, match="severities"):
        image_probes(both, "ab", [7])


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, tuple[Model, Split]]:
    """A scorer of pixels and one of region features, untrained, on one split."""
    common = {
        "name": "tiny",
        "dataset": {"name": "scenes", "train_images": 20, "val_images": 5, "test_images": 16, "image_size": 32},
        "seeds": 1,
        "text": {"name": "bigru", "width": 16},
        "training": {"epochs": 0},
    }
    towers = {
        "pixels": {"name": "patches", "image_size": 32, "width": 16, "channels": 16},
        "regions": {"name": "regions", "width": 16},
    }
    found = {}
    for form, tower in towers.items():
        (spec,) = plan(load_experiment({**common, "image": tower, "scorers": ["scan"]}))
        dataset = open_dataset(spec.dataset)
        torch.manual_seed(0)
        scorer = build_scorer(spec, dataset).eval()
        record = cast(RunRecord, SimpleNamespace(run_id=form))
        found[form] = Model(RunStore(Path(tmp_path_factory.mktemp("store"))), record, scorer), dataset.split("test")
    return found


@pytest.mark.parametrize(
    ("form", "probes"), [("pixels", image_probes), ("regions", region_probes)], ids=["pixels", "regions"]
)
def test_a_scorer_is_asked(models, form, probes):
    model, split = models[form]
    other = models["regions" if form == "pixels" else "pixels"][0]
    changed = 0
    for probe in probes(split, "ab", [2, 5]):
        assert probe.refusal(model) == ""
        assert probe.refusal(other).startswith("its image encoder takes")
        answers = probe.answers(model)
        i2t, t2i = answers.measures
        assert (i2t.name, t2i.name, i2t.values.shape, t2i.values.shape) == ("i2t_rank", "t2i_rank", (3, 16), (3, 80))
        for level in range(3):
            similarity = similarity_matrix(model.scorer, *encode_split(model.scorer, probe.split(level)))
            expected = ranks(similarity, split.caption_image)
            np.testing.assert_array_equal(i2t.values[level], expected[0])
            np.testing.assert_array_equal(t2i.values[level], expected[1])
        assert answers.remarks == ()
        changed += bool((t2i.values[0] != t2i.values[2]).any())
    assert changed >= len(probes(split, "ab")) - 1  # all but the order of regions


def test_what_does_not_read_the_order_of_regions_does_not_change(models):
    model, split = models["regions"]
    probe = RegionProbe("shuffled", split, "ab")
    expected = model.similarity(split)
    for level in range(1, 6):
        assert (probe.split(level).images.regions(range(16)).features != split.images.regions(range(16)).features).any()
        torch.testing.assert_close(model.similarity(probe.split(level)), expected, rtol=0, atol=1e-6)


def test_an_encoder_of_more_pixels_than_perturbed_pictures_have_is_told(models, monkeypatch):
    model, _ = models["pixels"]
    sharp, small = (split_of(Photographs([(size, size)] * 3)) for size in (300, 64))
    monkeypatch.setattr(model.scorer.encoders[0], "image_size", 320)
    monkeypatch.setattr(Model, "similarity", lambda self, split: _read(split))
    (remark,) = ImageProbe("blur", sharp, "ab").answers(model).remarks
    assert "takes 320 px" in remark
    assert "256 px" in remark
    assert ImageProbe("blur", small, "ab").answers(model).remarks == ()


def _read(split: Split) -> torch.Tensor:
    split.images.pixels(range(len(split.images)), 320)
    return torch.zeros(len(split.image_ids), len(split.captions))
