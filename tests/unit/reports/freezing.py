"""How tests freeze the runs of a folder, and change what was frozen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.records.frozen.manifest import MANIFEST, SUMS
from harness.reports.frozen.contents import About, frozen_files
from harness.reports.frozen.writing import write_frozen
from harness.reports.runs.stores import join


def freeze(sources: list[Path | str], folder: Path, version: str = "1.0", name: str = "board", **about: str) -> Path:
    _, files = frozen_files(join([str(s) for s in sources], Path("results")), About(name, version, "A title", **about))
    write_frozen(files, folder)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def forge(folder: Path, path: str, change: Callable[[str], str]) -> None:
    """Change a file and state its new hash, as somebody would who means to deceive."""
    (folder / path).write_text(change((folder / path).read_text()))
    state_hashes(folder)


def state_hashes(folder: Path, change: Callable[[dict[str, Any]], None] = lambda values: None) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    for file in manifest["files"]:
        found = (folder / file["path"]).read_bytes() if (folder / file["path"]).is_file() else b""
        file |= {"sha256": hashlib.sha256(found).hexdigest(), "bytes": len(found)}
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    listed = {file["path"]: file["sha256"] for file in manifest["files"]}
    listed[MANIFEST] = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    (folder / SUMS).write_text("".join(f"{listed[path]}  {path}\n" for path in sorted(listed)))
