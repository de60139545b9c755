"""An experiment with the best settings of its sweeps in it, if they were found at equal budgets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import InvalidSpec, UnequalTuning
from harness.records.study import StudySummary, read_summary
from harness.runs.building import open_dataset
from harness.runs.planning import check, with_data
from harness.settings.values import flatten
from harness.spec import Experiment, RunSpec, ScorerEntry, build
from harness.sweeps.plan import entry_identity, study_folder, study_name, validation_split


@dataclass(frozen=True)
class Effort:
    """What was spent on tuning an entry.

    Args:
        key: of the entry.
        trials: that ended.
        seeds: training runs a trial.
        steps, seconds: of all trials together.
    """

    key: str
    trials: int = 0
    seeds: int = 0
    steps: int = 0
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """In words."""
        if not self.trials:
            return f"{self.key} 0 trials"
        each = f" of {self.seeds} training runs" if self.seeds != 1 else ""
        return f"{self.key} {self.trials} trials{each} ({self.steps:,} steps, {self.seconds:.0f} s)"


def tuned_experiment(experiment: Experiment, results: Path, allow_unequal: bool = False) -> Experiment:
    """The experiment with each trained entry replaced by the best of its study below `results`.

    Budgets are equal when every entry was tuned with as many trials of as many training runs. Steps and seconds are
    told but not compared: they follow from the settings that were drawn (batch size) and from pruning.

    Args:
        experiment: the same as was swept.
        results: the results folder.
        allow_unequal: take what there is; an entry without a study keeps its settings.

    Raises:
        UnequalTuning: the budgets differ, with the numbers.
        InvalidSpec: nothing was tuned; or a study was made for another version of the entry, or found nothing.
        InvalidRecord: a study's summary is damaged.
    """
    drafts = check(experiment)
    entries, efforts = [], []
    for entry in experiment.scorers:
        if entry.weights:  # nothing of it is trained here, so nothing can be tuned
            entries.append(entry)
            continue
        summary = read_summary(study_folder(results, study_name(experiment, entry)))
        effort = effort_of(entry, summary)
        efforts.append(effort)
        if summary is None or not effort.trials:
            entries.append(entry)
            continue
        _check_same(drafts[entry.key], entry, summary)
        entries.append(build(ScorerEntry, summary.best_entry, f"best settings of study '{summary.study}'"))
    if efforts and not any(effort.trials for effort in efforts):
        keys = ", ".join(effort.key for effort in efforts)
        raise InvalidSpec(
            f"--tuned needs a sweep of each scorer, but {results}/sweeps has none of {keys}; run first, for each of them: "
            f"itm sweep EXP --scorer {efforts[0].key} --trials 20"
        )
    if not allow_unequal:
        _check_equal(efforts)
    return experiment.model_copy(update={"name": f"{experiment.name}-tuned", "scorers": tuple(entries)})


def effort_of(entry: ScorerEntry, summary: StudySummary | None) -> Effort:
    """What a study cost; nothing if there is none."""
    if summary is None:
        return Effort(entry.key)
    budget = summary.budget
    return Effort(entry.key, budget.trials, len(summary.seeds), budget.steps, budget.seconds)


def _check_equal(efforts: list[Effort]) -> None:
    if len({(effort.trials, effort.seeds) for effort in efforts}) <= 1 and all(effort.trials for effort in efforts):
        return
    most = max(efforts, key=lambda effort: effort.trials)
    least = min(efforts, key=lambda effort: effort.trials)
    command = f"itm sweep EXP --scorer {least.key} --trials {max(most.trials, 1)}"
    raise UnequalTuning(
        f"tuning budgets differ: {', '.join(effort.text for effort in efforts)}; even them out ({command}) or pass "
        "--allow-unequal-tuning"
    )


def _check_same(draft: RunSpec, entry: ScorerEntry, summary: StudySummary) -> None:
    if not summary.best_entry:
        raise InvalidSpec(
            f"study '{summary.study}' has no trial that can be recommended; run itm sweep with more trials"
        )
    dataset = open_dataset(draft.dataset)
    base = with_data(draft, dataset, validation_split(dataset))
    now, then = flatten(entry_identity(base)), flatten(summary.entry)
    if now != then:
        path = next(path for path in [*then, *now] if then.get(path) != now.get(path))
        raise InvalidSpec(
            f"study '{summary.study}' tuned another version of entry '{entry.key}': {path} was {then.get(path)!r}, now it "
            f"is {now.get(path)!r}; sweep again under another results folder, or put that back"
        )
