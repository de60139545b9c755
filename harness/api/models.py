"""A trained model: its run, its weights, and its scores of any split."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api.data import opened
from harness.records.run import RunRecord
from harness.records.store import RunStore

if TYPE_CHECKING:
    import numpy as np

    from harness.api.search import Search
    from harness.datasets.base import Dataset
    from harness.scorer import Scorer


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A trained scorer and the run that it comes from. `Method.fit` trains one, `load_run` opens a recorded one.

    Args:
        record: everything that is recorded of the run.
        store: where its files lie.
        folder: a temporary folder that holds the store, and goes with the model; None = a results folder, which stays.
    """

    record: RunRecord
    store: RunStore
    folder: tempfile.TemporaryDirectory[str] | None = field(default=None)

    @property
    def run_id(self) -> str:
        """Id of the run, as the commands give it."""
        return self.record.run_id

    @property
    def path(self) -> Path:
        """The weights with all that rebuilds the model, as safetensors."""
        return self.store.folder(self.run_id) / "model.safetensors"

    @cached_property
    def scorer(self) -> Scorer:
        """The trained scorer, a `torch.nn.Module` in evaluation mode, on the CPU.

        Raises:
            InvalidCheckpoint: its file is missing or damaged.
        """
        from harness.runs.saved_models import load_model

        return load_model(self.path)

    def scores(self, dataset: Dataset | str | Path, split: str = "test") -> np.ndarray:
        """Scores of all images with all captions of a split.

        Returns:
            (I, T) float32, unitless; higher is better.

        Raises:
            InvalidDataset: no such split, or data that the model's encoders cannot read.
        """
        return scores_of(self.scorer, opened(dataset), split, threads=int(self.record.spec.get("threads", 1)))

    def search(
        self,
        dataset: Dataset | str | Path,
        split: str = "test",
        *,
        dtype: str | None = None,
        path: str | Path | None = None,
    ) -> Search:
        """The images of a split, packed once, to be searched by sentences.

        Args:
            dataset, split: whose images.
            dtype: of what is kept, see `harness.scoring.Index`; None = float32, "int8" = fast, with an exact shortlist.
            path: a folder that keeps the packed images, for galleries larger than memory and for later calls, which read it.

        Returns:
            A function from sentences to a frame of their best images.

        Raises:
            InvalidDataset: no such split, or data that the model's encoders cannot read.
            InvalidIndex: another dtype, or a folder that keeps other images, another dtype or those of another model.
            ResultsNotWritable: the folder cannot be written.
        """
        from harness.api.search import packed_images

        threads = int(self.record.spec.get("threads", 1))
        return packed_images(self.scorer, opened(dataset).split(split), threads, dtype, path)

    def __repr__(self) -> str:
        return f"<Model {self.record.title}, run {self.run_id} in {self.store.results}>"


def scores_of(scorer: Scorer, dataset: Dataset, split: str, threads: int = 1) -> np.ndarray:
    """As `Model.scores`, of any scorer with encoders."""
    from harness.runs.computing import computing
    from harness.runs.evaluation import USUAL, score_split

    with computing(threads, scorer.device):
        usual = USUAL.model_copy(update={"streaming": False})
        similarity = score_split(scorer, dataset.split(split), usual).similarity
    return similarity.detach().cpu().numpy()  # type: ignore[union-attr]


def load_run(run_id: str, results: str | Path = "results") -> Model:
    """The model of a recorded run.

    Args:
        run_id: as `itm ls runs` or `results_df` shows it.
        results: the results folder.

    Raises:
        InvalidRecord: missing, damaged or not finished.
    """
    store = RunStore(results)
    return Model(store.require(run_id), store)
