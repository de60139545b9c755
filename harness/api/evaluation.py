"""Evaluation of a trained model, of any scorer, or of scores that other code computed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.api.data import component_of, opened
from harness.api.models import Model, scores_of
from harness.api.results import Result
from harness.errors import InvalidProtocol, InvalidSimilarity, InvalidSpec
from harness.records.store import RunStore
from harness.records.ties import Ties

if TYPE_CHECKING:
    from harness.datasets.base import Dataset
    from harness.runs.foreign import Stated
    from harness.scorer import Scorer


def evaluate(
    model: Model | Scorer | None = None,
    dataset: Dataset | str | Path | None = None,
    *,
    scores: Any = None,
    split: str = "test",
    protocols: Sequence[str] | None = None,
    ties: Ties = "pessimistic",
    name: str = "",
    seed: int = 0,
    results: str | Path | None = None,
) -> Result:
    """Metrics with intervals, and the rank of every query.

    A model on the data and the split of its own run gives the numbers of that run; a protocol that is new to it is
    evaluated and added to its record. Everything else is ranked as `itm add` ranks scores of other code.

    Args:
        model: a trained one, or any scorer with encoders; None where `scores` are given.
        dataset: what `load_dataset` returns, a name or a folder; None = that of the model's run.
        scores: (I, T) of all images with all captions, in the order of the split; an array or a tensor, higher is better.
        split: of the dataset.
        protocols: to evaluate; None = those of the model's run, or all that fit.
        ties: order of items with the same score.
        name: of the method, for tables; needed with `scores` or a scorer.
        seed: of its training.
        results: folder in which results of other data or code are recorded for good; None = nowhere.

    Raises:
        InvalidSpec: neither or both of `model` and `scores`, no dataset or name where one is needed, or a name, seed or
            folder for a run that has its own.
        InvalidSimilarity: scores of the wrong shape or type, or that are not finite.
        UnknownName, InvalidProtocol, InvalidDataset: as of the commands.

    >>> import harness as itm
    >>> data = itm.load_dataset("scenes", test_images=50)
    >>> owner = data.split("test").caption_image
    >>> perfect = (np.arange(50)[:, None] == owner).astype("float32")
    >>> itm.evaluate(scores=perfect, dataset=data, protocols=["full"], name="perfect")["rsum"]
    600.0
    """
    from harness.runs.foreign import Stated

    if (model is None) == (scores is None):
        raise InvalidSpec(f"evaluate takes a model or scores, got {'neither' if model is None else 'both'}")
    if isinstance(model, Model):
        if seed:
            raise InvalidSpec("a model has the seed of its run; leave out seed=, which is for scores and scorers")
        own = dataset is None or opened(dataset).sha256 == model.record.data_sha256
        if own and (split, ties) == (model.record.split, model.record.ties):
            if name or results is not None:
                raise InvalidSpec(
                    f"this evaluates run {model.run_id} itself, which has its name and its folder; leave out name= and results=, "
                    "and record a training by fit(..., results=...)"
                )
            return _recorded(model, tuple(protocols or ()))
        if dataset is None:
            raise InvalidSpec(
                "another split or tie rule than that of the run needs the dataset: evaluate(model, dataset, ...)"
            )
        record = model.record
        stated = Stated(
            name=name or record.scorer,
            variant="" if name else record.variant,
            seed=record.seed,
            backbone=record.backbone,
            citation=record.citation,
            trials=record.tuning.trials,
        )
        return _given(model.scores(dataset, split), opened(dataset), split, protocols, ties, stated, results)
    if dataset is None:
        raise InvalidSpec("scores and scorers need the dataset that they are about: evaluate(..., dataset=...)")
    if not name:
        raise InvalidSpec("scores and scorers need a name, by which tables show them: evaluate(..., name='mine')")
    data = opened(dataset)
    array = _array(scores) if model is None else scores_of(model, data, split)
    return _given(array, data, split, protocols, ties, Stated(name=name, seed=seed), results)


def _recorded(model: Model, protocols: tuple[str, ...]) -> Result:
    """What the run has recorded; protocols that it lacks are evaluated first."""
    missing = [name for name in protocols if name not in model.record.metrics]
    if missing:
        from harness.runs.rescoring import rescore

        rescore(model.store, model.run_id, missing)
    found = Result.of_run(model.store, model.run_id)
    if not protocols:
        return found
    metrics = {name: found.record.metrics[name] for name in protocols}
    record = found.record.model_copy(update={"metrics": metrics, "protocols": protocols})
    return Result(record, {name: found.tables[name] for name in protocols})


def _given(
    scores: np.ndarray,
    dataset: Dataset,
    split: str,
    protocols: Sequence[str] | None,
    ties: Ties,
    stated: Stated,
    results: str | Path | None,
) -> Result:
    """The way of `itm add`: through a file, so that refusals, numbers and the run's id are those of the command."""
    from harness.runs.foreign import evaluate_files, record_foreign

    with tempfile.TemporaryDirectory(prefix="itm-") as folder:
        path = Path(folder) / "scores.npy"
        np.save(path, scores, allow_pickle=False)
        store = RunStore(folder if results is None else results)
        store.prepare()
        try:
            found = evaluate_files([path], dataset, split, tuple(protocols or ()), (ties,))
            record = record_foreign(
                store,
                [path],
                dataset,
                component_of(dataset),
                found,
                stated,
                ties=ties,
                allow_chance=results is None,
            )
        except (InvalidSimilarity, InvalidProtocol) as error:
            raise type(error)(str(error).replace(str(path), "the array of scores")) from None
        return Result.of_run(store, record.run_id)


def _array(scores: Any) -> np.ndarray:
    """An array, or a tensor of any library that gives one; torch is not imported for it."""
    if hasattr(scores, "detach"):
        scores = scores.detach().cpu()
        scores = scores.float() if "bfloat16" in str(scores.dtype) else scores
    array = np.asarray(scores)
    if array.dtype.kind not in "iufb" or array.ndim != 2:
        raise InvalidSimilarity(
            f"scores must be a matrix of numbers of shape (images, captions), got {array.dtype} of shape {array.shape}"
        )
    return array
