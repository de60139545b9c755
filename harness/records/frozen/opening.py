"""Opening a frozen leaderboard from a folder, a zip archive or an address. Nothing is used before its hash is checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from harness.errors import InvalidFrozen, counted
from harness.files.bundles import Bundle, open_bundle
from harness.files.download import Missing, is_address
from harness.files.hashing import sha256_bytes
from harness.files.reading import Damaged, parse_json
from harness.records.frozen.manifest import (
    I2T,
    LARGEST_FILE,
    LARGEST_MANIFEST,
    MANIFEST,
    RUNS,
    SUMS,
    T2I,
    TABLE,
    TIES,
    FrozenGallery,
    Manifest,
    parse_manifest,
)
from harness.records.frozen.store import FrozenStore
from harness.records.frozen.tables import read_tables
from harness.records.ranks import RankTable, check_table
from harness.records.run import SCHEMA_VERSION, RunRecord
from harness.settings.base import explain


@dataclass
class Opened:
    """What was found at a place: all problems, and the runs where there is no problem."""

    place: str
    problems: list[str] = field(default_factory=list)
    manifest: Manifest | None = None
    files: dict[str, bytes] = field(default_factory=dict)  # by path, each with the hash that the manifest states
    store: FrozenStore | None = None


def is_frozen(source: str) -> bool:
    """Whether a source looks like a frozen leaderboard: an address, a folder with a manifest, the manifest, or a zip.

    >>> is_frozen("https://example.org/flickr8k-1.0"), is_frozen("results")
    (True, False)
    """
    path = Path(source)
    if is_address(source) or (path / MANIFEST).is_file():
        return True
    return path.is_file() and (path.name == MANIFEST or path.suffix.lower() == ".zip")


def open_frozen(place: str) -> FrozenStore:
    """The runs of a frozen leaderboard.

    Args:
        place: its folder, a zip of it, the address of either, or the path or address of its manifest.

    Raises:
        InvalidFrozen: a file that is missing, changed or contradicts another one, named.
        NotFetched: an address that cannot be read.
    """
    opened = examine(place)
    if opened.store is None or opened.problems:
        more = len(opened.problems) - 1
        rest = f" ({counted(more, 'more problem')}: itm freeze --check {place})" if more else ""
        raise InvalidFrozen(f"frozen leaderboard {place}: {opened.problems[0]}{rest}; it is not used")
    return opened.store


def examine(place: str) -> Opened:
    """Read a frozen leaderboard and note everything that is wrong with its files.

    Raises:
        NotFetched: an address that cannot be read.
    """
    found = Opened(place)
    if problem := _no_manifest(place):
        found.problems.append(problem)
        return found
    try:
        bundle = open_bundle(place, MANIFEST)
        content = _manifest_bytes(bundle)
        found.manifest = parse_manifest(content)
    except Damaged as error:
        found.problems.append(str(error))
        return found
    _read_files(bundle, found)
    _check_listing(bundle, found, content)
    if found.problems:
        return found
    records = _records(found)
    tables = {run_id: {} for run_id in records}  # type: dict[str, dict[str, RankTable]]
    for gallery in found.manifest.galleries:
        for run_id, table in _tables(found, gallery, records).items():
            tables[run_id][gallery.protocol] = table
    found.problems += _lacking(records, tables) if not found.problems else []
    if not found.problems:
        found.store = FrozenStore(place, found.manifest, sha256_bytes(content), records, tables)
    return found


def _no_manifest(place: str) -> str:
    """What a place is that holds no frozen leaderboard at all; "" where it may."""
    path = Path(place)
    if is_address(place) or is_frozen(place):
        return ""
    if not path.exists():
        return "no such file or folder"
    if (path / "runs").is_dir():
        command = f"itm freeze {place} --version 1.0"
        return f"it is a results folder and has no {MANIFEST}; `{command}` makes a frozen leaderboard of it"
    return f"it has no {MANIFEST}, so it is no frozen leaderboard; `itm freeze RESULTS --version 1.0` makes one"


def _manifest_bytes(bundle: Bundle) -> bytes:
    try:
        return bundle.read(MANIFEST, LARGEST_MANIFEST)
    except Missing as error:
        raise Damaged(f"{error}; name the address of its folder, its {MANIFEST} or its .zip") from None
    except Damaged as error:
        raise Damaged(f"{MANIFEST}: {error}") from None


def _read_files(bundle: Bundle, found: Opened) -> None:
    assert found.manifest is not None
    for file in found.manifest.files:
        try:
            content = bundle.read(file.path, file.bytes, file.sha256)
        except Damaged as error:
            found.problems.append(f"{file.path}: {error}")
            continue
        if len(content) != file.bytes:
            found.problems.append(f"{file.path} has {len(content):,} bytes, {file.bytes:,} are stated: it was cut off")
        elif sha256_bytes(content) != file.sha256:
            found.problems.append(
                f"{file.path} was changed: its sha256 is {sha256_bytes(content)[:12]}..., {file.sha256[:12]}... is stated"
            )
        else:
            found.files[file.path] = content


def _check_listing(bundle: Bundle, found: Opened, manifest: bytes) -> None:
    """The files that every frozen leaderboard has, and no others; SHA256SUMS says what the manifest says."""
    assert found.manifest is not None
    listed = {file.path: file.sha256 for file in found.manifest.files}
    needed = [RUNS, TABLE, *(g.file(name) for g in found.manifest.galleries if g.folder for name in (I2T, T2I, TIES))]
    found.problems += [f"{MANIFEST} lists no {path}" for path in dict.fromkeys(needed) if path not in listed]
    unknown = [path for path in listed if path not in needed]
    others = sorted((bundle.names() or set()) - listed.keys() - {MANIFEST, SUMS})
    found.problems += [f"{path} is no file of a frozen leaderboard" for path in unknown]
    found.problems += [f"{path} is not listed in {MANIFEST}" for path in others]
    try:
        sums = bundle.read(SUMS, LARGEST_FILE)
    except Damaged as error:
        found.problems.append(f"{SUMS}: {error}")
        return
    if sums != checksums({**listed, MANIFEST: sha256_bytes(manifest)}):
        found.problems.append(f"{SUMS} does not say what {MANIFEST} says")


def checksums(hashes: Mapping[str, str]) -> bytes:
    """Hashes by path as `sha256sum -c` takes them, sorted."""
    return "".join(f"{hashes[path]}  {path}\n" for path in sorted(hashes)).encode()


def _records(found: Opened) -> dict[str, RunRecord]:
    """The records, which are those of the manifest's runs."""
    assert found.manifest is not None
    try:
        values = parse_json(found.files[RUNS])
    except Damaged as error:
        found.problems.append(f"{RUNS}: {error}")
        return {}
    if not isinstance(values, list):
        found.problems.append(f"{RUNS} must be a list of records")
        return {}
    records = {}
    for number, value in enumerate(values):
        if not isinstance(value, dict) or value.get("schema_version") != SCHEMA_VERSION:
            found.problems.append(f"{RUNS}: record {number} is none of schema version {SCHEMA_VERSION}")
            continue
        try:
            record = RunRecord.model_validate(value)
        except (ValidationError, RecursionError) as error:
            problem = explain(RunRecord, error) if isinstance(error, ValidationError) else "it is nested too deeply"
            found.problems.append(f"{RUNS}: record {number}: {problem:.200}")
            continue
        if record.status != "finished":
            found.problems.append(f"{RUNS}: run {record.run_id:.60} is not finished")
        records[record.run_id] = record
    stated = {run.run_id: run for run in found.manifest.runs}
    for run_id in sorted(stated.keys() ^ records.keys()):
        found.problems.append(f"run {run_id:.60} is in {MANIFEST if run_id in stated else RUNS} only")
    for run_id in stated.keys() & records.keys():
        said, record = stated[run_id], records[run_id]
        for name in ("backbone", "seed", "origin", "ties", "protocols"):
            if getattr(said, name) != getattr(record, name):
                found.problems.append(f"run {run_id}: {MANIFEST} and {RUNS} differ in {name}")
    return records


