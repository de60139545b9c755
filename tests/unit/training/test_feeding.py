"""Feeding: the same numbers for any number of loader processes, which end with the training, and what a wait costs."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from io import BytesIO
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from photograph_folder import experiment, photographs

from harness.datasets.store.mapped import send_by_name
from harness.errors import FeedingFailed, InvalidDataset, InvalidSpec
from harness.files.owners import is_alive
from harness.fragments import Fragments
from harness.machine.cpus import Share
from harness.runs.building import build_scorer, open_dataset
from harness.runs.planning import plan
from harness.settings.experiment import TrainingSpec
from harness.spec import FeedingSpec, RunSpec, load_experiment
from harness.training.feeding import processes, waiting
from harness.training.feeding.batches import WHOLE, Batch, Reader, size_of
from harness.training.feeding.feed import Course, Feed
from harness.training.feeding.waiting import Waiting, told_waiting
from harness.training.loop import fit

CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path_factory, monkeypatch):
    """Loader processes start with the environment of the first test that had some; it must not decide."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ITM_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return photographs(tmp_path_factory.mktemp("photographs"))


def train(cell: RunSpec, workers: int, **options):
    dataset = open_dataset(cell.dataset)
    scorer = build_scorer(cell, dataset)
    feeding = FeedingSpec(workers=workers)
    result = fit(
        scorer, dataset.split("train"), dataset.split("val"), cell.training, seed=3, feeding=feeding, **options
    )
    return scorer, result


def same(one, other) -> None:
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


#: How the images are had, and what the experiment says.
KINDS = {
    "cropped at their own size": {"image_augmentation": "crop_flip", "word_masking": 0.3},
    "mirrored squares of the cache": {"image_augmentation": "flip"},
}


@pytest.mark.parametrize("training", KINDS.values(), ids=KINDS)
def test_photographs_give_the_same_weights_for_any_number_of_loaders(root, training):
    cell = plan(load_experiment(experiment(root, **training)))[0]
    alone, course = train(cell, 0)
    for workers in (1, 2):
        fed, result = train(cell, workers)
        same(alone, fed)
        assert [e.losses for e in result.history] == [e.losses for e in course.history]


def test_region_features_give_the_same_weights_with_loaders(tiny):
    noise = {"region_drop": 0.3, "word_masking": 0.3}
    cell = plan(load_experiment({**tiny, "training": {**tiny["training"], **noise}}))[0]
    same(train(cell, 0)[0], train(cell, 2)[0])


def test_a_training_resumes_at_an_epoch_whatever_the_loaders(root, tmp_path):
    cell = plan(load_experiment(experiment(root, image_augmentation="crop_flip", epochs=3)))[0]
    straight, whole = train(cell, 0)

    class Killed(Exception):
        pass

    def kill(epoch):
        if epoch.epoch == 1:
            raise Killed

    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        train(cell, 2, checkpoint=checkpoint, on_epoch=kill)
    resumed, rest = train(cell, 1, checkpoint=checkpoint)
    same(straight, resumed)
    assert [e.validation for e in rest.history] == [e.validation for e in whole.history]
    state = torch.load(checkpoint, weights_only=True)
    # Three epochs of three steps in two processes, of which each leaves out its first three.
    assert len(state["wait_samples"]) == len(state["step_samples"]) == 3


def test_views_differ_from_epoch_to_epoch_and_are_the_same_in_every_training(root):
    cell = plan(load_experiment(experiment(root, image_augmentation="crop_flip")))[0]
    dataset = open_dataset(cell.dataset)
    encoder = build_scorer(cell, dataset).encoders[0]
    readers = [Reader(dataset.split("train"), encoder, "crop_flip", seed) for seed in (0, 0, 1)]
    rows = np.array([4, 0, 5])
    first, again, other = (reader.read(rows, 1).images for reader in readers)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, readers[0].read(rows, 2).images)
    batch = readers[0].read(rows, 1)
    assert batch.image_rows.tolist() == [2, 0, 2]
    assert len(batch.images) == 2  # an image that two captions share is read once
    assert batch.places.tolist() == [1, 0, 1]


