"""The parts of a record that several readers ask for, typed: costs, training, tuning, evaluation, environment, code.

A part keeps what it was given: a field that was not measured is None when read and absent from the file, and a field that
this version does not know stays in the record.
"""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from harness.errors import counted
from harness.spec import Spec


class Part(Spec):
    """Base of the parts: unknown fields are kept, fields that were not given are not written."""

    model_config = ConfigDict(extra="allow")

    @model_serializer(mode="wrap")
    def _given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if key in self.model_fields_set}


class Cost(Part):
    """What a run costs; each name carries its unit. See `harness.measure.cost.measure_cost`.

    >>> Cost(query_ms_p50=2.0, other_cpu_percent=40.0).figures
    {'query_ms_p50': 2.0, 'other_cpu_percent': 40.0}
    """

    __pydantic_extra__: dict[str, float]

    encode_image_ms_p50: float | None = None
    encode_image_ms_p95: float | None = None
    encode_text_ms_p50: float | None = None
    encode_text_ms_p95: float | None = None
    encode_images_per_second: float | None = None
    encode_texts_per_second: float | None = None
    pairs_per_second: float | None = None
    timed_pairs: float | None = None
    query_ms_p50: float | None = None
    query_ms_p95: float | None = None
    gallery_images: float | None = None
    index_bytes_per_image: float | None = None
    params_millions: float | None = None
    trainable_params_millions: float | None = None
    peak_memory_mib: float | None = None
    peak_rss_mib: float | None = None
    peak_gpu_allocated_mib: float | None = None
    peak_gpu_reserved_mib: float | None = None
    gpu_in_use_mib: float | None = None
    other_cpu_percent: float | None = Field(None, description="share of all CPUs that other processes took meanwhile")
    train_step_ms_p50: float | None = None
    train_step_ms_p95: float | None = None
    train_waiting_percent: float | None = Field(
        None, description="share of the time of training steps that they waited for their batch"
    )
    train_other_cpu_percent: float | None = Field(None, description="likewise, while training steps were timed")
    train_energy_wh: float | None = Field(
        None, description="energy of the whole training, validation included; of what `train_energy_covers` names"
    )
    train_energy_covers: str | None = Field(
        None, description="what was measured: cpu package, gpu, gpu (power samples)"
    )
    energy_wh_per_million_pairs: float | None = Field(
        None, description="energy of scoring encoded pairs; of what `energy_covers` names"
    )
    energy_covers: str | None = Field(None, description="likewise, while pairs were scored")

    @field_validator("*", mode="before")
    @classmethod
    def _is_absent_rather_than_null(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("a cost is a number; leave out what was not measured")
        return value

    @property
    def figures(self) -> dict[str, float]:
        """The figures that were measured, by key."""
        return {key: value for key, value in self.model_dump().items() if isinstance(value, int | float)}


class Epoch(Part):
    """One epoch of a training: mean losses, validation metrics, the learning rate at its end, seconds.

    `watched` holds metrics of the test split, where it was watched (`evaluation.watch_test`): no result, and nothing was
    chosen by them.
    """

    epoch: int = 0
    losses: dict[str, float] = Field(default_factory=dict)
    validation: dict[str, float] = Field(default_factory=dict)
    learning_rate: float | None = None
    seconds: float | None = None
    watched: dict[str, float] = Field(default_factory=dict)
    energy_wh: dict[str, float] = Field(default_factory=dict, description="by what was measured")


class Devices(Part):
    """The devices of a training in several processes, one each."""

    count: int = 0
    names: tuple[str, ...] = ()
    backend: str = Field("", description="by which they exchange tensors: gloo or nccl")
    first_process_memory: dict[str, float] = Field(
        default_factory=dict, description="peaks of the first process, MiB, see `harness.measure.system.peak_memory`"
    )


class Product(Part):
    """The library that multiplied the matrices of a training, `torch` or `onednn`, and how long a step took by each."""

    backend: str = "torch"
    step_ms: dict[str, float] = Field(default_factory=dict, description="fastest of few, where steps were timed")


class Training(Part):
    """How a run was trained."""

    epochs: int | None = None
    steps: int | None = None
    seconds: float | None = None
    history: tuple[Epoch, ...] = ()
    devices: Devices | None = Field(None, description="of a training in several processes")
    product: Product | None = Field(None, description="of a training on a CPU")


class Budget(Spec):
    """What was spent on trials that came to an end: their number, optimiser steps, and wall time in seconds."""

    trials: int
    steps: int
    seconds: float


class Tuning(Part):
    """How the settings of a run were found; 0 trials = they are the published ones or somebody's choice."""

    trials: int = 0
    budget: Budget | None = None
    study: str | None = None
    seeds_per_trial: int | None = None

    @property
    def is_known(self) -> bool:
        """Whether anybody said how many trials there were; of a foreign run it may not be known.

        >>> Tuning().is_known, Tuning(trials=0).is_known
        (False, True)
        """
        return "trials" in self.model_fields_set


class FurtherMetric(Part):
    """What a metric beside those of the protocols is, so that a table can be made of it without its code."""

    better: str = Field("", description="higher or lower; empty = not recorded")
    description: str = ""
    plugin: str = Field("", description="plug-in file, or entry point, that defines it; empty = the harness does")
    sha256: str = Field("", description="of the plug-in's source")


class Evaluation(Part):
    """What the metrics rest on: the tie rule, captions that repeat, protocols' files, further metrics, other tie rules."""

    ties: str | None = None
    duplicate_captions: dict[str, Any] | None = None
    protocols: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, FurtherMetric] = Field(
        default_factory=dict, description="metrics beside those of the protocols, by name"
    )
    ensemble: tuple[str, ...] | None = Field(None, description="run ids whose scores were averaged")
    other_ties: dict[str, dict[str, dict[str, float]]] = Field(default_factory=dict)


