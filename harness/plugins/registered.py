"""The plug-ins of this process: files that were named, and entry points of installed packages.

A plug-in file holds one part, or several of different kinds; each has the file's name. To know what it holds, the file is
executed: a plug-in is code.
"""

from __future__ import annotations

import functools
import inspect
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.errors import InvalidPlugin
from harness.files import source_code
from harness.plugins.importing import import_file, import_module, shown
from harness.plugins.kinds import KINDS, Kind, Source, attribute

logger = logging.getLogger(__name__)

#: Kinds of sources that are no part of the harness.
FILE, ENTRY_POINT = "plug-in", "entry point"


@dataclass(frozen=True)
class Found:
    """A part that a plug-in file holds.

    Args:
        kind: see `KINDS`.
        name: of the part: the file's stem.
        path: of the file, resolved.
    """

    kind: str
    name: str
    path: Path

    @property
    def source(self) -> Source:
        """Where its name leads."""
        return Source(FILE, str(self.path))


#: Parts of the files that were added, by kind and name.
registered: dict[tuple[str, str], Found] = {}


def add(path: str | Path) -> tuple[Found, ...]:
    """Register what a plug-in file holds, or the files of a folder; a file that is registered already is not read again.

    Args:
        path: a Python file, or a folder whose Python files are plug-ins. Files of a folder whose names start with `_` or
            `test_`, and `conftest.py`, are none; one that holds no part is left out with a line that says so.

    Raises:
        InvalidPlugin: no such file; it cannot be imported; it holds no part, or two of a kind.
        DuplicateName: a name is taken; nothing of the file, or of the folder, is registered then.
    """
    path = Path(path).expanduser().resolve()
    if path.is_dir():
        return _add(_in_folder(path))
    return _add(_in_file(path))


