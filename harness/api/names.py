"""The names that the other functions take."""

from __future__ import annotations


def list_scorers() -> list[str]:
    """Scorers and their variants, sorted; each is a name that `create` takes.

    >>> "scan" in list_scorers(), "grm.no_uncertainty" in list_scorers()
    (True, True)
    """
    from harness import registry

    found = registry.names()
    return sorted([*found, *(f"{name}.{variant}" for name in found for variant in registry.variants(name))])


def list_datasets() -> list[str]:
    """Datasets that `load_dataset` knows by name; all but `scenes` are layouts, and need the option `root`.

    >>> list_datasets()[-2:]
    ['urban1k', 'webdataset']
    """
    from harness.datasets import DATASETS

    return sorted(DATASETS)


def list_protocols() -> list[str]:
    """Protocols that `evaluate` takes.

    >>> "full" in list_protocols()
    True
    """
    from harness.protocols.catalogue import PROTOCOLS

    return sorted(PROTOCOLS)
