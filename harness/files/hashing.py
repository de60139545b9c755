"""SHA-256 of bytes, and of files: computed once per process while a file stays the same."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal; read again when its size, time of change or inode differ.

    Raises:
        OSError: it cannot be read.
    """
    found = Path(path).stat()
    return _sha256(Path(path), found.st_size, found.st_mtime_ns, found.st_ino)


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_bytes(content: bytes) -> str:
    """SHA-256 of bytes, hexadecimal.

    >>> sha256_bytes(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(content).hexdigest()
