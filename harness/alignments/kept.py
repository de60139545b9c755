"""The cards that a run has: whether they are still of its weights, and what is added to them."""

from __future__ import annotations

import logging
from pathlib import Path

from harness.errors import InvalidCheckpoint, InvalidRecord
from harness.files.hashing import sha256_file
from harness.records.cards import MOST_CARDS, MOST_WEIGHTS, Card, Cards
from harness.records.store import RunStore
from harness.runs.reopening import MODEL

logger = logging.getLogger(__name__)


def kept(store: RunStore, run_id: str) -> Cards | None:
    """The cards of a run; None where there are none, where they cannot be read, or where its weights changed since.

    The weights are read only if their file's size or time of change is not what it was.
    """
    try:
        cards = store.alignments(run_id)
        if cards is None or _seen(store.folder(run_id) / MODEL) == (cards.model_bytes, cards.model_changed_ns):
            return cards
        return cards if model_sha256(store, run_id) == cards.model_sha256 else None
    except (InvalidRecord, InvalidCheckpoint) as error:
        logger.warning("alignment cards are made again: %s", error)
        return None


def write(store: RunStore, run_id: str, cards: tuple[Card, ...], *, sample: str, without: str = "") -> Cards:
    """Write the cards of a run as those of its weights as they are now; returns them.

    Args:
        store: where the run lies.
        run_id: the run.
        cards: those of the sample, then those that were asked for, the oldest first. Of more than a file may hold the
            oldest that were asked for are dropped, which a line says.
        sample: see `Cards.sample`.
        without: see `Cards.without`.

    Raises:
        ResultsNotWritable: the folder cannot be written.
    """
    dropped = 0
    while len(cards) > MOST_CARDS or _weights(cards) > MOST_WEIGHTS:
        oldest = next((number for number, card in enumerate(cards) if card.chosen == "asked"), 0)
        cards = (*cards[:oldest], *cards[oldest + 1 :])
        dropped += 1
    if dropped:
        logger.info("run %s: %d alignment cards were dropped, the oldest; a run keeps %d", run_id, dropped, MOST_CARDS)
    size, changed = _seen(store.folder(run_id) / MODEL)
    made = Cards(
        run_id=run_id,
        model_sha256=model_sha256(store, run_id),
        model_bytes=size,
        model_changed_ns=changed,
        sample=sample,
        without=without,
        cards=cards,
    )
    with store.claim(run_id):
        store.write_alignments(made)
    return made


def model_sha256(store: RunStore, run_id: str) -> str:
    """SHA-256 of a run's weights.

    Raises:
        InvalidCheckpoint: they are missing or cannot be read.
    """
    path = store.folder(run_id) / MODEL
    try:
        return sha256_file(path)
    except OSError as error:
        raise InvalidCheckpoint(f"cannot read {path}: {error.strerror or error}") from None


def _weights(cards: tuple[Card, ...]) -> int:
    return sum(card.size for card in cards)


def _seen(path: Path) -> tuple[int, int]:
    """Size and time of change of a file; zeros where there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns
