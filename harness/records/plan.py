"""A plan as a document: what an experiment will run, what is recorded, what is missing, and what it will cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from harness.settings.base import Spec

PLAN_SCHEMA_VERSION = 1

CellState = Literal["recorded", "failed", "missing", "recorded elsewhere"]
FileState = Literal["here", "missing", "not named"]


class PlannedCell(Spec):
    """One run of the plan.

    Args:
        state: `recorded elsewhere` is a finished run of these settings whose data could not be compared, because the
            data are not here.
        run_id: empty while the data are not known, which decide it.
    """

    entry: str
    scorer: str
    image: str
    text: str
    seed: int
    state: CellState
    run_id: str = ""


class NeededFile(Spec):
    """A file, folder or package that the plan needs.

    Args:
        state: `not named` = a setting that would name it is not set.
        bytes: its size, where that is known.
        entries: keys of the entries that need it; empty = all.
        required: whether nothing of these entries runs without it.
    """

    name: str
    what: str
    where: str
    state: FileState
    bytes: int | None = None
    entries: tuple[str, ...] = ()
    required: bool = True


class Split(Spec):
    """Images and captions of a split."""

    images: int
    captions: int


class DataPlan(Spec):
    """What is known of the data.

    Args:
        name: the layout.
        title: of the dataset in tables.
        splits: by name; empty = unknown.
        source: where these numbers come from.
        here: whether the data could be opened.
        problem: why not.
    """

    name: str
    title: str
    splits: dict[str, Split] = Field(default_factory=dict)
    source: str = ""
    here: bool = False
    problem: str = ""


class StoredTower(Spec):
    """A frozen tower whose outputs are stored.

    Args:
        tower: its name, its side and the type of the values.
        side: `images` or `texts`.
        items_per_second: through the tower alone.
        item_bytes: on disk, of an item of usual length.
        training: whether the training split is stored too; not if something random stands before the tower.
    """

    tower: str
    side: Literal["images", "texts"]
    items_per_second: float
    item_bytes: float
    training: bool


class Measurement(Spec):
    """What was timed of one model on this machine, in seconds; and what was not.

    Args:
        steps: seconds of a training step by batch size, as measured.
        pairwise: seconds of the loss alone, forward and backward, by batch size.
        images_per_second, captions_per_second: encoded without gradients.
        pairs_per_second: scored.
        towers: frozen towers whose outputs are stored.
        parameters, trainable: numbers.
        base_bytes: memory of the process without any model; 0 on a GPU.
        saved_bytes: what a training step keeps for its backward pass, by batch size.
        pairwise_bytes: of it, what the loss alone keeps, by batch size.
        image_bytes, caption_bytes: of an encoded item.
        data: what was measured on: the dataset, or random data of its shape.
        problem: why nothing could be measured; everything else is empty then.
    """

    steps: dict[int, float] = Field(default_factory=dict)
    pairwise: dict[int, float] = Field(default_factory=dict)
    images_per_second: float | None = None
    captions_per_second: float | None = None
    pairs_per_second: float | None = None
    towers: tuple[StoredTower, ...] = ()
    parameters: int | None = None
    trainable: int | None = None
    base_bytes: int = 0
    saved_bytes: dict[int, int] = Field(default_factory=dict)
    pairwise_bytes: dict[int, int] = Field(default_factory=dict)
    image_bytes: int = 0
    caption_bytes: int = 0
    data: str = ""
    problem: str = ""


class StoreCost(Spec):
    """What the stored outputs of a frozen tower cost: once for all runs that read them.

    Args:
        tower: its name, its side and the type of the values.
        seconds: to compute them.
        bytes: on disk, in the cache folder.
    """

    tower: str
    seconds: float
    bytes: int


class Estimate(Spec):
    """What one run of an entry costs, by what was measured.

    Args:
        step_seconds: of one training step at the full batch.
        measured_batch: the largest batch that was timed; smaller than the full one = extrapolated from there.
        training_seconds, validation_seconds, test_seconds: of one run.
        stores: of frozen towers; once per tower, not per run.
        memory_bytes: of a run: the process, the model, and the larger of a training step and the encoded test split.
        kept_bytes: on disk when a run has ended: its weights, and its scores if they are saved.
        working_bytes: more while it runs: the checkpoint.
    """

    step_seconds: float | None = None
    measured_batch: int | None = None
    training_seconds: float = 0.0
    validation_seconds: float = 0.0
    test_seconds: float = 0.0
    stores: tuple[StoreCost, ...] = ()
    memory_bytes: int | None = None
    kept_bytes: int = 0
    working_bytes: int = 0

    @property
    def seconds(self) -> float:
        """Of one run, without the store."""
        return self.training_seconds + self.validation_seconds + self.test_seconds


class EvaluationCost(Spec):
    """What one evaluation of an entry costs at a size that was asked for, extrapolated from what was measured.

    Args:
        encoding_seconds: of all images and captions, once.
        scoring_seconds: of all pairs.
        streamed: whether scores are counted tile by tile, since they do not fit in the memory that is free here.
        memory_bytes: of the process, its model, the fragments in memory, and the matrix or the tiles.
        disk_bytes: of the temporary files of fragments that do not fit in memory.
        matrix_bytes: of the whole matrix, which is written if scores are saved.
    """

    encoding_seconds: float
    scoring_seconds: float
    streamed: bool
    memory_bytes: int
    disk_bytes: int
    matrix_bytes: int

    @property
    def seconds(self) -> float:
        """Of all of it."""
        return self.encoding_seconds + self.scoring_seconds


class PlannedEntry(Spec):
    """An entry of the experiment: its model and what its runs cost."""

    key: str
    scorer: str
    image: str
    text: str
    epochs: int
    batch_size: int
    steps_per_epoch: int | None = None
    source: str = ""
    differs: str = ""
    measurement: Measurement | None = None
    estimate: Estimate | None = None
    evaluation: EvaluationCost | None = None


class SideBySide(Spec):
    """The runs to do in several workers of this machine.

    Args:
        workers: side by side; no more than there are runs.
        asked: whether the user said how many.
        devices: among which they are shared out.
        seconds: until all runs have ended, the stores first.
        bytes: of memory on each device (the machine, or a GPU) while its largest runs are side by side; None = not known.
        free_bytes: of memory there now; None = not known.
        fitting: workers whose memory fits, all devices together; None = not known.
    """

    workers: int
    asked: bool = False
    devices: int = 1
    seconds: float
    bytes: int | None = None
    free_bytes: int | None = None
    fitting: int | None = None


class PlanDocument(Spec):
    """The plan of an experiment.

    Args:
        runs: how often each missing cell is run: 1, or the trials of a sweep.
        device: what was measured on; empty = nothing was.
        side_by_side: how long the runs take in the workers that the command would start here; None = one after the other,
            or not known.
        gallery: the size of the entries' `evaluation`, where one was asked for.
    """

    schema_version: int = PLAN_SCHEMA_VERSION
    experiment: str
    data: DataPlan
    cells: tuple[PlannedCell, ...]
    files: tuple[NeededFile, ...]
    entries: tuple[PlannedEntry, ...]
    threads: int = 1
    runs: int = 1
    device: str = ""
    device_is_gpu: bool = False
    notes: tuple[str, ...] = ()
    side_by_side: SideBySide | None = None
    gallery: Split | None = None

    def counted(self, *states: CellState, entry: str = "") -> int:
        """Number of cells in these states, of one entry or of all."""
        return sum(cell.state in states and entry in ("", cell.entry) for cell in self.cells)

    def to_run(self, entry: str = "") -> int:
        """Number of runs that are still to be done."""
        return self.runs * self.counted("missing", "failed", entry=entry)

    @property
    def missing_files(self) -> Sequence[NeededFile]:
        """Files without which something does not run."""
        return [file for file in self.files if file.required and file.state != "here"]

    @property
    def unmeasured(self) -> list[str]:
        """Keys of entries with runs to do whose time is not known."""
        return [entry.key for entry in self.entries if entry.estimate is None and self.to_run(entry.key)]

    @property
    def stores(self) -> list[StoreCost]:
        """The stores that the runs to do read, each once."""
        costs = [entry.estimate for entry in self.entries if entry.estimate and self.to_run(entry.key)]
        return list({store.tower: store for estimate in costs for store in estimate.stores}.values())

    def seconds_left(self) -> float | None:
        """Of all runs to do one after the other, the stores once; None where the time of one is not known."""
        if self.unmeasured:
            return None
        runs = sum(self.to_run(entry.key) * entry.estimate.seconds for entry in self.entries if entry.estimate)
        return runs + sum(store.seconds for store in self.stores)

    def bytes_left(self) -> int | None:
        """Disk that the runs to do will keep, the stores once, and the largest checkpoints of the workers meanwhile."""
        if self.unmeasured:
            return None
        parts = [(self.to_run(entry.key), entry.estimate) for entry in self.entries if entry.estimate]
        kept = sum(count * estimate.kept_bytes for count, estimate in parts)
        working = sorted((estimate.working_bytes for count, estimate in parts for _ in range(count)), reverse=True)
        workers = self.side_by_side.workers if self.side_by_side else 1
        return kept + sum(working[:workers]) + sum(store.bytes for store in self.stores)

    def peak_bytes(self) -> int | None:
        """Largest memory of any entry with runs to do; None where none is known."""
        known = [
            entry.estimate.memory_bytes
            for entry in self.entries
            if entry.estimate and entry.estimate.memory_bytes and self.to_run(entry.key)
        ]
        return max(known, default=None)
