"""Results of other code: their numbers on our protocols, and a record of them that takes part beside trained runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness import protocols
from harness.datasets.base import Dataset, Split
from harness.datasets.repeats import report_captions
from harness.errors import InvalidProtocol, InvalidSimilarity, InvalidSpec, one_line
from harness.files.hashing import sha256_file
from harness.metrics import Similarity
from harness.outputs.base import Measured, Output
from harness.outputs.checks import AtChance, at_chance, report_rounding
from harness.outputs.opening import Reading, open_output
from harness.protocols.further import further_metrics
from harness.records import environment
from harness.records.description import Contamination
from harness.records.frozen.public import names_a_path
from harness.records.parts import Source, SourceFile, Tuning
from harness.records.ranks import RankTable
from harness.records.run import RunRecord, SelectedOn
from harness.records.scores import SCORES, write_scores
from harness.records.store import RunStore
from harness.records.ties import RECALLS, WAYS, Ties
from harness.runs.origins import dataset_plugin, further_metrics_of, protocol_plugins
from harness.runs.subjects import subject_of, top_of
from harness.spec import Component, sha256_json

logger = logging.getLogger(__name__)

ORIGIN = "foreign"
#: Longest text that a user says of a run.
_LONGEST = 200


@dataclass(frozen=True, eq=False)
class FileResults:
    """The numbers of results from files.

    Args:
        metrics: by protocol and tie rule.
        measured: by protocol under the first tie rule: ranks, and what the numbers rest on.
        unfit: protocols that do not fit the split, with the reason.
        refused: protocols that do, and of which the results have no number, with the reason.
        duplicate_captions: counts of the split's repeated captions.
        output: what the files hold.
        split: what was scored.
        chance: directions that rank no better than chance.
        further: names of the further metrics among the numbers.
    """

    metrics: dict[str, dict[str, dict[str, float]]]
    measured: dict[str, Measured]
    unfit: dict[str, str]
    refused: dict[str, str]
    duplicate_captions: dict[str, Any]
    output: Output
    split: Split
    chance: Sequence[AtChance]
    further: tuple[str, ...] = ()

    @property
    def gallery(self) -> tuple[int, int]:
        """Images and captions of the split."""
        return len(self.split.image_ids), len(self.split.captions)

    @property
    def info(self) -> dict[str, dict[str, Any]]:
        """By protocol, what its numbers rest on; see `harness.runs.evaluation.Results`."""
        return {name: measured.info for name, measured in self.measured.items() if measured.info}


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What the author of foreign results says of them.

    Args:
        name, variant: of the method, as tables show it.
        seed: of its training.
        backbone: its towers, in words; "" = not said.
        citation: publication, for tables.
        selected_on: what the checkpoint was chosen on; None = not said.
        trials: tuning trials before these results; None = not said.
    """

    name: str
    variant: str = ""
    seed: int = 0
    backbone: str = ""
    citation: str = ""
    selected_on: SelectedOn | None = None
    trials: int | None = None

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise InvalidSpec("a foreign run needs a name for its method: --name NAME")
        for what in ("name", "variant", "backbone", "citation"):
            text = getattr(self, what)
            if len(text) > _LONGEST or not text.isprintable():
                raise InvalidSpec(
                    f"--{what} must be one printable line of at most {_LONGEST} characters, got {one_line(text, 60)!r}"
                )
            if names_a_path(text):
                raise InvalidSpec(
                    f"--{what} names a folder, which a frozen leaderboard would not publish; say it otherwise, got "
                    f"{one_line(text, 60)!r}"
                )


