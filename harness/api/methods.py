"""A method with its settings, before it is trained; and its training, as the commands do it."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import registry
from harness.api.data import component_of, opened
from harness.api.models import Model
from harness.errors import RunFailed
from harness.records.store import RunStore
from harness.spec import Experiment, build, load_experiment

if TYPE_CHECKING:
    from harness.datasets.base import Dataset
    from harness.tracking.observer import Observer


@dataclass(frozen=True, kw_only=True)
class Method:
    """A scorer with its settings, ready to be trained; `create` makes it.

    Args:
        name: of the scorer, with a variant after a dot.
        config: options of the scorer.
        like: experiment that gives every other setting: a built-in name, or a YAML file.
        image, text: backbones, as an experiment names them; None = those of `like`.
    """

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    like: str | Path = "quickstart"
    image: str | Mapping[str, Any] | None = None
    text: str | Mapping[str, Any] | None = None

    def experiment(
        self,
        dataset: Dataset | str | Path,
        *,
        seed: int = 0,
        protocols: Sequence[str] | None = None,
        **training: Any,
    ) -> Experiment:
        """What `fit` runs: an experiment of one run, which `itm leaderboard` runs under the same id.

        Raises:
            UnknownName, InvalidSpec, InvalidDataset: as `fit`.
        """
        whole = load_experiment(self.like, [f"scorers=[{json.dumps(self.name)}]"])
        (entry,) = (one.model_dump(mode="json") for one in whole.scorers)
        entry["config"] = {**entry["config"], **self.config}
        entry["training"] = {**entry["training"], **training}
        for side in ("image", "text"):
            if (given := getattr(self, side)) is not None:
                entry[side] = given
        changed = {
            "name": whole.name,
            "dataset": component_of(opened(dataset)),
            "seeds": [seed],
            "scorers": [entry],
            **({"protocols": list(protocols)} if protocols else {}),
        }
        return build(Experiment, {**whole.model_dump(mode="json"), **changed}, f"settings of '{self.name}'")

    def fit(
        self,
        dataset: Dataset | str | Path,
        *,
        seed: int = 0,
        results: str | Path | None = None,
        device: str = "cpu",
        protocols: Sequence[str] | None = None,
        progress: bool = False,
        **training: Any,
    ) -> Model:
        """Train on the train split, choose the epoch on the validation split, and evaluate the test split once.

        The seed decides everything that is random: equal settings, data and seeds give the same bytes of weights and the
        same ranks. The caller's own generators of random numbers are left as they were.

        Args:
            dataset: what `load_dataset` returns, a name or a folder.
            seed: 0 or more.
            results: folder in which the run is recorded for good; a run that is recorded there is not trained again. None =
                a temporary folder, which goes with the model.
            device: where to compute.
            protocols: to evaluate; None = those of `like`.
            progress: whether a line is printed per epoch.
            training: settings of the training: `epochs`, `batch_size`, `learning_rate`, ...

        Raises:
            UnknownName, InvalidSpec, InvalidDataset, InvalidProtocol: settings or data that cannot be; before any work.
            RunFailed: the training failed; the message says why.
        """
        from harness.runs.experiment import run_experiment

        experiment = self.experiment(dataset, seed=seed, protocols=protocols, **training)
        folder = tempfile.TemporaryDirectory(prefix="itm-") if results is None else None
        store = RunStore(folder.name if folder else str(results))
        with own_randomness():
            outcome = run_experiment(experiment, store, device=device, observer=_observer() if progress else None)
        if not outcome.records:
            raise RunFailed(
                f"{self.name} seed {seed}: {outcome.failures[0].error if outcome.failures else 'no record'}"
            )
        return Model(outcome.records[0], store, folder)


def create(
    name: str,
    *,
    like: str | Path = "quickstart",
    image: str | Mapping[str, Any] | None = None,
    text: str | Mapping[str, Any] | None = None,
    **config: Any,
) -> Method:
    """A method by name, with options of its scorer. Nothing is built or trained yet.

    Args:
        name: of `list_scorers()`.
        like: experiment that gives every setting that is not given: backbones, training, evaluation. The default has small
            encoders that learn from scratch on pictures; `itm ls experiments` lists others.
        image, text: backbones, by name or as `{"name": ..., OPTION: ...}`.
        config: options of the scorer, checked at once.

    Raises:
        UnknownName: no such scorer, variant or experiment.
        InvalidSpec: an unknown option (with the nearest valid one) or an impossible value.

    >>> create("scan", direction="t2i").config
    {'direction': 't2i'}
    """
    registry.resolve_config(name, config)
    load_experiment(like)
    return Method(name=name, config=config, like=like, image=image, text=text)


def fit(name: str, dataset: Dataset | str | Path, *, seed: int = 0, **settings: Any) -> Model:
    """`create(name).fit(dataset, seed=seed, ...)` in one call, for a scorer with its usual options.

    Args:
        name: of `list_scorers()`.
        dataset: what `load_dataset` returns, a name or a folder.
        seed: 0 or more.
        settings: further arguments of `Method.fit`.

    Raises:
        ItmError: as `create` and `Method.fit`.
    """
    return create(name).fit(dataset, seed=seed, **settings)


@contextmanager
def own_randomness() -> Iterator[None]:
    """Whatever is drawn in this block, the caller's generators (Python's, NumPy's, torch's) go on as if it were not."""
    import torch

    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the caller's own, kept for him
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def _observer() -> Observer:
    from harness.tracking.observer import Observer, Step

    class Printed(Observer):
        """A line per epoch, and one per run."""

        def stepped(self, piece: str, step: Step) -> None:
            print(f"{piece}: epoch {step.number}/{step.steps}, {step.text}")

        def ended(self, piece: str, text: str, all_left: float | None = None) -> None:
            print(text)

    return Printed()
