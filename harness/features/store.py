"""The store: features that are there already, and features that are made now, by one process at a time."""

from __future__ import annotations

import copy
import logging
import shutil
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness.backbones.base import Encoder
from harness.datasets.store.arrays import free_bytes
from harness.errors import InvalidFragments, ResultsNotWritable, counted
from harness.features.folders import PARTIAL, Dtype, Unfinished, features_folder, read_about
from harness.features.items import Items
from harness.features.kept import Kept, digests_of, open_kept
from harness.features.towers import FORMAT, content_key, tower_key, tower_title
from harness.files.locks import claim
from harness.files.reading import Damaged
from harness.fragments import Fragments, Tokens
from harness.machine.allocation import freed_memory_kept
from harness.machine.turnstile import pass_by

logger = logging.getLogger(__name__)

#: Items that a tower reads at once; part of what decides the last bits.
BATCH = {"cpu": 16, "cuda": 128}
REPORT_SECONDS, KEEP_SECONDS = 10.0, 5.0
LARGEST = float(np.finfo(np.float16).max)
_VERSIONS = ("torch", "timm", "transformers", "open_clip_torch", "numpy", "pillow", "tokenizers")
_REMEDY = "free some space, set ITM_CACHE to a folder on another disk, or compute in every step: features.store=false"


@dataclass(frozen=True)
class Wanted:
    """Features that are asked for.

    Args:
        encoder: whose tower is run, on the device to compute on.
        items: what it is run on.
        dataset, split: their names, for messages and `about.json`.
        dtype: of the values that are kept.
    """

    encoder: Encoder
    items: Items
    dataset: str
    split: str
    dtype: Dtype

    @property
    def told(self) -> str:
        """`tf_efficientnet_lite0 at 224 px: flickr8k train images`."""
        return f"{tower_title(self.encoder)}: {self.dataset} {self.split} {self.items.side}"


def features_of(wanted: Wanted) -> Kept:
    """The features, from the store, where they are put first if they are not there.

    Raises:
        ResultsNotWritable: the cache folder cannot be written, or its disk has no room for them.
        InvalidFragments: the tower gives values that are not finite, or that float16 cannot hold.
    """
    key = tower_key(wanted.encoder)
    folder = features_folder() / f"{key}-{wanted.dtype}"
    name = content_key(wanted.items.digests)
    found = _find(folder, name, wanted)
    if found is not None:
        return found
    with _claimed(folder, name, wanted.told):
        return _find(folder, name, wanted, remove=True) or _make(folder / name, key, wanted)


def _find(folder: Path, name: str, wanted: Wanted, *, remove: bool = False) -> Kept | None:
    """Whole features of these items, or of more; damaged ones of these items are removed by whoever holds the claim.

    Those of more items are passed over: the claim on them may be another process's, which makes them anew meanwhile.
    """
    others = sorted(folder.glob("*")) if folder.is_dir() else []
    ordinary = [path for path in others if path.is_dir() and not path.name.startswith(".") and path.suffix != PARTIAL]
    for path in sorted(ordinary, key=lambda path: path.name != name):
        try:
            if path.name == name or _holds(path, wanted):
                return open_kept(path)
        except Damaged as error:
            if remove and path.name == name:
                logger.warning("features in %s are damaged and will be made again: %s", path, error)
                shutil.rmtree(path, ignore_errors=True)
    return None


def _holds(folder: Path, wanted: Wanted) -> bool:
    about = read_about(folder)
    if about.side != wanted.items.side or about.items < len(wanted.items):
        return False
    return set(wanted.items.digests) <= set(digests_of(folder, about))


@contextmanager
def _claimed(folder: Path, name: str, told: str) -> Iterator[None]:
    """Hold the right to make features; says so where another process has it."""
    with ExitStack() as stack:
        try:
            if not stack.enter_context(claim(folder, name, wait=0)):
                logger.info("another process computes %s; waiting for it", told)
                stack.enter_context(claim(folder, name))
        except ResultsNotWritable as error:
            raise ResultsNotWritable(f"{error}; {_REMEDY}") from None
        yield


def _make(folder: Path, key: str, wanted: Wanted) -> Kept:
    # Convolutions on a CPU take half the time in this layout; a copy, since the last bits differ from the usual one's.
    encoder = copy.deepcopy(wanted.encoder).eval().to(memory_format=torch.channels_last)
    wanted, items = replace(wanted, encoder=encoder), wanted.items
    try:
        first = _outputs(wanted, items.batch(np.arange(min(_batch(encoder), len(items)))))
        with Unfinished(folder, items.side, items.digests, wanted.dtype, first.width) as unfinished:
            _require_room(folder, first, wanted, unfinished)
            with freed_memory_kept():
                _fill(unfinished, wanted)
            made = unfinished.finish(
                format=FORMAT,
                tower=tower_title(encoder),
                tower_key=key,
                definition=encoder.tower_definition(),
                dataset=wanted.dataset,
                split=wanted.split,
                versions=_versions(),
                device=_device(encoder).type,
                made=datetime.now(UTC).isoformat(timespec="seconds"),
            )
    except OSError as error:
        raise ResultsNotWritable(f"cannot write {folder}: {error.strerror or error}; {_REMEDY}") from None
    return open_kept(made)


