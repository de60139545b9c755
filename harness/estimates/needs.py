"""The files of an experiment: the dataset's, the weights, the word vectors; here or missing, and where one gets them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.datasets.known import KNOWN, DataFile
from harness.estimates.weights import needed_weights
from harness.records.plan import DataPlan, FileState, NeededFile
from harness.spec import Experiment, RunSpec


def needed_files(experiment: Experiment, drafts: Mapping[str, RunSpec], data: DataPlan) -> tuple[NeededFile, ...]:
    """Every file that an experiment needs, each once, the dataset's first.

    Args:
        experiment: as a user wrote it.
        drafts: its resolved entries by key.
        data: what is known of the dataset.
    """
    files = [*_dataset(experiment, data), *_weights(drafts), *_wanted(experiment, drafts)]
    return tuple(_joined(files))


def _dataset(experiment: Experiment, data: DataPlan) -> list[NeededFile]:
    options = experiment.dataset.plain
    root = options.get("root")
    known = KNOWN.get(experiment.expects)
    listed = known.files.get(data.name, ()) if known else ()
    if data.here or (not listed and root is None):
        return []
    if root is None:
        return [_data_file(file, "not named" if file.required else "missing") for file in listed]
    folder = Path(str(root)).expanduser()
    if not listed:
        return [NeededFile(name=str(root), what="the dataset's folder", where="dataset.root", state=_exists(folder))]
    return [_data_file(file, _exists(folder / file.path)) for file in listed]


def _data_file(file: DataFile, state: FileState) -> NeededFile:
    return NeededFile(
        name=file.path, what=file.what, where=file.where, state=state, bytes=file.bytes, required=file.required
    )


def _weights(drafts: Mapping[str, RunSpec]) -> Iterable[NeededFile]:
    for key, draft in drafts.items():
        if draft.weights:
            continue  # a saved model brings its own
        for found in (needed_weights(draft.image, "image"), needed_weights(draft.text, "text")):
            if found:
                yield found.model_copy(update={"entries": (key,)})


def _wanted(experiment: Experiment, drafts: Mapping[str, RunSpec]) -> Iterable[NeededFile]:
    """What entries ask for without needing it: files whose setting is empty by default."""
    for entry in experiment.scorers:
        for want in entry.wants:
            part, _, option = want.setting.partition(".")
            value = getattr(drafts[entry.key], part).plain.get(option)
            setting = f"--set scorers.{entry.key}.{want.setting}=PATH"
            yield NeededFile(
                name=str(value or want.what),
                what=want.what if value else want.otherwise,
                where=f"{want.where}; {setting}",
                state="here" if value else "not named",  # a named file that is missing was refused before
                entries=(entry.key,),
                required=False,
            )


def _joined(files: Iterable[NeededFile]) -> Iterable[NeededFile]:
    """Equal files once, with all entries that need them."""
    found: dict[tuple[str, str], NeededFile] = {}
    for file in files:
        key = (file.name, file.where)
        before = found.get(key)
        entries = dict.fromkeys((*(before.entries if before else ()), *file.entries))
        found[key] = (before or file).model_copy(update={"entries": tuple(entries)})
    return found.values()


def _exists(path: Path) -> FileState:
    return "here" if path.exists() else "missing"
