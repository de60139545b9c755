"""What can be compared: the methods of one dataset, split and protocol, from records and from foreign files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.errors import InvalidRecord
from harness.files.names import safe_name
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.reports.runs.foreign import ForeignRun
from harness.reports.runs.groups import Gallery, Group
from harness.reports.runs.loading import method_runs
from harness.reports.runs.queries import all_seeds
from harness.reports.statistics.runs import MethodRuns
from harness.reports.statistics.telling import Tell, silent, told

# Foreign files that do not say what they are about, when nothing recorded stands beside them.
_UNNAMED = ("foreign", "ranks")


@dataclass(frozen=True)
class Evidence:
    """A file that numbers of a report rest on: whose ranks, where they come from, and the hash of the bytes."""

    method: str
    seed: str
    source: str
    file: str
    sha256: str
    revision: str


#: `Evidence.source` of a file that belongs to no recorded run.
FOREIGN = "foreign"


@dataclass(frozen=True, eq=False)
class Subject:
    """Methods that can be compared: one dataset, split and protocol."""

    dataset: str
    protocol: str
    title: str  # for headings
    slug: str  # for folders
    images_key: str  # equal for galleries that show the same images (COCO 1K and 5K)
    methods: tuple[MethodRuns, ...] = ()  # the runs of each, all its seeds
    evidence: tuple[Evidence, ...] = ()  # the files behind them
    published: tuple[str, ...] = ()  # methods that stand beside them with averages only
    too_short: Mapping[str, str] = field(default_factory=dict)  # recorded nearby, with lists too short for a test
    remarks: tuple[str, ...] = ()  # what a reader must know of the files
    bases: Mapping[str, str] = field(default_factory=dict)  # scorer and variant of each method, without marks
    backbones: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """Datasets and protocols to keep; all where none is named."""

    datasets: Sequence[str] = ()
    protocols: Sequence[str] = ()

    def takes(self, dataset: str, protocol: str) -> bool:
        """Whether a gallery is kept."""
        return all(not some or name in some for some, name in ((self.datasets, dataset), (self.protocols, protocol)))


def of_records(
    store: RunStore,
    gallery: Gallery,
    members: Sequence[Group],
    galleries: Sequence[Gallery],
    *,
    rivals: bool = True,
    tell: Tell = silent,
) -> Subject:
    """The recorded methods of one of the galleries that are reported.

    Raises:
        InvalidRecord, InvalidComparison, InvalidSimilarity: see `method_runs`.
    """
    measured = [group for group in members if group.first.has_ranks]
    alike = [g for g in galleries if (g.dataset, g.protocol) == (gallery.dataset, gallery.protocol)]
    return Subject(
        dataset=gallery.dataset,
        protocol=gallery.protocol,
        title=gallery.title,
        slug=safe_name(f"{gallery.dataset}-{gallery.protocol}" if len(alike) == 1 else gallery.slug),
        images_key=f"{gallery.dataset} {gallery.split}",
        methods=tuple(method_runs(store, group, rivals=rivals) for group in told("reading ranks", measured, tell)),
        evidence=tuple(_evidence(store, group.label, record) for group in measured for record in group.records),
        published=tuple(group.label for group in members if not group.first.has_ranks),
        remarks=tuple(_remarks(measured)),
        bases={group.label: group.first.label for group in measured},
        backbones={group.label: group.first.backbone for group in measured},
    )


def with_foreign(subjects: Sequence[Subject], foreign: Sequence[ForeignRun], wanted: Wanted) -> list[Subject]:
    """Each foreign run joins the gallery that it names, or the only one there is.

    Raises:
        InvalidRecord: a run that does not say which of several galleries it is about.
        InvalidComparison: seeds of one method that contradict each other.
    """
    made = list(subjects)
    by_place: dict[tuple[str, str], list[ForeignRun]] = {}
    for run in foreign:
        by_place.setdefault(_place(run, subjects, wanted), []).append(run)
    for (dataset, protocol), runs in by_place.items():
        if wanted.takes(dataset, protocol):
            host = next((s for s in made if (s.dataset, s.protocol) == (dataset, protocol)), None)
            if host is None:
                slug = safe_name(f"{dataset}-{protocol}")
                host = Subject(dataset, protocol, f"{dataset}, {protocol}", slug, images_key=dataset)
                made.append(host)
            made[made.index(host)] = _join(host, runs)
    return made


def first_place_remarks(methods: Sequence[MethodRuns]) -> Iterator[str]:
    """What to say of methods that have no rank 0 while others beside them have."""
    smallest = {
        "i2t": {run.name: float(run.i2t_ranks[:, run.image_queried].min()) for run in methods},
        "t2i": {run.name: float(run.t2i_ranks.min()) for run in methods},
    }
    for direction, ranks in smallest.items():
        for name in [name for name, rank in ranks.items() if rank >= 1 and 0 in ranks.values()]:
            yield (
                f"{name} has no rank 0 in {direction} while others have: either its R@1 is 0, or its ranks are counted from 1."
            )


def _evidence(store: RunStore, label: str, record: RunRecord) -> Evidence:
    file, sha256 = store.rank_file(record.run_id)
    return Evidence(
        method=label,
        seed=str(record.seed),
        source=record.run_id,
        file=file,
        sha256=sha256,
        revision=record.code.revision[:12] + (", changed" if record.code.dirty else ""),
    )


def _remarks(measured: Sequence[Group]) -> Iterator[str]:
    for group in measured:
        if group.replaced:
            yield f"{group.label}: seeds repeated in runs {', '.join(group.replaced)}; the latest run of each is compared."
    rules = sorted({group.first.ties for group in measured})
    if len(rules) > 1:
        yield f"The methods were ranked under different tie rules ({', '.join(rules)}): evaluate them under one."


def _place(run: ForeignRun, subjects: Sequence[Subject], wanted: Wanted) -> tuple[str, str]:
    known = [(subject.dataset, subject.protocol) for subject in subjects]
    fitting = [place for place in known if run.dataset in ("", place[0]) and run.protocol in ("", place[1])]
    if len(fitting) == 1:
        return fitting[0]
    if fitting and not (run.dataset and run.protocol):
        raise InvalidRecord(
            f"{run.files[0][0]} does not say what it is about, and the runs are about "
            f"{'; '.join(f'{d}, {p}' for d, p in fitting)}: choose by --dataset and --protocol"
        )
    said = [some[0] if len(some) == 1 else "" for some in (wanted.datasets, wanted.protocols)]
    return run.dataset or said[0] or _UNNAMED[0], run.protocol or said[1] or _UNNAMED[1]


def _join(host: Subject, foreign: Sequence[ForeignRun]) -> Subject:
    # The ids and the caption map are compared query by query, which says more than the name of a gallery.
    gallery = host.methods[0].gallery if host.methods else ""
    by_method: dict[str, list[MethodRuns]] = {}
    evidence = []
    for one in foreign:
        runs = one.runs
        by_method.setdefault(runs.name, []).append(replace(runs, gallery=gallery))
        seed = "best" if runs.seed_selection == "best" else str(runs.seeds[0])
        evidence += [Evidence(runs.name, seed, FOREIGN, file, digest, "") for file, digest in one.files]
    remarks = [one.remark for one in foreign if one.remark]
    return replace(
        host,
        methods=(*host.methods, *(all_seeds(name, seeds) for name, seeds in by_method.items())),
        evidence=(*host.evidence, *evidence),
        remarks=tuple(dict.fromkeys((*host.remarks, *remarks))),
    )
