"""What a text backbone's tokenizer loses of a dataset: captions without a known word, and captions that are cut."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from harness.datasets.base import Dataset

if TYPE_CHECKING:
    from harness.backbones.base import Tokenizer

log = logging.getLogger(__name__)
SPLITS = ("train", "val", "test")


def report(backbone: str, tokenizer: Tokenizer, dataset: Dataset) -> str:
    """Say in the log, in one line, how many captions of each split a tokenizer loses; nothing where it loses none.

    Args:
        backbone: its name, for the line.
        tokenizer: of the backbone.
        dataset: with its three splits.

    Returns:
        The line; "" where nothing is lost.
    """
    unknown: list[str] = []
    cut: list[str] = []
    for name in SPLITS:
        captions = dataset.split(name).captions
        lost = tokenizer.losses(captions)
        for counts, count in ((unknown, lost.unknown), (cut, lost.cut)):
            if count:
                counts.append(f"{name} {count:,} of {len(captions):,}")
    parts = [f"captions without a known word: {', '.join(unknown)}"] if unknown else []
    if cut:
        parts.append(f"captions cut at {tokenizer.longest} tokens: {', '.join(cut)}")
    line = f"text backbone {backbone}: {'; '.join(parts)}" if parts else ""
    if line:
        log.warning("%s: %s", dataset.title, line)
    return line
