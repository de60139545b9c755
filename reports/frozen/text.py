"""What `itm freeze` prints, and what it calls a leaderboard that nobody named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.errors import counted
from harness.files.names import safe_name
from harness.records.frozen.manifest import Manifest
from harness.records.frozen.opening import is_frozen, open_frozen
from harness.reports.runs.groups import groups
from harness.reports.runs.stores import JoinedStore


def default_name(source: str, results: Path) -> str:
    """The name of a source: of a frozen leaderboard its own, of a folder the folder's, of a run that of the results."""
    if is_frozen(source):
        return open_frozen(source).manifest.name
    path = Path(source) if Path(source).exists() else results
    return safe_name(path.resolve().name)


def frozen_summary(manifest: Manifest, files: Mapping[str, bytes]) -> list[str]:
    """What was frozen, and what its author may want to add."""
    methods = len({(run.method, run.backbone) for run in manifest.runs})
    size = sum(map(len, files.values()))
    lines = [
        f"{manifest.label}: {counted(len(manifest.runs), 'run')} of {counted(methods, 'method')}, "
        f"{counted(len(files), 'file')}, {size / 1e6:.1f} MB"
    ]
    lines += [
        f"  {g.title}: {counted(g.images, 'image')}, {counted(g.captions, 'caption')}, data {g.data_sha256[:12]}"
        for g in manifest.galleries
    ]
    lines += [f"  extends {before.name} {before.version}" for before in manifest.extends]
    lacking = [name for name in ("license", "citation") if not getattr(manifest, name)]
    if lacking:
        lines.append(
            f"  no {' and no '.join(lacking)} stated: others cannot tell how they may use it (--{lacking[0]} ...)"
        )
    return lines


def joined_sentences(store: JoinedStore, run_ids: Sequence[str]) -> list[str]:
    """Which methods of a leaderboard come from which frozen ones, and the hash that fixes their numbers."""
    sentences = []
    for frozen in store.frozen:
        own = [run_id for run_id in run_ids if store.stores[run_id] is frozen]
        records = [record for record in (store.read(run_id) for run_id in run_ids) if record is not None]
        labels = [
            group.label for members in groups(records).values() for group in members if set(group.run_ids) & set(own)
        ]
        if own:
            sentences.append(
                f"From leaderboard {frozen.manifest.label} ({counted(len(own), 'run')}, frozen.json sha256 "
                f"{frozen.sha256[:16]}): {', '.join(dict.fromkeys(labels))}."
            )
    return sentences


def other_data(places: Iterable[tuple[str, str]]) -> list[str]:
    """What to say where runs of one dataset's name are about different data.

    >>> other_data([("coco", "a" * 64), ("coco", "b" * 64)])
    ['coco: runs on data aaaaaaaa and bbbbbbbb are not comparable and stand on pages of their own']
    """
    by_name: dict[str, list[str]] = {}
    for name, sha256 in places:
        by_name.setdefault(name, []).append(sha256[:8])
    return [
        f"{name}: runs on data {' and '.join(found)} are not comparable and stand on pages of their own"
        for name, found in by_name.items()
        if len(found) > 1
    ]
