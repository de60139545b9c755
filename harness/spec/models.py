"""Specifications: what to run, validated, immutable, and hashed into a run's id.

An `Experiment` is what a user writes (YAML and `--set`); a `RunSpec` is one cell of it with every default filled in.
Equal resolved specs have equal ids, so a second call runs only what is missing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_serializer, model_validator

from harness.errors import InvalidSpec, UnknownName, did_you_mean
from harness.files import strict_yaml

log = logging.getLogger(__name__)

SpecT = TypeVar("SpecT", bound="Spec")

#: Seeds of one experiment, and the largest one that every generator of random numbers takes.
MOST_SEEDS, LARGEST_SEED = 1000, 2**32 - 1


class Spec(BaseModel):
    """Base of everything configurable: immutable, keyword-only, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_numbers(cls, values: Any) -> Any:
        """A boolean or a text is no number, though Python would take `true` for 1."""
        if isinstance(values, Mapping):
            for name, field in cls.model_fields.items():
                kinds = _kinds(field.annotation)
                number = bool({int, float} & kinds)
                given = values.get(name)
                if number and (isinstance(given, bool) > (bool in kinds) or isinstance(given, str) > (str in kinds)):
                    raise ValueError(f"'{name}' must be a number, got {given!r:.80}")
        return values


def _kinds(annotation: Any) -> set[Any]:
    """The plain types that an annotation admits; `str` stands for a choice of words."""
    if get_origin(annotation) in (Union, UnionType):
        return {kind for part in get_args(annotation) for kind in _kinds(part)}
    if get_origin(annotation) is Literal:
        return {type(choice) for choice in get_args(annotation)}
    return {annotation} if isinstance(annotation, type) else set()


class PartConfig(Spec):
    """Base of the options of a named part: a dataset, a backbone, a scorer.

    A part's name and its options are written side by side (`{name: precomp, root: data}`), so an option that is called
    like one of the keys around it would overwrite that key. Such a class cannot be defined.

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


class Component(Spec):
    """A named part with its options: `{name: patches, width: 128}`, or just `patches`.

    The options are validated where the name is resolved, by the part's own config class.
    """

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _collect_options(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping):
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
        return {"name": self.name, **self.options}


class TrainingSpec(Spec):
    """How a scorer is trained. A scorer's `recipe` gives its published values; an experiment overrides them."""

    epochs: int = Field(25, ge=0, description="passes over the training pairs; 0 = evaluate without training")
    batch_size: int = Field(128, ge=2)
    pairs: Literal["all", "one_per_image"] = Field(
        "all", description="captions of an image an epoch: all, or one drawn"
    )
    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = Field(5e-4, gt=0)
    backbone_learning_rate_scale: float = Field(0.1, ge=0, description="for pretrained backbones; 0 freezes them")
    weight_decay: float = Field(1e-4, ge=0)
    schedule: Literal["step", "cosine", "constant"] = "step"
    decay_epochs: tuple[int, ...] = Field((15,), description="step schedule: epochs at which the rate is multiplied")
    decay_factor: float = Field(0.1, gt=0, le=1)
    warmup_steps: int = Field(0, ge=0, description="linear increase of the learning rate")
    gradient_clip: float = Field(2.0, gt=0, description="largest L2 norm of all gradients")
    objective: Literal["triplet", "infonce"] = "triplet"
    margin: float = Field(0.2, gt=0, description="triplet: in units of the score")
    temperature: float = Field(0.05, gt=0, description="infonce")
    all_negatives_epochs: int = Field(1, ge=0, description="triplet: first epochs with all negatives, then the hardest")
    loss_ramp_epochs: int = Field(
        0, ge=0, description="first epochs whose loss is multiplied by step / steps of the epoch, from 0 up"
    )
    region_drop: float = Field(0.0, ge=0, lt=1, description="probability of dropping a region")
    word_masking: float = Field(0.0, ge=0, lt=1, description="share of words that are masked, replaced or deleted")
    image_augmentation: Literal["none", "flip", "crop_flip"] = "none"
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="auto: bfloat16 on a GPU")


class EvaluationSpec(Spec):
    """How a trained scorer is evaluated and its cost measured."""

    ties: Literal["pessimistic", "optimistic", "expected"] = "pessimistic"
    batch_size: int = Field(256, ge=1, description="items encoded at once")
    cost_repeats: int = Field(30, ge=3, description="timed repetitions of each latency figure, after a warm-up")
    save_scores: bool = Field(False, description="keep the whole similarity matrix as scores.npy")


