"""Datasets: splits of images and captions, with the relevance between them."""

from harness.datasets.catalogue import DATASETS, open_dataset

__all__ = ["DATASETS", "open_dataset"]
