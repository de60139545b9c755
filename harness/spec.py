"""Specifications: what to run, validated, immutable, and hashed into a run's id.

An `Experiment` is what a user writes (YAML and `--set`); a `RunSpec` is one cell of it with every default filled in.
Equal resolved specs have equal ids, so a second call runs only what is missing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_serializer, model_validator

from harness.errors import InvalidSpec, UnknownName, did_you_mean

SpecT = TypeVar("SpecT", bound="Spec")


class Spec(BaseModel):
    """Base of everything configurable: immutable, keyword-only, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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
    scorers: tuple[ScorerEntry, ...]
    sweep: dict[str, Any] = Field(
        default_factory=dict, description="how `itm sweep` tunes, see `harness.sweeps.settings`; no run depends on it"
    )

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_of_seeds(cls, value: Any) -> Any:
        return tuple(range(value)) if isinstance(value, int) else value

    @field_validator("scorers", mode="before")
    @classmethod
    def _by_key(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return [{"name": key, **(entry or {}), "key": key} for key, entry in value.items()]
        return value

    @model_validator(mode="after")
    def _distinct(self) -> Experiment:
        keys = [entry.key for entry in self.scorers]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"scorers {', '.join(twice)} appear twice; give each entry a 'key' of its own")
        for what, values in (("seeds", self.seeds), ("scorers", keys), ("protocols", self.protocols)):
            if not values:
                raise ValueError(f"{what} is empty; at least one is needed")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} repeat; each seed is one run")
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
    plugin_sha256: str = Field("", description="of the plug-in file that defines the scorer, if one does")
    weights: str = Field("", description="file of the weights that are evaluated as they are, if any")
    weights_sha256: str = ""
    protocol_files: dict[str, str] = Field(
        default_factory=dict, description="SHA-256 of the judgement files that the protocols read, by name"
    )
    #: How the settings were found. Not part of what a run is: left out of dumps and so of the run's id.
    tuning: dict[str, Any] = Field(default_factory=dict, exclude=True)

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
        """16 hexadecimal digits of the SHA-256 of the canonical JSON.

        Where the data, the vocabulary and given weights lie does not count (their SHA-256 does), so moving them keeps
        the runs.
        """
        identity = self.model_dump(mode="json")
        for place in ("root", "vocabulary"):
            identity["dataset"].pop(place, None)
        identity["text"].pop("embeddings", None)
        identity.pop("weights")
        if not self.protocol_files:
            identity.pop("protocol_files")
        return sha256_json(identity)[:16]


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


def load_experiment(source: str | Path | Mapping[str, Any], overrides: tuple[str, ...] | list[str] = ()) -> Experiment:
    """An experiment from a YAML file, the name of a built-in one, or a mapping, with `key=value` overrides.

    Args:
        source: path, name or mapping.
        overrides: texts such as `training.epochs=3`; values are read as YAML. `scorers.<key>.…` addresses an entry.

    Raises:
        UnknownName: neither a file nor a built-in name.
        InvalidSpec: not YAML, an unknown key, or a value out of range.
    """
    values = dict(source) if isinstance(source, Mapping) else read_yaml(find_experiment(source))
    if isinstance(values.get("scorers"), (list, tuple)):
        entries = [{"name": e} if isinstance(e, str) else dict(e) for e in values["scorers"]]
        keys = [e.get("key") or e.get("name") for e in entries]
        if len(set(keys)) == len(keys):  # addressed by key from here on; repeated keys are refused by the model
            values["scorers"] = dict(zip(keys, entries, strict=True))
    for text in overrides:
        _override(values, text)
    return build(Experiment, values, f"experiment '{values.get('name', source)}'")


def builtin_experiments() -> dict[str, Path]:
    """Names and files of the experiments that come with the harness."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "experiments").glob("*.yaml"))}


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
    """A YAML mapping from a file, by the safe loader.

    Raises:
        InvalidSpec: missing, unreadable, not YAML, or not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSpec(f"cannot read {path}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise InvalidSpec(f"{path} must hold a mapping of keys to values, got {type(values).__name__}")
    return values


def _override(values: dict[str, Any], text: str) -> None:
    path, separator, raw = text.partition("=")
    if not separator or not path:
        raise InvalidSpec(f"--set takes key=value, got '{text}'; for example --set training.epochs=3")
    try:
        value = yaml.safe_load(raw)
    except yaml.YAMLError:
        raise InvalidSpec(f"the value of --set {path} is not valid YAML: '{raw}'") from None
    node: dict[str, Any] = values
    steps = _steps(values, path)
    for step in steps[:-1]:
        child = node.get(step)
        if isinstance(child, str):  # shorthand of a component: `image: regions`
            child = {"name": child}
        if child is not None and not isinstance(child, dict):
            raise InvalidSpec(f"--set {path}: '{step}' holds {child!r}, which has no keys below it")
        if node is values.get("scorers") and step not in node:
            raise UnknownName("scorer entry in --set", step, node)
        node[step] = child = dict(child or {})
        node = child
    node[steps[-1]] = value


def _steps(values: Mapping[str, Any], path: str) -> list[str]:
    """The keys of a dotted path; a scorer entry's key may itself hold a dot (`scorers.scan.t2i_avg.config.pooling`)."""
    entries = values.get("scorers")
    if path.startswith("scorers.") and isinstance(entries, Mapping):
        rest = path.removeprefix("scorers.")
        for key in sorted(entries, key=len, reverse=True):
            if rest == key or rest.startswith(f"{key}."):
                return ["scorers", key, *filter(None, rest.removeprefix(key).split("."))]
    return path.split(".")


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
