"""Writing a frozen leaderboard: whole or not at all, never over another one, and with a version that rises."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import InvalidFrozen, InvalidSpec, ResultsNotWritable
from harness.files.names import is_safe_name
from harness.files.reading import Damaged, require_file
from harness.records.frozen.manifest import (
    LARGEST_MANIFEST,
    MANIFEST,
    Manifest,
    is_version,
    parse_manifest,
    version_key,
)
from harness.records.frozen.store import FrozenStore


def require_name(name: str, version: str) -> None:
    """Refuse what names no folder, or is no version.

    Raises:
        InvalidSpec: one line that says what is expected.
    """
    if not is_version(version):
        raise InvalidSpec(f"--version must be up to three numbers with dots, such as 1.0, got '{version:.40}'")
    if not is_safe_name(f"{name}-{version}"):
        raise InvalidSpec(f"--name must be made of letters, digits, '.', '-' and '_', got '{name:.60}'")


def require_rising(name: str, version: str, folder: Path, sources: Sequence[FrozenStore]) -> None:
    """Refuse a version that is not higher than those of the same name beside it and among what it extends.

    Raises:
        InvalidFrozen: names the highest one.
    """
    known = [(m.version, str(path)) for path, m in _beside(folder) if m.name == name and path != folder]
    known += [(s.manifest.version, s.place) for s in sources if s.manifest.name == name]
    higher = [item for item in known if version_key(item[0]) >= version_key(version)]
    if higher:
        found, place = max(higher, key=lambda item: version_key(item[0]))
        raise InvalidFrozen(
            f"{name} {found} is there already ({place}), so the next version must be higher than {found}, got {version}; "
            "versions never change and only rise"
        )


def write_frozen(files: Mapping[str, bytes], folder: Path) -> bool:
    """Write the files of a frozen leaderboard into a new folder, which appears whole.

    Returns:
        Whether it was written; False where the folder holds these very files already.

    Raises:
        InvalidFrozen: the folder holds anything else.
        ResultsNotWritable: it cannot be written.
    """
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        _require_same(files, folder)
        return False
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        for path, content in files.items():
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            (partial / path).write_bytes(content)
        os.replace(partial, folder)
    except OSError as error:
        raise ResultsNotWritable(
            f"cannot write {folder}: {error.strerror or error}; choose another with --out"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def _require_same(files: Mapping[str, bytes], folder: Path) -> None:
    manifest = _manifest_of(folder)
    if manifest is None:
        raise InvalidFrozen(f"{folder} holds something else; choose a new folder with --out")
    changed = [path for path, content in files.items() if _content(folder / path, len(content)) != content]
    if changed:
        raise InvalidFrozen(
            f"{folder} holds {manifest.label} already, with other content ({', '.join(sorted(changed)[:3])}"
            f"{', ...' if len(changed) > 3 else ''}); versions never change: give a higher --version"
        )


def _content(path: Path, size: int) -> bytes | None:
    try:
        return path.read_bytes() if require_file(path).st_size == size else None
    except (Damaged, OSError):
        return None


def _beside(folder: Path) -> list[tuple[Path, Manifest]]:
    """The frozen leaderboards in the same folder."""
    found = [(path.parent, _manifest_of(path.parent)) for path in sorted(folder.parent.glob(f"[!.]*/{MANIFEST}"))]
    return [(path, manifest) for path, manifest in found if manifest is not None]


def _manifest_of(folder: Path) -> Manifest | None:
    try:
        if require_file(folder / MANIFEST).st_size > LARGEST_MANIFEST:
            return None
        return parse_manifest((folder / MANIFEST).read_bytes())
    except (Damaged, OSError):
        return None