@dataclass(frozen=True)
class Registered:
    """Plug-in files that are registered where this is unpickled; what is pickled after it may be of their classes.

    Args:
        files: their paths.
    """

    files: tuple[str, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        return _registered, (self.files,)


def _registered(files: tuple[str, ...]) -> Registered:
    for file in files:
        add(file)
    return Registered(files)


def files() -> tuple[str, ...]:
    """The plug-in files that are registered, for another process."""
    return tuple(dict.fromkeys(str(found.path) for found in registered.values()))


def added_sources(kind: str) -> Iterator[tuple[str, Source]]:
    """Names that plug-ins add to a kind; those that nothing can be added to have none."""
    if kind in KINDS:
        for name, value in installed(KINDS[kind].group):
            yield name, Source(ENTRY_POINT, value)
        for (of, name), found in registered.items():
            if of == kind:
                yield name, found.source


@functools.cache
def installed(group: str) -> tuple[tuple[str, str], ...]:
    """Names and values of the entry points of a group, read once: a search of all installed packages takes 20 ms."""
    return tuple((point.name, point.value) for point in entry_points(group=group))


def source_files(source: Source) -> dict[str, Path]:
    """The source of a plug-in by module name: its file, and what that imports beside it, however deep.

    "Beside it" is the folder of a plug-in file, and the whole package of an entry point.

    Raises:
        InvalidPlugin: a file cannot be read or is no Python.
    """
    if source.kind == FILE:
        return source_code.beside_file(Path(source.target))
    module = source.target.partition(":")[0]
    return source_code.of_module(module, (module.partition(".")[0],))


def load(kind: Kind, name: str, source: Source) -> Any:
    """The part behind a name that a plug-in added, of the form that its kind has.

    Raises:
        InvalidPlugin: its module cannot be imported, or holds no such part.
    """
    if source.kind == FILE:
        (part,) = _parts(kind, import_file(Path(source.target)), name)
    else:
        module, _, member = source.target.partition(":")
        part = getattr(import_module(module, str(source)), member, None)
    _require_form(kind, name, part, source)
    return part


def _in_folder(folder: Path) -> list[Found]:
    paths = sorted(
        path
        for path in folder.glob("*.py")
        if path.is_file() and not path.name.startswith(("_", ".", "test_")) and path.name != "conftest.py"
    )
    found = []
    for path in paths:
        parts = _in_file(path, required=False)
        if not parts:
            logger.info("plug-in folder %s: %s holds no part and is left out", shown(folder), path.name)
        found += parts
    if not found:
        raise InvalidPlugin(
            f"plug-in folder {shown(folder)} holds no plug-in; expected Python files, each with {_parts_text()}"
        )
    return found


def _in_file(path: Path, required: bool = True) -> list[Found]:
    if not path.is_file() or path.suffix != ".py":
        raise InvalidPlugin(
            f"plug-in {shown(path)} is not a Python file; expected a .py file, or a folder of them, with {_parts_text()}"
        )
    if not re.fullmatch(r"\w[\w-]*", path.stem):
        raise InvalidPlugin(
            f"plug-in {shown(path)}: its parts are called by the file's name, so '{path.stem}' must be a word (letters, "
            "digits, _ and -); rename the file"
        )
    module = import_file(path)
    found = [Found(kind.name, path.stem, path) for kind in KINDS.values() if _parts(kind, module, path.stem)]
    if not found and required:
        raise InvalidPlugin(f"plug-in {shown(path)} holds no part; expected {_parts_text()}")
    return found


def _add(found: Iterable[Found]) -> tuple[Found, ...]:
    found = tuple(found)
    for part in found:
        KINDS[part.kind].parts().require_free(part.name, part.source)
    registered.update({(part.kind, part.name): part for part in found})
    return found


def _parts(kind: Kind, module: ModuleType, name: str) -> list[Any]:
    """The part of a kind that a module of that name holds, in a list; an empty one where it holds none."""
    path = Path(str(module.__file__))
    if kind.is_object:
        named = {
            id(value): value
            for key, value in vars(module).items()
            if not key.startswith("_") and not inspect.isclass(value) and kind.made(value)
        }
        parts = [value for value in named.values() if value.name == name]
        if not parts and (other := [value.name for value in named.values() if not _is_known(kind, value)]):
            raise InvalidPlugin(
                f"plug-in {shown(path)} holds the {kind.name} '{other[0]}'; give it the file's name, '{name}', or rename the file"
            )
        return parts[:1]
    classes = [
        cls
        for key, cls in inspect.getmembers(module, inspect.isclass)
        if kind.holds(cls)
        and f"{cls.__module__}.".startswith(f"{module.__name__}.")
        and not cls.__name__.startswith("_")
    ]
    if len(classes) > 1:
        names = ", ".join(cls.__name__ for cls in classes)
        raise InvalidPlugin(
            f"plug-in {shown(path)} defines {len(classes)} public {kind.base_name} subclasses ({names}), expected one: "
            "start the names of the others with _"
        )
    return classes


def _is_known(kind: Kind, value: Any) -> bool:
    """Whether an object is one that the catalogue has already: a file may import it to build on it."""
    catalogue = kind.parts()
    return value.name in catalogue.own and catalogue.get(value.name) is value


def _require_form(kind: Kind, name: str, part: Any, source: Source) -> None:
    base = attribute(kind.base)
    if kind.is_object:
        if not isinstance(part, base):
            raise InvalidPlugin(f"{source}: expected a {base.__name__}, got {part!r:.80}")
        if part.name != name:
            raise InvalidPlugin(f"{source}: the {kind.name} '{name}' calls itself {part.name!r:.80}; give it one name")
        return
    if not (inspect.isclass(part) and issubclass(part, base)):
        raise InvalidPlugin(f"{source}: expected a {base.__name__} subclass, got {part!r:.80}")
    if kind.config:
        config, given = attribute(kind.config), getattr(part, "Config", None)
        if not (inspect.isclass(given) and issubclass(given, config)):
            raise InvalidPlugin(
                f"{source}: {part.__name__}.Config must be a subclass of {config.__name__}, got {given!r:.80}"
            )


def _parts_text() -> str:
    """What a file may hold, in words."""
    classes = ", ".join(kind.base_name for kind in KINDS.values() if not kind.is_object)
    objects = " or ".join(kind.base_name for kind in KINDS.values() if kind.is_object)
    return f"one public class that extends {classes}, or one {objects}"
