"""Datasets: splits of images and captions, with the relevance between them."""

from harness.datasets.catalogue import DATASETS, identify, open_dataset, recognised

__all__ = ["DATASETS", "identify", "open_dataset", "recognised"]
