"""What is measured: galleries as large as time and memory allow, and the queries of every use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from harness.errors import InvalidSpec
from harness.fragments import Fragments
from harness.measure.cost import index_bytes
from harness.profiles import scenarios
from harness.profiles.cascade import ApproximateShortlist, Cascade, ExactShortlist, Shortlist
from harness.profiles.index import DIRECTIONS, Direction, StoredIndex, resampled, store
from harness.profiles.session import Scenario, pilot
from harness.profiles.trained import TrainedScorer
from harness.profiles.uses import Use
from harness.scoring.memory import default_budget, free_memory

#: One call of a scenario may take this share of the measuring time; a larger gallery is extrapolated.
SHARE_OF_A_CALL = 1 / 100
#: Share of the measuring time that the queries of all points at the reference gallery may take.
SHARE_OF_POINTS = 0.6
#: Share of the free memory that all galleries together may take.
SHARE_OF_MEMORY = 0.5
LARGEST_GALLERY = 100_000_000


@dataclass(frozen=True)
class ProfileOptions:
    """How much to measure.

    Raises:
        InvalidSpec: a gallery size below 2 or above `LARGEST_GALLERY`.
    """

    seconds: float = 180.0  #: measuring time of all points together, without training and accuracy
    rounds: int = 5  #: interleaved
    samples: int = 30  #: of each latency, where the time suffices; a p99 needs 1,000
    galleries: tuple[int, ...] = (1_000, 5_000, 25_000, 100_000)  #: sizes of the scaling curves
    gallery: int = 25_000  #: reference size of the points, or the largest of `galleries` below it that fits
    cascades: tuple[tuple[str, str], ...] | None = None  #: (coarse, fine); None = every global scorer for every other
    ann: bool = False  #: shortlists by an approximate index

    def __post_init__(self) -> None:
        if not self.galleries or min(self.galleries) < 2:
            raise InvalidSpec(f"gallery sizes must be at least 2, got {list(self.galleries)}")
        if max(self.galleries) > LARGEST_GALLERY:
            raise InvalidSpec(f"gallery sizes must be at most {LARGEST_GALLERY:,}, got {max(self.galleries):,}")


@dataclass(eq=False)
class Bench:
    """The galleries of a trained scorer, by direction."""

    galleries: dict[Direction, Fragments]  #: of the largest size that is measured
    sizes: dict[Direction, list[int]]  #: that are measured
    budget: int  #: bytes per block, determined once: asking the system takes longer than a small query


def benches_for(
    scorers: Sequence[TrainedScorer], uses: Sequence[Use], options: ProfileOptions, device: torch.device
) -> tuple[dict[str, Bench], int]:
    """Galleries by scorer, as large as time and memory allow, and the reference size that every point fits."""
    sizes = sorted(options.galleries)
    free = free_memory() if device.type == "cpu" else torch.cuda.mem_get_info(device)[0]
    share = SHARE_OF_MEMORY * free / (2 * len(scorers))
    budget = default_budget(device)
    longest = 1000 * options.seconds * SHARE_OF_A_CALL
    pilot_ms: dict[str, float] = {}
    fitting: dict[str, dict[Direction, list[int]]] = {}
    for trained in scorers:
        for direction in DIRECTIONS:
            side = trained.gallery(direction)
            smallest = StoredIndex(resampled(side, sizes[0]))
            ms = pilot(scenarios.query(scenarios.Queries(trained, direction), smallest, "float32", budget), device)
            largest = max(
                size
                for size in sizes
                if size == sizes[0] or (ms * size / sizes[0] <= longest and size * index_bytes(side) <= share)
            )
            pilot_ms[trained.key] = pilot_ms.get(trained.key, 0.0) + ms
            fitting.setdefault(trained.key, {})[direction] = [size for size in sizes if size <= largest]
    benches = {
        trained.key: Bench(
            {d: resampled(trained.gallery(d), fitting[trained.key][d][-1]) for d in DIRECTIONS},
            fitting[trained.key],
            budget,
        )
        for trained in scorers
    }
    possible = min(measured[-1] for by_direction in fitting.values() for measured in by_direction.values())
    # A base is timed as a whole and in parts, the other uses of its weights as a whole.
    smallest_ms = sum(pilot_ms[u.trained.key] * (2 if u.kind == "base" else 1) for u in uses if u.coarse is None)
    for size in reversed(sizes):
        takes = smallest_ms * size / sizes[0] * options.rounds
        if size <= min(possible, options.gallery) and takes <= 1000 * options.seconds * SHARE_OF_POINTS:
            return benches, size
    return benches, sizes[0]


def queries_of(
    use: Use, benches: Mapping[str, Bench], reference: int, ann: bool = False
) -> tuple[list[Scenario], dict[Direction, float]]:
    """The queries of a use, and what its index keeps of an item, in bytes, by direction.

    A use is asked at the reference gallery, a base at every size. With `ann` cascades shortlist by an approximate index.
    """
    if use.coarse is not None:
        return _of_cascade(use, use.coarse, benches, reference, ann)
    bench, base = benches[use.trained.key], use.kind == "base"
    timed, bytes_per_item = [scenarios.pairs(use, bench.budget)], {}
    for direction in DIRECTIONS:
        # Pruned items are others than those of the bench.
        whole = resampled(use.gallery(direction), reference) if use.kind == "pruned" else bench.galleries[direction]
        sizes = bench.sizes[direction] if base else [reference]
        indices = [store(whole[:size], use.precision) for size in sizes]
        queries = scenarios.Queries(use.trained, direction, use.prune_query(direction))
        timed += [scenarios.query(queries, index, use.precision, bench.budget, apart=base) for index in indices]
        bytes_per_item[direction] = indices[0].bytes_per_item
    return timed, bytes_per_item


def _of_cascade(
    use: Use, coarse: TrainedScorer, benches: Mapping[str, Bench], reference: int, ann: bool
) -> tuple[list[Scenario], dict[Direction, float]]:
    """A cascade that leaves nothing out is its fine scorer and is not timed again."""
    timed, bytes_per_item = [], {}
    bench = benches[use.trained.key]
    for direction in DIRECTIONS:
        coarse_gallery = benches[coarse.key].galleries[direction][:reference]
        gallery = bench.galleries[direction][:reference]
        bytes_per_item[direction] = index_bytes(coarse_gallery) + index_bytes(gallery)
        if not 0 < use.k < reference:
            continue
        first, second = (scenarios.Queries(trained, direction) for trained in (coarse, use.trained))
        shortlist: Shortlist = ExactShortlist(coarse.scorer, coarse_gallery, direction, bench.budget)
        if ann:
            shortlist = ApproximateShortlist(coarse.scorer, coarse_gallery, direction, first.encode(0))
        cascade = Cascade(shortlist, use.trained.scorer, gallery, direction, use.k, bench.budget)
        timed.append(scenarios.cascade_query(cascade, first, second))
    return timed, bytes_per_item
