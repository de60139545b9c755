"""The feed of a training: its batches in their order, read ahead by torch's DataLoader."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, get_worker_info

from harness import plugins
from harness.errors import FeedingFailed, ItmError, one_line
from harness.spec import FeedingSpec
from harness.training.feeding import processes
from harness.training.feeding.batches import Batch, Reader


@dataclass(frozen=True)
class Course:
    """What a training asks for.

    Args:
        order: rows of the captions of each batch of an epoch (0-based).
        steps: batches per epoch.
        epochs: of the training.
    """

    order: Callable[[int], Iterable[np.ndarray]]
    steps: int
    epochs: int

    def after(self, first: int) -> Iterator[tuple[int, np.ndarray]]:
        """Epoch and rows of every batch from an epoch on."""
        for epoch in range(first, self.epochs):
            for captions in self.order(epoch):
                yield epoch, captions


_DIED = re.compile(r"DataLoader worker \(pid")


class Feed:
    """The batches of a training, the same for any number of loader processes.

    It reads on across the border of two epochs, so that the first batch of the next one is there after the validation.
    Processes start with the first batch and end with `close`, or with this process.

    Args:
        reader: of the batches.
        course: of the training.
        spec: loader processes and what each reads ahead.
        device: that the batches go to: a GPU is fed from page-locked memory.
    """

    def __init__(self, reader: Reader, course: Course, spec: FeedingSpec, device: torch.device):
        self.reader, self.device = reader, device
        self._course, self._spec = course, spec
        self._batches: Iterator[Batch | _Failure] | None = None
        self._step = 0  # of the training, whose batch comes next
        self.workers = 0  #: loader processes, once they started
        self.cpu_seconds = 0.0  #: that they spent on batches that were taken

    def begin(self, epoch: int) -> None:
        """Make the first batch of an epoch (0-based) the next one."""
        if self._batches is None or self._step != epoch * self._course.steps:
            self.close()
            self._start(epoch)
            self._step = epoch * self._course.steps

    def batch(self) -> Batch:
        """The next batch.

        Raises:
            ItmError: what reading it met, with the images' own message.
        """
        assert self._batches is not None, "begin comes first"
        found = next(self._batches)
        if isinstance(found, _Failure):
            raise found.error
        self._step += 1
        self.cpu_seconds += found.cpu_seconds
        return found

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Around a training: torch tells of a loader's death wherever the main process is, in a step or in a validation.

        Raises:
            FeedingFailed: a loader process died.
        """
        try:
            yield
        except RuntimeError as error:
            if not _DIED.search(str(error)):
                raise
            raise FeedingFailed(
                f"a loader process, which reads batches ahead of the training, died ({one_line(error)}); where memory is "
                f"short set feeding.workers lower (now {self.workers}) or feeding.workers=0, which reads in the run's own "
                "process; the run resumes from its last epoch"
            ) from None

    def close(self) -> None:
        """End the loader processes."""
        self._batches = None

    def _start(self, first: int) -> None:
        rows = next(iter(self._course.order(first)))
        left = (self._course.epochs - first) * self._course.steps
        self.workers = processes.count(self._spec, self.reader, rows, self.device, left)
        options: dict[str, Any] = {}
        if self.workers:
            options = {"prefetch_factor": self._spec.prefetch, **processes.start_options()}
        requests: Any = _Requests(self.reader)  # an index is an epoch and the rows of a batch, which torch's types lack
        loader: DataLoader[Any] = DataLoader(
            requests,
            sampler=_Order(self._course, first),
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # its own, so that starting draws nothing from the training's stream
            **options,
        )
        with warnings.catch_warnings(), processes.starting(self.workers):
            for told in ("This DataLoader will create", "Got pickle error"):  # as `processes` does, in one line
                warnings.filterwarnings("ignore", message=told)
            self._batches = iter(loader)


class _Failure:
    """An error of the user's that a loader process met: torch would wrap it in a traceback."""

    def __init__(self, error: ItmError):
        self.error = error


class _Requests:
    """Batches by epoch and rows, as torch's DataLoader asks for them."""

    def __init__(self, reader: Reader):
        self._reader = reader
        self._spent = 0.0  # CPU seconds of a loader process up to its last batch

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process the plug-ins come first: the images may be of a class that one of them defines."""
        return _requests_of, (plugins.Registered(plugins.files()), self._reader)

    def __getitem__(self, request: tuple[int, np.ndarray]) -> Batch | _Failure:
        epoch, captions = request
        try:
            batch = self._reader.read(captions, epoch)
        except ItmError as error:
            return _Failure(error)
        if get_worker_info() is None:
            return batch
        before, self._spent = self._spent, time.process_time()
        return replace(batch, cpu_seconds=self._spent - before)


def _requests_of(_: plugins.Registered, reader: Reader) -> _Requests:
    return _Requests(reader)


class _Order:
    """The sampler: every batch of every epoch from one on."""

    def __init__(self, course: Course, first: int):
        self._course, self._first = course, first

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        return self._course.after(self._first)


def _as_it_is(batch: Any) -> Any:
    return batch
