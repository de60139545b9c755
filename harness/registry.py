"""Registry: names -> scorer classes, resolved only when asked for.

A scorer comes from one of three places, and its name is known without importing anything:
the files of `methods/` and `baselines/` (name = file name), the entry points `itm_harness.scorers` of installed
packages (name = entry point name), and plug-in files added with `add_plugin` (name = file name).
A name that is claimed twice is refused.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from harness.errors import DuplicateName, InvalidPlugin, UnknownName
from harness.spec import build

if TYPE_CHECKING:
    from harness.scorer import Scorer

ENTRY_POINT_GROUP = "itm_harness.scorers"
FOLDERS = ("methods", "baselines")
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


def plugin_sha256(name: str) -> str:
    """SHA-256 of the plug-in file that defines `name`; empty for a scorer of any other origin."""
    path = _plugins.get(split(name)[0])
    return hashlib.sha256(path.read_bytes()).hexdigest() if path else ""


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
    return sorted(p for root in roots for p in Path(root).glob("*.py") if not p.name.startswith("_"))


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
        return getattr(_import(module_name, source), attribute)
    module = _import_file(name, Path(source.target)) if source.kind == "plugin" else _import(source.target, source)
    from harness.scorer import Scorer  # here, not above: it imports torch

    classes = [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, Scorer) and cls.__module__ == module.__name__ and not cls.__name__.startswith("_")
    ]
    if len(classes) != 1:
        raise InvalidPlugin(
            f"{source.kind} {source.target} defines {len(classes)} public Scorer subclasses, expected exactly one"
        )
    return classes[0]


def _import(module_name: str, source: Source) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except Exception as error:
        raise InvalidPlugin(f"cannot import {source.kind} {source.target}: {type(error).__name__}: {error}") from error


def _import_file(name: str, path: Path) -> ModuleType:
    import sys

    module_name = f"itm_plugin_{name}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise InvalidPlugin(f"cannot import plug-in {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[module_name]
        if isinstance(error, Exception):
            raise InvalidPlugin(f"cannot import plug-in {path}: {type(error).__name__}: {error}") from error
        raise
    return module
