"""A profile from trained runs: plan what time and memory allow, sample it in interleaved rounds, write it down."""

from __future__ import annotations

import functools
import gc
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from harness.errors import InvalidDataset
from harness.files.locks import claim
from harness.profiles import session, work
from harness.profiles.assemble import point_of
from harness.profiles.plan import Bench, Cost, ProfileOptions, benches_for, queries_of
from harness.profiles.scenarios import encoding, training
from harness.profiles.session import Scenario
from harness.profiles.trained import TrainedScorer, load_trained
from harness.profiles.uses import Use, accuracy, all_uses
from harness.records import environment
from harness.records.profile import Point, Profile, ProfileStore
from harness.records.ranks import RankTable
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.runs.building import open_dataset
from harness.runs.computing import computing
from harness.tracking.observer import Observer


def profile_runs(
    name: str,
    runs: Mapping[str, RunRecord],
    store: RunStore,
    device: torch.device,
    options: ProfileOptions | None = None,
    observer: Observer | None = None,
) -> tuple[Profile, dict[str, RankTable]]:
    """Measure trained runs.

    Args:
        name: of the profile.
        runs: finished runs by the name that tables give them, all of one dataset, protocol and seed.
        store: where they lie.
        device: where to measure.
        options: how much.
        observer: progress callbacks; None = none.

    Returns:
        The profile, and the per-query ranks of every point.

    Raises:
        InvalidRecord, InvalidCheckpoint, InvalidDataset: a run cannot be loaded, or the runs cannot be compared.
        UnknownName, InvalidSpec: a cascade of scorers that are missing or do not fit.
    """
    options, observer = options or ProfileOptions(), observer or Observer()
    records = list(runs.values())
    _check_same_data(records)
    started = environment.now()
    scorers = []
    with computing(_threads(records), device), torch.no_grad():
        for key, record in runs.items():
            observer.noted(f"{key}: encoding the test split")
            scorers.append(load_trained(key, record, store, device))
        uses, metrics, ranks = _judge(scorers, options, observer)
        points, reference, gflops = _measure(scorers, uses, metrics, options, device, observer)
    first = scorers[0]
    profile = Profile(
        name=name,
        dataset=first.record.dataset,
        split=first.record.split,
        protocol=first.protocol,
        ties=first.spec.evaluation.ties,
        data_sha256=first.record.data_sha256,
        images=len(first.split.image_ids),
        captions=len(first.split.captions),
        seed=first.record.seed,
        gallery=reference,
        galleries=tuple(sorted(options.galleries)),
        rounds=options.rounds,
        seconds=options.seconds,
        matrix_gflops=gflops,
        notes=_notes(options, reference),
        environment=environment.describe(device),
        code=environment.code_revision(),
        points=points,
        started=started,
        finished=environment.now(),
    )
    return profile, ranks


def record_profile(
    name: str,
    runs: Mapping[str, RunRecord],
    results: Path,
    device: torch.device,
    options: ProfileOptions,
    observer: Observer,
) -> None:
    """Measure and write a profile, or wait for another command that does: two at once would time each other.

    Args: as `profile_runs`; the runs lie in the folder `results`.
    """
    store = ProfileStore(results, name)
    with claim(results, f"profile-{name}", wait=0) as ours:
        if ours:
            store.write(*profile_runs(name, runs, RunStore(results), device, options, observer))
            return
    observer.noted(f"another command is measuring {store.folder}; waiting for it")
    before = store.state()
    with claim(results, f"profile-{name}"):
        if store.state() == before:  # it died
            store.write(*profile_runs(name, runs, RunStore(results), device, options, observer))


def _check_same_data(records: Sequence[RunRecord]) -> None:
    if not records:
        raise InvalidDataset("there is no finished run to profile; train one first")
    kinds = {(record.dataset, record.data_sha256, record.protocols[0], record.seed) for record in records}
    if len(kinds) > 1:
        raise InvalidDataset(
            "the runs of one profile must share dataset, protocol and seed, got "
            + "; ".join(sorted(f"{d} {sha[:8]} {p} seed {s}" for d, sha, p, s in kinds))
        )


