"""What every method of a leaderboard is set against on request: another method of it, a run, a file or a printed figure."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import InvalidRecord, UnknownName
from harness.reports.gate.sides import split_source
from harness.reports.published.rows import method_key, printed_figures, printed_titles
from harness.reports.runs.groups import Gallery
from harness.reports.runs.sources import read_sources
from harness.reports.runs.subjects import FOREIGN, Subject
from harness.reports.statistics.comparison import compare
from harness.reports.statistics.errors import DifferentGalleries, InvalidComparison, TooFewImages, listing
from harness.reports.statistics.hits import image_columns
from harness.reports.statistics.refusals import default_claim
from harness.reports.statistics.results import Comparison
from harness.reports.statistics.runs import MethodRuns

_MOST_NAMED = 6


@dataclass(frozen=True, eq=False)
class Reference:
    """A baseline as it was spelled, with the files that it names already read."""

    spelled: str
    subjects: tuple[Subject, ...] = ()  # of the files; empty where a method of the board or a printed figure is meant
    method: str = ""  # that was chosen from the files


@dataclass(frozen=True, eq=False)
class Baseline:
    """What the methods on one gallery are set against."""

    name: str
    runs: MethodRuns | None  # None = averages only
    rsum: float
    label: str = ""  # of its own row, if it has one


@dataclass(frozen=True, eq=False)
class Differences:
    """Each method minus the baseline in rSum."""

    baseline: Baseline
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by label, columns of the board
    comparison: Comparison | None = None  # None = untested
    reason: str = ""  # why it is untested, in a sentence


def read_reference(spelled: str, results: Path) -> Reference:
    """Read what a baseline names, if that is a file, a folder or a run; a name of a method is looked up on the board.

    Args:
        spelled: a method, a run id below `results`, or what `itm significance` takes, with `:METHOD` where it has several.
        results: where run ids are looked up.

    Raises:
        InvalidRecord, InvalidComparison: the file is damaged or holds nothing that can be compared.
    """
    source, method = split_source(spelled, results)
    is_run = "/" not in source and (results / "runs" / source / "record.json").is_file()
    if "://" in source or is_run or Path(source).exists():
        return Reference(spelled, tuple(read_sources([source], results)), method)
    return Reference(spelled)


def require_known(reference: Reference, names: Sequence[str]) -> None:
    """Refuse a name that no planned method, no file and no printed figure has, before anything is trained.

    Args:
        reference: see `read_reference`.
        names: of the planned methods.

    Raises:
        UnknownName: with the nearest names.
    """
    # A label adds to the name, in brackets, what tells a method from its namesakes.
    known = reference.subjects or any(f"{reference.spelled} ".startswith(f"{name} ") for name in names)
    if not known and printed_figures(reference.spelled).empty:
        raise UnknownName("baseline", reference.spelled, names)


def find_baseline(
    reference: Reference, gallery: Gallery, methods: Mapping[str, MethodRuns], scores: Mapping[str, float]
) -> Baseline | None:
    """The baseline on one gallery; None where there is none on it.

    Args:
        reference: see `read_reference`.
        gallery: of the board.
        methods: the ranks of the board's methods, by label.
        scores: rSum of all methods of the board, by label.

    Raises:
        InvalidRecord: several candidates.
        UnknownName: a method that the files lack.
    """
    name = reference.spelled
    if name in scores:
        return Baseline(name, methods.get(name), scores[name], label=name)
    if reference.subjects:
        return _from_files(reference, gallery, scores)
    images = next((int(runs.image_queried.sum()) for runs in methods.values()), 0)
    return _printed(name, gallery, images)


def require_found(reference: Reference, found: Sequence[bool], titles: Sequence[str], labels: Sequence[str]) -> None:
    """Refuse a baseline that is on none of the galleries.

    Args:
        reference: see `read_reference`.
        found: whether it is, by gallery.
        titles: of the galleries.
        labels: of the methods on them.

    Raises:
        DifferentGalleries: its files are about others.
        UnknownName: no method has the name.
    """
    if any(found):
        return
    if reference.subjects:
        about = "; ".join(subject.title for subject in reference.subjects)
        raise DifferentGalleries(
            f"--baseline {reference.spelled} is about {about}, and this leaderboard about {'; '.join(titles)}: give a "
            "baseline on the same dataset, split and protocol"
        )
    raise UnknownName("baseline", reference.spelled, list(dict.fromkeys(labels)))


def differences(baseline: Baseline, methods: Mapping[str, MethodRuns], scores: Mapping[str, float]) -> Differences:
    """Every other method minus the baseline in rSum, paired by image, with Holm's correction over all of them.

    Raises:
        InvalidComparison: the baseline answered other queries.
    """
    others = {label: runs for label, runs in methods.items() if label != baseline.label}
    rows: dict[str, dict[str, Any]] = {
        label: {"baseline": baseline.name, "baseline_difference": rsum - baseline.rsum}
        for label, rsum in scores.items()
        if label != baseline.label
    }
    if baseline.runs is None:
        return Differences(baseline, rows, reason=f"{baseline.name} has averages only, which cannot be tested")
    if not others:
        return Differences(baseline, rows, reason="no other method has ranks")
    found, reason = _compare(baseline.runs, list(others.values()))
    for pair in found.rows if found else ():
        rows[pair.a] |= {
            "baseline_difference": pair.difference,
            "baseline_difference_low": pair.low,
            "baseline_difference_high": pair.high,
            "baseline_p": pair.p,
            "baseline_p_adjusted": pair.p_adjusted,
        }
    return Differences(baseline, rows, found, reason)


def _compare(baseline: MethodRuns, others: Sequence[MethodRuns]) -> tuple[Comparison | None, str]:
    claim = default_claim([baseline, *others])
    options: Any = {"claim": claim, "correction": "holm", "pairs": baseline.name, "allow_unequal_seeds": True}
    try:
        return compare([*others, baseline], metrics=("rsum",), **options), ""
    except TooFewImages as error:
        return None, str(error)
    except InvalidComparison as error:
        raise type(error)(f"--baseline: {error}") from None


def _from_files(reference: Reference, gallery: Gallery, labels: Container[str]) -> Baseline | None:
    fitting = [one for one in reference.subjects if _is_about(one, gallery)]
    if not fitting:
        return None
    candidates = [runs for subject in fitting for runs in subject.methods]
    names = [runs.name for runs in candidates]
    if reference.method:
        if reference.method not in names:
            raise UnknownName("method", reference.method, names)
        candidates = [runs for runs in candidates if runs.name == reference.method]
    if not candidates:
        raise InvalidRecord(
            f"--baseline {reference.spelled} holds averages only ({listing(fitting[0].published)}): give the method's name "
            "with --published, which compares without a test"
        )
    if len(candidates) > 1:
        raise InvalidRecord(
            f"--baseline {reference.spelled} has {len(names)} methods on {gallery.title} "
            f"({', '.join(names[:_MOST_NAMED])}{', ...' if len(names) > _MOST_NAMED else ''}): say which by "
            f"{reference.spelled}:METHOD"
        )
    (runs,) = candidates
    # A run and the method that it belongs to may have the same name, and are two sides here.
    name = f"{runs.name} ({reference.spelled})" if runs.name in labels else runs.name
    stated = f"{gallery.title} ({gallery.data_sha256[:12]})"
    same_data = not runs.gallery or runs.gallery.endswith(f"({gallery.data_sha256[:12]})")
    runs = replace(runs, name=name, gallery=stated if same_data else runs.gallery)
    return Baseline(name, runs, float(image_columns([runs], ["rsum"]).scores[0, 0]))


def _is_about(subject: Subject, gallery: Gallery) -> bool:
    """Whether a subject can be about a gallery; files that do not say are compared query by query."""
    dataset, protocol = subject.dataset, subject.protocol
    return dataset in (FOREIGN, gallery.dataset) and protocol in ("ranks", gallery.protocol)


def _printed(name: str, gallery: Gallery, images: int) -> Baseline | None:
    found = printed_figures(name, gallery.dataset, gallery.protocol)
    if found.empty:
        return None
    rows = found.to_dict("records")
    exact = [row for row in rows if method_key(name) == method_key(printed_titles(row)[2])]
    rows = exact or rows
    if len(rows) > 1:
        each = [f"'{printed_titles(row)[2]}'" for row in rows]
        raise InvalidRecord(
            f"--baseline {name}: {len(rows)} published rows on {gallery.dataset}, {gallery.protocol} are called so: "
            f"{', '.join(each[:_MOST_NAMED])}{', ...' if len(each) > _MOST_NAMED else ''}; name one in full"
        )
    (row,) = rows
    if row["images"] and images and int(row["images"]) != images:
        raise DifferentGalleries(
            f"--baseline {name}: its published figures are about {int(row['images']):,} images, {gallery.title} about "
            f"{images:,}; a larger gallery has lower recalls"
        )
    return Baseline(f"{printed_titles(row)[1]} (published)", None, float(row["rsum"]))
