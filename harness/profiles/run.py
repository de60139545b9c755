"""A profile from trained runs: plan what time and memory allow, sample it in interleaved rounds, write it down."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import torch

from harness.errors import InvalidDataset
from harness.profiles import session, work
from harness.profiles.assemble import Key, point_of
from harness.profiles.plan import Bench, ProfileOptions, plan, queries_of, training_and_encoding
from harness.profiles.points import Use, accuracy, cascade_pairs, cascades_of, uses_of
from harness.profiles.session import Scenario
from harness.profiles.subjects import Subject, load_subject
from harness.records import environment
from harness.records.profile import Profile, ScenarioResult
from harness.records.run import RankTable, RunRecord, RunStore
from harness.runs.threads import compute_threads
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
        InvalidRecord, InvalidCheckpoint, InvalidDataset: a run cannot be loaded.
        UnknownName, InvalidSpec: a cascade of scorers that are not there or do not fit.
    """
    options, observer = options or ProfileOptions(), observer or Observer()
    _check_same_data(list(runs.values()))
    with compute_threads(_threads(list(runs.values()))):
        return _profile(name, runs, store, device, options, observer)


def _threads(records: Sequence[RunRecord]) -> int:
    """Compute threads of the runs; those of this process where earlier versions did not record them.

    Raises:
        InvalidDataset: the runs differ, so their costs cannot be compared.
    """
    found = {int(record.spec.get("threads") or torch.get_num_threads()) for record in records}
    if len(found) > 1:
        raise InvalidDataset(
            f"the runs of one profile must have one number of compute threads, got {sorted(found)}; run them with one "
            "value of the experiment's 'threads'"
        )
    return found.pop()


def _profile(
    name: str,
    runs: Mapping[str, RunRecord],
    store: RunStore,
    device: torch.device,
    options: ProfileOptions,
    observer: Observer,
) -> tuple[Profile, dict[str, RankTable]]:
    started = _now()
    subjects = []
    for key, record in runs.items():
        observer.noted(f"{key}: encoding the test split")
        subjects.append(load_subject(key, record, store, device))
    with torch.no_grad():
        uses, metrics, ranks = _judge(subjects, options, observer)
        observer.noted("galleries")
        benches, reference = plan(subjects, uses, options, device)
        # A shortlist as large as the gallery is none; the fine scorer itself (k = 0) ends each curve.
        uses = [use for use in uses if use.coarse is None or use.k < reference]
        timed, memory, index = _scenarios(uses, benches, reference, options, observer)
        results = _measure(timed, device, options, observer)
    points = tuple(
        point_of(use, metrics[use.key], results, memory, index, options.galleries, reference) for use in uses
    )
    rates = {key[1]: result.whole.p50 for key, result in results.items() if key[0] == ""}
    first = subjects[0]
    return (
        Profile(
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
            matrix_gflops=work.matrix_gflops(rates),
            notes=_notes(options, reference),
            environment=environment.describe(device),
            code=environment.code_revision(),
            points=points,
            started=started,
            finished=_now(),
        ),
        ranks,
    )


def _judge(
    subjects: Sequence[Subject], options: ProfileOptions, observer: Observer
) -> tuple[list[Use], dict[str, dict[str, float]], dict[str, RankTable]]:
    """All points with their accuracy on the test split."""
    pairs = cascade_pairs(subjects, options.cascades)
    uses: list[Use] = []
    metrics: dict[str, dict[str, float]] = {}
    ranks: dict[str, RankTable] = {}
    similarity: dict[str, torch.Tensor] = {}
    for use in _all_uses(subjects, pairs, options.ann):
        observer.noted(f"{use.key}: accuracy")
        found = accuracy(use, similarity)
        metrics[use.key], ranks[use.key] = found.metrics, found.ranks
        uses.append(use)
    return uses, metrics, ranks


def _all_uses(subjects: Sequence[Subject], pairs: Sequence[tuple[Subject, Subject]], ann: bool) -> Iterator[Use]:
    for subject in subjects:
        yield from uses_of(subject)
    for coarse, fine in pairs:
        yield from cascades_of(coarse, fine, ann)


def _scenarios(
    uses: Sequence[Use], benches: Mapping[str, Bench], reference: int, options: ProfileOptions, observer: Observer
) -> tuple[dict[Key, Scenario], dict[Key, dict[str, float]], dict[str, tuple[float, float]]]:
    """All scenarios, the memory of one call of each, and index bytes an image and a caption by point."""
    device = next(iter(benches.values())).subject.scorer.device
    timed: dict[Key, Scenario] = {("", scenario.key): scenario for scenario in work.matrix_scenarios(device)}
    memory: dict[Key, dict[str, float]] = {}
    sizes: dict[str, tuple[float, float]] = {}
    for use in uses:
        observer.noted(f"{use.key}: index and memory")
        own, sizes[use.key] = queries_of(use, benches, reference, options.ann)
        own += training_and_encoding(use) if use.kind == "base" else []
        gc.collect()
        for scenario in own:
            timed[use.key, scenario.key] = scenario
            memory[use.key, scenario.key] = work.peak_of(lambda scenario=scenario: scenario(1), device)  # type: ignore[misc]
    return timed, memory, sizes


def _measure(
    timed: Mapping[Key, Scenario], device: torch.device, options: ProfileOptions, observer: Observer
) -> dict[Key, ScenarioResult]:
    named = [Scenario(f"{number}", s.stages, s.items, s.gallery) for number, s in enumerate(timed.values())]
    observer.noted(f"measuring {len(named)} scenarios in {options.rounds} rounds, about {options.seconds:g} s")
    found = session.measure(
        named,
        device,
        rounds=options.rounds,
        seconds=options.seconds,
        samples=options.samples,
        progress=lambda done, total: observer.noted(f"round {done} of {total} done"),
    )
    return dict(zip(timed, found.values(), strict=True))


def _check_same_data(records: Sequence[RunRecord]) -> None:
    if not records:
        raise InvalidDataset("there is no finished run to profile; train one first")
    kinds = {(record.dataset, record.data_sha256, record.protocols[0], record.seed) for record in records}
    if len(kinds) > 1:
        raise InvalidDataset(
            "the runs of one profile must share dataset, protocol and seed, got "
            + "; ".join(sorted(f"{d} {sha[:8]} {p} seed {s}" for d, sha, p, s in kinds))
        )


def _notes(options: ProfileOptions, reference: int) -> tuple[str, ...]:
    if reference >= options.gallery:
        return ()
    return (
        f"Points are compared at {reference:,} gallery items, not at {options.gallery:,}, which would have taken more "
        "time or memory than was given.",
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