def evaluate_files(
    paths: Sequence[Path],
    dataset: Dataset,
    split_name: str,
    names: Sequence[str],
    rules: Sequence[Ties],
    reading: Reading | None = None,
    metrics: Sequence[str] = (),
) -> FileResults:
    """The numbers of results that other code has written.

    Args:
        paths: see `harness.outputs.opening.open_output`.
        dataset, split_name: what was scored.
        names: protocols; none = all that fit.
        rules: tie rules.
        reading: what the user says of the files.
        metrics: further ones, of every protocol.

    Raises:
        UnknownName, InvalidProtocol: a protocol that does not exist, or that does not fit the split or the results.
        InvalidSimilarity: results that do not fit the split, or that hold values which are not finite.
    """
    split = dataset.split(split_name)
    subject = subject_of(split, dataset)
    for name in names:
        protocols.get(name).check(subject)
    output = open_output(paths, split, reading or Reading())
    fit, unfit = (list(names), dict[str, str]()) if names else protocols.fitting(subject)
    protocols.report(fit, subject)
    repeated = report_captions(split.captions, split.caption_image, f"{dataset.title} {split_name}")
    output.look(tuple(protocols.get(name) for name in fit), subject)
    done: dict[str, dict[Ties, Measured]] = {}
    refused: dict[str, str] = {}
    for name in fit:
        try:
            if reason := output.refusal(protocols.get(name)):
                raise InvalidProtocol(reason)
            measured = {rule: output.measure(protocols.get(name), subject, rule) for rule in rules}
            done[name] = {rule: _with_metrics(one, metrics, split, rule) for rule, one in measured.items()}
        except InvalidProtocol as error:
            if names:
                raise
            refused[name] = str(error)
    if not done:
        raise InvalidSimilarity(f"{output.title} give no number: {'; '.join((refused or unfit).values())}")
    numbers = {name: {str(rule): found.metrics for rule, found in results.items()} for name, results in done.items()}
    _report_undecided(metrics, numbers)
    report_rounding(output, protocols.get(next(iter(done))), subject)
    first = {name: results[rules[0]] for name, results in done.items()}
    chance = at_chance({name: measured.metrics for name, measured in first.items()}, subject, output.scores)
    return FileResults(numbers, first, unfit, refused, repeated.as_dict(), output, split, chance, tuple(metrics))


def _with_metrics(found: Measured, names: Sequence[str], split: Split, rule: Ties) -> Measured:
    """Numbers with those of further metrics that the ranks decide."""
    if not names or found.ranks is None:
        return found
    more = further_metrics(names, found.ranks, (len(split.image_ids), len(split.captions)), rule)
    decided = {key: value for key, value in more.items() if not key.startswith(tuple(found.depths))}
    return replace(found, metrics={**found.metrics, **decided})


