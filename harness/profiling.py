"""The measuring kit: latency, throughput, memory and size, each with its unit in its name.

Every sample is taken after a warm-up and between two device synchronisations, so it holds the work and not only its
launch. A figure that cannot be measured is absent, never 0.
"""

from __future__ import annotations

import gc
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import CannotEncode
from harness.fragments import Fragments, Tokens
from harness.scorer import Scorer
from harness.scoring import evaluating, similarity_matrix

MIB = 1024**2
#: A 95th percentile of fewer samples is little more than their maximum, so none is given.
FEWEST_FOR_P95 = 20
FEWEST_REPEATS = 3
#: What one figure of `measure_cost` may take: its repeats end early then, and its batch is one of a third of that.
SECONDS_A_FIGURE = 0.3
#: Throughput of scoring is measured on at most this many pairs.
LARGEST_BLOCK = (256, 1280)


@dataclass(frozen=True)
class Timing:
    """Samples of one latency.

    Args:
        samples: milliseconds, in the order they were taken; at least one.
    """

    samples: tuple[float, ...]

    @property
    def p50(self) -> float:
        """Median, ms."""
        return self.quantile(0.5)

    @property
    def p95(self) -> float | None:
        """95th percentile, ms; None with fewer than `FEWEST_FOR_P95` samples."""
        return self.quantile(0.95) if len(self.samples) >= FEWEST_FOR_P95 else None

    @property
    def iqr(self) -> float:
        """Distance between the quartiles, ms."""
        return self.quantile(0.75) - self.quantile(0.25)

    @property
    def minimum(self) -> float:
        """The fastest sample, ms."""
        return min(self.samples)

    def quantile(self, q: float) -> float:
        """A quantile of the samples, ms, interpolated linearly."""
        return float(np.quantile(self.samples, q))

    def interval(self, q: float = 0.5, confidence: float = 0.95) -> tuple[float, float] | None:
        """Interval of a quantile between two order statistics; it assumes no distribution.

        Args:
            q: the quantile, within (0, 1).
            confidence: smallest probability that the interval holds it.

        Returns:
            Both ends, ms; None if there are too few samples for it.

        Source:
            The number of samples below a quantile is binomial; e.g. Conover, Practical Nonparametric Statistics, 3.2.
        """
        n, tail = len(self.samples), (1 - confidence) / 2
        below = np.cumsum([math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(n + 1)])  # P(count <= k)
        low = int(np.searchsorted(below, tail, side="right")) - 1  # 0-based; -1: even the minimum may be above it
        high = int(np.searchsorted(below, 1 - tail, side="left"))  # 0-based; n: even the maximum may be below it
        if low < 0 or high >= n:
            return None
        ordered = sorted(self.samples)
        return ordered[low], ordered[high]

    def as_cost(self, name: str) -> dict[str, float]:
        """`{name}_ms_p50` and, with enough samples, `{name}_ms_p95`."""
        p95 = self.p95
        return {f"{name}_ms_p50": self.p50} | ({f"{name}_ms_p95": p95} if p95 is not None else {})


class Stopwatch:
    """Wall-clock time of a block, with the work that it gave to the device finished: `with Stopwatch(d) as watch: ...`.

    Args:
        device: what the block computes on.
    """

    ms: float = math.nan

    def __init__(self, device: torch.device | str = "cpu"):
        self.device = torch.device(device)

    def __enter__(self) -> Stopwatch:
        synchronize(self.device)
        self._start = time.perf_counter()
        return self

    def __exit__(self, *exception: object) -> None:
        synchronize(self.device)
        self.ms = (time.perf_counter() - self._start) * 1000


def timed(
    fn: Callable[[], object],
    repeats: int = 30,
    warmup: int = 3,
    device: torch.device | str = "cpu",
    seconds: float = math.inf,
) -> Timing:
    """Time a call.

    Args:
        fn: what to time.
        repeats: samples to take.
        warmup: calls before the first sample.
        device: what it computes on.
        seconds: no further sample is begun after that time, once there are `FEWEST_REPEATS` (or `repeats`).

    Returns:
        The samples; the garbage collector rests while they are taken.
    """
    for _ in range(warmup):
        fn()
    samples: list[float] = []
    watch = Stopwatch(device)
    with _no_garbage_collection():
        end = time.perf_counter() + seconds
        while len(samples) < repeats and (len(samples) < FEWEST_REPEATS or time.perf_counter() < end):
            with watch:
                fn()
            samples.append(watch.ms)
    return Timing(tuple(samples))


