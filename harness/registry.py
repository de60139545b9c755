"""Registry: names -> scorer classes, resolved only when asked for.

A scorer comes from one of three places, and its name is known without importing anything:
the files of `methods/` and `baselines/` (name = file name), the entry points `itm_harness.scorers` of installed
packages (name = entry point name), and plug-in files added with `add_plugin` (name = file name).
A name that is claimed twice is refused.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from harness.errors import DuplicateName, InvalidPlugin, UnknownName
from harness.files import source_code as source_files
from harness.spec import build

if TYPE_CHECKING:
    from harness.scorer import Scorer

ENTRY_POINT_GROUP = "itm_harness.scorers"
FOLDERS = ("harness.methods", "harness.baselines")
#: What counts as a scorer's own source: its folder and what scorers share.
SOURCE_FOLDERS = (*FOLDERS, "harness.scorers")
_plugins: dict[str, Path] = {}


@dataclass(frozen=True)
class Source:
    """Where a scorer's name leads: a module, an entry point `module:Class`, or a plug-in file."""

    kind: str
    target: str


def names() -> list[str]:
    """All registered scorer names, sorted; nothing is imported."""
    return sorted(sources())


def sources() -> dict[str, Source]:
    """Where each registered name comes from.

    Raises:
        DuplicateName: two places claim one name.
    """
    found: dict[str, Source] = {}
    for folder in FOLDERS:
        for path in _module_files(folder):
            _claim(found, path.stem, Source("module", f"{folder}.{path.stem}"))
    for point in entry_points(group=ENTRY_POINT_GROUP):
        _claim(found, point.name, Source("entry point", point.value))
    for name, path in _plugins.items():
        _claim(found, name, Source("plugin", str(path)))
    return found


def add_plugin(path: str | Path) -> str:
    """Register the scorer that a file defines.

    Args:
        path: a Python file with one `Scorer` subclass; its stem becomes the scorer's name.

    Returns:
        The name.

    Raises:
        InvalidPlugin: no such file.
        DuplicateName: the name is taken.
    """
    path = Path(path).resolve()
    if not path.is_file() or path.suffix != ".py":
        raise InvalidPlugin(f"plug-in {path} is not a Python file; expected a .py file that defines one Scorer")
    if _plugins.get(path.stem) != path:
        taken = sources()
        if path.stem in taken:
            _claim(taken, path.stem, Source("plugin", str(path)))
        _plugins[path.stem] = path
    return path.stem


def source_sha256(name: str) -> str:
    """SHA-256 of the source that defines a scorer: its file, and what that imports beside it, however deep.

    "Beside it" are `methods` and `baselines` for a scorer of the harness, the whole package for one of an entry point,
    and the folder of a plug-in file. Edits there make another scorer, whose runs have other ids.

    Raises:
        UnknownName: no such scorer.
        InvalidPlugin: a file cannot be read or is no Python.
    """
    scorer, _ = split(name)
    known = sources()
    if scorer not in known:
        raise UnknownName("scorer", scorer, known)
    source = known[scorer]
    if source.kind == "plugin":
        path = Path(source.target)
        found = source_files.beside_file(path)
    else:
        module = source.target.partition(":")[0]
        found = source_files.of_module(
            module, SOURCE_FOLDERS if source.kind == "module" else (module.partition(".")[0],)
        )
    return source_files.sha256(found)


@functools.cache
def engine_sha256() -> str:
    """SHA-256 of the harness's own source that training and evaluation reach: backbones, losses, metrics and the rest.

    It stands in every record but in no run's id: otherwise each change of the harness, most of which change no number,
    would throw all recorded runs away. Two records with equal ids and different engines say so.
    """
    return source_files.sha256(source_files.of_module("harness.runs.experiment", ("harness",)))


def split(name: str) -> tuple[str, str]:
    """`scan.t2i_avg` -> (`scan`, `t2i_avg`); the variant is empty where none is named."""
    scorer, _, variant = name.partition(".")
    return scorer, variant


def scorer_class(name: str) -> type[Scorer]:
    """The class behind a name (a variant after a dot is ignored); imports its module.

    Raises:
        UnknownName: with near matches and the list of valid names.
        InvalidPlugin: the module defines no scorer, or several.
    """
    scorer, _ = split(name)
    known = sources()
    if scorer not in known:
        raise UnknownName("scorer", scorer, known)
    return _load(scorer, known[scorer])


def variants(name: str) -> dict[str, dict[str, Any]]:
    """The named config overrides that a scorer declares."""
    return {variant: dict(config) for variant, config in scorer_class(name).variants.items()}


def recipe(name: str) -> dict[str, Any]:
    """The published training settings of a scorer, with those of its variant on top."""
    cls = scorer_class(name)
    return {**cls.recipe, **cls.variant_recipes.get(split(name)[1], {})}


