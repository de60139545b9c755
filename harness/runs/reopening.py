"""A finished run opened again from what it left: the dataset that its record names, and the way to its scores."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from harness import backbones, datasets, registry
from harness.datasets.base import Dataset
from harness.errors import InvalidPlugin, InvalidRecord, InvalidSpec, ItmError
from harness.records.run import REMEDY, RunRecord
from harness.records.store import RunStore
from harness.runs.agreement import check_data
from harness.settings.base import explain
from harness.settings.components import Catalogue
from harness.spec import Component

#: The weights of a run, in its folder.
MODEL = "model.safetensors"
ADVICE = "name the right folder with --set root=FOLDER"


def dataset_of(record: RunRecord, options: Mapping[str, Any] | None = None) -> Dataset:
    """The dataset of a run, checked to be the one that it was measured on.

    Args:
        record: of the run.
        options: of the dataset, where they changed since the run (its folder).

    Raises:
        InvalidDataset: the data cannot be read, or are not those of the run.
    """
    require_plugins(record, "dataset")
    dataset = datasets.open_dataset(_component(record).changed(options or {}))
    check_data(record, dataset, ADVICE)
    return dataset


class RunDatasets:
    """The datasets of several runs, each opened once.

    Args:
        options: of the datasets, where they changed since the runs: `root` for every dataset that has such an option,
            `flickr8k.root` for the one of this name alone.
    """

    def __init__(self, options: Mapping[str, Any] | None = None):
        self._options = dict(options or {})
        self._opened: dict[Component, Dataset | ItmError] = {}

    def of(self, record: RunRecord) -> Dataset:
        """As `dataset_of`; a dataset that could not be opened once is not tried again."""
        require_plugins(record, "dataset")
        component = self._changed(record)
        if component not in self._opened:
            try:
                self._opened[component] = datasets.open_dataset(component)
            except ItmError as error:
                self._opened[component] = error
        found = self._opened[component]
        if isinstance(found, ItmError):
            raise found
        check_data(record, found, ADVICE)
        return found

    def require_used(self, records: Sequence[RunRecord]) -> None:
        """Refuse options that no dataset of these runs has.

        Raises:
            InvalidSpec: names the first one.
        """
        components = [(record, component) for record in records if (component := _read(record)) is not None]
        for key in self._options:
            if not any(self._applies(key, record, component) for record, component in components):
                names = sorted({record.dataset for record, _ in components})
                raise InvalidSpec(
                    f"no dataset of these runs has the option '{key}'; datasets: {', '.join(names) or 'none'}"
                )

    def _changed(self, record: RunRecord) -> Component:
        component = _component(record)
        options = {k.rpartition(".")[2]: v for k, v in self._options.items() if self._applies(k, record, component)}
        return component.changed(options)

    @staticmethod
    def _applies(key: str, record: RunRecord, component: Component) -> bool:
        name, _, option = key.rpartition(".")
        return option in component.plain and name in ("", record.dataset, component.name)


def _read(record: RunRecord) -> Component | None:
    try:
        return _component(record)
    except InvalidRecord:  # said where the run is opened
        return None


def _component(record: RunRecord) -> Component:
    """The dataset as the record's spec has it."""
    try:
        return Component.model_validate(record.spec.get("dataset") or {"name": record.dataset})
    except ValidationError as error:
        raise InvalidRecord(f"run {record.run_id} names no dataset: {explain(Component, error)}; {REMEDY}") from None


def require_plugins(record: RunRecord, *parts: str) -> None:
    """Refuse a run whose parts come from plug-ins that are not named.

    Args:
        record: of the run.
        parts: scorer, dataset, image, text; protocols and metrics are asked for by name.

    Raises:
        InvalidPlugin: says how to name them.
    """
    places = {"scorer": record.code.plugin, **record.code.plugins}
    lacking = [part for part in parts if places.get(part) and not _is_known(record, part)]
    if lacking:
        words = shlex.join(record.plugin_words)
        raise InvalidPlugin(
            f"run {record.run_id} ({record.label}) has its {' and its '.join(lacking)} from a plug-in that is not known here; "
            + (f"add {words}" if words else f"install the package of {places[lacking[0]]}")
        )


def _is_known(record: RunRecord, part: str) -> bool:
    if part == "scorer":
        return registry.split(record.scorer)[0] in registry.SCORERS
    known: Mapping[str, Catalogue[Any]] = {
        "dataset": datasets.DATASETS,
        "image": backbones.IMAGE_BACKBONES,
        "text": backbones.TEXT_BACKBONES,
    }
    component = record.spec.get(part)
    return not isinstance(component, dict) or component.get("name") in known[part]


def has_weights(store: RunStore, record: RunRecord) -> bool:
    """Whether a run kept the weights that score its split again."""
    return (store.folder(record.run_id) / MODEL).is_file()


def scores_remedy(store: RunStore, record: RunRecord) -> str:
    """What to do about a run that kept no scores, in words that end a sentence."""
    if has_weights(store, record):
        words = ["itm", "rescore", record.run_id, "--save-scores", "--results", store.results.as_posix()]
        words += record.plugin_words
        return f"make them from its weights with `{shlex.join(words)}`"
    if not record.has_ranks:
        return "it has averages only; leave it out"
    if record.origin == "foreign":
        return "its model is not here, as it was added from results of other code; add its matrix with `itm add --save-scores`"
    if record.evaluation.ensemble:
        return "an ensemble has no weights; average its members again with `itm ensemble`"
    return "run it again with --set evaluation.save_scores=true"