class ScorerEntry(Spec):
    """One row of an experiment: a scorer, its overrides, and a key by which `--set scorers.<key>...` addresses it."""

    name: str = Field(description="registered name, with a variant after a dot: scan, grm.no_uncertainty")
    key: str = ""
    config: dict[str, Any] = Field(default_factory=dict)
    image: Component | None = None
    text: Component | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    weights: str = Field(
        "", description="a saved model (.safetensors), evaluated as it is; excludes all other overrides"
    )
    tuning: dict[str, Any] = Field(
        default_factory=dict, description="how the settings were found, for the record: trials, budget, study"
    )

    @model_validator(mode="after")
    def _weights_are_complete(self) -> ScorerEntry:
        if self.weights and (self.config or self.image or self.text or self.training):
            raise ValueError(f"scorer '{self.key}': weights bring their own config and backbones and are not trained")
        return self

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        value = {"name": value} if isinstance(value, str) else value
        if isinstance(value, Mapping) and "name" in value and not value.get("key"):
            value = {**value, "key": value["name"]}
        return value


class Experiment(Spec):
    """A grid of scorers x seeds on one dataset."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    dataset: Component
    protocols: tuple[str, ...] = ("full",)
    seeds: tuple[int, ...] = (0, 1, 2)
    image: Component = Component(name="regions")
    text: Component = Component(name="bigru")
    training: dict[str, Any] = Field(default_factory=dict)
    evaluation: EvaluationSpec = EvaluationSpec()
    threads: int = Field(
        1, ge=1, le=1024, description="compute threads of a run on a CPU; part of what decides its bits"
    )
    scorers: tuple[ScorerEntry, ...]
    sweep: dict[str, Any] = Field(
        default_factory=dict, description="how `itm sweep` tunes, see `harness.spec.sweep`; no run depends on it"
    )

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_of_seeds(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if not 0 <= value <= MOST_SEEDS:
                raise ValueError(f"a number of seeds lies between 1 and {MOST_SEEDS:,}")
            return tuple(range(value))
        if not isinstance(value, (list, tuple)):
            raise ValueError("seeds are a number (3 = the seeds 0, 1 and 2) or a list of whole numbers")
        for seed in value:
            if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= LARGEST_SEED:
                raise ValueError(f"a seed is a whole number from 0 to {LARGEST_SEED}, got {seed!r:.80}")
        return tuple(value)

    @field_validator("scorers", mode="before")
    @classmethod
    def _by_key(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        for key, entry in value.items():
            if entry is not None and not isinstance(entry, Mapping):
                raise ValueError(f"entry '{key}' must be a mapping of settings, got {entry!r:.80}")
        return [{"name": key, **(entry or {}), "key": key} for key, entry in value.items()]

    @model_validator(mode="after")
    def _distinct(self) -> Experiment:
        keys = [entry.key for entry in self.scorers]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"scorers {', '.join(twice)} appear twice; give each entry a 'key' of its own")
        for what, values in (("seeds", self.seeds), ("scorers", keys), ("protocols", self.protocols)):
            if not values:
                raise ValueError(f"{what} is empty; at least one is needed")
        for what, values in (("seeds", self.seeds), ("protocols", self.protocols)):
            if len(set(values)) < len(values):
                raise ValueError(f"{what} {list(values)} repeat; name each once")
        return self


class RunSpec(Spec):
    """One cell, resolved: everything that decides the numbers. Running it is a pure function of it and the data."""

    scorer: str
    variant: str = ""
    config: dict[str, Any]
    image: Component
    text: Component
    dataset: Component
    data_sha256: str
    protocols: tuple[str, ...]
    seed: int
    training: TrainingSpec
    evaluation: EvaluationSpec = EvaluationSpec()
    threads: int = Field(1, ge=1, description="compute threads on a CPU")
    source_sha256: str = Field("", description="of the scorer's source and of what it imports beside it")
    files_sha256: dict[str, str] = Field(
        default_factory=dict, description="of files that the settings name (pretrained weights, word vectors), by key"
    )
    weights: str = Field("", description="file of the weights that are evaluated as they are, if any")
    weights_sha256: str = ""
    protocol_files: dict[str, str] = Field(
        default_factory=dict, description="SHA-256 of the judgement files that the protocols read, by name"
    )
    #: How the settings were found. Not part of what a run is: left out of dumps and so of the run's id.
    tuning: dict[str, Any] = Field(default_factory=dict, exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, values: Any) -> Any:
        """Records of earlier versions hashed the files of plug-ins alone."""
        if isinstance(values, Mapping) and "plugin_sha256" in values:
            values = {key: value for key, value in values.items() if key != "plugin_sha256"}
        return values

    @property
    def label(self) -> str:
        """`scorer` or `scorer.variant`."""
        return f"{self.scorer}.{self.variant}" if self.variant else self.scorer

    @property
    def backbone(self) -> str:
        """The pair of backbones as tables name it."""
        return f"{self.image.name}+{self.text.name}"

    @property
    def run_id(self) -> str:
        """16 hexadecimal digits of the SHA-256 of what decides the run's numbers, see `identity`."""
        return sha256_json(self.identity)[:16]

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the numbers, and nothing else.

        Left out are labels (the variant: its settings count), where data and files lie (their hashes count), and what
        is only measured or stored (`cost_repeats`, `save_scores`).
        """
        identity = self.model_dump(mode="json", exclude={"variant", "weights"})
        for place in ("root", "vocabulary"):
            identity["dataset"].pop(place, None)
        identity["text"].pop("embeddings", None)
        if not self.protocol_files:
            identity.pop("protocol_files")
        for stored in ("save_scores", "cost_repeats"):
            identity["evaluation"].pop(stored)
        for key in self.files_sha256:
            part, _, name = key.partition(".")
            identity[part].pop(name, None)
        return identity


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values have equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_json(value: Any) -> str:
    """SHA-256 of the canonical JSON, hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def build(model: type[SpecT], values: Mapping[str, Any], where: str) -> SpecT:
    """Validate `values` as `model`.

    Args:
        model: the spec class.
        values: keys and values as read.
        where: what is being configured, for the message ("dataset scenes").

    Raises:
        InvalidSpec: one line that names the first offending key, what came, and the nearest valid key.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise InvalidSpec(_explain(model, error, where)) from None


def load_experiment(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Experiment:
    """An experiment from a YAML file, the name of a built-in one, or a mapping, with `key=value` overrides.

    Args:
        source: path, name or mapping.
        overrides: texts such as `training.epochs=3`; values are read as YAML. `scorers.<key>.…` addresses an entry, and
            `scorers=[chan, grm]` selects entries, which keep their settings.

    Raises:
        UnknownName: neither a file nor a built-in name.
        InvalidSpec: not YAML, an unknown key, or a value out of range.
    """
    values = dict(source) if isinstance(source, Mapping) else read_yaml(find_experiment(source))
    where = f"experiment '{values.get('name', source)!s:.80}'"
    values["scorers"] = _entries_by_key(values.get("scorers"), where)
    if values["scorers"] is None:
        del values["scorers"]
    for text in overrides:
        _override(values, text)
    return build(Experiment, values, where)


def _entries_by_key(entries: Any, where: str) -> Any:
    """A list of entries as a mapping by key, by which overrides address them; anything else is left to the model."""
    if isinstance(entries, str):
        entries = [entries]
    if not isinstance(entries, (list, tuple)):
        return entries
    found: dict[str, Any] = {}
    for entry in entries:
        if not isinstance(entry, (str, Mapping)):
            raise InvalidSpec(f"{where}: an entry of scorers is a name or a mapping of settings, got {entry!r:.80}")
        entry = {"name": entry} if isinstance(entry, str) else dict(entry)
        key = entry.get("key") or entry.get("name")
        if key in found or not isinstance(key, str):  # refused by the model, which explains it
            return entries
        found[key] = entry
    return found


def builtin_experiments() -> dict[str, Path]:
    """Names and files of the experiments that come with the harness."""
    return {path.stem: path for path in sorted((Path(__file__).parents[1] / "experiments").glob("*.yaml"))}


def find_experiment(source: str | Path) -> Path:
    """The file of a built-in name or a path."""
    known = builtin_experiments()
    if str(source) in known:
        return known[str(source)]
    path = Path(source)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return path
    raise UnknownName("experiment", str(source), known)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping from a file.

    Raises:
        InvalidSpec: missing, unreadable, not YAML, or not a mapping.
    """
    return strict_yaml.read_file(path)


