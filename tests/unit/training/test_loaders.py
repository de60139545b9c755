"""Loader processes: how many there are, what is sent to them, how they start, and that they end with the training."""

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

from harness.datasets.store.mapped import send_by_name
from harness.errors import FeedingFailed, InvalidDataset, InvalidSpec
from harness.files.owners import is_alive
from harness.fragments import Fragments
from harness.machine.cpus import Share
from harness.spec import FeedingSpec
from harness.training.feeding import processes
from harness.training.feeding.batches import Reader
from harness.training.feeding.feed import Course, Feed

CPU = torch.device("cpu")


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
from test_loaders import feed, nothing
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
