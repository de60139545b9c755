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
    places = {root: _places(root) for root in roots}

    def find(name: str) -> Path | None:
        for root, (file, folders) in places.items():
            if name == root:
                return file
            if name.startswith(f"{root}."):
                inside = name[len(root) + 1 :].split(".")
                return next(filter(None, (_module_file(folder, inside) for folder in folders)), None)
        return None

    return _reached(module, find)


def _places(root: str) -> tuple[Path | None, list[Path]]:
    """The file of a package or module, and the folders in which its submodules lie."""
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, AttributeError, ValueError):
        return None, []
    if spec is None:
        return None, []
    file = Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    return file, [Path(folder) for folder in spec.submodule_search_locations or ()]


def _module_file(folder: Path, name: Sequence[str]) -> Path | None:
    """The file of a module below a folder; None if the name is an attribute, or a package without a file."""
    place = folder.joinpath(*name)
    candidates = (place / "__init__.py", place.with_suffix(".py"))  # in the order of Python's import
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def beside_file(path: Path) -> dict[str, Path]:
    """A file and all that it imports from its own folder, by module name."""
    folder = path.resolve().parent

    return _reached(path.stem, lambda name: _module_file(folder, name.split(".")))


def sha256(files: dict[str, Path]) -> str:
    """SHA-256 of files by module name; line ends do not count."""
    digest = hashlib.sha256()
    for name in sorted(files):
        text = _read(files[name]).replace(b"\r\n", b"\n")
        digest.update(f"{name} {hashlib.sha256(text).hexdigest()}\n".encode())
    return digest.hexdigest()


def _reached(module: str, find: Finder) -> dict[str, Path]:
    found: dict[str, Path] = {}
    seen, waiting = set[str](), [module]
    while waiting:
        name = waiting.pop()
        path = None if name in seen else find(name)
        seen.add(name)
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
    for node in _statements(tree):
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


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements below a node; imports stand in no expression, and most of a tree is expressions."""
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, name, None) or ():
            yield child
            yield from _statements(child)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidPlugin(f"cannot read {path}: {error.strerror or error}") from None