def _report_undecided(names: Sequence[str], numbers: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    keys = [f"{way}_{name}" for name in names for way in WAYS]
    for protocol, rules in numbers.items():
        if lacking := [key for key in keys if any(key not in metrics for metrics in rules.values())]:
            logger.warning(
                "%s: these results do not decide %s, only how many items come first", protocol, ", ".join(lacking)
            )


def record_foreign(
    store: RunStore,
    paths: Sequence[Path],
    dataset: Dataset,
    component: Component,
    found: FileResults,
    stated: Stated,
    *,
    ties: Ties = "pessimistic",
    reading: Reading | None = None,
    overlaps: tuple[Contamination, ...] | None = None,
    save_scores: bool = False,
    allow_chance: bool = False,
) -> RunRecord:
    """Record the results of other code as a finished run of origin `foreign`.

    Args:
        store: where the run goes.
        paths: the files that were read.
        dataset, component: what was scored, and how it is opened.
        found: what `evaluate_files` made of the files, under `ties` first.
        stated: what their author says of them.
        ties: tie rule of the ranks.
        reading: what the user says of the files.
        overlaps: images of the split that were trained on; None = not known.
        save_scores: whether `scores.npy` is kept, for ensembles and further protocols.
        allow_chance: record results that rank no better than chance.

    Returns:
        The record; the same files and words give the same run. Its ranks are those that the files decide.

    Raises:
        InvalidSimilarity: results at chance without `allow_chance`, results of one direction, or scores to be saved that
            the files do not hold.
        ResultsNotWritable: the folder cannot be written.
    """
    if found.chance and not allow_chance:
        raise InvalidSimilarity(f"{found.chance[0]}; or record it all the same with --allow-chance")
    tables = {name: measured.ranks for name, measured in found.measured.items() if measured.ranks is not None}
    if not tables:
        lacking = [way for way in ("i2t", "t2i") if not any(f"{way}_r1" in m for m in _metrics(found, ties).values())]
        raise InvalidSimilarity(
            f"{found.output.title} hold no {' and '.join(lacking)} results; a run needs both directions"
        )
    if save_scores and found.output.scores is None:
        raise InvalidSimilarity(
            f"{found.output.title} hold no scores of all pairs, which --save-scores needs; leave it out"
        )
    record = _record(paths, dataset, component, found, tables, stated, ties, reading or Reading())
    record = record.model_copy(update={"overlaps": overlaps})
    with store.claim(record.run_id):
        if save_scores and found.output.scores is not None:
            write_scores(store.folder(record.run_id) / SCORES, _array(found.output.scores))
        store.write_ranks(record.run_id, tables)
        if found.output.scores is not None:
            store.write_top(record.run_id, top_of(found.output.scores, found.split))
        store.write(record)
    return record


def undecided(record: RunRecord) -> str:
    """Why a foreign run has no row on leaderboards, in a sentence; "" = it has one.

    Ranks of cut lists that do not decide all six recalls have no rSum, by which every table ranks.
    """
    if record.source is None or any("rsum" in metrics for metrics in record.metrics.values()):
        return ""
    known = [key for key in RECALLS if any(key in metrics for metrics in record.metrics.values())]
    return f"{record.title} has no rSum: {record.source.shape} decide {', '.join(known) or 'no recall'} only"


def _record(
    paths: Sequence[Path],
    dataset: Dataset,
    component: Component,
    found: FileResults,
    tables: Mapping[str, RankTable],
    stated: Stated,
    ties: Ties,
    reading: Reading,
) -> RunRecord:
    now = environment.now()
    given = [path for path in (*paths, reading.images, reading.captions) if path is not None]
    files = [SourceFile(name=file.name, sha256=sha256_file(file)) for path in given for file in _files(path)]
    said = _said(reading)
    spec = {
        "scorer": stated.name,
        "variant": stated.variant,
        "dataset": component.model_dump(mode="json"),
        "seed": stated.seed,
        "protocols": list(found.measured),
        "evaluation": {"ties": ties},
    }
    identity = [spec, stated.backbone, said, [file.sha256 for file in files], found.split.name, dataset.sha256]
    return RunRecord(
        run_id=sha256_json({ORIGIN: identity})[:16],
        origin="foreign",
        scorer=stated.name,
        variant=stated.variant,
        code_origin=ORIGIN,
        citation=stated.citation,
        backbone=stated.backbone or "not said",
        dataset=dataset.title,
        split=found.split.name,
        protocols=tuple(tables),
        seed=stated.seed,
        metrics={name: metrics for name, metrics in _metrics(found, ties).items() if name in tables},
        evaluation={
            "ties": ties,
            "duplicate_captions": found.duplicate_captions,
            "protocols": found.info,
            **({"metrics": further_metrics_of(found.further)} if found.further else {}),
        },
        source=Source(
            files=tuple(files),
            shape=found.output.title,
            reading=said,
            depths=_depths(found),
            best_captions_known=found.output.knows_best_captions,
        ),
        selected_on=stated.selected_on,
        tuning=Tuning() if stated.trials is None else Tuning(trials=stated.trials),
        data_sha256=dataset.sha256,
        code=environment.code_revision().model_copy(update=_plugins(component, found)),
        spec=spec,
        status="finished",
        started=now,
        finished=now,
    )


def _plugins(component: Component, found: FileResults) -> dict[str, Any]:
    """The plug-ins of the dataset and the protocols, for the record's `code`; nothing where there are none."""
    added = {**dataset_plugin(component.name), **protocol_plugins(found.measured)}
    return {"plugins": added} if added else {}


def _metrics(found: FileResults, ties: Ties) -> dict[str, dict[str, float]]:
    return {name: rules[str(ties)] for name, rules in found.metrics.items()}


def _depths(found: FileResults) -> dict[str, int]:
    """By direction, the smallest depth of any protocol."""
    depths: dict[str, int] = {}
    for measured in found.measured.values():
        for direction, depth in measured.depths.items():
            depths[direction] = min(depth, depths.get(direction, depth))
    return depths


def _said(reading: Reading) -> dict[str, Any]:
    """The options of a reading that were given; its files are named by their hashes."""
    default = Reading()
    keys = ("rows", "measure", "ensemble", "distances", "ranks_from")
    return {key: getattr(reading, key) for key in keys if getattr(reading, key) != getattr(default, key)}


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]


def _array(scores: Similarity) -> np.ndarray:
    if isinstance(scores, np.ndarray):
        return scores
    raise InvalidSimilarity("the scores do not fit in memory at once, which --save-scores needs; leave it out")
