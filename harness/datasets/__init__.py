"""Datasets by name, imported only when used."""

from __future__ import annotations

DATASETS = {
    "scenes": "harness.datasets.scenes:Scenes",
    "karpathy": "harness.datasets.karpathy:Karpathy",
    "precomp": "harness.datasets.precomp:Precomp",
}
