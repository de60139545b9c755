"""Benchmark and ablation harness for fine-grained image-text matching, for scripts and notebooks.

    import harness as itm

`itm.create`, `itm.evaluate`, `itm.compare` and the other names of `__all__` are imported when they are first used. Importing
this package is cheap on purpose: it pulls in neither torch nor pandas, so that `itm --help` and tools that only read records
start at once. docs/python.md shows the names by example.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
