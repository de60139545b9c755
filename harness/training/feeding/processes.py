"""Loader processes: how many there are, how they start, and that none outlives the training."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.datasets.store.mapped import send_by_name
from harness.errors import FeedingFailed, InvalidSpec, counted, one_line
from harness.machine.children import end_with_parent, own_interrupts
from harness.machine.cpus import share, usable_cpus
from harness.spec import FeedingSpec
from harness.training.feeding.batches import Reader, size_of

logger = logging.getLogger(__name__)

#: Loader processes that `auto` starts at most, by the device that computes: a GPU takes many more images per second.
MOST = {"cpu": 2, "cuda": 8}
#: Pairs of a training for which `auto` starts none: seconds of decoding, which is what the start of the processes takes.
FEW_PAIRS = 5000
_SHARED_MEMORY = Path("/dev/shm")


def count(spec: FeedingSpec, reader: Reader, captions: np.ndarray, device: torch.device, batches: int) -> int:
    """How many loader processes a training gets.

    Args:
        spec: `workers` is a number, or `auto`.
        reader: of the batches.
        captions: of the first batch.
        device: that computes.
        batches: that are left of the training.
    """
    if spec.workers != "auto":
        wanted = spec.workers
    else:
        wanted = automatic(reader.work != "copies", device) if batches * len(captions) > FEW_PAIRS else 0
    if not wanted:
        return 0
    if wanted > usable_cpus():
        logger.warning("feeding.workers=%d on %s: they take turns", wanted, counted(usable_cpus(), "core"))
    batch = reader.read(captions, 0)  # also fills the cache of squares before several processes want it
    return _that_fit(spec, wanted, size_of(batch))


def automatic(is_work: bool, device: torch.device) -> int:
    """Loader processes for batches whose images are decoded, or else only copied.

    Cores that the compute threads leave, shared out among the workers of a command and among the GPUs. Nothing is known of
    other commands on the machine, so it is few: `MOST`. Copies need none on a CPU, where they take a small part of a step.
    """
    if not is_work and device.type == "cpu":
        return 0
    return min(spare_cores(device), MOST.get(device.type, MOST["cpu"]) if is_work else 2)


def spare_cores(device: torch.device) -> int:
    """Cores that the compute threads of a run leave of its share: that of a worker of its command, or of a GPU."""
    sharing = max(share().workers, torch.cuda.device_count() if device.type == "cuda" else 1)
    return max(0, usable_cpus() // sharing - torch.get_num_threads())


def _that_fit(spec: FeedingSpec, workers: int, batch_bytes: int) -> int:
    """Fewer where shared memory, through which batches come, does not hold what they read ahead."""
    if not workers or not _SHARED_MEMORY.is_dir():
        return workers
    free = shutil.disk_usage(_SHARED_MEMORY).free
    fitting = int(0.8 * free // (batch_bytes * (spec.prefetch + 1)))
    if fitting >= workers:
        return workers
    logger.warning(
        "%d loader processes would hold %.0f MiB of batches in shared memory, and %s has %.0f MiB free: %d of them start; "
        "give the container more shared memory (docker run --shm-size), or lower feeding.prefetch",
        workers, workers * (spec.prefetch + 1) * batch_bytes / 2**20, _SHARED_MEMORY, free / 2**20, fitting,
    )  # fmt: skip
    return fitting


def start_options() -> dict[str, Any]:
    """How torch's DataLoader starts its processes: from a server that has imported what they need.

    A fork of this process would share the locks of its threads. Without such a server each is started anew: on Windows, and
    where a socket's path would be too long for a deep temporary folder.
    """
    context: BaseContext = multiprocessing.get_context("spawn")
    if "forkserver" in multiprocessing.get_all_start_methods():
        with suppress(OSError), _nothing_from_the_current_folder():
            served = multiprocessing.get_context("forkserver")
            served.set_forkserver_preload([__name__])
            forkserver.ensure_running()
            context = served
    return {"multiprocessing_context": context, "worker_init_fn": _begin}


@contextmanager
def _nothing_from_the_current_folder() -> Iterator[None]:
    """The server looks for modules there first, where a reader's `secrets.py` or another clone may lie; its children have
    the path of this process."""
    name = "PYTHONSAFEPATH"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


@contextmanager
def starting(workers: int) -> Iterator[None]:
    """Around the start of loader processes: no interrupt of the terminal reaches them, and mapped files go by name.

    Raises:
        FeedingFailed: they could not be started.
        InvalidSpec: the images cannot be sent to another process.
    """
    if not workers:
        yield
        return
    send_by_name()
    try:
        with own_interrupts():
            yield
    except (AttributeError, TypeError) as error:  # of pickle
        raise InvalidSpec(
            f"the images of this dataset cannot be sent to loader processes ({one_line(error)}); set feeding.workers=0"
        ) from None
    except (OSError, EOFError) as error:
        raise FeedingFailed(
            f"{counted(workers, 'loader')} could not be started ({one_line(error)}); set feeding.workers=0"
        ) from None


def _begin(_: int) -> None:
    """Of a loader process: it ends with the training's process, however that ends, and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(0)
