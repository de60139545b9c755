"""Which runs of an experiment are recorded and which are missing, with the data at hand or without."""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import InvalidDataset, InvalidProtocol
from harness.estimates.data import Data
from harness.records.plan import CellState, PlannedCell
from harness.records.store import RunStore
from harness.runs import sharing
from harness.runs.planning import on_data
from harness.runs.remarks import another_run
from harness.spec import Experiment, RunSpec, canonical_json

_STATES: Mapping[str, CellState] = {"finished": "recorded", "failed": "failed"}


def planned_cells(
    experiment: Experiment, data: Data, store: RunStore | None
) -> tuple[tuple[PlannedCell, ...], list[str]]:
    """The cells in the order in which they run, and what has to be said of them.

    Entries of equal settings are one run, which is listed under the first.

    Args:
        experiment: what will run.
        data: see `harness.estimates.data.look_at`.
        store: recorded runs; None = none.
    """
    specs, notes = _specs(experiment, data)
    if any(spec.devices > 1 for spec in specs.values()):
        notes.append(
            f"Times and memory are those of one device. A training takes {experiment.devices} at once, and on them at least "
            f"1/{experiment.devices} of the time: validation, and the loss itself, do not get faster."
        )
    if any(spec.training.epochs and spec.training.compile for spec in specs.values()):
        notes.append("Times are those of towers that are not compiled.")
    first: dict[str, str] = {}
    for key, spec in specs.items():
        other = first.setdefault(spec.run_id, key)
        if other != key:
            notes.append(f"{key} has the settings of {other}: one run serves both.")
    elsewhere = _without_data(store) if store is not None and data.dataset is None else set()
    cells = []
    for seed in experiment.seeds:
        for key in first.values():
            spec = specs[key].model_copy(update={"seed": seed})
            state: CellState = "missing"
            if spec.data_sha256 and store is not None:
                state = _STATES.get(sharing.state_of(store, spec.run_id)[0], "missing")
            elif _identity(spec) in elsewhere:
                state = "recorded elsewhere"
            cells.append(_cell(key, spec, state))
    if any(cell.state == "recorded elsewhere" for cell in cells):
        count = sum(cell.state == "recorded elsewhere" for cell in cells)
        notes.append(
            f"Recorded runs with these settings: {count}. Whether they are of the same data cannot be said while the data "
            "are not here."
        )
    return tuple(cells), notes


def _specs(experiment: Experiment, data: Data) -> tuple[dict[str, RunSpec], list[str]]:
    """The entries by key, with their data where these are here and fit."""
    if data.dataset is None:
        return data.drafts, []
    try:
        cells = on_data(experiment, data.drafts, data.dataset)
    except (InvalidDataset, InvalidProtocol) as error:
        return data.drafts, [f"The experiment cannot run on these data: {error}."]
    other = another_run(experiment, cells)
    return dict(zip(data.drafts, cells, strict=True)), [f"{other[0].upper()}{other[1:]}."] if other else []


def _cell(key: str, spec: RunSpec, state: CellState) -> PlannedCell:
    return PlannedCell(
        entry=key,
        scorer=spec.label,
        image=spec.image.name,
        text=spec.text.name,
        seed=spec.seed,
        state=state,
        run_id=spec.run_id if spec.data_sha256 else "",
    )


def _without_data(store: RunStore) -> set[str]:
    """What the finished runs of a folder are, their data aside."""
    found = set()
    for record in store.records():
        if record.status == "finished":
            try:
                found.add(_identity(RunSpec.model_validate(record.spec)))
            except ValueError:  # an ensemble, or a record of an earlier version: no run of a plan
                continue
    return found


def _identity(spec: RunSpec) -> str:
    identity = spec.identity
    for key in ("data_sha256", "protocol_files"):
        identity.pop(key, None)
    return canonical_json(identity)
