"""A study of Optuna's: opened or begun, and that it is still about the same."""

from __future__ import annotations

import json
from typing import Any

import optuna
from optuna.study import Study

from harness.errors import InvalidSpec
from harness.settings.values import flatten
from harness.spec import canonical_json
from harness.sweeps.plan import StudyPlan
from harness.sweeps.search import make_pruner, make_sampler
from harness.sweeps.storage import open_beside_others, storage_errors, storage_file, study_lock

FINGERPRINT = "itm_fingerprint"
SOURCE = "source"
#: Of the fingerprint, what is known only when the data have been read.
_OF_THE_DATA = "entry.data_sha256"


def open_study(plan: StudyPlan) -> Study:
    """The study of a plan, begun if it is not there.

    Raises:
        StorageUnavailable: the storage cannot be reached or written.
        InvalidSpec: the study is there, but about something else; or an impossible sampler or pruner.
    """
    sampler, pruner = make_sampler(plan.settings, plan.space), make_pruner(plan.settings.effective_pruner)
    with storage_errors(plan.storage, opening=True):
        path = storage_file(plan.storage)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            # The lock of a file's study can be had before the study is there, so nobody meets half of a storage.
            with study_lock(plan.storage, plan.name)():
                return _open_or_begin(plan, sampler, pruner)
        _create(plan, sampler, pruner)
        with study_lock(plan.storage, plan.name)():
            return _open_or_begin(plan, sampler, pruner)


def check_study(plan: StudyPlan) -> None:
    """Refuse a storage that cannot be used and a study that another plan began, before any data are read.

    Raises:
        StorageUnavailable, InvalidSpec: as `open_study`.
    """
    with storage_errors(plan.storage, opening=True):
        storage = open_beside_others(plan.storage)
        if plan.name in optuna.get_all_study_names(storage):
            study = optuna.load_study(study_name=plan.name, storage=storage)
            if not _is_new(study):
                check_unchanged(study, plan, data=False)


def check_unchanged(study: Study, plan: StudyPlan, data: bool = True) -> None:
    """Refuse a study that another plan began.

    Args:
        study: the one in the storage.
        plan: the one that was asked for.
        data: whether the plan knows its data.

    Raises:
        InvalidSpec: with the first difference.
    """
    text = study.user_attrs.get(FINGERPRINT)
    finished = sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))
    kept = f"its {finished} finished trials are kept; put that back, or choose another name with --study"
    if text is None:
        raise InvalidSpec(f"study '{study.study_name}' is in the storage but was not made by itm sweep; {kept}")
    before, now = flatten(json.loads(text)), flatten(json.loads(canonical_json(plan.fingerprint)))
    if not data:
        before.pop(_OF_THE_DATA, None)
        now.pop(_OF_THE_DATA, None)
    if before != now:
        path = next(path for path in [*before, *now] if before.get(path) != now.get(path))
        was, is_now = (repr(side[path]) if path in side else "nothing" for side in (before, now))
        raise InvalidSpec(f"study '{study.study_name}' was begun with {path} = {was}, now it is {is_now}; {kept}")


def _create(plan: StudyPlan, sampler: Any, pruner: Any) -> Study:
    directions = list(plan.settings.directions)
    storage = open_beside_others(plan.storage)
    try:
        return optuna.create_study(
            study_name=plan.name, storage=storage, sampler=sampler, pruner=pruner, directions=directions
        )
    except optuna.exceptions.DuplicatedStudyError:
        return optuna.load_study(study_name=plan.name, storage=storage, sampler=sampler, pruner=pruner)


def _open_or_begin(plan: StudyPlan, sampler: Any, pruner: Any) -> Study:
    """Under the study's lock. The fingerprint comes last: whoever was killed before it began nothing."""
    study = _create(plan, sampler, pruner)
    if not _is_new(study) or [d.name.lower() for d in study.directions] != list(plan.settings.directions):
        check_unchanged(study, plan)
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