class StepTimer:
    """Times the steps of a training loop: `with timer: step()`.

    Args:
        device: what the steps compute on.
        warmup: first steps that are left out: they allocate, compile and fill caches.

    Attributes:
        samples: milliseconds a step, without the warm-up; a resumed training may put back those of its first part.
    """

    def __init__(self, device: torch.device | str = "cpu", warmup: int = 3):
        self.samples: list[float] = []
        self._to_skip = warmup
        self._watch = Stopwatch(device)

    def __enter__(self) -> StepTimer:
        self._watch.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._watch.__exit__()
        if kind is not None:
            return  # half a step is no sample
        if self._to_skip > 0:
            self._to_skip -= 1
        else:
            self.samples.append(self._watch.ms)

    def summary(self) -> dict[str, float]:
        """`train_step_ms_p50` and `_p95`; empty if no step followed the warm-up."""
        return Timing(tuple(self.samples)).as_cost("train_step") if self.samples else {}


@contextmanager
def peak_memory(device: torch.device | str = "cpu") -> Iterator[dict[str, float]]:
    """Peak memory of a block; not to be nested, since the inner one would reset the outer one's peak.

    Args:
        device: what the block computes on.

    Yields:
        A dict that is filled when the block ends, in MiB. On a GPU: `peak_gpu_allocated_mib` (tensors),
        `peak_gpu_reserved_mib` (torch's allocator) and `gpu_in_use_mib` (the whole GPU at the end: contexts and other
        processes too). Elsewhere `peak_rss_mib`, the resident memory of the whole process, interpreter and libraries
        included; where the system cannot reset it (not Linux), its peak since the process began. `peak_memory_mib`
        repeats the first of them.
    """
    device = torch.device(device)
    peaks: dict[str, float] = {}
    on_gpu = device.type == "cuda"
    if on_gpu:
        synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    else:
        resettable = _reset_peak_rss()
    try:
        yield peaks
    finally:
        if on_gpu:
            synchronize(device)
            free, total = torch.cuda.mem_get_info(device)
            peaks["peak_gpu_allocated_mib"] = torch.cuda.max_memory_allocated(device) / MIB
            peaks["peak_gpu_reserved_mib"] = torch.cuda.max_memory_reserved(device) / MIB
            peaks["gpu_in_use_mib"] = (total - free) / MIB
        else:
            rss = _peak_rss_since_reset() if resettable else _peak_rss_of_process()
            peaks |= {"peak_rss_mib": rss / MIB} if rss else {}
        if peaks:
            peaks["peak_memory_mib"] = next(iter(peaks.values()))


def measure_cost(
    scorer: Scorer,
    image_batch: Tensor | Fragments | None,
    token_batch: Tokens | None,
    images: Fragments,
    texts: Fragments,
    *,
    repeats: int = 30,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """What a scorer costs in use: evaluation mode, no gradients, inputs already on the device.

    Args:
        scorer: on the device.
        image_batch: what its image encoder takes, one row an image; None = it cannot encode.
        token_batch: what its text encoder takes; None likewise.
        images: I encoded images, the gallery.
        texts: T encoded captions.
        repeats: samples of each latency; fewer where `SECONDS_A_FIGURE` does not suffice for them.
        device: where to compute.

    Returns:
        `encode_image_ms_p50`, `_p95` (one image); `encode_text_ms_p50`, `_p95` (one caption of median length);
        `encode_images_per_second`, `encode_texts_per_second` (in batches, as large as time allows);
        `pairs_per_second` (scoring of encoded pairs, `timed_pairs` of them at once); `query_ms_p50`, `_p95` (scoring
        one encoded caption against the gallery of `gallery_images`); `index_bytes_per_image` (what must be kept of an
        encoded image); `params_millions`, `trainable_params_millions`; the keys of `peak_memory`; and
        `other_cpu_percent`, the share of all CPUs that other processes took meanwhile: above 6 the latencies are not
        to be trusted.
        A p95 needs `FEWEST_FOR_P95` samples.
    """
    device = torch.device(device)
    images, texts = images.to(device), texts.to(device)
    cost: dict[str, float] = {}
    with evaluating(scorer), peak_memory(device) as peaks, _other_load() as load:
        if image_batch is not None:
            cost |= _encoding("image", scorer.encode_images, image_batch.to(device), 0, repeats, device)
        if token_batch is not None:
            tokens = token_batch.to(device)
            cost |= _encoding("text", scorer.encode_texts, tokens, _of_median_length(tokens), repeats, device)
        cost |= _scoring(scorer, images, texts, repeats, device)
    return cost | {"index_bytes_per_image": index_bytes(images)} | parameters(scorer) | peaks | load


def index_bytes(images: Fragments) -> float:
    """Bytes that an index keeps of an encoded image: features, mask and extras as they are, padding included."""
    kept = [images.features, images.mask, *images.extras.values()]
    return sum(tensor.numel() * tensor.element_size() for tensor in kept) / len(images)


def parameters(module: nn.Module) -> dict[str, float]:
    """`params_millions` and, of these, `trainable_params_millions`; a shared parameter counts once."""
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters() if not nn.parameter.is_lazy(p)]
    return {
        "params_millions": sum(size for size, _ in sizes) / 1e6,
        "trainable_params_millions": sum(size for size, trainable in sizes if trainable) / 1e6,
    }


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished what it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _encoding(
    what: str,
    encode: Callable[..., Fragments],
    batch: Tensor | Fragments | Tokens,
    typical: int,
    repeats: int,
    device: torch.device,
) -> dict[str, float]:
    """Latency of one item and throughput of a batch; nothing for a scorer that has no such encoder."""
    one = batch[typical : typical + 1]
    try:
        latency = timed(lambda: encode(one), repeats, device=device, seconds=SECONDS_A_FIGURE)
    except CannotEncode:
        return {}
    size = _affordable(lambda n: encode(batch[:n]), len(batch), device)
    several = batch[:size]
    whole = timed(lambda: encode(several), repeats, warmup=1, device=device, seconds=SECONDS_A_FIGURE)
    return latency.as_cost(f"encode_{what}") | {f"encode_{what}s_per_second": 1000 * size / whole.p50}


