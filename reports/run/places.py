"""Where a run was made, by which code, and from which data: the tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.records.run import RunRecord
from harness.reports.document.model import Table
from harness.reports.run.tables import pairs_table

_DIRTY = {True: "yes: the revision does not hold all of it", False: "no", None: "unknown"}


def environment_tables(record: RunRecord) -> Iterator[Table]:
    """The machine, the code and data, and the versions of packages, as far as they are known."""
    found = (
        pairs_table(_machine(record), "Machine", "machine"),
        pairs_table(_code(record), "Code and data", "code"),
        pairs_table(list(record.environment.packages.items()), "Versions of packages", "packages", collapsed=True),
    )
    yield from (table for table in found if table is not None)


def _machine(record: RunRecord) -> list[tuple[str, Any]]:
    environment, devices = record.environment, record.training.devices
    trained = f"{devices.count}, by {devices.backend}: {', '.join(devices.names)}" if devices else None
    return [
        ("device", environment.device),
        ("GPU", environment.gpu),
        ("driver, CUDA", " · ".join(filter(None, (environment.driver, environment.cuda)))),
        ("processor", environment.processor),
        ("CPUs it could use", environment.cpus),
        ("clock", None if environment.cpu_mhz is None else f"{environment.cpu_mhz:,.0f} MHz"),
        ("threads", environment.threads),
        ("threads that wait", environment.wait_policy),
        ("runs side by side", environment.workers),
        ("devices of the training", trained),
        ("platform", environment.platform),
        ("Python", environment.python),
        ("torch", environment.torch),
        *((f"matrix products, {name}", _product(found)) for name, found in environment.products.items()),
        ("started", record.started),
        ("finished", record.finished),
    ]


def _code(record: RunRecord) -> list[tuple[str, Any]]:
    code, spec = record.code, record.spec
    files = spec.get("files_sha256")
    judgements = spec.get("protocol_files")
    return [
        ("run", record.run_id),
        ("origin", record.code_origin),
        ("revision", code.revision),
        ("uncommitted changes", _DIRTY[code.dirty] if code.revision != "unknown" else None),
        ("plug-in", code.plugin),
        *((f"plug-in of the {part.replace('.', ' ')}", place) for part, place in code.plugins.items()),
        ("SHA-256 of the scorer's source", spec.get("source_sha256")),
        *(
            (f"SHA-256 of the plug-in of the {part.replace('.', ' ')}", value)
            for part, value in (spec.get("plugins_sha256") or {}).items()
        ),
        ("SHA-256 of the engine's source", code.engine_sha256),
        ("SHA-256 of the data", record.data_sha256),
        ("SHA-256 of the weights", spec.get("weights_sha256")),
        *(
            (f"SHA-256 of {name}", value)
            for part in (files, judgements)
            if isinstance(part, Mapping)
            for name, value in part.items()
        ),
    ]


def _product(found: Any) -> Any:
    return found.get("backend", found) if isinstance(found, Mapping) else found
