"""Importing plug-in files: whatever goes wrong in one is told in one line with the file and its line."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from harness.errors import InvalidPlugin, ItmError, one_line
from harness.files import source_code
from harness.files.extras import needed_for

#: What the modules of plug-in files are called, with the file's stem behind it.
PREFIX = "itm_plugin_"


def shown(path: Path) -> str:
    """A file as messages and records name it: by its path from here, if it lies below."""
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)


def import_file(path: Path) -> ModuleType:
    """The module of a plug-in file, executed once per process. It may import modules beside it.

    Args:
        path: resolved.

    Raises:
        InvalidPlugin: its code raises an error or ends the process, or a module beside it has the name of another one.
    """
    name = _module_name(path)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InvalidPlugin(f"cannot import plug-in {shown(path)}; expected a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # last, so that nothing there takes the place of another module
    # No __pycache__ beside a user's file; and an edit within the clock's resolution would find the old code there.
    writes_nothing, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        with as_invalid_plugin(f"plug-in {shown(path)}"):
            spec.loader.exec_module(module)
            _require_own_neighbours(path)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    finally:
        sys.dont_write_bytecode = writes_nothing
    return module


def import_module(name: str, what: str) -> ModuleType:
    """A module of the harness or of an installed package.

    Args:
        name: dotted.
        what: whose it is, for the message.

    Raises:
        InvalidPlugin: its code raises an error or ends the process.
    """
    with as_invalid_plugin(what):
        return importlib.import_module(name)


def _require_own_neighbours(path: Path) -> None:
    """Refuse a file that imports a module by a name that leads elsewhere: its hash would be of the module beside it."""
    for name, file in source_code.beside_file(path).items():
        used = getattr(sys.modules.get(name), "__file__", None)
        if file != path and used is not None and Path(used).resolve() != file.resolve():
            raise InvalidPlugin(
                f"plug-in {shown(path)} imports '{name}', which is {used} here and not {shown(file)}; rename the file beside it"
            )


@contextmanager
def as_invalid_plugin(what: str) -> Iterator[None]:
    """Whatever goes wrong while a file is imported is the file's fault, `sys.exit` included; an interrupt is not.

    Args:
        what: is imported. The line in it is named where the error came through a plug-in file.
    """
    try:
        with needed_for(what):
            yield
    except ItmError:
        raise
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        place = (
            f"{shown(Path(error.filename))}{line}" if error.filename else ""
        )  # it may be in a module beside the file
        raise InvalidPlugin(f"{f'plug-in {place}' if place else what}: SyntaxError: {error.msg}") from error
    except SystemExit as error:
        raise InvalidPlugin(
            f"{_where(error, what)}: it calls sys.exit({error.code!r:.40}) when it is imported; remove that call"
        ) from error
    except Exception as error:
        raise InvalidPlugin(f"{_where(error, what)}: {type(error).__name__}: {one_line(error)}") from error


def place_of(error: BaseException) -> str:
    """The plug-in file and line at which an error arose, as `FILE, line N`; "" where it came through no plug-in."""
    files = {getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if name.startswith(PREFIX)}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    return f"{shown(Path(frames[-1].filename))}, line {frames[-1].lineno}" if frames else ""


def _where(error: BaseException, what: str) -> str:
    place = place_of(error)
    return f"plug-in {place}" if place else what


def _module_name(path: Path) -> str:
    """By the file's stem; with a hash of the path behind it where another file of that stem is imported already."""
    name = f"{PREFIX}{path.stem}"
    there = sys.modules.get(name)
    if there is None or getattr(there, "__file__", None) == str(path):
        return name
    return f"{name}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
