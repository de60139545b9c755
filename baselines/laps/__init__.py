"""LAPS (CVPR 2024): patches selected by their relevance to the caption."""

from harness.baselines.laps.scorer import Laps

__all__ = ["Laps"]
