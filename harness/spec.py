"""Specs: what a user may set, what one run is, and how both are read and checked."""

from harness.settings.base import Spec, SpecT, build, canonical_json, sha256_json
from harness.settings.components import Component, PartConfig
from harness.settings.experiment import EvaluationSpec, Experiment, FeatureSpec, FeedingSpec, ScorerEntry, TrainingSpec
from harness.settings.reading import builtin_experiments, find_experiment, load_experiment, parse_setting
from harness.settings.run import RunSpec

__all__ = [
    "Component",
    "EvaluationSpec",
    "Experiment",
    "FeatureSpec",
    "FeedingSpec",
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