def parse_setting(text: str, example: str) -> tuple[str, Any]:
    """The key and the value of a `key=value` text; the value is YAML.

    Raises:
        InvalidSpec: not of that form.
    """
    path, separator, raw = text.partition("=")
    if not separator or not all(path.split(".")):
        raise InvalidSpec(f"--set takes key=value, got '{text:.200}'; for example --set {example}")
    return path, strict_yaml.parse(raw, f"the value of --set {path:.80}")


def _override(values: dict[str, Any], text: str) -> None:
    path, value = parse_setting(text, "training.epochs=3")
    if path == "scorers":
        values["scorers"] = chosen = _selected(values, value)
        sweep = values.get("sweep")
        if isinstance(chosen, Mapping) and isinstance(sweep, Mapping) and isinstance(sweep.get("scorers"), Mapping):
            names = {*chosen, *(entry.get("name") for entry in chosen.values() if isinstance(entry, Mapping))}
            values["sweep"] = {**sweep, "scorers": {k: v for k, v in sweep["scorers"].items() if k in names}}
        return
    node: dict[str, Any] = values
    steps = _steps(values, path)
    for step in steps[:-1]:
        child = node.get(step)
        if isinstance(child, str):  # shorthand of a component: `image: regions`
            child = {"name": child}
        if child is not None and not isinstance(child, dict):
            raise InvalidSpec(f"--set {path}: '{step}' holds {child!r:.80}, which has no keys below it")
        if node is values.get("scorers") and step not in node:
            raise UnknownName("scorer entry in --set", step, node)
        node[step] = child = dict(child or {})
        node = child
    node[steps[-1]] = value


