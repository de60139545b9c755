"""Specs: what a user may set, what one run is, and how both are read and checked."""

from harness.spec.base import Spec, SpecT, build, canonical_json, sha256_json
from harness.spec.components import Component, PartConfig
from harness.spec.experiment import EvaluationSpec, Experiment, ScorerEntry, TrainingSpec
from harness.spec.reading import builtin_experiments, find_experiment, load_experiment, parse_setting
from harness.spec.run import RunSpec

__all__ = [
    "Component",
    "EvaluationSpec",
    "Experiment",
    "PartConfig",
    "RunSpec",
    "ScorerEntry",
    "Spec",
    "SpecT",
    "TrainingSpec",
    "build",
    "builtin_experiments",
    "canonical_json",
    "find_experiment",
    "load_experiment",
    "parse_setting",
    "sha256_json",
]
