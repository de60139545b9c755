"""What the two sides of a gate are: `PATH`, `PATH:METHOD` or a run id, read as one method on one gallery."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import InvalidRecord, UnknownName
from harness.reports.gate.baseline import GALLERY
from harness.reports.runs.rank_csv import Origin
from harness.reports.runs.sources import read_sources
from harness.reports.runs.subjects import FOREIGN, Subject
from harness.reports.statistics.errors import DifferentGalleries
from harness.reports.statistics.runs import MethodRuns


@dataclass(frozen=True)
class Place:
    """Where sides are looked for, and what of it is meant."""

    results: Path
    method: str = ""  # of a side that has several and names none
    datasets: Sequence[str] = ()
    protocols: Sequence[str] = ()
    depth: int = 10  # largest K of the metric
    ranks_from: Origin | None = None


@dataclass(frozen=True, eq=False)
class Side:
    """One method on one gallery."""

    source: str  # as it was spelled
    dataset: str  # empty where a file does not say
    protocol: str
    gallery: str  # empty where a file does not say
    runs: MethodRuns
    files: tuple[tuple[str, str], ...]  # name and sha256 of what its ranks come from
    remarks: tuple[str, ...] = ()  # what a reader must know


def one_side(source: str, place: Place) -> Side:
    """The method that is named, on its only gallery or the first protocol of its only dataset.

    Raises:
        InvalidRecord: nothing, or several datasets or methods where none is chosen.
        UnknownName: a method, dataset or protocol that is not there.
    """
    subjects, method = _subjects(source, place)
    found = _with_method(source, subjects, method or place.method)
    return _side(source, *_first_protocol(source, found), _said_protocol(found))


def two_sides(first: str, second: str, place: Place) -> tuple[Side, Side]:
    """The two methods, on a gallery that both have.

    A second side with several methods and no choice among them is taken to mean the method of the first.

    Raises:
        InvalidRecord, UnknownName: see `one_side`.
        DifferentGalleries: nothing in common, or other data under the same names.
    """
    subjects, method = _subjects(first, place)
    of_a = _with_method(first, subjects, method or place.method)
    subjects, method = _subjects(second, place)
    of_b = _with_method(second, subjects, method or place.method, of_a[0][1])
    pairs = [(a, b) for a in of_a for b in of_b if _alike(a[0], b[0])]
    if not pairs:
        about = [", ".join(sorted({s.title for s, _ in side})) for side in (of_a, of_b)]
        raise DifferentGalleries(
            f"{first} is about {about[0]} and {second} about {about[1]}; compare runs of one gallery"
        )
    chosen = _first_protocol(first, [a for a, _ in pairs])
    partner = next(b for a, b in pairs if a[0] is chosen[0] and a[1] == chosen[1])
    a = _side(first, *chosen, _said_protocol([a for a, _ in pairs]))
    b = _side(second, *partner, _said_method(second, method or place.method, partner))
    if a.gallery and b.gallery and a.gallery != b.gallery:
        raise DifferentGalleries(
            f"{first} searched the gallery '{a.gallery}' and {second} '{b.gallery}': the data changed; make the baseline anew "
            "(--write)"
        )
    gallery = a.gallery or b.gallery
    return tuple(replace(side, runs=replace(side.runs, gallery=gallery)) for side in (a, b))  # type: ignore[return-value]


def split_source(spelled: str, results: Path) -> tuple[str, str]:
    """`PATH:METHOD` as a source and a method, which is empty where none is named; names of methods may hold colons.

    >>> split_source("nowhere.csv", Path("results"))
    ('nowhere.csv', '')
    """
    runs = results / "runs"
    whole = len(spelled)
    places = [whole, *(i for i in range(whole - 1, 0, -1) if spelled[i] == ":")]
    for end in places:
        source = spelled[:end]
        if Path(source).exists() or ("/" not in source and (runs / source / "record.json").is_file()):
            return source, spelled[end + 1 :]
    remote = [end for end in places if "://" in spelled[:end] and "/" not in spelled[end:]]
    return (spelled[: remote[-1]], spelled[remote[-1] + 1 :]) if remote else (spelled, "")


def _subjects(spelled: str, place: Place) -> tuple[list[Subject], str]:
    source, method = split_source(spelled, place.results)
    found = read_sources(
        [source],
        place.results,
        datasets=place.datasets,
        protocols=place.protocols,
        depth=place.depth,
        ranks_from=place.ranks_from,
    )
    gallery = _stated_gallery(Path(source))
    if gallery:
        found = [replace(s, methods=tuple(replace(runs, gallery=gallery) for runs in s.methods)) for s in found]
    return found, method


def _with_method(
    source: str, subjects: Sequence[Subject], method: str, fallback: str = ""
) -> list[tuple[Subject, str]]:
    """The subjects that have the method, or the only one that each has, or the fallback."""
    known = list(dict.fromkeys(runs.name for subject in subjects for runs in subject.methods))
    if not known:
        published = [name for subject in subjects for name in subject.published]
        raise InvalidRecord(f"{source} holds averages only ({', '.join(published) or 'no method'}): a gate needs ranks")
    if method and method not in known:
        if any(method in subject.published for subject in subjects):
            raise InvalidRecord(f"{method} of {source} has averages only: a gate needs ranks")
        if lists := next((s.too_short[method] for s in subjects if method in s.too_short), ""):
            raise InvalidRecord(
                f"{method} of {source} has {lists}, which decide no rSum: a gate needs lists of 10 or more in both directions"
            )
        raise UnknownName("method", method, known)
    wanted = method or (known[0] if len(known) == 1 else fallback)
    if wanted not in known:
        raise InvalidRecord(
            f"{source} has {len(known)} methods ({', '.join(known[:6])}{', ...' if len(known) > 6 else ''}): say which by "
            "PATH:METHOD or --method"
        )
    return [(subject, wanted) for subject in subjects if wanted in {runs.name for runs in subject.methods}]


def _first_protocol(source: str, found: Sequence[tuple[Subject, str]]) -> tuple[Subject, str]:
    datasets = list(dict.fromkeys(subject.images_key for subject, _ in found))
    if len(datasets) > 1:
        titles = "; ".join(subject.title for subject, _ in found)
        raise InvalidRecord(f"{source} is about several datasets ({titles}): choose by --dataset")
    return found[0]


def _alike(a: Subject, b: Subject) -> bool:
    return all(
        not x or not y or x == y
        for x, y in ((_stated(a.dataset), _stated(b.dataset)), (_stated(a.protocol), _stated(b.protocol)))
    )


def _stated(name: str) -> str:
    """A name that a file states; the stand-ins of files that do not are none."""
    return "" if name in (FOREIGN, "ranks") else name


def _said_method(source: str, method: str, partner: tuple[Subject, str]) -> str:
    several = len(partner[0].methods) > 1
    return f"{source}: '{partner[1]}' is taken, as on the other side" if several and not method else ""


def _said_protocol(found: Sequence[tuple[Subject, str]]) -> str:
    names = list(dict.fromkeys(subject.protocol for subject, _ in found))
    return (
        f"protocol {names[0]} is taken, the first of {', '.join(names)}; --protocol chooses" if len(names) > 1 else ""
    )


def _side(source: str, subject: Subject, method: str, remark: str = "") -> Side:
    runs = next(runs for runs in subject.methods if runs.name == method)
    files = tuple((item.file, item.sha256) for item in subject.evidence if item.method == method)
    remarks = tuple(filter(None, (*(said for said in subject.remarks if method in said), remark)))
    return Side(source, _stated(subject.dataset), _stated(subject.protocol), runs.gallery, runs, files, remarks)


def _stated_gallery(path: Path) -> str:
    """What the baseline of a gate says of its gallery; empty for other files."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return ""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return (next(csv.DictReader(file), None) or {}).get(GALLERY) or ""
