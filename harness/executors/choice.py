"""Where a command's work runs, as its user chose."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.errors import UnknownName
from harness.executors.base import Context, Executor
from harness.executors.crew import new_command
from harness.machine import turnstile
from harness.records.store import RunStore
from harness.similarity import settings as engine

#: Name -> module and class, imported when asked for.
EXECUTORS = {
    "local": "harness.executors.local:LocalExecutor",
    "ray": "harness.executors.ray_cluster:RayExecutor",
    "slurm": "harness.executors.slurm:SlurmExecutor",
}


@dataclass(frozen=True)
class Placement:
    """Where work runs.

    Args:
        executor: one of `EXECUTORS`.
        workers: how many; None = as many as there is room for.
        device: what each computes on, as the user named it.
        plugins: plug-in files.
        options: of the executor, by name.
    """

    executor: str = "local"
    workers: int | None = None
    device: str = "auto"
    plugins: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stays_here(self) -> bool:
        """Whether every worker is a process of this machine.

        >>> Placement("ray", options={"address": "local"}).stays_here, Placement("slurm").stays_here
        (True, False)
        """
        if self.executor == "ray":
            return self.options.get("address", "local") == "local"
        if self.executor == "slurm":
            return bool({"cluster=local", "cluster=debug"}.intersection(self.options.get("options", ())))
        return self.executor == "local"

    def create(self, store: RunStore) -> Executor:
        """The executor, to be entered.

        Raises:
            UnknownName: no such executor.
        """
        if self.executor not in EXECUTORS:
            raise UnknownName("executor", self.executor, EXECUTORS)
        module, _, cls = EXECUTORS[self.executor].partition(":")
        results = store.results.resolve()
        context = Context(results, new_command(), engine.current(), self.plugins, turnstile.is_on())
        return getattr(importlib.import_module(module), cls)(context, **self.options)
