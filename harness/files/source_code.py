"""The source files behind a scorer, found by reading its imports: nothing is imported or executed."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.errors import InvalidPlugin

#: Dotted name of a module -> its file, or None where it does not belong to the source that is sought.
Finder = Callable[[str], Path | None]


def of_module(module: str, roots: Sequence[str]) -> dict[str, Path]:
    """The files of a module and of all that it imports from the packages `roots`, by module name."""

    def find(name: str) -> Path | None:
        if not any(name == root or name.startswith(f"{root}.") for root in roots):
            return None
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, AttributeError, ValueError):  # an attribute of a module, not a module
            return None
        return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None

    return _reached(module, find)


def beside_file(path: Path) -> dict[str, Path]:
    """A file and all that it imports from its own folder, by module name."""
    folder = path.resolve().parent

    def find(name: str) -> Path | None:
        place = folder.joinpath(*name.split("."))
        candidates = (place.with_suffix(".py"), place / "__init__.py")
        return next((candidate for candidate in candidates if candidate.is_file()), None)

    return _reached(path.stem, find)


def sha256(files: dict[str, Path]) -> str:
    """SHA-256 of files by module name; line ends do not count."""
    digest = hashlib.sha256()
    for name in sorted(files):
        text = _read(files[name]).replace(b"\r\n", b"\n")
        digest.update(f"{name} {hashlib.sha256(text).hexdigest()}\n".encode())
    return digest.hexdigest()


def _reached(module: str, find: Finder) -> dict[str, Path]:
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = None if name in found else find(name)
        if path is not None:
            found[name] = path
            waiting += _imported(path, name if path.name == "__init__.py" else name.rpartition(".")[0])
    return found


def _imported(path: Path, package: str) -> Iterator[str]:
    """Every module that a file may import, wherever the import stands; `package` is where relative ones start."""
    try:
        tree = ast.parse(_read(path))
    except (SyntaxError, ValueError) as error:
        line = f" line {error.lineno}:" if isinstance(error, SyntaxError) and error.lineno else ""
        raise InvalidPlugin(f"cannot read {path}:{line} {getattr(error, 'msg', error)}") from None
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".") if package else []
            start = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join(filter(None, [*start, node.module]))
            names = [base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names)]
        for name in filter(None, names):
            # `import a.b.c` also runs a/__init__.py and a/b/__init__.py
            yield from itertools.accumulate(name.split("."), "{}.{}".format)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidPlugin(f"cannot read {path}: {error.strerror or error}") from None