def resolve_config(name: str, overrides: dict[str, Any]) -> Any:
    """The full, validated config of a scorer or variant.

    Raises:
        UnknownName: unknown scorer or variant.
        InvalidSpec: an unknown key or an impossible value.
    """
    cls = scorer_class(name)
    _, variant = split(name)
    if variant and variant not in cls.variants:
        raise UnknownName(f"variant of {split(name)[0]}", variant, cls.variants)
    base = cls.variants[variant] if variant else {}
    return build(cls.Config, {**base, **overrides}, f"scorer {name}")


def create(name: str, *, image_encoder: Any = None, text_encoder: Any = None, **config: Any) -> Scorer:
    """A scorer by name: `create("scan", direction="t2i", pooling="lse")`, `create("grm.no_uncertainty")`.

    Args:
        name: registered name, with a variant after a dot.
        image_encoder: module that turns images into fragments; without one the scorer only scores fragments.
        text_encoder: likewise for captions.
        config: overrides of the scorer's config.

    Raises:
        UnknownName: unknown scorer or variant.
        InvalidSpec: an unknown config key (with the nearest valid one) or an impossible value.
    """
    return scorer_class(name)(resolve_config(name, config), image_encoder, text_encoder)


def _module_files(folder: str) -> list[Path]:
    spec = importlib.util.find_spec(folder)
    roots = list(spec.submodule_search_locations or []) if spec else []
    found = [p for root in roots for p in Path(root).iterdir() if not p.name.startswith(("_", "."))]
    return sorted(p for p in found if p.suffix == ".py" or (p / "__init__.py").is_file())


def _claim(found: dict[str, Source], name: str, source: Source) -> None:
    if name in found and found[name] != source:
        raise DuplicateName(
            f"scorer '{name}' is claimed twice: by {found[name].kind} {found[name].target} and by "
            f"{source.kind} {source.target}; rename one of them"
        )
    found[name] = source


def _load(name: str, source: Source) -> type[Scorer]:
    if source.kind == "entry point":
        module_name, _, attribute = source.target.partition(":")
        return _checked(getattr(_import(module_name, source), attribute, None), source)
    module = _import_file(name, Path(source.target)) if source.kind == "plugin" else _import(source.target, source)
    from harness.scorer import Scorer  # here, not above: it imports torch

    classes = [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, Scorer)
        and f"{cls.__module__}.".startswith(f"{module.__name__}.")
        and not cls.__name__.startswith("_")
    ]
    if len(classes) != 1:
        raise InvalidPlugin(
            f"{source.kind} {source.target} defines {len(classes)} public Scorer subclasses, expected exactly one"
        )
    return _checked(classes[0], source)


def _checked(cls: Any, source: Source) -> type[Scorer]:
    """The class, if what it declares has the form that everything else relies on."""
    from harness.scorer import Scorer, ScorerConfig

    def refuse(problem: str) -> InvalidPlugin:
        return InvalidPlugin(f"{source.kind} {source.target}: {problem}")

    if not (inspect.isclass(cls) and issubclass(cls, Scorer)):
        raise refuse(f"expected a Scorer subclass, got {cls!r:.80}")
    if not (inspect.isclass(cls.Config) and issubclass(cls.Config, ScorerConfig)):
        raise refuse(f"{cls.__name__}.Config must be a subclass of ScorerConfig, got {cls.Config!r:.80}")
    for what in ("variants", "recipe", "search_space"):
        if not isinstance(getattr(cls, what), Mapping):
            raise refuse(f"{cls.__name__}.{what} must be a mapping, got {getattr(cls, what)!r:.80}")
    for variant, overrides in cls.variants.items():
        if not isinstance(variant, str) or not re.fullmatch(r"\w[\w-]*", variant):
            raise refuse(f"variant {variant!r:.80} of {cls.__name__} must be a word (letters, digits, _ and -)")
        if not isinstance(overrides, Mapping):
            raise refuse(f"variant '{variant}' of {cls.__name__} must be a mapping of settings, got {overrides!r:.80}")
    return cls


def _import(module_name: str, source: Source) -> ModuleType:
    with _as_invalid_plugin(f"{source.kind} {source.target}"):
        return importlib.import_module(module_name)


def _import_file(name: str, path: Path) -> ModuleType:
    module_name = f"itm_plugin_{name}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise InvalidPlugin(f"cannot import plug-in {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    # No __pycache__ beside a user's file; and an edit within the clock's resolution would find the old code there.
    writes_nothing, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        with _as_invalid_plugin(f"plug-in {path}"):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    finally:
        sys.dont_write_bytecode = writes_nothing
    return module


@contextmanager
def _as_invalid_plugin(what: str) -> Iterator[None]:
    """Whatever goes wrong while a file is imported is the file's fault, `sys.exit` included; an interrupt is not."""
    try:
        yield
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        raise InvalidPlugin(f"cannot import {what}: {where}SyntaxError: {error.msg}") from error
    except SystemExit as error:
        raise InvalidPlugin(f"cannot import {what}: it calls sys.exit({error.code!r:.40}); remove that call") from error
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in what]
        where = f"line {frames[-1].lineno}: " if frames else ""
        raise InvalidPlugin(f"cannot import {what}: {where}{type(error).__name__}: {error}") from error
