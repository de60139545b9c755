"""Strata: every query in one of them, boundaries from the data alone, and the run's own ranks."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.datasets.base import Split
from harness.datasets.scenes.dataset import Scenes, ScenesConfig
from harness.fragments import Fragments
from harness.protocols import Subject, evaluate_all
from harness.records.store import RunStore
from harness.robustness.edges import STRONG, edge_density
from harness.robustness.strata import EDGES, LENGTH, OBJECTS, REGIONS, StrataProbe, strata_of, strata_probes

SCENES = Scenes(ScenesConfig(train_images=2, val_images=1, test_images=30, image_size=32))
RUN = "0123456789abcdef"
ONE_GALLERY = "whose gallery is the whole split"


def model(folder: Path, split: Split, protocols=("full",), seed: int = 0) -> SimpleNamespace:
    """A run whose ranks come from random scores; and what its record says."""
    scores = np.random.default_rng(seed).normal(size=(len(split.image_ids), len(split.captions)))
    subject = Subject(
        image_ids=split.image_ids,
        caption_ids=split.caption_ids,
        caption_image=split.caption_image,
        relevance=split.relevance,
        title="scenes",
    )
    found = {name: by_tie["pessimistic"] for name, by_tie in evaluate_all(list(protocols), scores, subject).items()}
    store = RunStore(folder)
    store.folder(RUN).mkdir(parents=True)
    store.write_ranks(RUN, {name: evaluation.ranks for name, evaluation in found.items()})
    return SimpleNamespace(store=store, record=SimpleNamespace(run_id=RUN), found=found)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=200))
def test_every_value_is_in_one_stratum_and_names_say_which(values):
    found, values = strata_of(np.array(values), LENGTH), np.array(values)
    within = np.array([(values > stratum.low) & (values <= stratum.high) for stratum in found])
    assert (within.sum(axis=0) == 1).all()
    assert (within.sum(axis=1) > 0).all()
    assert len(found) == (len(set(values.tolist())) if len(set(values.tolist())) <= 5 else min(len(found), 3))
    assert len(found) > 1 or len(set(values.tolist())) == 1
    assert len({stratum.name for stratum in found}) == len(found)
    for stratum, members in zip(found, within, strict=True):
        numbers = [int(word) for word in stratum.name.split() if word.isdigit()]
        assert int(values[members].min()) in numbers or stratum.name.startswith("up to")
        assert int(values[members].max()) in numbers or stratum.name.endswith("and more")
        assert stratum.middle == np.median(values[members])


@given(st.lists(st.floats(0, 1), min_size=30, max_size=200, unique=True))
def test_thirds_of_distinct_values_differ_by_one_at_most(values):
    values = np.array(values)
    sizes = [int(((values > s.low) & (values <= s.high)).sum()) for s in strata_of(values, EDGES)]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("values", "quantity", "names"),
    [
        ([1, 2, 2], OBJECTS, ["1 object", "2 objects"]),
        ([36] * 4, REGIONS, ["36 regions"]),
        ([8] * 2 + [9] * 3 + [10, 11, 12, 12, 30], LENGTH, ["up to 9 words", "10 to 11 words", "12 words and more"]),
        ([1, 2, 3, 4, 5] + [9] * 20, LENGTH, ["up to 5 words", "9 words"]),  # both thirds end at the largest value
        ([0.1, 0.11, 0.125, 0.13, 0.2, 0.31], EDGES, ["up to 11 % edges", "12.5 to 13 % edges", "20 % edges and more"]),
    ],
)
def test_names_of_strata(values, quantity, names):
    assert [stratum.name for stratum in strata_of(np.array(values), quantity)] == names


@pytest.mark.parametrize("name", ["objects", "caption_length", "edge_density"])
def test_strata_hold_the_runs_ranks_and_their_weighted_recall_is_the_runs(name, tmp_path):
    split = SCENES.split("test")
    asked = {probe.name: probe for probe in strata_probes(SCENES, split)}[name]
    run = model(tmp_path, split, ("scenes_relevance", "full"))
    assert asked.refusal(run) == ""
    answers = asked.answers(run)
    table, metrics = run.found["full"].ranks, run.found["full"].metrics
    directions = ["t2i"] if name == "caption_length" else ["i2t", "t2i"]
    assert [measure.name for measure in answers.measures] == [f"{direction}_rank" for direction in directions]
    for direction, measure in zip(directions, answers.measures, strict=True):
        present = ~np.isnan(measure.values)
        assert present.shape == (len(asked.levels), len(measure.item))
        assert (present.sum(axis=0) == 1).all()
        ids = table.i2t_image_id if direction == "i2t" else table.t2i_caption_id
        by_id = dict(zip(ids.tolist(), getattr(table, f"{direction}_rank").tolist(), strict=True))
        assert np.nansum(measure.values, axis=0).tolist() == [by_id[item] for item in measure.item.tolist()]
        for k in (1, 5, 10):
            recalls = [100 * np.mean(row[~np.isnan(row)] < k) for row in measure.values]
            weighted = np.average(recalls, weights=present.sum(axis=1))
            assert weighted == pytest.approx(metrics[f"{direction}_r{k}"])
    assert sum(count for key, count in answers.counts.items() if key.startswith("captions")) == len(split.captions)


def test_objects_are_those_of_the_scenes_and_lengths_are_words():
    split, scenes = SCENES.split("test"), SCENES.scenes("test")
    objects, length, edges = strata_probes(SCENES, split)
    assert objects.values.tolist() == [len(scene) for scene in scenes]
    assert length.values.tolist() == [len(caption.split()) for caption in split.captions]
    pictures = [edge_density(split.images.original(row)) for row in range(30)]
    np.testing.assert_allclose(edges.values, pictures, atol=0.0005 + 1e-9)


def test_strata_do_not_depend_on_the_run(tmp_path):
    split = SCENES.split("test")
    for asked in strata_probes(SCENES, split):
        one, other = (asked.answers(model(tmp_path / f"{asked.name}-{seed}", split, seed=seed)) for seed in (0, 1))
        for a, b in zip(one.measures, other.measures, strict=True):
            assert (np.isnan(a.values) == np.isnan(b.values)).all()
            assert not np.array_equal(a.values, b.values, equal_nan=True)


class Regions(list):
    """Images of which regions alone are known."""

    inputs = frozenset(("regions",))
    region_width = 4

    def regions(self, indices) -> Fragments:
        counts = torch.tensor([self[int(row)] for row in indices])
        mask = torch.arange(int(counts.max())) < counts[:, None]
        return Fragments(torch.zeros(*mask.shape, 4), mask)


def of_regions(counts: list[int]) -> tuple[SimpleNamespace, Split]:
    ids = tuple(str(row) for row in range(len(counts)))
    texts = tuple(f"a dog {'and a cat' * (row % 2)}" for row in range(len(counts)))
    return (
        SimpleNamespace(sha256=f"{sum(counts):064d}"),
        Split("test", Regions(counts), ids, texts, ids, np.arange(len(counts))),
    )


def test_regions_are_counted_where_objects_are_not_known(tmp_path):
    data, split = of_regions([10, 36, 20] * 100)
    first, length = strata_probes(data, split)
    assert first.name == "regions"
    assert first.values.tolist() == [10, 36, 20] * 100
    assert [level.name for level in first.levels] == ["10 regions", "20 regions", "36 regions"]
    assert strata_probes(data, split)[0].values.tolist() == first.values.tolist()  # from the cache
    assert length.name == "caption_length"
    assert not first.refusal(model(tmp_path, split))


def test_a_cache_that_cannot_be_written_is_told_in_a_line(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ITM_CACHE", str(tmp_path / "file"))
    assert strata_probes(*of_regions([10, 20]))[0].values.tolist() == [10, 20]
    assert "are counted again next time" in caplog.text


def test_data_that_do_not_differ_are_refused_in_words(tmp_path):
    data, split = of_regions([36] * 6)
    assert strata_probes(data, split)[0].refusal(model(tmp_path, split)) == "all queries have 36 regions"


def test_a_run_without_one_gallery_of_all_queries_is_refused_in_words(tmp_path):
    split = SCENES.split("test")
    asked = strata_probes(SCENES, split)[0]
    assert ONE_GALLERY in asked.refusal(model(tmp_path / "judged", split, ("scenes_relevance",)))
    other = Scenes(ScenesConfig(train_images=2, val_images=1, test_images=5, image_size=32)).split("test")
    assert ONE_GALLERY in asked.refusal(model(tmp_path / "other", other))


def test_the_identity_names_the_data_and_the_boundaries():
    split = SCENES.split("test")
    asked = strata_probes(SCENES, split)[0]
    assert asked.identity["data"] == SCENES.sha256
    assert asked.identity["boundaries"] == [level.value for level in asked.levels[:-1]]
    shifted = StrataProbe(OBJECTS, split, SCENES.sha256, lambda: asked.values + 1)
    assert shifted.identity != asked.identity


def naive_density(grey: np.ndarray) -> float:
    """Sobel's filters written out, pixel by pixel, with the border repeated."""
    height, width = grey.shape
    strong = 0
    for y in range(height):
        for x in range(width):
            at = lambda dy, dx: float(grey[min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)])  # noqa: B023, E731
            across = sum(w * (at(d, 1) - at(d, -1)) for d, w in ((-1, 1), (0, 2), (1, 1)))
            down = sum(w * (at(1, d) - at(-1, d)) for d, w in ((-1, 1), (0, 2), (1, 1)))
            strong += math.hypot(across / 8, down / 8) >= STRONG
    return strong / (height * width)


@pytest.mark.parametrize("shape", [(1, 1), (7, 12), (40, 23)])
def test_edge_density_against_a_loop_over_pixels(shape):
    grey = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    grey[: shape[0] // 2] //= 4
    assert edge_density(Image.fromarray(grey)) == pytest.approx(naive_density(grey))


def test_edge_density_of_pictures_that_are_known():
    half = np.zeros((100, 100), dtype=np.uint8)
    half[:, 50:] = 255
    assert edge_density(Image.fromarray(half)) == pytest.approx(0.02)  # the two columns at the step
    assert edge_density(Image.fromarray(half[:, :50])) == 0.0
    large = Image.fromarray(np.repeat(np.repeat(half, 8, axis=0), 8, axis=1))
    assert large.size == (800, 800)
    assert edge_density(large) == pytest.approx(2 / 128)  # as a picture of 128 pixels