def _selected(values: Mapping[str, Any], chosen: Any) -> Any:
    """The entries that `--set scorers=…` names, with the settings that the experiment gives them.

    A variant of an entry (`grm.no_uncertainty` of `grm`) takes over the entry's settings; a name that is not in the
    experiment is added with its defaults. Settings in the override come on top.
    """
    name = f"experiment '{values.get('name', '')}'"
    known = values.get("scorers")
    wanted = _entries_by_key(chosen, "--set scorers")
    if not isinstance(known, Mapping) or not isinstance(wanted, Mapping):
        return wanted
    result: dict[str, Any] = {}
    for key, given in wanted.items():
        if given is not None and not isinstance(given, Mapping):
            raise InvalidSpec(f"--set scorers: entry '{key}' must be a mapping of settings, got {given!r:.80}")
        entry = dict(given or {})
        base = known.get(key, known.get(key.partition(".")[0]))
        if base is None or "weights" in entry:
            result[key] = entry
            if "weights" not in entry:
                log.info("scorer '%s' is not an entry of %s: it is added with the experiment's settings", key, name)
            continue
        base = {"name": base} if isinstance(base, str) else dict(base or {})
        if key not in known:
            log.info("scorer '%s' takes over the settings of entry '%s' of %s", key, key.partition(".")[0], name)
            base.pop("name", None)
            base.pop("key", None)
        result[key] = _laid_over(base, {k: v for k, v in entry.items() if k != "name" or key not in known})
    return result


def _laid_over(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`more` on top of `base`, mapping by mapping."""
    merged = dict(base)
    for key, value in more.items():
        below = merged.get(key)
        merged[key] = _laid_over(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def _steps(values: Mapping[str, Any], path: str) -> list[str]:
    """The keys of a dotted path.

    Two kinds of key hold a dot themselves: that of an entry (`scorers.scan.t2i_avg.config.pooling`), and the setting that
    a sweep varies (`sweep.space.training.margin`, `sweep.scorers.chan.config.temperature.low`).
    """
    if path.startswith("sweep.space."):
        return ["sweep", "space", *_setting_steps(path.removeprefix("sweep.space."))]
    for front in ("scorers", "sweep.scorers"):
        entries = values.get("scorers")
        if path.startswith(f"{front}.") and isinstance(entries, Mapping):
            rest = path.removeprefix(f"{front}.")
            for key in sorted(entries, key=len, reverse=True):
                if rest == key or rest.startswith(f"{key}."):
                    below = rest.removeprefix(key).removeprefix(".")
                    inner = below.split(".") if front == "scorers" else _setting_steps(below)
                    return [*front.split("."), key, *filter(None, inner)]
    return path.split(".")


def _setting_steps(path: str) -> list[str]:
    """`training.margin.low` -> `training.margin`, `low`."""
    part, _, rest = path.partition(".")
    name, _, below = rest.partition(".")
    return [f"{part}.{name}" if name else part, *filter(None, below.split("."))]


def _explain(model: type[BaseModel], error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    more = f" ({len(error.errors()) - 1} more problems)" if len(error.errors()) > 1 else ""
    if first["type"] == "extra_forbidden":
        fields = _fields_at(model, first["loc"][:-1])
        return f"{where}: unknown key '{path}'{did_you_mean(str(first['loc'][-1]), fields)}{more}"
    if first["type"] == "missing":
        return f"{where}: key '{path}' is missing{more}"
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    at = f"'{path}': " if path else ""
    got = f", got {first['input']!r:.80}" if path else ""
    return f"{where}: {at}{message}{got}{more}"


def _fields_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Valid keys of the model that a location inside `model` leads to."""
    current: Any = model
    for part in path:
        if isinstance(part, int) or not hasattr(current, "model_fields") or part not in current.model_fields:
            continue
        annotation = current.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        current = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), current)
    return list(getattr(current, "model_fields", {}))