def test_a_batch_in_page_locked_memory_is_the_same_batch(root, monkeypatch):
    """There is no GPU here to lock pages for: which tensors are asked to is what can be seen."""
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor.clone())
    images, texts = (Fragments(torch.rand(2, 3, 4), torch.ones(2, 3, dtype=torch.bool), {"gate": torch.rand(2)}),
                     Fragments(torch.rand(2, 1, 4), torch.ones(2, 1, dtype=torch.bool)))  # fmt: skip
    rows = np.array([0, 1])
    batch = Batch(rows, rows, rows, 2, WHOLE, images, texts)
    copy = batch.pin_memory()
    assert len(pinned) == 5
    assert torch.equal(copy.images.features, images.features)
    assert torch.equal(copy.images.extras["gate"], images.extras["gate"])
    assert torch.equal(copy.texts.mask, texts.mask)
    assert size_of(batch) == 4 * (24 + 2 + 8) + 6 + 2
    pixels = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    pinned.clear()
    alone = Batch(rows, rows, rows, 2, WHOLE, pixels, None)
    assert alone.pin_memory().texts is None
    assert pinned == [pixels]
    assert size_of(alone) == 2 * 3 * 64


class Images:
    """Images of which one does harm where it is read."""

    inputs = frozenset(("regions",))
    region_width = 2

    def __init__(self, harm):
        self.harm = harm

    def __len__(self):
        return 4

    def regions(self, rows):
        if 3 in rows:
            self.harm()
        return Fragments(torch.ones(len(rows), 1, 2), torch.ones(len(rows), 1, dtype=torch.bool))


def lost():
    raise InvalidDataset("image 3.jpg is missing")


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def feed(harm, workers) -> Feed:
    split = SimpleNamespace(
        images=Images(harm), stored_images=None, stored_texts=None, caption_image=np.arange(4), name="train"
    )
    encoder = SimpleNamespace(input="regions", image_size=0, resize="plain")
    course = Course(lambda _: [np.array([0, 1]), np.array([2, 3])], steps=2, epochs=2)
    return Feed(Reader(split, encoder, "none", 0), course, FeedingSpec(workers=workers), CPU)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_is_lost_meanwhile_is_named_in_its_own_words(workers):
    fed = feed(lost, workers)
    fed.begin(0)
    assert fed.batch().image_rows.tolist() == [0, 1]
    with pytest.raises(InvalidDataset) as caught:
        fed.batch()
    assert str(caught.value) == "image 3.jpg is missing"
    fed.close()


def test_a_loader_that_dies_is_one_line():
    fed = feed(killed, 1)
    fed.begin(0)
    refused = pytest.raises(FeedingFailed, match=r"died.*feeding\.workers=0.*resumes from its last epoch")
    with refused as caught, fed.watched():
        [fed.batch() for _ in range(2)]  # what it had read before is lost with it, or is not
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    fed.close()


def test_images_that_cannot_be_sent_are_refused():
    fed = feed(lambda: None, 1)
    with pytest.raises(InvalidSpec, match=r"cannot be sent to loader processes.*set feeding\.workers=0"):
        fed.begin(0)


ORPHANS = """
import sys, time
sys.path.insert(0, {folder!r})
from test_feeding import feed, nothing
if __name__ == "__main__":
    fed = feed(nothing, 2)
    fed.begin(0)
    fed.batch()
    print(*(worker.pid for worker in fed._batches._workers), flush=True)
    time.sleep(600)
"""


def nothing():
    pass


def test_loaders_take_nothing_from_the_current_folder_and_end_with_a_training_that_is_killed(tmp_path):
    desk = tmp_path / "desk"
    desk.mkdir()
    (desk / "secrets.py").write_text("raise ValueError")  # NumPy imports Python's
    script = tmp_path / "training.py"
    script.write_text(ORPHANS.format(folder=str(Path(__file__).parent)))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=env, cwd=desk
    ) as training:
        assert training.stdout is not None
        loaders = [int(pid) for pid in training.stdout.readline().split()]
        assert len(loaders) == 2
        assert all(map(is_alive, loaders))
        training.kill()
    deadline = time.monotonic() + 30
    while any(map(is_alive, loaders)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, loaders))


