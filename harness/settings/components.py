"""Named parts of an experiment: datasets, backbones, scorers, protocols. Found by name, validated once, then typed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import Field, InstanceOf, PlainSerializer, model_serializer, model_validator

from harness import plugins
from harness.errors import DuplicateName, InvalidSpec, UnknownName
from harness.plugins import Source, registered
from harness.settings.base import Spec, build, canonical_json


class PartConfig(Spec):
    """Base of the options of a named part: a dataset, a backbone, a scorer.

    A part's name stands beside its options (`{name: precomp, root: data}`), so an option called `name` or `options` would
    overwrite the part's own key. A class with such an option cannot be defined.

    Raises:
        TypeError: when the class is defined; names the options.
    """

    reserved: ClassVar[frozenset[str]] = frozenset(("name", "options"))  #: keys that stand around the options

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        written = {
            key
            for name, field in cls.model_fields.items()
            for key in (name, field.alias, field.validation_alias, field.serialization_alias)
            if isinstance(key, str)
        }
        taken = sorted(written & cls.reserved)
        if taken:
            raise TypeError(
                f"{cls.__name__} declares the option{'s' if len(taken) > 1 else ''} {', '.join(taken)}, which would "
                "overwrite the part's own key of that name; rename the option"
            )


def plain(options: PartConfig | Mapping[str, Any]) -> dict[str, Any]:
    """Options as the JSON values that a file holds, whether they were validated or not."""
    return options.model_dump(mode="json") if isinstance(options, PartConfig) else dict(options)


#: Options of a part: as they were read, or the part's own config once they were validated. Both are written alike.
Options = Annotated[InstanceOf[PartConfig] | dict[str, Any], PlainSerializer(plain)]


def validated(config: type[PartConfig], options: PartConfig | Mapping[str, Any], where: str) -> PartConfig:
    """Options as the config of their part; a config of that class is handed back as it is.

    Raises:
        InvalidSpec: an unknown option (with the nearest valid one) or an impossible value.
    """
    return options if type(options) is config else build(config, plain(options), where)


class Component(Spec):
    """A named part with its options: `{name: patches, width: 128}`, or just `patches`.

    `Parts.resolve` turns options that were read into the part's config; in another process they are plain again.

    >>> Component.model_validate({"name": "patches", "width": 128}).options
    {'width': 128}
    """

    name: str
    options: Options = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _collect_options(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping) and not isinstance(value.get("options"), PartConfig):
            given = value.get("options") or {}
            if not isinstance(given, Mapping):
                raise ValueError(f"options must be a mapping of keys to values, got {type(given).__name__}")
            options = dict(given) | {k: v for k, v in value.items() if k not in PartConfig.reserved}
            taken = sorted(PartConfig.reserved & options.keys())
            if taken:
                raise ValueError(f"options may not hold {' or '.join(taken)}, a key of the part itself")
            return {**({"name": value["name"]} if "name" in value else {}), "options": options}
        return value

    @model_serializer
    def _flatten(self) -> dict[str, Any]:
        return {"name": self.name, **self.plain}

    @property
    def plain(self) -> dict[str, Any]:
        """The options as JSON values."""
        return plain(self.options)

    def changed(self, options: Mapping[str, Any]) -> Component:
        """The part with some options replaced, to be resolved anew; itself where there are none.

        Args:
            options: what is replaced; the key `name` replaces the part's name.

        Raises:
            InvalidSpec: the key `options`, or a name that is no text.
        """
        if not options:
            return self
        name = options.get("name", self.name)
        if "options" in options or not isinstance(name, str):
            key = "options" if "options" in options else "name"
            raise InvalidSpec(f"'{key}' of a part cannot be set to {options[key]!r:.80}; set its options one by one")
        return Component(name=name, options={**self.plain, **{k: v for k, v in options.items() if k != "name"}})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Component) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> tuple[Any, ...]:
        return Component.model_validate, (self.model_dump(mode="json"),)

    @property
    def _text(self) -> str:
        return canonical_json(self.model_dump(mode="json"))


T = TypeVar("T")


class Catalogue(Generic[T]):
    """Things of one kind by name, each imported when it is asked for: the harness's own, and those of plug-ins.

    Args:
        kind: what they are, for messages; plug-ins add to the kinds of `harness.plugins.KINDS`.
        places: name -> `package.module:attribute`.

    >>> decoders = Catalogue("decoder", {"json": "json:JSONDecoder"})
    >>> decoders.get("json").__name__
    'JSONDecoder'
    >>> decoders.get("jsn")
    Traceback (most recent call last):
    harness.errors.UnknownName: unknown decoder 'jsn'; did you mean 'json'? valid: json
    """

    def __init__(self, kind: str, places: Mapping[str, str] | None = None):
        self.kind = kind
        self.own = {name: Source("module", place) for name, place in (places or {}).items()}

    @property
    def sources(self) -> dict[str, Source]:
        """Where each name leads that can be found now.

        Raises:
            DuplicateName: two places claim one name.
        """
        found = dict(self.own)
        for name, source in plugins.added_sources(self.kind):
            _claim(found, self.kind, name, source)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.sources)

    def __contains__(self, name: object) -> bool:
        return name in self.sources

    def require_free(self, name: str, source: Source) -> None:
        """Refuse a name that another place has.

        Raises:
            DuplicateName: says both places.
        """
        _claim(self.sources, self.kind, name, source)

    def source(self, name: str) -> Source:
        """Where a name leads.

        Raises:
            UnknownName: with near matches and the list of valid names.
        """
        sources = self.sources
        if name not in sources:
            raise UnknownName(self.kind, name, sources)
        return sources[name]

    def get(self, name: str) -> T:
        """The thing behind a name; imports its module.

        Raises:
            UnknownName: with near matches and the list of valid names.
        """
        return self.load(name, self.source(name))

    def load(self, name: str, source: Source) -> T:
        """What a source holds.

        Raises:
            InvalidPlugin: it is a plug-in that cannot be imported or is not of this kind.
        """
        if source.kind != "module":
            added: T = registered.load(plugins.KINDS[self.kind], name, source)
            return added
        module, _, attribute = source.target.partition(":")
        loaded: T = getattr(importlib.import_module(module), attribute)
        return loaded


def _claim(sources: dict[str, Source], kind: str, name: str, source: Source) -> None:
    """Add a name to the places of names.

    Raises:
        DuplicateName: it leads elsewhere already.
    """
    first = sources.setdefault(name, source)
    if first != source:
        raise DuplicateName(f"{kind} '{name}' is claimed twice: by {first} and by {source}; rename one of them")


class Part(Protocol):
    """A class with its options beside it."""

    Config: ClassVar[Any]


PartT = TypeVar("PartT", bound=Part)


class Parts(Catalogue[type[PartT]]):
    """Classes of one kind by name, each with a `Config` that its options are validated by."""

    def resolve(self, component: Component | Mapping[str, Any] | str) -> Component:
        """The component with its options validated and every default filled in.

        Args:
            component: name and options. One that is resolved already is handed back as it is.

        Raises:
            UnknownName: no such part; with near matches and the list of valid names.
            InvalidSpec: an unknown option (with the nearest valid one) or an impossible value.
        """
        component = Component.model_validate(component)
        where = f"{self.kind} {component.name}"
        config = validated(self.get(component.name).Config, component.options, where)
        return component if config is component.options else Component(name=component.name, options=config)

    def part_and_config(self, component: Component | Mapping[str, Any] | str) -> tuple[type[PartT], Any]:
        """The class of a component and its validated options. Errors as `resolve`."""
        resolved = self.resolve(component)
        return self.get(resolved.name), resolved.options