def _fill(unfinished: Unfinished, wanted: Wanted) -> None:
    """Run the tower on what is left, and say how it goes."""
    count, before, begun = len(wanted.items), unfinished.seconds, unfinished.done
    if begun:
        logger.info("%s: resumed at %s of %s", wanted.told, f"{begun:,}", f"{count:,}")
    started = said = kept = time.perf_counter()
    for raw in _all_outputs(wanted, begun):
        pass_by()
        unfinished.add(raw.features[raw.mask].cpu().numpy(), raw.lengths.cpu().numpy())
        now = time.perf_counter()
        if now - kept > KEEP_SECONDS:
            kept = now
            unfinished.keep(before + now - started)
        if now - said > REPORT_SECONDS and unfinished.done < count:
            said = now
            rate = (unfinished.done - begun) / (now - started)
            left = (count - unfinished.done) / rate
            logger.info(
                "%s: %s of %s, %.1f per second, %s left",
                wanted.told, f"{unfinished.done:,}", f"{count:,}", rate, _duration(left),
            )  # fmt: skip
    spent = time.perf_counter() - started
    unfinished.keep(before + spent)
    logger.info("%s: %s in %s", wanted.told, f"{count:,}", _duration(before + spent))


def _all_outputs(wanted: Wanted, begun: int) -> Iterator[Fragments]:
    """The tower's outputs for all items from one on, in their order.

    Each of torch's threads computes batches of its own: threads that share a batch wait for each other all the time where
    other processes run too, and the number of threads would show in the last bits.
    """
    workers = torch.get_num_threads() if _device(wanted.encoder).type == "cpu" else 1
    count, size = len(wanted.items), _batch(wanted.encoder)
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(workers, initializer=_alone) as pool:

        def submit(start: int) -> Future[Fragments]:
            batch = reader.submit(wanted.items.batch, np.arange(start, min(start + size, count)))
            return pool.submit(lambda: _outputs(wanted, batch.result()))

        upcoming = deque[Future[Fragments]]()
        try:
            for start in range(begun, count, size):
                upcoming.append(submit(start))
                if len(upcoming) > 2 * workers:  # so that the next images are decoded meanwhile
                    yield upcoming.popleft().result()
            while upcoming:
                yield upcoming.popleft().result()
        finally:
            for waiting in upcoming:
                waiting.cancel()


def _alone() -> None:
    """Of a worker: its own products take one thread."""
    torch.set_num_threads(1)


@torch.no_grad()
def _outputs(wanted: Wanted, batch: Tensor | Tokens) -> Fragments:
    return _checked(wanted.encoder.raw(batch.to(_device(wanted.encoder))), wanted)


def _checked(raw: Fragments, wanted: Wanted) -> Fragments:
    """The outputs, refused where they cannot be kept."""
    largest = float(raw.features.abs().amax())
    if not np.isfinite(largest) or bool(torch.isnan(raw.features).any()):
        raise InvalidFragments(
            f"{wanted.told}: the tower gives values that are NaN or infinite; its weights are damaged"
        )
    if wanted.dtype == "float16" and largest > LARGEST:
        raise InvalidFragments(
            f"{wanted.told}: the tower gives values up to {largest:,.0f}, and float16 holds up to {LARGEST:,.0f}; set "
            "features.dtype=float32"
        )
    return raw


def _require_room(folder: Path, first: Fragments, wanted: Wanted, unfinished: Unfinished) -> None:
    """Say how much room the features will take; refuse to begin where the disk does not have it."""
    each = float(first.lengths.float().mean())
    if each > 1:  # one vector per caption is one, whatever its length
        each = wanted.items.mean_length or each
    row = first.width * np.dtype(wanted.dtype).itemsize
    needed = len(wanted.items) * each * row
    free = free_bytes(folder)
    logger.info(
        "%s: %s of %.4g x %s, %s: %s in %s (%s free)",
        wanted.told, counted(len(wanted.items), "item"), each, f"{first.width:,}", wanted.dtype, _size(needed),
        folder.parent, _size(free),
    )  # fmt: skip
    if needed - unfinished.fragments * row > 0.98 * free:
        raise ResultsNotWritable(f"{wanted.told}: the features take {_size(needed)}, {_size(free)} are free; {_REMEDY}")


def _batch(encoder: Encoder) -> int:
    return BATCH.get(_device(encoder).type, BATCH["cuda"])


def _device(encoder: Encoder) -> torch.device:
    return next(encoder.parameters()).device


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in _VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _size(count: float) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**28 else f"{count / 2**20:.1f} MiB"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