def test_loaders_start_anew_where_the_server_has_no_room_for_its_socket(monkeypatch):
    def start():
        raise OSError("AF_UNIX path too long")

    assert processes.start_options()["multiprocessing_context"].get_start_method() == "forkserver"
    monkeypatch.setattr(processes.forkserver, "ensure_running", start)
    assert processes.start_options()["multiprocessing_context"].get_start_method() == "spawn"
    assert "PYTHONSAFEPATH" not in os.environ


@pytest.mark.parametrize("part", [np.s_[:], np.s_[3:9], np.s_[:, None, :]], ids=["whole", "rows", "one more axis"])
def test_mapped_arrays_go_by_name(tmp_path, part):
    values = np.random.default_rng(0).random((50, 1000))
    np.save(tmp_path / "values.npy", values)
    send_by_name()
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")[part]
    sent = BytesIO()
    ForkingPickler(sent).dump(mapped)
    assert len(sent.getvalue()) < 2000
    back = pickle.loads(sent.getvalue())
    assert isinstance(back, np.memmap)
    np.testing.assert_array_equal(back, values[part])


def test_what_is_no_block_of_a_file_goes_by_value(tmp_path):
    np.save(tmp_path / "values.npy", np.arange(40.0).reshape(8, 5))
    send_by_name()
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r").T
    sent = BytesIO()
    ForkingPickler(sent).dump(mapped)
    np.testing.assert_array_equal(pickle.loads(sent.getvalue()), mapped)


@pytest.mark.parametrize(
    ("decodes", "device", "cpus", "threads", "expected"),
    [
        (False, "cpu", 16, 1, 0),  # a copy takes a small part of a step
        (True, "cpu", 1, 1, 0),
        (True, "cpu", 2, 1, 1),
        (True, "cpu", 2, 2, 0),
        (True, "cpu", 64, 4, 2),  # other runs may want the rest
        (True, "cuda", 16, 1, 8),
        (True, "cuda", 4, 1, 3),
        (False, "cuda", 16, 1, 2),
        (True, "cuda", 1, 1, 0),
    ],
)
def test_automatic_loaders_take_cores_that_compute_threads_leave(monkeypatch, decodes, device, cpus, threads, expected):
    monkeypatch.setattr(processes, "usable_cpus", lambda: cpus)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert processes.automatic(decodes, torch.device(device)) == expected


def test_cores_are_shared_out_among_gpus(monkeypatch):
    monkeypatch.setattr(processes, "usable_cpus", lambda: 32)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    assert processes.automatic(True, torch.device("cuda")) == 3


