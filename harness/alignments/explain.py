"""Cards that somebody asks for: of a finished run, with the pictures that they are drawn on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from harness import exhibits
from harness.alignments.asking import asked_pairs
from harness.alignments.preparation import add_cards
from harness.datasets.base import Split
from harness.errors import InvalidSpec
from harness.exhibits.thumbnails import thumbnail
from harness.records.cards import Card
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.runs.reopening import MODEL, RunDatasets
from harness.runs.saved_models import describe_model

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Explained:
    """The cards that were asked for, and JPEGs of their pictures by image row, where there are pixels."""

    record: RunRecord
    cards: tuple[Card, ...]
    pictures: dict[int, bytes]


def explain(
    store: RunStore,
    run_id: str,
    asked: Mapping[str, str | None],
    device: torch.device,
    options: Mapping[str, Any] | None = None,
) -> Explained:
    """Make the cards of some pairs and keep them in the run's folder, beside those that lie there.

    Args:
        store: where the run lies.
        run_id: a finished run.
        asked: `image`, `caption` and `text`, see `harness.alignments.asking.asked_pairs`.
        device: where to compute.
        options: of the dataset, where they changed since the run (its folder).

    Raises:
        InvalidRecord: no finished run.
        InvalidSpec: nothing that the split has was asked for, or the run's method aligns no words.
        InvalidDataset: the data are not those of the run.
        InvalidCheckpoint, UnknownName: the weights are missing or damaged, or of a plug-in that is not loaded.
    """
    record = store.require(run_id)
    describe_model(store.folder(run_id) / MODEL)  # before a dataset is opened
    data = RunDatasets(options)
    split = data.of(record).split(record.split)
    pairs = asked_pairs(split, asked.get("image"), asked.get("caption"), asked.get("text"))
    made = add_cards(store, record, split, pairs, device)
    if made.without:
        raise InvalidSpec(f"run {run_id} ({record.label}) has nothing to explain: {made.without}; choose another run")
    if (store.results / "site").is_dir():  # whose pages show the new cards
        exhibits.prepare(store, [record], sorted({pair.image for pair in pairs}), data)
    wanted = [(pair.image, pair.text if pair.caption is None else pair.caption) for pair in pairs]
    by_pair = {card.pair: card for card in made.cards}
    return Explained(record, tuple(by_pair[pair] for pair in wanted), _pictures(split, {p.image for p in pairs}))


def _pictures(split: Split, rows: set[int]) -> dict[int, bytes]:
    if "pixels" not in split.images.inputs:
        logger.info("the dataset has no pixels, only region features: regions are shown as numbered cells")
        return {}
    return {row: thumbnail(split.images.original(row)) for row in rows}
