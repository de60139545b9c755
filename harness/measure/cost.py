"""What a scorer costs: latency, throughput, memory and size, each with its unit in its name.

Trainings of the same user on the same machine wait meanwhile, see `harness.measure.quiet`. A figure that cannot be
measured is absent, never 0. How a sample is taken: `harness.measure.timing`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from harness.errors import CannotEncode
from harness.fragments import Fragments, Tokens
from harness.measure.energy.meter import covers, energy_of, is_measured
from harness.measure.quiet import alone
from harness.measure.system import other_load, peak_memory
from harness.measure.timing import FEWEST_REPEATS, Stopwatch, synchronize, timed
from harness.scorer import Scorer
from harness.scoring import evaluating, similarity_matrix

#: What one figure of `measure_cost` may take: its repeats end early then, and its batch is one of a third of that.
SECONDS_PER_FIGURE = 0.3
#: Throughput of scoring is measured on at most this many pairs.
LARGEST_BLOCK = (256, 1280)
#: Counters of energy are renewed up to ten times per second; shorter blocks would measure their steps.
ENERGY_SECONDS = 1.0


def measure_cost(
    scorer: Scorer,
    image_batch: Tensor | Fragments | None,
    token_batch: Tokens | None,
    images: Fragments,
    texts: Fragments,
    *,
    repeats: int = 30,
    device: torch.device | str = "cpu",
) -> dict[str, float | str]:
    """What a scorer costs in use: evaluation mode, no gradients, inputs already on the device.

    Args:
        scorer: on the device.
        image_batch: what its image encoder takes, one row per image; None = it cannot encode.
        token_batch: what its text encoder takes; None likewise.
        images: I encoded images, the gallery.
        texts: T encoded captions.
        repeats: samples of each latency; fewer where `SECONDS_PER_FIGURE` does not suffice for them.
        device: where to compute.

    Returns:
        `encode_image_ms_p50`, `_p95` (one image); `encode_text_ms_p50`, `_p95` (one caption of median length);
        `encode_images_per_second`, `encode_texts_per_second` (in batches, as large as time allows);
        `pairs_per_second` (scoring of encoded pairs, `timed_pairs` of them at once); `query_ms_p50`, `_p95` (scoring
        one encoded caption against the gallery of `gallery_images`); `index_bytes_per_image` (what must be kept of an
        encoded image); `params_millions`, `trainable_params_millions`; the keys of `peak_memory`; and
        `other_cpu_percent`, the share of all CPUs that other processes took meanwhile: above 6 the latencies are not
        to be trusted. Where the machine measures energy, `energy_wh_per_million_pairs` of scoring, and `energy_covers`.
        A p95 needs `FEWEST_FOR_P95` samples.
    """
    device = torch.device(device)
    images, texts = images.to(device), texts.to(device)
    cost: dict[str, float | str] = {}
    with alone(device), evaluating(scorer), peak_memory(device) as peaks, other_load() as load:
        if image_batch is not None:
            cost |= _encoding("image", scorer.encode_images, image_batch.to(device), 0, repeats, device)
        if token_batch is not None:
            tokens = token_batch.to(device)
            cost |= _encoding("text", scorer.encode_texts, tokens, _of_median_length(tokens), repeats, device)
        scoring = _scoring(scorer, images, texts, repeats, device)
        cost |= scoring | _energy(scorer, images, texts, int(scoring["timed_pairs"]), device)
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
        latency = timed(lambda: encode(one), repeats, device=device, seconds=SECONDS_PER_FIGURE)
    except CannotEncode:
        return {}
    per_second, _ = _throughput(lambda n: encode(batch[:n]), len(batch), repeats, device)
    return latency.as_cost(f"encode_{what}") | {f"encode_{what}s_per_second": per_second}


def _scoring(
    scorer: Scorer, images: Fragments, texts: Fragments, repeats: int, device: torch.device
) -> dict[str, float]:
    """Throughput of scoring and latency of one query."""
    rows = images[: LARGEST_BLOCK[0]]
    per_second, columns = _throughput(
        lambda n: similarity_matrix(scorer, rows, texts[:n]), min(len(texts), LARGEST_BLOCK[1]), repeats, device
    )
    typical = _of_median_length(texts)
    caption = texts[typical : typical + 1]
    query = timed(
        lambda: similarity_matrix(scorer, images, caption), repeats, device=device, seconds=SECONDS_PER_FIGURE
    )
    return {
        "pairs_per_second": len(rows) * per_second,
        "timed_pairs": float(len(rows) * columns),
        **query.as_cost("query"),
        "gallery_images": float(len(images)),
    }


def _energy(
    scorer: Scorer, images: Fragments, texts: Fragments, pairs: int, device: torch.device
) -> dict[str, float | str]:
    """Energy of scoring about so many pairs again and again; nothing, and no time spent, where nothing measures it."""
    if not is_measured(device):
        return {}
    rows = images[: LARGEST_BLOCK[0]]
    columns = texts[: max(1, pairs // len(rows))]
    scored, started = 0, time.perf_counter()
    with energy_of(device) as spent:
        while not scored or time.perf_counter() - started < ENERGY_SECONDS:
            similarity_matrix(scorer, rows, columns)
            synchronize(device)
            scored += len(rows) * len(columns)
    if not spent:
        return {}
    return {"energy_wh_per_million_pairs": 1e6 * sum(spent.values()) / scored, "energy_covers": covers(spent)}


def _throughput(call: Callable[[int], object], largest: int, repeats: int, device: torch.device) -> tuple[float, int]:
    """Items per second of a call on a number of items, and that number.

    It is doubled, up to `largest`, until one call takes a third of a figure's time; the calls warm up on the way.
    """
    size = min(largest, 8)
    watch = Stopwatch(device)
    while size < largest:
        with watch:
            call(size)
        if 2 * watch.ms > 1000 * SECONDS_PER_FIGURE / FEWEST_REPEATS:
            break
        size = min(largest, 2 * size)
    timing = timed(lambda: call(size), repeats, warmup=1, device=device, seconds=SECONDS_PER_FIGURE)
    return 1000 * size / timing.p50, size


def _of_median_length(items: Fragments | Tokens) -> int:
    order = torch.argsort(items.lengths, stable=True)
    return int(order[len(order) // 2])
