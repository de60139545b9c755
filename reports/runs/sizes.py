"""How large the galleries behind a number are: nothing decides a recall more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.records.ranks import OWN_GALLERY
from harness.reports.document.model import Table
from harness.reports.statistics.runs import MethodRuns


@dataclass(frozen=True)
class Size:
    """Images and captions that are ranked, each fold by itself."""

    images: tuple[int, ...]  # per fold
    captions: tuple[int, ...]
    queries_only: bool = False  # these are the queries, and the gallery may hold more

    @property
    def text(self) -> str:
        """For captions of tables.

        >>> Size((1000,) * 5, (5000,) * 5).text, Size((158,), (500,), queries_only=True).text
        ('5 folds of 1,000 images and 5,000 captions', 'queries: 158 images, 500 captions')
        """
        images, captions = (
            f"{_span(part)} {name}" for part, name in ((self.images, "images"), (self.captions, "captions"))
        )
        if self.queries_only:
            return f"queries: {images}, {captions}"
        folds = len(self.images)
        return f"{folds} folds of {images} and {captions}" if folds > 1 else f"gallery: {images}, {captions}"


def gallery_size(runs: MethodRuns, protocol: str) -> Size:
    """The size of a method's galleries under a protocol."""
    fold = np.unique(runs.fold, return_inverse=True)[1]
    images = np.bincount(fold, weights=runs.image_queried).astype(int)
    captions = np.bincount(fold[runs.caption_image], minlength=len(images))
    return Size(tuple(images.tolist()), tuple(captions.tolist()), queries_only=protocol not in OWN_GALLERY)


def with_size(table: Table, size: Size) -> Table:
    """A table whose caption says how large the galleries behind it are.

    >>> import pandas as pd
    >>> with_size(Table(pd.DataFrame(), (), "Pairs.", "pairs"), Size((500,), (2500,))).caption
    'Pairs; gallery: 500 images, 2,500 captions.'
    """
    end = "." if table.caption.endswith(".") else ""
    return replace(table, caption=f"{table.caption.removesuffix('.')}; {size.text}{end}")


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
