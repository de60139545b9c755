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
from harness.profiles.galleries import DIRECTIONS, Built, Direction, build, growing, resampled
from harness.profiles.session import Scenario, pilot
from harness.profiles.trained import TrainedScorer
from harness.profiles.uses import Use
from harness.scoring.memory import free_memory

#: One search may take this share of the measuring time; a larger gallery is extrapolated.
SHARE_OF_A_CALL = 1 / 100
#: Share of the measuring time that the queries of all points at the reference gallery may take.
SHARE_OF_POINTS = 0.6
#: Share of the free memory that all galleries together may take; each is kept as it comes and, if its items differ in
#: length, packed in another order beside it.
SHARE_OF_MEMORY, KEPT_AND_PACKED = 0.5, 2
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
    built: dict[Direction, dict[int, Built]]  #: by the sizes that are measured


@dataclass(frozen=True, eq=False)
class Cost:
    """What a use's index takes, by direction."""

    bytes_per_item: dict[Direction, float]
    build_ms: dict[Direction, dict[int, float]]  #: by gallery size


def benches_for(
    scorers: Sequence[TrainedScorer], uses: Sequence[Use], options: ProfileOptions, device: torch.device
) -> tuple[dict[str, Bench], int]:
    """Galleries by scorer, as large as time and memory allow, and the reference size that every point fits."""
    sizes = sorted(options.galleries)
    free = free_memory() if device.type == "cpu" else torch.cuda.mem_get_info(device)[0]
    share = SHARE_OF_MEMORY * free / (2 * len(scorers))
    longest = 1000 * options.seconds * SHARE_OF_A_CALL
    pilot_ms: dict[str, float] = {}
    benches: dict[str, Bench] = {}
    for trained in scorers:
        bench = benches[trained.key] = Bench({}, {})
        for direction in DIRECTIONS:
            side = trained.gallery(direction)
            smallest = build(trained.scorer, resampled(side, sizes[0]), direction)
            ms = pilot(scenarios.search(scenarios.Queries(trained, direction), smallest.index), device)
            per_item = index_bytes(side) * (1 if bool(side.mask.all()) else KEPT_AND_PACKED)
            measured = [
                size
                for size in sizes
                if size == sizes[0] or (ms * size / sizes[0] <= longest and size * per_item <= share)
            ]
            pilot_ms[trained.key] = pilot_ms.get(trained.key, 0.0) + ms
            bench.galleries[direction] = resampled(side, measured[-1])
            bench.built[direction] = growing(trained.scorer, bench.galleries[direction], direction, measured)
    possible = min(max(built) for bench in benches.values() for built in bench.built.values())
    # A base is timed as a whole and in parts, the other uses of its weights as a whole.
    smallest_ms = sum(pilot_ms[u.trained.key] * (2 if u.kind == "base" else 1) for u in uses if u.coarse is None)
    for size in reversed(sizes):
        takes = smallest_ms * size / sizes[0] * options.rounds
        if size <= min(possible, options.gallery) and takes <= 1000 * options.seconds * SHARE_OF_POINTS:
            return benches, size
    return benches, sizes[0]


def queries_of(
    use: Use, benches: Mapping[str, Bench], reference: int, ann: bool = False
) -> tuple[list[Scenario], Cost]:
    """The queries of a use, and what its index costs.

    A use is asked at the reference gallery, a base at every size. With `ann` cascades shortlist by an approximate index.
    """
    if use.coarse is not None:
        return _of_cascade(use, use.coarse, benches, reference, ann)
    bench, base = benches[use.trained.key], use.kind == "base"
    timed, cost = [scenarios.pairs(use)], Cost({}, {})
    for direction in DIRECTIONS:
        if base:
            built = bench.built[direction]
        else:
            # Pruned items are others than those of the bench.
            whole = use.gallery(direction) if use.kind == "pruned" else bench.galleries[direction]
            items = resampled(whole, reference)
            built = {reference: build(use.trained.scorer, items, direction, use.precision, use.shortlist > 0)}
        queries = scenarios.Queries(use.trained, direction, use.prune_query(direction))
        timed += [scenarios.query(queries, one.index, apart=base) for one in built.values()]
        cost.bytes_per_item[direction] = built[reference].bytes_per_item
        cost.build_ms[direction] = {size: one.ms for size, one in built.items()}
    return timed, cost


def _of_cascade(
    use: Use, coarse: TrainedScorer, benches: Mapping[str, Bench], reference: int, ann: bool
) -> tuple[list[Scenario], Cost]:
    """A cascade that leaves nothing out is its fine scorer and is not timed again."""
    timed, cost = [], Cost({}, {})
    for direction in DIRECTIONS:
        two = [benches[trained.key].built[direction][reference] for trained in (coarse, use.trained)]
        cost.bytes_per_item[direction] = sum(built.bytes_per_item for built in two)
        cost.build_ms[direction] = {reference: sum(built.ms for built in two)}
        if not 0 < use.k < reference:
            continue
        first, second = (scenarios.Queries(trained, direction) for trained in (coarse, use.trained))
        shortlist: Shortlist = ExactShortlist(two[0].index)
        if ann:
            gallery = benches[coarse.key].galleries[direction][:reference]
            shortlist = ApproximateShortlist(coarse.scorer, gallery, direction, first.encode(0))
        cascade = Cascade(shortlist, two[1].index, use.k)
        timed.append(scenarios.cascade_query(cascade, direction, first, second))
    return timed, cost
