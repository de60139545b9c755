"""An experiment as a user writes it: a grid of scorers and seeds on one dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from harness.settings.base import Spec
from harness.settings.components import Component
from harness.settings.sweep import SweepSettings

#: Most seeds of one experiment, and the largest seed that every generator of random numbers takes.
MOST_SEEDS, LARGEST_SEED = 1000, 2**32 - 1
#: Most loader processes of a run.
MOST_LOADERS = 256
#: How `image_augmentation` draws and makes its views: raise it when a seed gives other views than before.
VIEWS = 2


#: Settings of a training that say how a step is computed, not what it computes, and their defaults.
COMPUTING = {"micro_batch": None, "gradient_checkpointing": False, "compile": False, "product": "torch"}

#: In place of a dataset's name: its folder says which layout it has.
INFERRED = "auto"


def with_inferred_name(dataset: Any) -> Any:
    """A dataset that has a folder and no name, with the name that stands for finding it out; anything else as it is.

    >>> with_inferred_name({"root": "flickr8k"})
    {'name': 'auto', 'root': 'flickr8k'}
    """
    if not isinstance(dataset, Mapping) or "name" in dataset:
        return dataset
    options = dataset.get("options")
    has_folder = "root" in dataset or (isinstance(options, Mapping) and "root" in options)
    return {"name": INFERRED, **dataset} if has_folder else dataset


class TrainingSpec(Spec):
    """How a scorer is trained. A scorer's `recipe` gives its published values; an experiment overrides them."""

    epochs: int = Field(25, ge=0, description="passes over the training pairs; 0 = evaluate without training")
    batch_size: int = Field(128, ge=2, description="pairs per step")
    pairs: Literal["all", "one_per_image"] = Field(
        "all", description="captions of an image an epoch: all, or one drawn"
    )
    optimizer: Literal["adam", "adamw"] = Field("adamw", description="Adam, or AdamW with decoupled weight decay")
    learning_rate: float = Field(5e-4, gt=0, description="largest learning rate, after the warm-up")
    backbone_learning_rate_scale: float = Field(0.1, ge=0, description="for pretrained backbones; 0 freezes them")
    weight_decay: float = Field(1e-4, ge=0, description="of the optimiser")
    schedule: Literal["step", "cosine", "constant"] = Field(
        "step", description="course of the learning rate after the warm-up"
    )
    decay_epochs: tuple[int, ...] = Field((15,), description="step schedule: epochs at which the rate is multiplied")
    decay_factor: float = Field(0.1, gt=0, le=1, description="step schedule: what the rate is multiplied by")
    warmup_steps: int = Field(0, ge=0, description="linear increase of the learning rate")
    gradient_clip: float = Field(2.0, gt=0, description="largest L2 norm of all gradients")
    objective: Literal["triplet", "infonce"] = Field(
        "triplet", description="triplet loss with a margin, or the contrastive InfoNCE"
    )
    margin: float = Field(0.2, gt=0, description="triplet: in units of the score")
    temperature: float = Field(0.05, gt=0, description="infonce")
    all_negatives_epochs: int = Field(1, ge=0, description="triplet: first epochs with all negatives, then the hardest")
    loss_ramp_epochs: int = Field(
        0, ge=0, description="first epochs whose loss is multiplied by step / steps of the epoch, from 0 up"
    )
    region_drop: float = Field(0.0, ge=0, lt=1, description="probability of dropping a region")
    word_masking: float = Field(0.0, ge=0, lt=1, description="share of words that are masked, replaced or deleted")
    image_augmentation: Literal["none", "flip", "crop_flip"] = Field(
        "none", description="random views of a picture: flipped, or cropped and flipped"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="auto: bfloat16 on a GPU")
    micro_batch: int | None = Field(
        None,
        ge=1,
        description="most images and captions encoded at once; the loss still sees the whole batch; null = the batch",
    )
    gradient_checkpointing: bool = Field(
        False, description="towers compute their layers again in the backward pass, instead of keeping them in memory"
    )
    compile: bool = Field(False, description="towers are compiled by torch.compile while they are trained")
    product: Literal["torch", "onednn", "tune"] = Field(
        "torch",
        description="library of float32 matrix products on a CPU; tune: the one by which a step is faster, timed once "
        "before the training",
    )

    @model_serializer(mode="wrap")
    def _without_unused(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """How a step is computed is written only where it was chosen: what was identified before it could be stays so."""
        return {key: value for key, value in serialise(self).items() if key not in COMPUTING or value != COMPUTING[key]}

    @model_validator(mode="after")
    def _compiled_products_are_its_own(self) -> TrainingSpec:
        if self.compile and self.product != COMPUTING["product"]:
            raise ValueError(
                f"product is {self.product}, which does not reach what compile compiles; set compile=false or product=torch"
            )
        return self

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the course of a training: the settings, and how views are made where there are any."""
        views = {} if self.image_augmentation == "none" else {"views": VIEWS}
        return self.model_dump(mode="json") | views


class EvaluationSpec(Spec):
    """How a trained scorer is evaluated and its cost measured."""

    ties: Literal["pessimistic", "optimistic", "expected"] = Field(
        "pessimistic", description="rank of a positive among equal scores: worst, best or expected"
    )
    batch_size: int = Field(256, ge=1, description="items encoded at once")
    cost_repeats: int = Field(30, ge=3, description="timed repetitions of each latency figure, after a warm-up")
    save_scores: bool = Field(False, description="keep the whole similarity matrix as scores.npy")
    streaming: bool | Literal["auto"] = Field(
        "auto",
        description="count ranks tile by tile, with the same numbers; auto: where the scores do not fit in memory",
    )
    diagnostics: bool = Field(
        True,
        description="record what each level of a score ranks alone and what gates and regions do, where it has any",
    )
    metrics: tuple[str, ...] = Field(
        (), description="further metrics beside those of the protocols: mrr, or those of plug-ins; see `itm ls metrics`"
    )
    watch_test: bool = Field(
        False,
        description="evaluate the test split after each epoch too, and keep it apart, to say what choosing the epoch on it "
        "would have bought; nothing is chosen by it",
    )

    @field_validator("metrics", mode="after")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"metrics {list(value)} repeat; name each once")
        return value

    @field_validator("streaming", mode="before")
    @classmethod
    def _yes_no_or_auto(cls, value: Any) -> Any:
        if value != "auto" and not isinstance(value, bool):
            raise ValueError("true, false or auto")
        return value

    @model_serializer(mode="wrap")
    def _without_unused(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Where nothing is asked for, written as before there was a choice."""
        unused = {"streaming": "auto", "watch_test": False}
        written = {key: value for key, value in serialise(self).items() if key not in unused or value != unused[key]}
        return written if self.metrics else {key: value for key, value in written.items() if key != "metrics"}


class FeatureSpec(Spec):
    """How the outputs of frozen towers are had: from the feature store, or computed in every step."""

    store: bool = Field(True, description="compute them once per tower and dataset and keep them in the cache folder")
    dtype: Literal["float16", "float32"] = Field("float16", description="of the values that are kept")


class FeedingSpec(Spec):
    """How the batches of a training are read. It decides how fast a run is, and none of its numbers."""

    workers: Literal["auto"] | int = Field(
        "auto",
        description="loader processes per run, which read and decode ahead of the step; 0 = the run's own process",
    )
    prefetch: int = Field(2, ge=1, le=64, description="batches that each loader process reads ahead")

    @field_validator("workers", mode="before")
    @classmethod
    def _a_number_or_auto(cls, value: Any) -> Any:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if value != "auto" and not (is_number and 0 <= value <= MOST_LOADERS):
            raise ValueError(f"a number of processes from 0 to {MOST_LOADERS}, or auto")
        return value


class Want(Spec):
    """A file that an entry was published with and that it can do without."""

    setting: str = Field(description="setting that names the file, within the entry: text.embeddings")
    what: str = Field(description="what it is")
    where: str = Field(description="where one gets it")
    otherwise: str = Field(description="what happens without it")


class ScorerEntry(Spec):
    """One row of an experiment: a scorer, its overrides, and a key by which `--set scorers.<key>...` addresses it."""

    name: str = Field(description="registered name, with a variant after a dot: scan, grm.no_uncertainty")
    key: str = Field(
        "", description="name of the entry, where two entries have one scorer; the scorer's name by default"
    )
    config: dict[str, Any] = Field(default_factory=dict, description="options of the scorer")
    image: Component | None = Field(
        None, description="image backbone of this entry; null = that of the scorer or of the experiment"
    )
    text: Component | None = Field(
        None, description="text backbone of this entry; null = that of the scorer or of the experiment"
    )
    training: dict[str, Any] = Field(
        default_factory=dict, description="overrides of the experiment's training for this entry"
    )
    weights: str = Field(
        "", description="a saved model (.safetensors), evaluated as it is; excludes all other overrides"
    )
    tuning: dict[str, Any] = Field(
        default_factory=dict, description="how the settings were found, for the record: trials, budget, study"
    )
    # Left out of dumps, as no run and no page depends on them.
    source: str = Field("", exclude=True, description="where its settings are published")
    differs: str = Field("", exclude=True, description="what differs from that publication")
    wants: tuple[Want, ...] = Field((), exclude=True, description="files that it was published with and can do without")

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

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="what its pages and its runs are called")
    description: str = Field("", description="what it compares, for its pages")
    expects: str = Field(
        "", description="title of the published dataset that it is about (flickr30k, mscoco); other data are warned of"
    )
    dataset: Component = Field(
        description="what is trained and tested on; a folder's layout is found where no name is given"
    )
    protocols: tuple[str, ...] = Field(
        ("full",), description="which queries, gallery and positives the numbers are about"
    )
    seeds: tuple[int, ...] = Field(
        (0, 1, 2), description="a number of seeds (3 = the seeds 0, 1 and 2), or a list of them"
    )
    image: Component = Field(Component(name="regions"), description="image backbone of every scorer that names none")
    text: Component = Field(Component(name="bigru"), description="text backbone of every scorer that names none")
    training: dict[str, Any] = Field(default_factory=dict, description="overrides of each scorer's published recipe")
    evaluation: EvaluationSpec = Field(
        EvaluationSpec(), description="how a trained scorer is evaluated and its cost measured"
    )
    features: FeatureSpec = Field(FeatureSpec(), description="the outputs of frozen towers")
    feeding: FeedingSpec = Field(FeedingSpec(), description="how batches are read; no number depends on it")
    threads: int = Field(
        1, ge=1, le=1024, description="compute threads of a run on a CPU; part of what decides its bits"
    )
    devices: int = Field(
        1, ge=1, le=1024, description="GPUs (on a CPU: processes) that train one run together and share each batch"
    )
    scorers: tuple[ScorerEntry, ...] = Field(description="the rows of the leaderboard")
    sweep: SweepSettings = Field(SweepSettings(), description="how `itm sweep` tunes; no run depends on it")
    # Left out of dumps, as no run and no page depends on it.
    again: dict[str, Any] = Field(
        default_factory=dict, exclude=True, description="settings of the run that this experiment makes again"
    )

    @field_validator("dataset", mode="before")
    @classmethod
    def _name_from_the_folder(cls, value: Any) -> Any:
        return with_inferred_name(value)

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
