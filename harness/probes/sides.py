"""What models encode of probes, kept while it is asked for again: by each model, and by the towers that several share.

Models that were trained with the same frozen tower differ in what they make of its outputs, so the tower runs once for all
of them. What is kept is bounded; what falls out is computed again.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.backbones.base import Encoder, ImageEncoder, TextEncoder
from harness.features.items import ImageItems, Items, TextItems
from harness.features.towers import tower_key
from harness.fragments import Fragments
from harness.scorer import Scorer
from harness.scoring import evaluating
from harness.scoring.blocks import slices
from harness.scoring.sides import bytes_of

#: Bytes that are kept of towers, and of models, by one process.
LARGEST_SHARED, LARGEST_OWN = 2**30, 2**30
#: Items that a tower takes at once.
BATCH = 64


class RecentlyUsed:
    """Values by key, of which the least recently used are dropped when all take more than `largest` bytes.

    The objects that a key is made of by `id` are kept alive with the value, so that no other object takes their place.
    """

    def __init__(self, largest: int):
        self._largest = largest
        self._kept: OrderedDict[Hashable, tuple[Any, int, tuple[object, ...]]] = OrderedDict()

    def get(self, key: Hashable, of: Sequence[object], make: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """The value of a key, made now if it is not there.

        Args:
            key: of the value, beside the identity of `of`.
            of: objects whose identity is part of the key.
            make: makes the value.
            size: bytes of the value.
        """
        whole = (key, *map(id, of))
        if whole not in self._kept:
            value = make()
            self._kept[whole] = (value, size(value), tuple(of))
            while len(self._kept) > 1 and sum(one[1] for one in self._kept.values()) > self._largest:
                self._kept.popitem(last=False)
        self._kept.move_to_end(whole)
        return self._kept[whole][0]


class RawSide:
    """Outputs of a tower for one side, in memory; see `harness.datasets.base.StoredSide`.

    Args:
        raw: of the U distinct items.
        rows: (N,) int64, which of them each item is.
    """

    def __init__(self, raw: Fragments, rows: np.ndarray):
        self.raw, self.rows = raw, np.asarray(rows, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, places: np.ndarray) -> Fragments:
        """Outputs (n, F, C) of the distinct items at `places`."""
        return self.raw[torch.from_numpy(np.asarray(places, dtype=np.int64))]

    def lengths(self, places: np.ndarray) -> Tensor:
        """(n,) int64, their numbers of fragments."""
        return self.raw.lengths[torch.from_numpy(np.asarray(places, dtype=np.int64))]


class Towers:
    """Towers that several of some scorers share, and what they made of the sides that were last asked for.

    Args:
        scorers: whose towers are compared by their weights.
    """

    def __init__(self, scorers: Iterable[Scorer]):
        self._keys: dict[int, str] = {}
        for scorer in scorers:
            for encoder in scorer.encoders:
                if encoder.tower_module() is not None:
                    self._keys[id(encoder)] = tower_key(encoder)
        self._uses = Counter(self._keys.values())
        self._outputs = RecentlyUsed(LARGEST_SHARED)

    def outputs(self, scorer: Scorer, encoder: Encoder, side: Any) -> RawSide | None:
        """What the tower of an encoder makes of images or captions; None where no other scorer has this tower.

        Args:
            scorer: that the encoder is of.
            encoder: of images or of captions.
            side: the images or captions.
        """
        key = self._keys.get(id(encoder), "")
        if self._uses[key] < 2:
            return None
        if isinstance(encoder, ImageEncoder):
            form = (encoder.image_size, encoder.resize)
            return self._made((key, form), side, lambda: _run(scorer, encoder, ImageItems(side, form, None)))
        assert isinstance(encoder, TextEncoder)
        # Two encoders of one tower may read captions up to different lengths, or in another case.
        texts = TextItems(encoder.tokenizer(side))
        read = hashlib.sha256(b"".join(texts.digests) + texts.rows.tobytes()).digest()
        return self._made((key, read), side, lambda: _run(scorer, encoder, texts))

    def _made(self, key: Hashable, side: object, make: Callable[[], RawSide]) -> RawSide:
        found: RawSide = self._outputs.get(key, (side,), make, lambda made: bytes_of(made.raw))
        return found


def _run(scorer: Scorer, encoder: Encoder, items: Items) -> RawSide:
    with evaluating(scorer):
        parts = [
            encoder.raw(items.batch(np.arange(part.start, part.stop)).to(scorer.device)).to("cpu")
            for part in slices(len(items), BATCH)
        ]
    return RawSide(Fragments.cat(parts), items.rows)