class SourceFile(Spec):
    """A file that a run was made from, by its name without folders."""

    name: str
    sha256: str


class Source(Part):
    """What a foreign run was made from: results of other code, as its author named them."""

    files: tuple[SourceFile, ...] = ()
    shape: str = Field("", description="what the files hold, in words")
    reading: dict[str, Any] = Field(
        default_factory=dict, description="what the author said of the files, by option, where it is not the default"
    )
    depths: dict[str, int] = Field(
        default_factory=dict,
        description="of candidate lists, by direction: items that every list has; ranks from there on are not known, and "
        "stand at the end of the gallery",
    )
    best_captions_known: bool = Field(
        True, description="whether ranks.npz names the best caption of each image; else it names the first"
    )


class WordMean(Spec):
    """A word or word piece with the mean of a reading over its occurrences."""

    word: str
    mean: float
    count: int


class Distribution(Part):
    """How a reading of a scorer is distributed over a split, see `harness.scorer.Reading`."""

    title: str = Field("", description="what is read, with its unit")
    each: str = Field("", description="what there is one value of: image, patch, region, caption or word")
    count: int = Field(description="values")
    mean: float
    sd: float = Field(description="standard deviation over the values")
    deciles: tuple[float, ...] = Field(description="minimum, the nine deciles, maximum", min_length=11, max_length=11)
    by_region: tuple[float, ...] = Field((), description="mean of the first, second, ... region of an image")
    lowest_words: tuple[WordMean, ...] = Field((), description="words with the lowest means, lowest first")
    highest_words: tuple[WordMean, ...] = Field((), description="words with the highest means, highest first")


class LevelAlone(Part):
    """What one level of a score ranks by itself; the ranks are in `level_ranks.npz`."""

    weight: float = Field(description="in the score that ranks; 0 = trained only")
    metrics: dict[str, dict[str, float]] = Field(description="by protocol")


class Diagnostics(Part):
    """What the levels of a score rank alone, and how its readings are distributed, on the test split."""

    levels: dict[str, LevelAlone] = Field(default_factory=dict)
    readings: dict[str, Distribution] = Field(default_factory=dict)


class Environment(Part):
    """Where a run was made, as `harness.records.environment.describe` finds it; None where unknown or without a GPU."""

    python: str | None = None
    torch: str | None = None
    platform: str | None = Field(None, description="system and machine type")
    device: str | None = Field(None, description="cpu or cuda")
    processor: str | None = Field(None, description="the CPU's model")
    cpus: int | None = Field(None, description="logical CPUs that the process may use")
    threads: int | None = Field(None, description="of torch")
    wait_policy: str | None = Field(
        None, description="OpenMP's setting for threads that wait: passive = they sleep; default = none, they spin"
    )
    workers: int | None = Field(
        None, description="of the command that made it, itself included; they may have computed on the same machine"
    )
    cpu_mhz: float | None = Field(None, description="mean clock at that moment")
    gpu: str | None = Field(None, description="its name")
    driver: str | None = None
    cuda: str | None = Field(None, description="version that torch was built for")
    packages: dict[str, str] = Field(default_factory=dict, description="versions that can move a number")
    products: dict[str, Any] = Field(default_factory=dict, description="matrix products that the engine chose")

    @property
    def computed_on(self) -> str:
        """The GPU's name, or the processor and the threads that were used of it.

        >>> Environment(processor="EPYC", threads=2).computed_on
        'EPYC, 2 threads'
        """
        if self.gpu:
            return self.gpu
        count = f", {counted(self.threads, 'thread')}" if self.threads else ""
        return f"{self.processor or self.device or 'unknown device'}{count}"


class Code(Part):
    """Which code made a record; `dirty` is None where git does not say."""

    revision: str = "unknown"
    dirty: bool | None = None
    engine_sha256: str = ""
    plugin: str = Field(
        "", description="plug-in file, or entry point of a package, that defines the scorer; empty = the harness does"
    )
    plugins: dict[str, str] = Field(
        default_factory=dict,
        description="likewise of the other parts of the run: dataset, image, text, protocol.NAME, metric.NAME",
    )
