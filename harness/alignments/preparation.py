"""Cards for a site: of one run of each method, the same pairs, made once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

import torch

from harness import exhibits
from harness.alignments import kept
from harness.alignments.choice import RULE, Pair, sample
from harness.alignments.make import cards_of
from harness.datasets.base import Split
from harness.errors import ItmError, one_line
from harness.exhibits.knowledge import clutter
from harness.records.cards import Cards
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.reports.runs.groups import identity
from harness.runs.computing import computing
from harness.runs.reopening import MODEL, RunDatasets
from harness.runs.trained import scorer_of

#: Why a run has no cards, where nothing is wrong.
ONE_VECTOR = "its method compares one vector per side, so it aligns no words"

logger = logging.getLogger(__name__)


def prepare(
    store: RunStore, records: Sequence[RunRecord], device: torch.device, data: RunDatasets | None = None
) -> None:
    """Make the cards that the runs of a site lack; one line says of which none could be made, and why.

    Only the lowest seed of each method on each dataset gets cards. Cards that lie there are kept while they are of the
    run's weights; a dataset is opened only where something is missing, and then once.

    Args:
        store: where the runs lie.
        records: runs that the site shows.
        device: where to compute.
        data: the datasets of the runs, with the options that changed since.
    """
    data = data or RunDatasets()
    problems: dict[str, list[str]] = {}
    made = 0
    for group in _by_data(first_seeds(records)):
        lacking = [record for record in group if not _complete(kept.kept(store, record.run_id))]
        without = [record for record in lacking if not (store.folder(record.run_id) / MODEL).is_file()]
        if without:
            problems.setdefault("no saved model", []).extend(record.title for record in without)
        lacking = [record for record in lacking if record not in without]
        found = list(_made(store, lacking, device, data))
        for record, problem in found:
            if problem:
                problems.setdefault(problem, []).append(record.title)
        made += sum(not problem for _, problem in found)
        if not all(problem for _, problem in found):
            _show(store, group, data)
    if problems:
        said = "; ".join(f"{', '.join(titles)} ({problem})" for problem, titles in problems.items())
        logger.info("alignment cards: made for %d runs, not for %s", made, said)


def _show(store: RunStore, runs: Sequence[RunRecord], data: RunDatasets) -> None:
    """Have the pictures of the cards of a split at hand, which may be none of those that other pages show."""
    cards = [kept.kept(store, record.run_id) for record in runs]
    rows = {card.image_row for one in cards if one is not None for card in one.cards}
    exhibits.prepare(store, runs, sorted(rows), data)


def first_seeds(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Of finished, measured runs that differ in nothing but their seed, the one of the lowest, in the order given."""
    first: dict[tuple[str, ...], RunRecord] = {}
    for record in records:
        if record.status == "finished" and record.origin == "measured":
            key = (record.dataset, record.split, record.data_sha256, identity(record))
            if key not in first or record.seed < first[key].seed:
                first[key] = record
    return list(first.values())


def _by_data(records: Iterable[RunRecord]) -> Iterable[list[RunRecord]]:
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        groups.setdefault((record.data_sha256, record.split), []).append(record)
    return groups.values()


def _complete(cards: Cards | None) -> bool:
    return cards is not None and (cards.sample == RULE or bool(cards.without))


def _made(
    store: RunStore, records: Sequence[RunRecord], device: torch.device, data: RunDatasets
) -> Iterator[tuple[RunRecord, str]]:
    """Each run with why it has no cards now; empty if it has."""
    for record in records:
        try:
            dataset = data.of(record)
            split = dataset.split(record.split)
            pairs = sample(split, record.data_sha256, clutter(dataset, split))
            add_cards(store, record, split, pairs, device, rule=RULE)
            yield record, ""
        except ItmError as error:
            yield record, one_line(error)
        except Exception as error:  # a plug-in may raise anything, and a site must not fail for it
            yield record, f"{type(error).__name__}: {one_line(error)}"


def add_cards(
    store: RunStore, record: RunRecord, split: Split, pairs: Sequence[Pair], device: torch.device, *, rule: str = ""
) -> Cards:
    """Make cards of some pairs beside those that a run has, and write them all.

    Args:
        store: where the run lies.
        record: of the run.
        split: that it was measured on.
        pairs: what to make cards of. Those of pairs that have one are made again.
        device: where to compute.
        rule: by which the pairs were chosen, if they are the sample; the cards of an earlier sample are then dropped.

    Returns:
        All cards of the run; none where its method aligns nothing, see `Cards.without`.

    Raises:
        InvalidCheckpoint, UnknownName: the weights are missing or damaged, or of a plug-in that is not loaded.
        InvalidDataset, InvalidFragments, InvalidPlugin: as `cards_of`.
        ResultsNotWritable: the folder cannot be written.
    """
    before = kept.kept(store, record.run_id)
    earlier = before.cards if before is not None else ()
    with computing(int(record.spec.get("threads", 1)), device):
        scorer = scorer_of(store, record, device)
        made = cards_of(scorer, split, pairs, store.ranks(record.run_id))
    if made is None:
        return kept.write(store, record.run_id, (), sample=rule, without=ONE_VECTOR)
    stay = {card.pair: card for card in earlier if not (rule and card.chosen == "sample")}
    for card in made:  # a pair of the sample that is also asked for stays in it
        sampled = not rule and card.pair in stay and stay[card.pair].chosen == "sample"
        stay[card.pair] = card.model_copy(update={"chosen": "sample"}) if sampled else card
    cards = sorted(stay.values(), key=lambda card: card.chosen == "asked")
    return kept.write(store, record.run_id, tuple(cards), sample=rule or (before.sample if before is not None else ""))
