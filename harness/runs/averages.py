"""A record of results of which only averages are known: shown beside runs with ranks, and never tested."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from harness import protocols
from harness.datasets.base import Dataset, Split
from harness.datasets.published import published_name
from harness.errors import InvalidProtocol, InvalidSimilarity
from harness.files.hashing import sha256_file
from harness.outputs.averages import Averages, zeros
from harness.outputs.checks import at_chance
from harness.records import environment
from harness.records.description import Contamination
from harness.records.parts import Source, SourceFile, Tuning
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.runs.foreign import Stated
from harness.runs.subjects import subject_of
from harness.spec import Component, sha256_json

ORIGIN = "published"
_log = logging.getLogger(__name__)


def record_averages(
    store: RunStore,
    found: Averages,
    dataset: Dataset,
    split: Split,
    component: Component,
    names: Sequence[str],
    stated: Stated,
    *,
    overlaps: tuple[Contamination, ...] | None = None,
    allow_chance: bool = False,
) -> RunRecord:
    """Record averages as a finished run of origin `published`, which has no ranks.

    Args:
        store: where the run goes.
        found: the averages.
        dataset, split, component: what they are about, and how it is opened.
        names: the protocol that they are of; none = all that ask the whole split in one gallery.
        stated: what their author says of them.
        overlaps: images of the split that were trained on; None = not known.
        allow_chance: record averages that are no better than chance.

    Raises:
        UnknownName, InvalidProtocol: a protocol that does not exist or does not fit, or several with numbers of their own.
        InvalidSimilarity: averages at chance in every direction that they state, without `allow_chance`.
        ResultsNotWritable: the folder cannot be written.
    """
    chosen = _protocols(names, split, dataset)
    _look(found, chosen, dataset, split, allow_chance)
    record = _record(found, dataset, split, component, chosen, stated)
    record = record.model_copy(update={"overlaps": overlaps})
    with store.claim(record.run_id):
        store.write(record)
    return record


def _protocols(names: Sequence[str], split: Split, dataset: Dataset) -> tuple[str, ...]:
    subject = subject_of(split, dataset)
    if not names:
        return tuple(name for name in protocols.fitting(subject)[0] if name in protocols.SAME_NUMBERS)
    for name in names:
        protocols.get(name).check(subject)
    if len(names) > 1 and not set(names) <= protocols.SAME_NUMBERS:
        raise InvalidProtocol(
            f"a file of averages has the numbers of one protocol, got {', '.join(names)}; name the one that they are of"
        )
    return tuple(dict.fromkeys(names))


def _look(found: Averages, chosen: Sequence[str], dataset: Dataset, split: Split, allow_chance: bool) -> None:
    """Say what is odd about averages, and refuse those that are no better than chance throughout."""
    theirs = published_name(found.dataset.removeprefix("wds/").removesuffix("_captions"))
    if theirs and theirs != dataset.title:
        _log.warning("%s says that its dataset is %s; it is recorded for %s", found.path, found.dataset, dataset.title)
    if odd := zeros(found.metrics):
        _log.warning("%s: %s", found.path, odd)
    low = at_chance(dict.fromkeys(chosen, found.metrics), subject_of(split, dataset))
    stated = {key[:3] for key in found.metrics if key != "rsum"}
    if low and len(low) == len(stated) and not allow_chance:
        raise InvalidSimilarity(
            f"{found.path}: {low[0].problem}; check the unit ({found.unit}) and the dataset, or record it all the same with "
            "--allow-chance"
        )
    for line in low:
        _log.warning("%s: %s", found.path, line.problem)


def _record(
    found: Averages, dataset: Dataset, split: Split, component: Component, chosen: tuple[str, ...], stated: Stated
) -> RunRecord:
    now = environment.now()
    file = SourceFile(name=found.path.name, sha256=sha256_file(found.path))
    spec = {
        "scorer": stated.name,
        "variant": stated.variant,
        "dataset": component.model_dump(mode="json"),
        "seed": stated.seed,
        "protocols": list(chosen),
    }
    backbone = stated.backbone or found.backbone
    identity = [spec, backbone, found.unit, file.sha256, split.name, dataset.sha256]
    return RunRecord(
        run_id=sha256_json({ORIGIN: identity})[:16],
        origin="published",
        scorer=stated.name,
        variant=stated.variant,
        code_origin=ORIGIN,
        citation=stated.citation,
        backbone=backbone or "not said",
        dataset=dataset.title,
        split=split.name,
        protocols=chosen,
        seed=stated.seed,
        metrics={name: dict(found.metrics) for name in chosen},
        source=Source(files=(file,), shape=found.title, reading={"unit": found.unit}),
        selected_on=stated.selected_on,
        tuning=Tuning() if stated.trials is None else Tuning(trials=stated.trials),
        data_sha256=dataset.sha256,
        code=environment.code_revision(),
        spec=spec,
        status="finished",
        started=now,
        finished=now,
    )
