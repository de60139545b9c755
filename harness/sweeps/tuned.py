"""An experiment with its sweeps' best settings filled in, if they were found at equal budgets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.errors import InvalidSpec, UnequalTuning
from harness.records.study import StudySummary, read_summary
from harness.runs.building import open_dataset
from harness.runs.planning import check
from harness.spec import Experiment, RunSpec, ScorerEntry, build
from harness.sweeps.plan import entry_identity, first_difference, study_folder, study_name, with_validation_data


def tuned_experiment(experiment: Experiment, results: Path, allow_unequal: bool = False) -> Experiment:
    """The experiment with each trained entry replaced by the best of its study below `results`.

    Budgets are equal when every entry was tuned with as many trials of as many training runs. Steps and seconds are
    told but not compared: they follow from the settings that were drawn (batch size) and from pruning.

    Args:
        experiment: the one that was swept.
        results: the results folder.
        allow_unequal: take what was found; an entry without a study keeps its settings.

    Raises:
        UnequalTuning: the budgets differ, with the numbers.
        InvalidSpec: nothing was tuned; or a study was made for another version of the entry, or found nothing.
        InvalidRecord: a study's summary is damaged.
    """
    drafts = check(experiment)
    # Nothing of given weights is trained here, so nothing can be tuned.
    studies = {
        entry.key: read_summary(study_folder(results, study_name(experiment, entry)))
        for entry in experiment.scorers
        if not entry.weights
    }
    entries = []
    for entry in experiment.scorers:
        summary = studies.get(entry.key)
        if summary is not None and summary.trials:
            _check_same(drafts[entry.key], entry, summary)
            entry = build(ScorerEntry, summary.best_entry, f"best settings of study '{summary.study}'")
        entries.append(entry)
    if studies and not any(map(_trials, studies.values())):
        raise InvalidSpec(
            f"--tuned needs a sweep of each scorer, but {results}/sweeps has none of {', '.join(studies)}; run first, for "
            f"each of them: itm sweep EXP --scorer {next(iter(studies))} --trials 20"
        )
    if not allow_unequal:
        _check_equal(studies)
    return experiment.model_copy(update={"name": f"{experiment.name}-tuned", "scorers": tuple(entries)})


def _trials(summary: StudySummary | None) -> int:
    return len(summary.trials) if summary is not None else 0


def _check_equal(studies: Mapping[str, StudySummary | None]) -> None:
    budgets = {(len(summary.trials), len(summary.seeds)) for summary in studies.values() if summary is not None}
    if len(budgets) <= 1 and all(map(_trials, studies.values())):
        return
    trials = {key: _trials(summary) for key, summary in studies.items()}
    command = f"itm sweep EXP --scorer {min(trials, key=trials.__getitem__)} --trials {max(1, *trials.values())}"
    spent = ", ".join(_spent(key, summary) for key, summary in studies.items())
    raise UnequalTuning(f"tuning budgets differ: {spent}; even them out ({command}) or pass --allow-unequal-tuning")


def _spent(key: str, summary: StudySummary | None) -> str:
    if summary is None or not summary.trials:
        return f"{key} 0 trials"
    each = f" of {len(summary.seeds)} training runs" if len(summary.seeds) != 1 else ""
    budget = summary.budget
    return f"{key} {budget.trials} trials{each} ({budget.steps:,} steps, {budget.seconds:.0f} s)"


def _check_same(draft: RunSpec, entry: ScorerEntry, summary: StudySummary) -> None:
    if not summary.best_entry:
        raise InvalidSpec(
            f"study '{summary.study}' has no trial that can be recommended; run itm sweep with more trials"
        )
    difference = first_difference(
        summary.entry, entry_identity(with_validation_data(draft, open_dataset(draft.dataset)))
    )
    if difference is not None:
        path, was, is_now = difference
        raise InvalidSpec(
            f"study '{summary.study}' tuned another version of entry '{entry.key}': {path} was {was}, now it is {is_now}; "
            "sweep again under another results folder, or put that back"
        )