def _scoring(
    scorer: Scorer, images: Fragments, texts: Fragments, repeats: int, device: torch.device
) -> dict[str, float]:
    """Throughput of scoring and latency of one query."""
    rows = images[: LARGEST_BLOCK[0]]
    columns = _affordable(
        lambda n: similarity_matrix(scorer, rows, texts[:n]), min(len(texts), LARGEST_BLOCK[1]), device
    )
    block = texts[:columns]
    scoring = timed(
        lambda: similarity_matrix(scorer, rows, block), repeats, warmup=1, device=device, seconds=SECONDS_A_FIGURE
    )
    typical = _of_median_length(texts)
    caption = texts[typical : typical + 1]
    query = timed(lambda: similarity_matrix(scorer, images, caption), repeats, device=device, seconds=SECONDS_A_FIGURE)
    return {
        "pairs_per_second": 1000 * len(rows) * columns / scoring.p50,
        "timed_pairs": float(len(rows) * columns),
        **query.as_cost("query"),
        "gallery_images": float(len(images)),
    }


def _affordable(call: Callable[[int], object], largest: int, device: torch.device) -> int:
    """The number of items, doubled up to `largest`, that one call does within a third of a figure's time.

    The calls warm up on the way.
    """
    size = min(largest, 8)
    watch = Stopwatch(device)
    while size < largest:
        with watch:
            call(size)
        if 2 * watch.ms > 1000 * SECONDS_A_FIGURE / FEWEST_REPEATS:
            break
        size = min(largest, 2 * size)
    return size


def _of_median_length(items: Fragments | Tokens) -> int:
    order = torch.argsort(items.lengths, stable=True)
    return int(order[len(order) // 2])


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _other_load() -> Iterator[dict[str, float]]:
    """Fills in `other_cpu_percent` when the block ends; nothing where /proc/stat cannot be read."""
    load: dict[str, float] = {}
    before, mine = _cpu_seconds(), time.process_time()
    yield load
    after, mine = _cpu_seconds(), time.process_time() - mine
    if before and after and after[1] > before[1]:
        other = after[0] - before[0] - mine
        load["other_cpu_percent"] = max(0.0, 100 * other / (after[1] - before[1]))


def _cpu_seconds() -> tuple[float, float] | None:
    """Busy and total seconds of all CPUs since the start of the system."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return None
    ticks = [int(value) for value in fields[1:9]]  # user nice system idle iowait irq softirq steal
    total = sum(ticks)
    tick = os.sysconf("SC_CLK_TCK")
    return (total - ticks[3] - ticks[4]) / tick, total / tick


def _reset_peak_rss() -> bool:
    """Make the process's peak resident memory start again from what it holds now; whether that worked."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return _peak_rss_since_reset() is not None


def _peak_rss_since_reset() -> int | None:
    """Bytes; None where /proc does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def _peak_rss_of_process() -> int | None:
    """Bytes since the process began; None where the system has no such count."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB elsewhere
