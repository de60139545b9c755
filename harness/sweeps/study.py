"""Opening an Optuna study, or beginning it, and refusing one that another plan began."""

from __future__ import annotations

import json
from typing import Any

import optuna
from optuna.study import Study

from harness.errors import InvalidSpec
from harness.spec import canonical_json
from harness.sweeps.plan import StudyPlan, first_difference
from harness.sweeps.search import make_pruner, make_sampler
from harness.sweeps.storage import open_beside_others, storage_errors, storage_file, study_lock

FINGERPRINT = "itm_fingerprint"
SOURCE = "source"


def open_study(plan: StudyPlan) -> Study:
    """The study of a plan, begun if it is not there.

    Raises:
        StorageUnavailable: the storage cannot be reached or written.
        InvalidSpec: another plan began the study, or the sampler or pruner is impossible.
    """
    how = {"sampler": make_sampler(plan.settings, plan.space), "pruner": make_pruner(plan.settings.effective_pruner)}
    with storage_errors(plan.storage, opening=True):
        path = storage_file(plan.storage)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        else:  # a server's lock is a row of the study, which must exist; a file can be locked before its tables do
            _create(plan, how)
        with study_lock(plan.storage, plan.name)():
            return _open_or_begin(plan, how)


def check_study(draft: StudyPlan) -> None:
    """Refuse a storage that cannot be used and a study that another plan began, before any data are read.

    Raises:
        StorageUnavailable, InvalidSpec: as `open_study`.
    """
    with storage_errors(draft.storage, opening=True):
        storage = open_beside_others(draft.storage)
        if draft.name in optuna.get_all_study_names(storage):
            study = optuna.load_study(study_name=draft.name, storage=storage)
            if not _is_new(study):
                _check_unchanged(study, draft, knows_data=False)


def _check_unchanged(study: Study, plan: StudyPlan, knows_data: bool = True) -> None:
    """Refuse a study that another plan began, with the first difference."""
    text = study.user_attrs.get(FINGERPRINT)
    finished = sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))
    kept = f"its {finished} finished trials are kept; put that back, or choose another name with --study"
    if text is None:
        raise InvalidSpec(f"study '{study.study_name}' is in the storage but was not made by itm sweep; {kept}")
    fingerprints = json.loads(text), json.loads(canonical_json(plan.fingerprint))
    if not knows_data:
        for fingerprint in fingerprints:
            fingerprint["entry"].pop("data_sha256", None)
    difference = first_difference(*fingerprints)
    if difference is not None:
        path, was, is_now = difference
        raise InvalidSpec(f"study '{study.study_name}' was begun with {path} = {was}, now it is {is_now}; {kept}")


def _create(plan: StudyPlan, how: dict[str, Any]) -> Study:
    storage = open_beside_others(plan.storage)
    directions = list(plan.settings.directions.values())
    return optuna.create_study(study_name=plan.name, storage=storage, directions=directions, load_if_exists=True, **how)


def _open_or_begin(plan: StudyPlan, how: dict[str, Any]) -> Study:
    """Under the study's lock. The fingerprint is written last: a command that was killed before has begun nothing."""
    study = _create(plan, how)
    if not _is_new(study) or [d.name.lower() for d in study.directions] != [*plan.settings.directions.values()]:
        _check_unchanged(study, plan)
        return study
    if plan.default and not study.get_trials(deepcopy=False):
        study.enqueue_trial(plan.default, user_attrs={SOURCE: "default"})
    study.set_user_attr(FINGERPRINT, canonical_json(plan.fingerprint))
    return study


def _is_new(study: Study) -> bool:
    """Whether nothing was run in a study, and its creator did not come to say what it is about."""
    if FINGERPRINT in study.user_attrs:
        return False
    return all(trial.user_attrs.get(SOURCE) == "default" for trial in study.get_trials(deepcopy=False))
