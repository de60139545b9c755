"""What a plan remarks on before it runs: data that the settings were not published for, equal entries, another run."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from harness.datasets.base import Dataset
from harness.settings.again import differences
from harness.spec import Experiment, RunSpec

logger = logging.getLogger(__name__)


def report_other_data(experiment: Experiment, dataset: Dataset) -> None:
    """Warn of data that the experiment's settings were not published for."""
    if experiment.expects and dataset.title != experiment.expects:
        logger.warning(
            "experiment '%s' has the published settings for %s, but the data are %s: nothing that is printed compares with it",
            experiment.name,
            experiment.expects,
            dataset.title,
        )


def report_equal(experiment: Experiment, cells: Sequence[RunSpec]) -> None:
    """Say which entries are one run under several names."""
    first: dict[str, str] = {}
    for entry, cell in zip(experiment.scorers, cells, strict=True):
        same = first.setdefault(cell.run_id, entry.key)
        if same != entry.key:
            logger.info(
                "scorer '%s' has the settings of '%s': one run serves both, recorded as %s", entry.key, same, same
            )


def report_another_run(experiment: Experiment, cells: Sequence[RunSpec]) -> None:
    """Warn of a run that is asked for again and will not be the same, with what differs."""
    if found := another_run(experiment, cells):
        logger.warning("%s", found)


def another_run(experiment: Experiment, cells: Sequence[RunSpec]) -> str:
    """What tells the cells apart from the run whose settings the experiment was given as; empty where one of them is it."""
    if not experiment.again:
        return ""
    before = RunSpec.model_validate(experiment.again)
    if any(
        cell.model_copy(update={"seed": seed}).run_id == before.run_id for cell in cells for seed in experiment.seeds
    ):
        return ""
    differ = "; ".join(differences(before, cells[0]))
    return f"this is another run than {before.run_id} ({before.title}), whose settings were given: {differ}"
