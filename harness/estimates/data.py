"""What is known of an experiment's data: counted where they are here, published sizes where they are not."""

from __future__ import annotations

from dataclasses import dataclass

from harness.datasets.base import Dataset
from harness.datasets.known import KNOWN, KnownDataset
from harness.datasets.precomp.dataset import AUTHORS_VALIDATION
from harness.errors import InvalidDataset, InvalidSpec
from harness.records.plan import DataPlan, Split
from harness.runs.building import open_dataset
from harness.runs.planning import check
from harness.settings.experiment import INFERRED
from harness.spec import Component, Experiment, RunSpec

#: Stands for a folder that is not named: no run depends on where the data lie.
NOWHERE = "not-named"
#: Words of a caption where nothing is known of the data: mean, standard deviation, longest.
USUAL_WORDS = (12.0, 4.0, 60)


@dataclass(frozen=True)
class Data:
    """The data of a plan.

    Args:
        plan: for the document.
        dataset: opened; None = not here.
        drafts: the experiment's resolved entries by key, without data.
        words: of a caption, see `KnownDataset`.
    """

    plan: DataPlan
    dataset: Dataset | None
    drafts: dict[str, RunSpec]
    words: tuple[float, float, int]


def look_at(experiment: Experiment) -> Data:
    """Resolve an experiment and open its data, if they are here.

    Raises:
        UnknownName, InvalidSpec: as `harness.runs.planning.check`; also a folder that is neither named nor of a known
            dataset.
    """
    known = KNOWN.get(experiment.expects)
    named = _named(experiment, known)
    try:
        drafts = check(experiment.model_copy(update={"dataset": named}))
        component = next(iter(drafts.values())).dataset
        if named.plain.get("root") == NOWHERE:
            raise InvalidDataset("dataset.root is not set: --set dataset.root=FOLDER")
        dataset = open_dataset(component)
        splits = {name: _counted(dataset, name) for name in dataset.splits}
    except InvalidDataset as error:
        return _unopened(experiment, known, named, str(error))
    plan = DataPlan(name=component.name, title=dataset.title, splits=splits, source="counted", here=True)
    return Data(plan, dataset, drafts, known.words if known else USUAL_WORDS)


def _named(experiment: Experiment, known: KnownDataset | None) -> Component:
    """The dataset's component with a folder, and with a layout where the folder would have to say it."""
    component = experiment.dataset
    if "root" in component.plain or known is None or component.name not in (*known.files, INFERRED):
        return component
    if component.name == INFERRED:
        component = Component(name=next(iter(known.files)), options=component.plain)
    return component.changed({"root": NOWHERE})


def _unopened(experiment: Experiment, known: KnownDataset | None, named: Component, problem: str) -> Data:
    """As far as one comes without the data."""
    if named.name == INFERRED:  # the folder that would say it is not there
        layout = next(iter(known.files)) if known else ""
        if not layout:
            raise InvalidSpec(f"{problem}; name the layout with dataset.name, or the published dataset with `expects`")
        named = Component(name=layout, options=named.plain)
    drafts = check(experiment.model_copy(update={"dataset": named}))
    if known is None:
        return Data(DataPlan(name=named.name, title=named.name, problem=problem), None, drafts, USUAL_WORDS)
    component = next(iter(drafts.values())).dataset
    limits = {split: component.plain.get(f"max_{split}_images") for split in known.images}
    if component.plain.get("validation") == "authors":
        limits["val"] = AUTHORS_VALIDATION // known.captions_per_image
    images = {split: min(count, limits[split] or count) for split, count in known.images.items()}
    splits = {split: Split(images=count, captions=count * known.captions_per_image) for split, count in images.items()}
    plan = DataPlan(name=component.name, title=experiment.expects, splits=splits, source=known.source, problem=problem)
    return Data(plan, None, drafts, known.words)


def _counted(dataset: Dataset, name: str) -> Split:
    split = dataset.split(name)
    return Split(images=len(split.image_ids), captions=len(split.captions))
