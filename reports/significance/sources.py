"""What a significance report is about: run folders, leaderboards, run ids and foreign rank files, sorted by gallery."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import InvalidRecord, UnknownName, did_you_mean
from harness.files.kinds import identify, mismatch
from harness.files.names import is_safe_name, safe_name
from harness.records.run import RunRecord, RunStore
from harness.reports.runs import rank_files
from harness.reports.runs.groups import Gallery, Group, groups
from harness.reports.runs.loading import finished_records, method_runs, sound_records
from harness.reports.runs.rank_origin import Origin, unlike_the_others
from harness.reports.statistics.runs import MethodRuns

# Foreign files that do not say what they are about, when nothing recorded stands beside them.
UNNAMED = ("foreign", "ranks")


@dataclass(frozen=True)
class Evidence:
    """A file that numbers of a report rest on: whose ranks, where they come from, and the hash of the bytes."""

    method: str
    seed: str
    source: str
    file: str
    sha256: str
    revision: str


@dataclass(frozen=True, eq=False)
class Subject:
    """Methods that can be compared: one dataset, split and protocol.

    Attributes:
        dataset, protocol: names.
        title: for headings.
        slug: for folders; letters, digits, dots and dashes.
        images_key: equal for galleries that show the same images (COCO 1K and 5K).
        methods: the runs of each, all its seeds.
        evidence: the files behind them.
        published: methods that stand beside them with averages only.
        remarks: what a reader must know of the files.
    """

    dataset: str
    protocol: str
    title: str
    slug: str
    images_key: str
    methods: tuple[MethodRuns, ...]
    evidence: tuple[Evidence, ...]
    published: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


class JoinedStore(RunStore):
    """Runs from several results folders, read as if they lay in one.

    Args:
        folders: run id to its folder.
        results: the folder to name in messages.
    """

    def __init__(self, folders: dict[str, Path], results: Path):
        super().__init__(results)
        self.folders = folders

    def folder(self, run_id: str) -> Path:
        return self.folders.get(run_id) or super().folder(run_id)


def read_sources(
    sources: Sequence[str],
    results: Path,
    *,
    datasets: Sequence[str] = (),
    protocols: Sequence[str] = (),
    depth: int = 10,
    ranks_from: Origin | None = None,
) -> list[Subject]:
    """Everything that can be compared, one subject a gallery.

    Args:
        sources: results folders, leaderboard folders, run folders, run ids below `results`, rank CSVs, TREC folders.
        results: where run ids are looked up.
        datasets, protocols: keep only these; all if empty.
        depth, ranks_from: see `rank_files.read`.

    Returns:
        Subjects in the order met.

    Raises:
        InvalidRecord: a source that is none of these, or is damaged.
        UnknownName: a dataset or protocol that nothing was recorded for.
        InvalidComparison: runs of one method that contradict each other.
    """
    folders: dict[str, Path] = {}
    foreign: list[rank_files.ForeignRun] = []
    for source in sources:
        path = Path(source)
        if rank_files.is_rank_file(path):
            foreign += rank_files.read(path, depth=depth, ranks_from=ranks_from)
        else:
            for run_id, folder in _run_folders(path, source, results):
                folders.setdefault(run_id, folder)
    store = JoinedStore(folders, results)
    galleries = groups(finished_records(store, folders))
    _check_names("dataset", datasets, [g.dataset for g in galleries], foreign)
    _check_names("protocol", protocols, [g.protocol for g in galleries], foreign)
    chosen = {
        gallery: members
        for gallery, members in galleries.items()
        if (not datasets or gallery.dataset in datasets) and (not protocols or gallery.protocol in protocols)
    }
    subjects = [_of_records(store, gallery, members, list(chosen)) for gallery, members in chosen.items()]
    subjects = [_with_counting(s) for s in _with_foreign(subjects, foreign, datasets, protocols)]
    if not subjects:
        raise InvalidRecord(
            f"nothing to compare for dataset {' or '.join(datasets) or 'any'} with protocol "
            f"{' or '.join(protocols) or 'any'}; see `itm ls runs`"
        )
    return subjects


def _with_counting(subject: Subject) -> Subject:
    names = [method.name for method in subject.methods]
    smallest = [
        (float(method.i2t_ranks[:, method.image_queried].min()), float(method.t2i_ranks.min()))
        for method in subject.methods
    ]
    return replace(subject, remarks=(*subject.remarks, *unlike_the_others(names, smallest)))


def output_root(sources: Sequence[str], results: Path) -> Path:
    """The results folder of the first source that has one, else `results`."""
    for source in sources:
        path = Path(source)
        if (path / "runs").is_dir():
            return path
        if (path / "leaderboard.json").is_file() or (path / "record.json").is_file():
            return _above(path)
    return results


def _run_folders(path: Path, source: str, results: Path) -> list[tuple[str, Path]]:
    if (path / "leaderboard.json").is_file():
        return [(run_id, _above(path) / "runs" / run_id) for run_id in _leaderboard_runs(path / "leaderboard.json")]
    if (path / "record.json").is_file():
        return [(path.absolute().name, path)]
    if (path / "runs").is_dir():
        store = RunStore(path)
        finished = [record.run_id for record in sound_records(store)]
        if not finished:
            raise InvalidRecord(f"no finished run below {path}/runs; run `itm leaderboard EXP --results {path}` first")
        return [(run_id, store.folder(run_id)) for run_id in finished]
    store = RunStore(results)
    if not path.exists() and "/" not in source and (store.folder(source) / "record.json").is_file():
        return [(source, store.folder(source))]
    if path.exists() and not path.is_dir():
        inside = identify(path).key in ("trec-run", "qrels", "npz")
        raise InvalidRecord(
            mismatch(
                path,
                "a results folder, a run's folder, a rank CSV, or a folder of TREC runs with i2t.qrels and t2i.qrels",
                "give the folder that it lies in" if inside else "see docs/significance.md",
            )
        )
    if path.exists():
        raise InvalidRecord(
            f"{path} is no results folder (runs/), leaderboard (leaderboard.json), run (record.json), rank CSV or TREC "
            "folder (i2t.qrels, t2i.qrels); see docs/significance.md"
        )
    known = [folder.name for folder in sorted((results / "runs").glob("*")) if (folder / "record.json").is_file()]
    hint = did_you_mean(source, known) if len(known) <= 10 else f"; {len(known)} runs lie below {results}/runs"
    raise InvalidRecord(f"no file, folder or run '{source}'{hint}")


def _above(folder: Path) -> Path:
    """The results folder of a run's or a leaderboard's."""
    return folder.absolute().parent.parent


def _leaderboard_runs(path: Path) -> list[str]:
    try:
        run_ids = json.loads(path.read_text(encoding="utf-8"))["data"]["run_ids"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidRecord(f"cannot read the run ids of {path}: {error!r:.200}; make it again") from None
    if not isinstance(run_ids, list) or not run_ids or not all(is_safe_name(run_id) for run_id in run_ids):
        raise InvalidRecord(f"{path} names no runs, or some that are not ids; make it again with `itm leaderboard`")
    return run_ids


def _check_names(
    kind: str, wanted: Iterable[str], known: Sequence[str], foreign: Sequence[rank_files.ForeignRun]
) -> None:
    stated = [getattr(run, kind) for run in foreign]
    if any(not name for name in stated) and not known:
        return  # foreign files that do not say what they are about are about what the user says
    for name in wanted:
        if name not in known and name not in stated:
            raise UnknownName(kind, name, sorted({*known, *filter(None, stated)}))


def _of_records(store: RunStore, gallery: Gallery, members: Sequence[Group], all_of_them: Sequence[Gallery]) -> Subject:
    measured = [group for group in members if group.first.origin == "measured"]
    evidence = [_evidence(store, group, record) for group in measured for record in group.records]
    alike = [g for g in all_of_them if (g.dataset, g.protocol) == (gallery.dataset, gallery.protocol)]
    slug = f"{gallery.dataset}-{gallery.protocol}" if len(alike) == 1 else gallery.slug
    return Subject(
        dataset=gallery.dataset,
        protocol=gallery.protocol,
        title=gallery.title,
        slug=safe_name(slug),
        images_key=f"{gallery.dataset} {gallery.split}",
        methods=tuple(method_runs(store, group, rivals=True) for group in measured),
        evidence=tuple(evidence),
        published=tuple(group.label for group in members if group.first.origin != "measured"),
        remarks=tuple(_remarks(measured)),
    )


def _evidence(store: RunStore, group: Group, record: RunRecord) -> Evidence:
    revision = record.code.revision[:12]
    return Evidence(
        method=group.label,
        seed=str(record.seed),
        source=record.run_id,
        file="ranks.npz",
        sha256=rank_files.sha256(store.folder(record.run_id) / "ranks.npz"),
        revision=f"{revision}, changed" if record.code.dirty else revision,
    )


def _remarks(measured: Sequence[Group]) -> Iterable[str]:
    for group in measured:
        if group.replaced:
            yield f"{group.label}: seeds repeated in runs {', '.join(group.replaced)}; the latest run of each is compared."
    rules = {g.first.ties for g in measured}
    if len(rules) > 1:
        yield f"The methods were ranked under different tie rules ({', '.join(sorted(rules))}): evaluate them under one."


def _with_foreign(
    subjects: list[Subject],
    foreign: Sequence[rank_files.ForeignRun],
    datasets: Sequence[str],
    protocols: Sequence[str],
) -> list[Subject]:
    """Each foreign run joins the gallery that it names, or the only one there is."""
    named = [(subject.dataset, subject.protocol) for subject in subjects]
    by_place: dict[tuple[str, str], list[rank_files.ForeignRun]] = {}
    for run in foreign:
        by_place.setdefault(_place(run, named, datasets, protocols), []).append(run)
    made = list(subjects)
    for (dataset, protocol), runs in by_place.items():
        if (datasets and dataset not in datasets) or (protocols and protocol not in protocols):
            continue
        at = next((i for i, s in enumerate(made) if (s.dataset, s.protocol) == (dataset, protocol)), None)
        host = made[at] if at is not None else Subject(
            dataset, protocol, f"{dataset}, {protocol}", safe_name(f"{dataset}-{protocol}"), dataset, (), ()
        )  # fmt: skip
        joined = _join(host, runs)
        made = [*made[:at], joined, *made[at + 1 :]] if at is not None else [*made, joined]
    return made


def _place(
    run: rank_files.ForeignRun,
    known: Sequence[tuple[str, str]],
    datasets: Sequence[str],
    protocols: Sequence[str],
) -> tuple[str, str]:
    fitting = [place for place in known if run.dataset in ("", place[0]) and run.protocol in ("", place[1])]
    if len(fitting) == 1 or (run.dataset and run.protocol):
        return fitting[0] if len(fitting) == 1 else (run.dataset, run.protocol)
    if fitting:
        raise InvalidRecord(
            f"{run.files[0][0]} does not say what it is about, and the runs are about "
            f"{'; '.join(f'{d}, {p}' for d, p in fitting)}: choose by --dataset and --protocol"
        )
    dataset = run.dataset or (datasets[0] if len(datasets) == 1 else UNNAMED[0])
    return dataset, run.protocol or (protocols[0] if len(protocols) == 1 else UNNAMED[1])


def _join(host: Subject, runs: Sequence[rank_files.ForeignRun]) -> Subject:
    # The ids and the caption map are compared query by query, which says more than the name of a gallery.
    gallery = host.methods[0].gallery if host.methods else ""
    by_method: dict[str, list[MethodRuns]] = {}
    for run in runs:
        by_method.setdefault(run.runs.name, []).append(replace(run.runs, gallery=gallery))
    evidence = [
        Evidence(run.runs.name, _seed(run.runs), "foreign", file, digest, "")
        for run in runs
        for file, digest in run.files
    ]
    remarks = [run.remark for run in runs if run.remark]
    return replace(
        host,
        methods=(*host.methods, *(rank_files.merged(some) for some in by_method.values())),
        evidence=(*host.evidence, *evidence),
        remarks=tuple(dict.fromkeys((*host.remarks, *remarks))),
    )


def _seed(runs: MethodRuns) -> str:
    return "best" if runs.seed_selection == "best" else str(runs.seeds[0])