def _threads(records: Sequence[RunRecord]) -> int:
    """Compute threads of the runs; those of this process where earlier versions did not record them."""
    found = {int(record.spec.get("threads") or torch.get_num_threads()) for record in records}
    if len(found) > 1:
        raise InvalidDataset(
            f"the runs of one profile must have one number of compute threads, got {sorted(found)}; run them with one "
            "value of the experiment's 'threads'"
        )
    return found.pop()


def _judge(
    scorers: Sequence[TrainedScorer], options: ProfileOptions, observer: Observer
) -> tuple[list[Use], dict[str, dict[str, float]], dict[str, RankTable]]:
    """All uses with their accuracy on the test split."""
    uses: list[Use] = []
    metrics: dict[str, dict[str, float]] = {}
    ranks: dict[str, RankTable] = {}
    similarity: dict[str, torch.Tensor] = {}
    for use in all_uses(scorers, options.cascades, options.ann):
        observer.noted(f"{use.key}: accuracy")
        found = accuracy(use, similarity)
        metrics[use.key], ranks[use.key] = found.metrics, found.ranks
        uses.append(use)
    return uses, metrics, ranks


def _measure(
    scorers: Sequence[TrainedScorer], uses: Sequence[Use], metrics: Mapping[str, Mapping[str, float]],
    options: ProfileOptions, device: torch.device, observer: Observer,
) -> tuple[tuple[Point, ...], int, dict[str, float]]:  # fmt: skip
    """The points, their reference gallery, and the machine's rates."""
    observer.noted("galleries")
    benches, reference = benches_for(scorers, uses, options, device)
    # A shortlist as large as the gallery is none; the fine scorer itself (k = 0) ends each curve.
    uses = [use for use in uses if use.coarse is None or use.k < reference]
    timed, memory, index = _scenarios(uses, benches, reference, options, device, observer)
    observer.noted(f"measuring {len(timed)} scenarios in {options.rounds} rounds, about {options.seconds:g} s")
    found = session.measure(
        list(timed.values()),
        device,
        rounds=options.rounds,
        seconds=options.seconds,
        samples=options.samples,
        progress=lambda done, total: observer.noted(f"round {done} of {total} done"),
    )
    results = {
        key: result.model_copy(update={"memory": memory.get(key, {})}) for key, result in zip(timed, found, strict=True)
    }
    points = tuple(
        point_of(use, metrics[use.key], results, index[use.key], options.galleries, reference) for use in uses
    )
    gflops = work.matrix_gflops({key: result.whole.p50 for (use, key), result in results.items() if not use})
    return points, reference, gflops


def _scenarios(
    uses: Sequence[Use],
    benches: Mapping[str, Bench],
    reference: int,
    options: ProfileOptions,
    device: torch.device,
    observer: Observer,
) -> tuple[dict[tuple[str, str], Scenario], dict[tuple[str, str], dict[str, float]], dict[str, Cost]]:
    """Scenarios by use and name, the peak memory of one call of each, and what the index of a use costs."""
    timed = {("", scenario.key): scenario for scenario in work.matrix_scenarios(device)}
    memory: dict[tuple[str, str], dict[str, float]] = {}
    index: dict[str, Cost] = {}
    for use in uses:
        observer.noted(f"{use.key}: index and memory")
        own, index[use.key] = queries_of(use, benches, reference, options.ann)
        if use.kind == "base":
            dataset = open_dataset(use.trained.spec.dataset)
            own += encoding(use.trained)
            own += [training(use.trained, dataset.split("train"))] if "train" in dataset.splits else []
        gc.collect()
        for scenario in own:
            timed[use.key, scenario.key] = scenario
            memory[use.key, scenario.key] = work.peak_of(functools.partial(scenario, 1), device)
    return timed, memory, index


def _notes(options: ProfileOptions, reference: int) -> tuple[str, ...]:
    if reference >= options.gallery:
        return ()
    return (
        f"Points are compared at {reference:,} gallery items, not at {options.gallery:,}, which would have taken more "
        "time or memory than was given.",
    )
