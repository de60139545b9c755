"""What a text backbone's tokenizer loses of a dataset: captions without a known word, and captions that are cut."""

from __future__ import annotations

import logging

from harness.backbones.words.tokenizers import Tokenizer
from harness.datasets.base import SPLITS, Dataset

log = logging.getLogger(__name__)


def report(backbone: str, tokenizer: Tokenizer, dataset: Dataset) -> str:
    """Log in one line how many captions of each split a tokenizer loses; nothing where it loses none.

    Args:
        backbone: its name, for the line.
        tokenizer: of the backbone.
        dataset: with its three splits.

    Returns:
        The line; "" where nothing is lost.
    """
    counts: dict[str, list[str]] = {
        "captions without a known word": [],
        f"captions cut at {tokenizer.longest} tokens": [],
    }
    for name in SPLITS:
        captions = dataset.split(name).captions
        lost = tokenizer.losses(captions)
        for parts, count in zip(counts.values(), (lost.unknown, lost.cut), strict=True):
            if count:
                parts.append(f"{name} {count:,} of {len(captions):,}")
    losses = [f"{what}: {', '.join(parts)}" for what, parts in counts.items() if parts]
    if not losses:
        return ""
    line = f"text backbone {backbone}: {'; '.join(losses)}"
    log.warning("%s: %s", dataset.title, line)
    return line