def test_cores_are_shared_out_among_the_workers_of_a_command(monkeypatch):
    monkeypatch.setattr(processes, "usable_cpus", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    for workers, loaders in ((1, 2), (4, 1), (8, 0)):
        monkeypatch.setattr(processes, "share", lambda workers=workers: Share(workers))
        assert processes.automatic(True, CPU) == loaders


def test_loaders_that_shared_memory_does_not_hold_are_left_out(monkeypatch, caplog):
    usage = SimpleNamespace(free=8 * 2**20)
    monkeypatch.setattr(processes.shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(processes, "size_of", lambda _: 2**20)
    monkeypatch.setattr(processes, "usable_cpus", lambda: 8)
    reader = SimpleNamespace(work="originals", read=lambda *_: None)
    assert processes.count(FeedingSpec(workers=4), reader, np.arange(2), CPU, 9) == 2
    assert "4 loader processes would hold 12 MiB of batches" in caplog.text
    assert "has 8 MiB free: 2 of them start" in caplog.text
    caplog.clear()
    assert processes.count(FeedingSpec(workers=4, prefetch=1), reader, np.arange(2), CPU, 9) == 3
    usage.free = 2**40
    assert processes.count(FeedingSpec(workers=4), reader, np.arange(2), CPU, 9) == 4


@pytest.mark.parametrize(("batches", "loaders"), [(50, 0), (51, 2)])
def test_a_short_training_starts_none_by_itself(monkeypatch, batches, loaders):
    monkeypatch.setattr(processes, "usable_cpus", lambda: 8)
    monkeypatch.setattr(processes, "size_of", lambda _: 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    reader = SimpleNamespace(work="originals", read=lambda *_: None)
    assert processes.count(FeedingSpec(), reader, np.arange(100), CPU, batches) == loaders
    assert processes.count(FeedingSpec(workers=1), reader, np.arange(100), CPU, batches) == 1


def test_more_loaders_than_cores_are_told(monkeypatch, caplog):
    monkeypatch.setattr(processes, "usable_cpus", lambda: 2)
    monkeypatch.setattr(processes, "size_of", lambda _: 1)
    reader = SimpleNamespace(work="originals", read=lambda *_: None)
    assert processes.count(FeedingSpec(workers=3), reader, np.arange(2), CPU, 9) == 3
    assert "feeding.workers=3 on 2 cores: they take turns" in caplog.text


@pytest.mark.parametrize(
    ("work", "workers", "spare", "says", "leaves_out"),
    [
        ("originals", 0, 3, ["set feeding.workers=3 (now 0)", "image_augmentation=flip"], ["ITM_CACHE_GIB"]),
        ("squares", 1, 5, ["set feeding.workers=5 (now 1)", "ITM_CACHE_GIB=14 (now 8)"], ["flip"]),
        ("copies", 0, 1, ["set feeding.workers=1 (now 0)"], ["ITM_CACHE_GIB", "flip"]),
        ("originals", 1, 1, ["take all cores: give the run more", "image_augmentation=flip"], ["set feeding.workers"]),
        ("copies", 0, 0, ["take all cores: give the run more"], ["set feeding.workers"]),
    ],
)
def test_the_advice_is_for_the_cause(monkeypatch, caplog, work, workers, spare, says, leaves_out):
    caplog.set_level("INFO")
    monkeypatch.delenv("ITM_CACHE_GIB", raising=False)
    monkeypatch.setattr(waiting, "spare_cores", lambda _: spare)
    fed = SimpleNamespace(reader=SimpleNamespace(work=work, needed_gib=13.2), workers=workers, device=CPU)
    figures = told_waiting("scan seed 3", Waiting([300.0] * 5, [1000.0] * 5), fed)
    assert figures == {"train_waiting_percent": pytest.approx(30)}
    (line,) = caplog.messages
    assert line.startswith("scan seed 3 waited for data 30 % of its time (2 s): ")
    assert all(text in line for text in says)
    assert not any(text in line for text in leaves_out)


@pytest.mark.parametrize(
    ("waits", "steps", "percent"),
    [
        ([40.0] * 100, [1000.0] * 100, 4.0),  # little of the time
        ([300.0], [1000.0], 30.0),  # little time
        ([100.0], [5000.0, 400.0], 25.0),  # the first step is of a version that did not measure waits
        ([], [10.0], None),
    ],
)
def test_a_wait_that_costs_nobody_anything_is_not_told(caplog, waits, steps, percent):
    caplog.set_level("INFO")
    figures = told_waiting("scan seed 3", Waiting(waits, steps), SimpleNamespace())
    assert figures == ({} if percent is None else {"train_waiting_percent": pytest.approx(percent)})
    assert not caplog.messages


def test_how_batches_are_read_is_set_like_everything_else_and_is_no_part_of_a_run(tiny):
    plain, fed = (plan(load_experiment(tiny, given))[0] for given in ([], ["feeding.workers=2", "feeding.prefetch=4"]))
    assert (fed.feeding.workers, fed.feeding.prefetch) == (2, 4)
    assert fed.run_id == plain.run_id
    assert "feeding" not in plain.model_dump(mode="json")
    assert pickle.loads(pickle.dumps(fed)).feeding == fed.feeding
    assert load_experiment(tiny, ["feeding.workers=auto"]).feeding == FeedingSpec()


@pytest.mark.parametrize("value", ["-1", "many", "1.5", "1000", "null"])
def test_a_number_of_loaders_that_is_none_is_refused(tiny, value):
    with pytest.raises(
        InvalidSpec, match=r"feeding\.workers.*a number of processes from 0 to 256, or auto, got .*"
    ) as caught:
        load_experiment(tiny, [f"feeding.workers={value}"])
    assert "\n" not in str(caught.value)


def test_only_trainings_with_views_are_told_apart_from_those_of_earlier_versions():
    assert TrainingSpec().identity == TrainingSpec().model_dump(mode="json")
    assert TrainingSpec(image_augmentation="flip").identity["views"] == 2
