"""GRM: granularity-aware, region-uncertain alignment (AAAI 2026)."""

from harness.methods.grm.scorer import Grm

__all__ = ["Grm"]
