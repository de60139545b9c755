"""What is measured: galleries as large as time and memory allow, and every scenario of every point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from harness.errors import InvalidSpec
from harness.fragments import Fragments
from harness.profiles import scenarios as make
from harness.profiles import session
from harness.profiles.cascade import ApproximateShortlist, Direction, ExactShortlist, Shortlist
from harness.profiles.galleries import bytes_an_item, resampled
from harness.profiles.points import Use, cascade_of
from harness.profiles.session import Scenario
from harness.profiles.stored import StoredIndex, store
from harness.profiles.subjects import Subject
from harness.runs.planning import open_dataset
from harness.scoring.memory import default_budget, free_memory

DIRECTIONS: tuple[Direction, ...] = ("t2i", "i2t")
#: One call of a scenario may take this share of the measuring time; a larger gallery is extrapolated.
SHARE_OF_A_CALL = 1 / 100
#: What the queries of all points at the reference gallery may take of it.
SHARE_OF_POINTS = 0.6
#: Share of the free memory that all galleries together may take.
SHARE_OF_MEMORY = 0.5
LARGEST_GALLERY = 100_000_000
SIDES = {"t2i": "images", "i2t": "captions"}


@dataclass(frozen=True)
class ProfileOptions:
    """How much to measure.

    Args:
        seconds: measuring time of all points together, without training and accuracy.
        rounds: interleaved rounds.
        samples: of each latency, where the time suffices; a p99 needs 1,000.
        galleries: sizes of the scaling curves.
        gallery: reference size of the points; a smaller one of `galleries` is taken where this does not fit.
        cascades: (coarse, fine) pairs; None = every global scorer for every fine-grained one, () = none.
        ann: shortlists by an approximate index.
    """

    seconds: float = 180.0
    rounds: int = 5
    samples: int = 30
    galleries: tuple[int, ...] = (1_000, 5_000, 25_000, 100_000)
    gallery: int = 25_000
    cascades: tuple[tuple[str, str], ...] | None = None
    ann: bool = False

    def __post_init__(self) -> None:
        if not self.galleries or min(self.galleries) < 2:
            raise InvalidSpec(f"gallery sizes must be at least 2, got {list(self.galleries)}")
        if max(self.galleries) > LARGEST_GALLERY:
            raise InvalidSpec(f"gallery sizes reach {LARGEST_GALLERY:,}, got {max(self.galleries):,}")


@dataclass(eq=False)
class Bench:
    """A subject with its galleries.

    Args:
        subject: the trained scorer.
        galleries: by direction, of the largest size that is measured.
        sizes: measured sizes by direction.
        budget: bytes a block may take, found out once: asking the system takes longer than a small query.
    """

    subject: Subject
    galleries: dict[Direction, Fragments]
    sizes: dict[Direction, list[int]]
    budget: int


def plan(
    subjects: Sequence[Subject], uses: Sequence[Use], options: ProfileOptions, device: torch.device
) -> tuple[dict[str, Bench], int]:
    """Galleries as large as time and memory allow, and the reference size that every point can be measured at."""
    sizes = sorted(options.galleries)
    free = free_memory() if device.type == "cpu" else torch.cuda.mem_get_info(device)[0]
    share = SHARE_OF_MEMORY * free / (2 * len(subjects))
    budget = default_budget(device)
    longest = 1000 * options.seconds * SHARE_OF_A_CALL
    pilots: dict[str, dict[Direction, float]] = {}
    largest: dict[str, dict[Direction, int]] = {}
    for subject in subjects:
        for direction in DIRECTIONS:
            side = subject.images if direction == "t2i" else subject.texts
            small = StoredIndex(resampled(side, sizes[0]))
            one = make.query(make.Queries(subject, direction), small, "float32", budget)
            ms = session.pilot(one, device)
            fitting = [
                size
                for size in sizes
                if size == sizes[0] or (ms * size / sizes[0] <= longest and size * bytes_an_item(side) <= share)
            ]
            pilots.setdefault(subject.key, {})[direction] = ms
            largest.setdefault(subject.key, {})[direction] = max(fitting)
    reference = _reference(uses, pilots, largest, sizes, options)
    benches = {}
    for subject in subjects:
        tops = largest[subject.key]
        galleries = {d: resampled(subject.images if d == "t2i" else subject.texts, tops[d]) for d in DIRECTIONS}
        measured = {d: [size for size in sizes if size <= tops[d]] for d in DIRECTIONS}
        benches[subject.key] = Bench(subject, galleries, measured, budget)
    return benches, reference


def _reference(
    uses: Sequence[Use],
    pilots: Mapping[str, Mapping[Direction, float]],
    largest: Mapping[str, Mapping[Direction, int]],
    sizes: Sequence[int],
    options: ProfileOptions,
) -> int:
    possible = min(min(tops.values()) for tops in largest.values())
    # A base is timed as a whole and in parts, the other uses of its weights as a whole.
    smallest_ms = sum(
        sum(pilots[use.subject.key].values()) * (2 if use.kind == "base" else 1) for use in uses if use.coarse is None
    )
    for size in sorted(sizes, reverse=True):
        takes = smallest_ms * size / sizes[0] * options.rounds
        if size <= min(possible, options.gallery) and takes <= 1000 * options.seconds * SHARE_OF_POINTS:
            return size
    return sizes[0]


def queries_of(
    use: Use, benches: Mapping[str, Bench], reference: int, ann: bool = False
) -> tuple[list[Scenario], tuple[float, float]]:
    """The queries of a point, and its index bytes an image and a caption.

    Args:
        use: the point.
        benches: of all subjects.
        reference: gallery of the points; a base is asked at every size.
        ann: cascades shortlist by an approximate index.
    """
    return (
        _of_use(use, benches[use.subject.key], reference)
        if use.coarse is None
        else _of_cascade(use, benches, reference, ann)
    )


def training_and_encoding(use: Use) -> list[Scenario]:
    """What is measured once a subject."""
    return make.base_scenarios(use.subject, open_dataset(use.subject.spec.dataset).split("train"))


def _of_use(use: Use, bench: Bench, reference: int) -> tuple[list[Scenario], tuple[float, float]]:
    """Queries of a point that is no cascade: at the reference gallery, of a base at every size."""
    own = [make.pairs(use.subject.scorer, use.images, use.texts, use.precision, bench.budget)]
    bytes_each = []
    for direction in DIRECTIONS:
        side = use.images if direction == "t2i" else use.texts
        queries = make.Queries(use.subject, direction, use.prune_query("words" if direction == "t2i" else "patches"))
        if use.kind == "base":
            galleries = [bench.galleries[direction][:size] for size in bench.sizes[direction]]
        elif use.kind == "pruned":
            galleries = [resampled(side, reference)]
        else:
            galleries = [bench.galleries[direction][:reference]]
        indices = [store(gallery, use.precision) for gallery in galleries]
        own += [make.query(queries, index, use.precision, bench.budget, apart=use.kind == "base") for index in indices]
        bytes_each.append(indices[0].bytes / len(indices[0]))
    return own, (bytes_each[0], bytes_each[1])


def _of_cascade(
    use: Use, benches: Mapping[str, Bench], reference: int, ann: bool
) -> tuple[list[Scenario], tuple[float, float]]:
    """Queries through a cascade; one that leaves nothing out is its fine scorer and is not timed again."""
    assert use.coarse is not None
    coarse, fine = benches[use.coarse.key], benches[use.subject.key]
    own, bytes_each = [], []
    for direction in DIRECTIONS:
        coarse_gallery = coarse.galleries[direction][:reference]
        fine_gallery = fine.galleries[direction][:reference]
        bytes_each.append(bytes_an_item(coarse_gallery) + bytes_an_item(fine_gallery))
        cascade = cascade_of(use, reference)
        if cascade.k < reference:
            first, second = make.Queries(use.coarse, direction), make.Queries(use.subject, direction)
            shortlist: Shortlist = ExactShortlist(use.coarse.scorer, coarse_gallery, direction, coarse.budget)
            if ann:
                shortlist = ApproximateShortlist(use.coarse.scorer, coarse_gallery, direction, first.encode(0))
            own.append(make.cascade_query(cascade, first, second, shortlist, fine_gallery, fine.budget))
    return own, (bytes_each[0], bytes_each[1])
