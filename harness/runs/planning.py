"""Planning: from an experiment to the resolved cells that run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from harness import backbones, datasets, protocols, registry
from harness.backbones.words import coverage
from harness.datasets.base import Dataset, Split
from harness.datasets.known import KNOWN
from harness.datasets.repeats import report_captions, report_splits
from harness.errors import InvalidDataset, InvalidSpec
from harness.files.hashing import sha256_file
from harness.files.packages import is_reference, packaged_model, packaged_weights
from harness.metrics.catalogue import METRICS
from harness.runs import origins, remarks
from harness.runs.building import TEST_SPLIT, open_checked, require_training_data
from harness.runs.saved_models import describe_model
from harness.runs.subjects import subject_of
from harness.settings.components import plain
from harness.spec import Component, Experiment, FeatureSpec, RunSpec, ScorerEntry, TrainingSpec, build, sha256_json


def plan(experiment: Experiment) -> list[RunSpec]:
    """The resolved cells of an experiment, all scorers of a seed before the next seed.

    Everything that can be known to be wrong before any work is done is refused here: first what needs no data, then what
    the data decide. Entries that resolve to the same settings give equal cells, which run once; a line says so.

    Raises:
        UnknownName, InvalidSpec: an unknown or impossible scorer, backbone, dataset, protocol or setting.
        InvalidDataset: a split is missing or empty, or a backbone takes what the dataset does not have.
        InvalidProtocol: a protocol does not fit the test split.
    """
    drafts = check(experiment)
    dataset = open_checked(next(iter(drafts.values())).dataset)
    test = dataset.split(TEST_SPLIT)
    remarks.report_other_data(experiment, dataset)
    report_captions(test.captions, test.caption_image, f"{dataset.title} {TEST_SPLIT}")
    cells = on_data(experiment, drafts, dataset)
    protocols.report(experiment.protocols, subject_of(test, dataset))
    if any(cell.training.epochs for cell in cells):
        require_training_data(dataset)
    report_splits(dataset)
    for text, weights in dict.fromkeys((cell.text, cell.weights) for cell in cells):
        coverage.report(text, dataset, weights, describe_model(weights)["tokenizer"] if weights else None)
    remarks.report_equal(experiment, cells)
    remarks.report_another_run(experiment, cells)
    return [cell.model_copy(update={"seed": seed}) for seed in experiment.seeds for cell in cells]


def on_data(experiment: Experiment, drafts: Mapping[str, RunSpec], dataset: Dataset) -> list[RunSpec]:
    """The cells of an experiment for its first seed, which know their data; in the order of the entries.

    Args:
        experiment: what will run.
        drafts: see `check`.
        dataset: opened.

    Raises:
        InvalidDataset: a split is missing, or a backbone takes what the dataset does not have.
        InvalidProtocol: a protocol does not fit the test split.
    """
    test = dataset.split(TEST_SPLIT)
    subject = subject_of(test, dataset)
    for name in experiment.protocols:
        protocols.get(name).check(subject)
    files = {file: sha for name in experiment.protocols for file, sha in protocols.get(name).files(subject).items()}
    cells = []
    for entry in experiment.scorers:
        cell = with_data(drafts[entry.key], dataset, test)
        if entry.weights:
            _check_width(entry, test, dataset)
        cells.append(cell.model_copy(update={"protocol_files": files}))
    return cells


def check(experiment: Experiment) -> dict[str, RunSpec]:
    """Refuse what can be known to be wrong without any data: every name and every setting of the experiment.

    Returns:
        The draft of each entry by its key, see `draft`.

    Raises:
        UnknownName, InvalidSpec: an unknown or impossible scorer, backbone, dataset, protocol or setting.
    """
    require_root(experiment)
    dataset = datasets.DATASETS.resolve(experiment.dataset)
    for name in experiment.protocols:
        protocols.get(name)
    for name in experiment.evaluation.metrics:
        METRICS.get(name)
    return {entry.key: draft(experiment, entry, dataset) for entry in experiment.scorers}


def require_root(experiment: Experiment) -> None:
    """Refuse an experiment on files whose folder is not named; the line says which files and where one gets them.

    Raises:
        InvalidSpec: `dataset.root` is missing.
    """
    name, known = experiment.dataset.name, KNOWN.get(experiment.expects)
    if known is None or name not in known.files or "root" in experiment.dataset.plain:
        return
    sources: dict[str, list[str]] = {}
    for file in known.files[name]:
        if file.required:
            sources.setdefault(file.where, []).append(file.path)
    listed = "; ".join(f"{', '.join(paths)} ({where})" for where, paths in sources.items())
    raise InvalidSpec(
        f"experiment '{experiment.name}' needs --set dataset.root=FOLDER, the folder with {listed}; "
        f"`itm plan {experiment.name}` says what else it needs"
    )


def distinct(cells: Sequence[RunSpec]) -> list[RunSpec]:
    """Each run once, as the first of the equal cells names it."""
    first: dict[str, RunSpec] = {}
    for cell in cells:
        first.setdefault(cell.run_id, cell)
    return list(first.values())


def draft(experiment: Experiment, entry: ScorerEntry, dataset: Component) -> RunSpec:
    """An entry with every default filled in, for the experiment's first seed; the hash of the data is not known yet.

    Args:
        experiment: gives what the entry leaves open.
        entry: one of its entries, or another one.
        dataset: resolved.

    Raises:
        UnknownName, InvalidSpec: an unknown or impossible scorer, backbone or setting.
    """
    found = RunSpec(
        **(_given(entry) if entry.weights else _settings(experiment, entry)),
        dataset=dataset,
        data_sha256="",
        seed=experiment.seeds[0],
        protocols=experiment.protocols,
        evaluation=experiment.evaluation,
        threads=experiment.threads,
        feeding=experiment.feeding,
        source_sha256=registry.source_sha256(entry.name),
    )
    return found.model_copy(update={"plugins_sha256": origins.plugins_sha256(found)})


def with_data(draft: RunSpec, dataset: Dataset, split: Split) -> RunSpec:
    """A draft that knows its data.

    Args:
        draft: see `draft`.
        dataset: opened.
        split: one whose images the image backbone must be able to take.

    Raises:
        InvalidDataset: the image backbone takes what the dataset does not have.
    """
    needed = backbones.IMAGE_BACKBONES.get(draft.image.name).input
    if needed not in split.images.inputs:
        raise InvalidDataset(
            f"image backbone '{draft.image.name}' takes {needed}, but the dataset offers "
            f"{' and '.join(sorted(split.images.inputs))} only; choose another image backbone"
        )
    return draft.model_copy(update={"data_sha256": dataset.sha256})


def _settings(experiment: Experiment, entry: ScorerEntry) -> dict[str, Any]:
    """What an entry that is trained says of its scorer."""
    cls = registry.scorer_class(entry.name)
    scorer, variant = registry.split(entry.name)
    config = registry.resolve_config(entry.name, entry.config).resolved()
    image = backbones.pinned(backbones.IMAGE_BACKBONES, entry.image or cls.default_image or experiment.image)
    text = backbones.pinned(backbones.TEXT_BACKBONES, entry.text or cls.default_text or experiment.text)
    given = {**registry.recipe(entry.name), **experiment.training, **entry.training}
    training = build(TrainingSpec, given, f"training of scorer '{entry.key}'")
    _check_computing(image, text, training)
    return {
        "scorer": scorer,
        "variant": variant,
        "config": config,
        "image": image,
        "text": text,
        "training": training,
        "features": _features(experiment.features, image, text, training),
        "devices": experiment.devices if training.epochs else 1,
        "files_sha256": {
            f"{part}.{key}": sha256_path(place)
            for part, options in (("config", plain(config)), ("image", image.plain), ("text", text.plain))
            for key, value in options.items()
            if (place := _place(key, value)) is not None
        },
        "tuning": entry.tuning,
    }


def _check_computing(image: Component, text: Component, training: TrainingSpec) -> None:
    """Refuse ways to compute a step that the backbones do not offer."""
    if training.epochs and training.gradient_checkpointing:
        backbones.require_recomputing(image, text, keeps_trained=not training.backbone_learning_rate_scale)
    if training.epochs and training.compile:
        backbones.require_tower(image, text, "training.compile")


def _features(
    spec: FeatureSpec, image: Component, text: Component, training: TrainingSpec
) -> Literal["float16", "float32", "live"] | None:
    """How a run has the outputs of its frozen towers; None where none is frozen."""
    sides = ((backbones.IMAGE_BACKBONES, image), (backbones.TEXT_BACKBONES, text))
    trained = any(parts.get(part.name).comes_trained(part.options) for parts, part in sides)
    if not trained or training.backbone_learning_rate_scale:
        return None
    return spec.dtype if spec.store else "live"


def _place(key: str, value: Any) -> Path | None:
    """Where an option's file or folder lies (weights, word vectors); None where it names none on this disk."""
    if is_reference(value):
        return (packaged_model if key in ("model", "architecture") else packaged_weights)(value).path
    if not isinstance(value, str) or not ("/" in value or "." in value):
        return None
    path = Path(value).expanduser()
    return path if path.exists() else None


