"""Benchmark and ablation harness for fine-grained image-text matching.

Importing this package is cheap on purpose: it pulls in neither torch nor pandas, so that `itm --help` and tools
that only read records start at once. Import the part you need, for instance `harness.registry` or `harness.metrics`.
"""

__version__ = "0.1.0"