def _tables(found: Opened, gallery: FrozenGallery, records: Mapping[str, RunRecord]) -> dict[str, RankTable]:
    """The ranks of the runs on a gallery, as large as the manifest says."""
    run_ids = ranked_on(gallery, records)
    if not gallery.folder or not run_ids:
        if run_ids or gallery.folder:
            found.problems.append(
                f"{gallery.title}: {MANIFEST} says that there are {'no ' * (not gallery.folder)}ranks"
            )
        return {}
    try:
        tables = read_tables({name: found.files[gallery.file(name)] for name in (I2T, T2I, TIES)}, run_ids)
    except Damaged as error:
        found.problems.append(f"{gallery.folder}/{error}")
        return {}
    for run_id, table in tables.items():
        try:
            check_table(table, gallery.protocol, records[run_id].ties)
        except Damaged as error:
            found.problems.append(f"{gallery.folder}: run {run_id}: {error}")
    sizes = (len(table.i2t_rank), len(table.t2i_rank), len(set(table.t2i_fold.tolist())))
    if sizes != (gallery.images, gallery.captions, gallery.folds):
        found.problems.append(
            f"{gallery.folder}: {sizes[0]:,} images, {sizes[1]:,} captions and {sizes[2]} folds; {MANIFEST} says "
            f"{gallery.images:,}, {gallery.captions:,} and {gallery.folds}"
        )
    return tables


def ranked_on(gallery: FrozenGallery, records: Mapping[str, RunRecord]) -> list[str]:
    """The runs that have ranks on a gallery, in the order of the records."""
    place = (gallery.dataset, gallery.split, gallery.data_sha256)
    return [
        run_id
        for run_id, r in records.items()
        if r.has_ranks
        and (r.dataset, r.split, r.data_sha256) == place
        and "rsum" in r.metrics.get(gallery.protocol, {})
    ]


def _lacking(records: Mapping[str, RunRecord], tables: Mapping[str, Mapping[str, RankTable]]) -> list[str]:
    return [
        f"run {run_id} has an rSum on {protocol}, but no ranks"
        for run_id, record in records.items()
        for protocol, metrics in record.metrics.items()
        if record.has_ranks and "rsum" in metrics and protocol not in tables[run_id]
    ]