def entry_of(experiment: Experiment, scorer: str) -> ScorerEntry:
    """The entry of an experiment with this key or name; for another registered scorer one with its defaults.

    Raises:
        UnknownName: neither an entry nor a registered scorer.
    """
    for entry in experiment.scorers:
        if scorer in (entry.key, entry.name):
            return entry
    registry.scorer_class(scorer)  # an unknown name is answered with near matches
    return ScorerEntry.model_validate(scorer)


def _given(entry: ScorerEntry) -> dict[str, Any]:
    """The settings of a saved model: everything is read from its file, nothing is trained."""
    model = describe_model(entry.weights)
    if registry.split(model["scorer"])[0] != registry.split(entry.name)[0]:
        raise InvalidSpec(f"scorer '{entry.key}': {entry.weights} holds a {model['scorer']}, not a {entry.name}")
    if model["image"] is None or model["text"] is None:
        raise InvalidSpec(f"scorer '{entry.key}': {entry.weights} holds no backbones, so it cannot encode")
    scorer, variant = registry.split(model["scorer"])
    return {
        "scorer": scorer,
        "variant": variant,
        "config": model["config"],
        "image": Component.model_validate(model["image"]),
        "text": Component.model_validate(model["text"]),
        "training": TrainingSpec(epochs=0),
        "weights": entry.weights,
        "weights_sha256": sha256_path(Path(entry.weights)),
    }


def _check_width(entry: ScorerEntry, split: Split, dataset: Dataset) -> None:
    """Refuse a saved model whose region features are of another width than the dataset's."""
    width = describe_model(entry.weights)["region_width"]
    if width not in (0, split.images.region_width):
        raise InvalidDataset(
            f"scorer '{entry.key}': {entry.weights} takes region features of width {width}, but those of {dataset.title} "
            f"have width {split.images.region_width}; use the features that it was trained on"
        )


def sha256_path(path: Path) -> str:
    """SHA-256 of a file's bytes, or of all files below a folder with their names.

    Raises:
        InvalidSpec: it cannot be read.
    """
    path = path.expanduser()
    try:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
            return sha256_json([(str(file.relative_to(path)), sha256_path(file)) for file in files])
        return sha256_file(path)
    except OSError as error:
        raise InvalidSpec(f"cannot read {path}: {error.strerror or error}") from None
