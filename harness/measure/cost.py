"""What a scorer costs: latency, throughput, memory and size, each with its unit in its name.

A figure that cannot be measured is absent, never 0. How a sample is taken: `harness.measure.timing`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.errors import CannotEncode
from harness.fragments import Fragments, Tokens
from harness.measure.timing import FEWEST_REPEATS, StepTimer, Stopwatch, Timing, synchronize, timed
from harness.scorer import Scorer
from harness.scoring import evaluating, similarity_matrix

__all__ = ["StepTimer", "Stopwatch", "Timing", "measure_cost", "peak_memory", "timed"]

MIB = 1024**2
#: What one figure of `measure_cost` may take: its repeats end early then, and its batch is one of a third of that.
SECONDS_A_FIGURE = 0.3
#: Throughput of scoring is measured on at most this many pairs.
LARGEST_BLOCK = (256, 1280)


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
    with evaluating(scorer), peak_memory(device) as peaks, other_load() as load:
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
def other_load() -> Iterator[dict[str, float]]:
    """Fills in `other_cpu_percent` when the block ends; nothing where /proc/stat cannot be read."""
    load: dict[str, float] = {}
    before, mine = cpu_seconds(), time.process_time()
    yield load
    after, mine = cpu_seconds(), time.process_time() - mine
    if before and after and after[1] > before[1]:
        other = after[0] - before[0] - mine
        load["other_cpu_percent"] = max(0.0, 100 * other / (after[1] - before[1]))


def cpu_seconds() -> tuple[float, float] | None:
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
