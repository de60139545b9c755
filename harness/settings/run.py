"""One cell of an experiment, resolved and hashed into the run's id.

Equal resolved specs have equal ids, so a second call runs only what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from harness.settings.base import Spec, sha256_json
from harness.settings.components import Component, Options
from harness.settings.experiment import EvaluationSpec, FeedingSpec, TrainingSpec


class Labelled:
    """What a run and its record are called."""

    @property
    def label(self: Any) -> str:
        """`scorer` or `scorer.variant`."""
        return f"{self.scorer}.{self.variant}" if self.variant else self.scorer

    @property
    def title(self: Any) -> str:
        """The label and the seed."""
        return f"{self.label} seed {self.seed}"


class RunSpec(Labelled, Spec):
    """One cell, resolved: everything that decides the numbers. Running it is a pure function of it and the data."""

    scorer: str
    variant: str = ""
    config: Options
    image: Component
    text: Component
    dataset: Component
    data_sha256: str
    protocols: tuple[str, ...]
    seed: int
    training: TrainingSpec
    evaluation: EvaluationSpec = EvaluationSpec()
    features: Literal["float16", "float32", "live"] | None = Field(
        None,
        description="how the outputs of frozen towers are had: from the store, in this type, or computed in every step; "
        "null = no tower is frozen",
    )
    threads: int = Field(1, ge=1, description="compute threads on a CPU, of each process")
    devices: int = Field(1, ge=1, description="processes that train together, each on a device of its own")
    feeding: FeedingSpec = Field(FeedingSpec(), description="how batches are read; not part of the run's identity")
    source_sha256: str = Field("", description="of the scorer's source and of what it imports beside it")
    files_sha256: dict[str, str] = Field(
        default_factory=dict, description="of files that the settings name (pretrained weights, word vectors), by key"
    )
    weights: str = Field("", description="file of the weights that are evaluated as they are, if any")
    weights_sha256: str = ""
    protocol_files: dict[str, str] = Field(
        default_factory=dict, description="SHA-256 of the judgement files that the protocols read, by name"
    )
    plugins_sha256: dict[str, str] = Field(
        default_factory=dict,
        description="of the source of plug-ins beside the scorer, by what they are to the run: dataset, image, text, "
        "protocol.NAME, metric.NAME",
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

    @model_serializer(mode="wrap")
    def _without_unused(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Runs without a frozen tower, without such plug-ins, or on one device, are written, and so identified, as before
        there was a choice; `feeding` is written where something is set there."""
        unused = {"features"} if self.features is None else set()
        unused |= {"devices"} if self.devices == 1 else set()
        unused |= set() if self.plugins_sha256 else {"plugins_sha256"}
        unused |= {"feeding"} if self.feeding == FeedingSpec() else set()
        return {key: value for key, value in serialise(self).items() if key not in unused}

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process the parts are plain again: a plug-in's classes may not be known there yet."""
        return RunSpec.model_validate, (self.complete,)

    @property
    def complete(self) -> dict[str, Any]:
        """The settings as JSON values, with how they were found: what makes the same run, and the same record of it."""
        return self.model_dump(mode="json") | ({"tuning": self.tuning} if self.tuning else {})

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
        is only measured or stored (`cost_repeats`, `save_scores`, `diagnostics`), how batches are read, and whether scores
        come tile by tile (`streaming`).
        """
        identity = self.model_dump(mode="json", exclude={"variant", "weights", "feeding"})
        identity["training"] = self.training.identity
        for place in ("root", "vocabulary", "validation"):  # the last says which rows: their hash counts
            identity["dataset"].pop(place, None)
        identity["text"].pop("embeddings", None)
        if not self.protocol_files:
            identity.pop("protocol_files")
        for stored in ("save_scores", "cost_repeats", "diagnostics", "streaming"):
            identity["evaluation"].pop(stored, None)
        for key in self.files_sha256:
            part, _, name = key.partition(".")
            identity[part].pop(name, None)
        return identity
