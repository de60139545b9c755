"""Registry: names -> scorer classes, resolved only when asked for.

A scorer is a file or package of `methods/` or `baselines/`, an entry point `itm_harness.scorers` of an installed package,
or a plug-in file added with `add_plugin`. Its name is that of the file or entry point, so nothing is imported to know it.
A name that is claimed twice is refused.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import plugins
from harness.errors import InvalidPlugin, UnknownName
from harness.files import source_code
from harness.plugins import Source
from harness.plugins.importing import import_module
from harness.settings.components import PartConfig, Parts, validated

if TYPE_CHECKING:
    from harness.scorer import Scorer

FOLDERS = ("harness.methods", "harness.baselines")
#: What counts as a scorer's own source: its folder and what scorers share.
SOURCE_FOLDERS = (*FOLDERS, "harness.scorers")


def _module_files(folder: str) -> list[Path]:
    spec = importlib.util.find_spec(folder)
    roots = list(spec.submodule_search_locations or []) if spec else []
    found = [p for root in roots for p in Path(root).iterdir() if not p.name.startswith(("_", "."))]
    return sorted(p for p in found if p.suffix == ".py" or (p / "__init__.py").is_file())


class Scorers(Parts["Scorer"]):
    """The scorers that can be found. A module of the harness holds one and gives it its name."""

    def __init__(self) -> None:
        super().__init__("scorer")
        for folder in FOLDERS:
            for path in _module_files(folder):
                self.own[path.stem] = Source("module", f"{folder}.{path.stem}")

    def load(self, name: str, source: Source) -> type[Scorer]:
        """The scorer class of a source. Errors as `scorer_class`."""
        cls = _of_module(source) if source.kind == "module" else super().load(name, source)
        return _checked(cls, source)


#: The scorers by name.
SCORERS = Scorers()


def names() -> list[str]:
    """All registered scorer names, sorted; nothing is imported.

    >>> "scan" in names()
    True
    """
    return sorted(SCORERS)


def sources() -> dict[str, Source]:
    """Where each registered name comes from.

    Raises:
        DuplicateName: two places claim one name.
    """
    return SCORERS.sources


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
    for found in plugins.add(path):
        if found.kind == SCORERS.kind:
            return found.name
    raise InvalidPlugin(f"plug-in {path} defines no scorer; expected one public Scorer subclass")


def source_sha256(name: str) -> str:
    """SHA-256 of the source that defines a scorer: its file, and what that imports beside it, however deep.

    "Beside it" are `SOURCE_FOLDERS` for a scorer of the harness, the whole package for an entry point, and the folder of a
    plug-in file. An edit there makes another scorer, whose runs have other ids.

    Raises:
        UnknownName: no such scorer.
        InvalidPlugin: a file cannot be read or is no Python.
    """
    source = SCORERS.source(split(name)[0])
    of_harness = source.kind == "module"
    return source_code.sha256(
        source_code.of_module(source.target, SOURCE_FOLDERS) if of_harness else plugins.source_files(source)
    )


@functools.cache
def engine_sha256() -> str:
    """SHA-256 of the harness's own source that training and evaluation reach: backbones, losses, metrics and the rest.

    Every record holds it, but no run's id: most changes of the harness change no number and should not discard recorded
    runs.
    """
    return source_code.sha256(source_code.of_module("harness.runs.experiment", ("harness",)))


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
    return SCORERS.get(split(name)[0])


def variants(name: str) -> dict[str, dict[str, Any]]:
    """The named config overrides that a scorer declares.

    >>> variants("chan")["vha_max"]
    {'coding': 'vha', 'pooling': 'max'}
    """
    return {variant: dict(config) for variant, config in scorer_class(name).variants.items()}


def recipe(name: str) -> dict[str, Any]:
    """The published training settings of a scorer, with those of its variant on top."""
    cls = scorer_class(name)
    return {**cls.recipe, **cls.variant_recipes.get(split(name)[1], {})}


def resolve_config(name: str, overrides: PartConfig | Mapping[str, Any]) -> Any:
    """The full, validated config of a scorer or variant; a config of the scorer is handed back as it is.

    Raises:
        UnknownName: unknown scorer or variant.
        InvalidSpec: an unknown key or an impossible value.
    """
    cls = scorer_class(name)
    scorer, variant = split(name)
    if variant and variant not in cls.variants:
        raise UnknownName(f"variant of {scorer}", variant, cls.variants)
    if isinstance(overrides, Mapping):
        overrides = {**cls.variants.get(variant, {}), **overrides}
    return validated(cls.Config, overrides, f"scorer {name}")


def create(name: str, *, image_encoder: Any = None, text_encoder: Any = None, **config: Any) -> Scorer:
    """A scorer by name.

    >>> create("scan", direction="t2i", pooling="lse").config.pooling
    'lse'
    >>> create("grm.no_uncertainty").config.uncertainty
    'off'

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


def _of_module(source: Source) -> type[Scorer]:
    """The scorer that a module of the harness defines."""
    module = import_module(source.target, str(source))
    from harness.scorer import Scorer  # here, not above: it imports torch

    classes = [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, Scorer)
        and f"{cls.__module__}.".startswith(f"{module.__name__}.")
        and not cls.__name__.startswith("_")
    ]
    if len(classes) != 1:
        raise InvalidPlugin(f"{source} defines {len(classes)} public Scorer subclasses, expected exactly one")
    return classes[0]


def _checked(cls: type[Scorer], source: Source) -> type[Scorer]:
    """The class, if what it declares has the form that everything else relies on."""

    def refuse(problem: str) -> InvalidPlugin:
        return InvalidPlugin(f"{source}: {problem}")

    for what in ("variants", "recipe", "search_space"):
        if not isinstance(getattr(cls, what), Mapping):
            raise refuse(f"{cls.__name__}.{what} must be a mapping, got {getattr(cls, what)!r:.80}")
    for variant, overrides in cls.variants.items():
        if not isinstance(variant, str) or not re.fullmatch(r"\w[\w-]*", variant):
            raise refuse(f"variant {variant!r:.80} of {cls.__name__} must be a word (letters, digits, _ and -)")
        if not isinstance(overrides, Mapping):
            raise refuse(f"variant '{variant}' of {cls.__name__} must be a mapping of settings, got {overrides!r:.80}")
    return cls
