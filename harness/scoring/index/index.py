"""A gallery that is packed once for a scorer and asked many times.

Shape letters: N items of the gallery, Q queries, k items of an answer.
"""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Iterable, Sequence, Set
from pathlib import Path

import torch
from torch import Tensor

from harness.errors import InvalidFragments, InvalidIndex, InvalidSimilarity, did_you_mean
from harness.fragments import Fragments
from harness.scorer import Scorer
from harness.scoring.blocks import device_of, slices
from harness.scoring.distinct import distinct
from harness.scoring.index.arguments import checked_ids, dtype_of, ids_of_block, require_as_many
from harness.scoring.index.kept import ORIGINAL, best_known, kept_as
from harness.scoring.index.segments import Segment, pack_segment, segment_scores, transformed
from harness.scoring.index.state import Hits, State, hits
from harness.scoring.index.stored import Gallery, IndexWriter, as_blocks, read_stored, scorer_sha256

#: Items that are written at once.
_WRITTEN_TOGETHER = 1024
#: A gallery is packed again when less than this share of what it keeps is still in it.
_WORTH_KEEPING = 0.5
#: Items of a shortlist, at least and per item of the answer.
SHORTLIST, PER_ITEM = 100, 10


class Index:
    """A gallery of images or captions, packed for a scorer.

    Building it costs one pass over the gallery; a query then costs little more than its product with what is stored. Any
    number of threads may ask at once, also while another one adds or removes items: a query sees the gallery before or
    after a change. The scorer is put in evaluation mode and belongs to the index from then on.

    >>> from harness.registry import create
    >>> images = Fragments(torch.eye(3)[:, None], torch.ones(3, 1, dtype=torch.bool))
    >>> index = Index.build(create("vsepp"), images, ids=["cat", "dog", "cow"])
    >>> index.top(images[1:2], k=1).ids
    (('dog',),)

    Args:
        scorer: whose scores are given.
        gallery: what is searched: "images" by captions, or "captions" by images.
        dtype: in which the features are kept and multiplied: float32, bfloat16 or float16; sums stay in float32. None =
            that of the features. "int8" = codes with one scale per fragment, of the queries, too.
        exact: with a reduced dtype: keep the features as they come, too, by which `top` compares a shortlist; mapped where
            there is a path. By default so for int8, whose codes alone take a quarter of the memory.
        device: where it is kept and computed; by default that of the scorer.

    Raises:
        InvalidIndex: another gallery or dtype.
    """

    def __init__(
        self,
        scorer: Scorer,
        gallery: Gallery = "images",
        *,
        dtype: torch.dtype | str | None = None,
        exact: bool | None = None,
        device: torch.device | str | None = None,
    ):
        if gallery not in ("images", "captions"):
            raise InvalidIndex(f"a gallery holds images or captions, got {gallery!r:.40}")
        self.scorer, self.gallery, self.dtype = scorer.eval(), gallery, dtype_of(dtype)
        self.exact = self.dtype == torch.int8 if exact is None else exact
        self._device = None if device is None else torch.device(device)
        self._state, self._lock = State(), threading.Lock()
        self._added = 0  # items so far, removed ones too: the number of the next one without an id

    @classmethod
    def build(
        cls,
        scorer: Scorer,
        items: Fragments | Iterable[Fragments],
        *,
        gallery: Gallery = "images",
        ids: Sequence[str] | None = None,
        dtype: torch.dtype | str | None = None,
        exact: bool | None = None,
        path: Path | str | None = None,
        device: torch.device | str | None = None,
    ) -> Index:
        """Pack a gallery.

        Args:
            scorer, gallery, dtype, exact, device: as for the class.
            items: as `encode_images` (`encode_texts`) or `prepare_images` (`prepare_texts`) of the scorer give them, at once
                or in blocks, of which only one is in memory at a time where there is a path.
            ids: of the items; by default their numbers.
            path: a folder that the index becomes, and from whose files it is mapped. None = it stays in memory.

        Raises:
            InvalidIndex: ids that repeat or are too few or too many, or items of several kinds.
            ResultsNotWritable: the folder exists, cannot be written, or the disk is full.
        """
        index = cls(scorer, gallery, dtype=dtype, exact=exact, device=device)
        ids = None if ids is None else checked_ids(ids)
        if path is None:
            start = 0
            for block in as_blocks(items):
                index.add(block, ids_of_block(ids, start, len(block)))
                start += len(block)
            require_as_many(ids, start)
            index._compact()
            return index
        index._write(path, as_blocks(items), ids)
        return cls.open(path, scorer, device=device)

    @classmethod
    def open(
        cls, path: Path | str, scorer: Scorer, *, check: bool = False, device: torch.device | str | None = None
    ) -> Index:
        """An index that was saved; its features are mapped from their files.

        Args:
            path: its folder.
            scorer: the one that it was made for.
            check: compare the checksums of all files, which reads them whole.
            device: as for the class; on another device than the CPU the features are copied there.

        Raises:
            InvalidIndex: no index, a damaged one, or one of another scorer.
        """
        header, items, places = read_stored(path, check=check)
        if header.scorer_sha256 != scorer_sha256(scorer):
            raise InvalidIndex(
                f"{path} was made for another {header.scorer}, or with other weights or settings than this "
                f"{type(scorer).__name__}; build it again"
            )
        dtype, exact = items.features.dtype, ORIGINAL in items.extras
        index = cls(scorer, header.gallery, dtype=dtype, exact=exact, device=device)
        index._state, index._added = State((index._packed(items),), header.ids, places.clone()), len(header.ids)
        return index

    def save(self, path: Path | str) -> None:
        """Write the gallery as a folder that `open` reads.

        Raises:
            InvalidIndex: it is empty.
            ResultsNotWritable: the folder exists, cannot be written, or the disk is full.
        """
        state = self._state
        with self._writer(path) as writer:
            for part in slices(len(state.ids), _WRITTEN_TOGETHER):
                writer.append(state.take(state.places[part]), state.ids[part])

    def __len__(self) -> int:
        return len(self._state.ids)

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the items, in the order of the scores of `query`."""
        return self._state.ids

    @property
    def nbytes(self) -> int:
        """Bytes of the features, masks and extras that a query is compared with, mapped ones too.

        What kernels computed of them comes on top, and so do the features for shortlists, `exact_nbytes`.
        """
        return self._state.nbytes

    @property
    def exact_nbytes(self) -> int:
        """Bytes of the features that only a shortlist is compared with."""
        return self._state.exact_nbytes

    def copy(self) -> Index:
        """Another index of the same items, to which others can be added; what is packed is shared."""
        other = copy.copy(self)
        other._lock = threading.Lock()
        return other

    def add(self, items: Fragments, ids: Sequence[str] | None = None) -> None:
        """Add items at the end.

        Args:
            items: prepared, as for `build`.
            ids: by default their numbers, counted from the first item that was ever added; numbers that are ids already
                are left out.

        Raises:
            InvalidIndex: an id that is there already, or as many ids as there are no items.
            InvalidFragments: another width than that of the gallery.
        """
        with self._lock:
            before = self._state
            seen = set(before.ids)
            names = self._numbers(len(items), seen) if ids is None else checked_ids(ids)
            if len(names) != len(items):
                raise InvalidIndex(f"{len(items)} items and {len(names)} ids; give one id per item")
            for name in names:
                if name in seen:
                    raise InvalidIndex(f"id {name!r:.60} occurs twice; every item of an index has its own")
                seen.add(name)
            with torch.no_grad():
                stored = self._stored(items)
                if before.segments and before.width != stored.width:
                    raise InvalidFragments(f"items of width {stored.width} for an index of width {before.width}")
                found = distinct(stored)
                kept = stored[found.first.to(stored.device)] if found.repeats else stored
                segment = self._packed(kept)
            self._added += len(items)
            places = torch.cat([before.places, found.copy_of + before.kept])
            self._state = State((*before.segments, segment), (*before.ids, *names), places)

    def remove(self, ids: Iterable[str]) -> None:
        """Take items out; what they took is given back when most of what is kept is no longer in the gallery.

        Raises:
            InvalidIndex: an id that is not there; nothing is removed then.
        """
        gone = set(checked_ids(ids))
        with self._lock:
            state = self._state
            if unknown := sorted(gone - set(state.ids)):
                raise InvalidIndex(f"no item {unknown[0]!r:.60} in the index{did_you_mean(unknown[0], state.ids)}")
            left = [at for at, name in enumerate(state.ids) if name not in gone]
            self._state = State(state.segments, tuple(state.ids[at] for at in left), state.places[left])
            if len(self._state.places.unique()) < _WORTH_KEEPING * state.kept:
                self._compact_now()

    def query(self, queries: Fragments, among: Tensor | None = None) -> Tensor:
        """Scores of queries with every item, or with some.

        Args:
            queries: Q captions (images), prepared; in batches or one by one.
            among: (n,) int64 positions of some items; None = all N.

        Returns:
            (Q, N) or (Q, n) float32, higher is better; within 1e-5 of `harness.scoring.similarity_matrix` for float32. Equal
            items of one build have equal scores, to the bit. With int8, those of the codes for all items, and exact ones
            `among` some.

        Raises:
            InvalidIndex: the index is empty, or a position is not that of an item.
            InvalidFragments: queries of another width.
            InvalidSimilarity: a score is not finite.
        """
        state = self._state
        return self._scores(state, queries) if among is None else self._exact_scores(state, queries, among)

    def top(self, queries: Fragments, k: int = 10, *, shortlist: int | None = None) -> Hits:
        """The best items of each query, best first.

        Args:
            queries: as for `query`.
            k: number of items; all of a smaller gallery.
            shortlist: where a reduced dtype is `exact`: items that are compared exactly, those with the best approximate
                scores; by default 10 k, at least 100.

        Raises:
            InvalidIndex: the index is empty, k is not positive, or the shortlist is shorter than k.
        """
        if k < 1:
            raise InvalidIndex(f"k must be at least 1, got {k}")
        size = max(SHORTLIST, PER_ITEM * k) if shortlist is None else shortlist
        if size < k:
            raise InvalidIndex(f"a shortlist of {size} items for the best {k}; give at least {k}")
        state = self._state  # one moment for scores and ids
        scores = self._scores(state, queries).cpu()
        k, size = min(k, scores.shape[1]), min(size, scores.shape[1])
        if state.exact_nbytes == 0:
            return hits(scores, None, state.ids, k)
        items = scores.topk(size).indices.sort().values
        again = [self._exact_scores(state, queries[row : row + 1], own) for row, own in enumerate(items)]
        exact = torch.cat(again).cpu() if again else torch.empty(0, size)
        return hits(exact, items, state.ids, k)

    def _scores(self, state: State, queries: Fragments) -> Tensor:
        """(Q, N) scores by what every query is compared with."""
        asked = self._asked(state, queries)
        with torch.no_grad(), torch.autocast(asked.device.type, enabled=False):
            scores = [segment_scores(self.scorer, segment, asked, self.gallery) for segment in state.segments]
        return state.of_items(self._finite(scores[0] if len(scores) == 1 else torch.cat(scores, 1)))

    def _exact_scores(self, state: State, queries: Fragments, among: Tensor) -> Tensor:
        """(Q, n) scores by the features as they came, where those are kept."""
        asked = self._asked(state, queries)
        if len(among) and not 0 <= int(among.min()) <= int(among.max()) < len(state.ids):
            raise InvalidIndex(f"positions from {int(among.min())} to {int(among.max())} in {len(state.ids)} items")
        if not len(among):
            return torch.empty(len(queries), 0, device=asked.device)
        places, copy_of = state.places[among.cpu()].unique(return_inverse=True)
        segment = self._packed(best_known(state.take(places)))
        with torch.no_grad(), torch.autocast(asked.device.type, enabled=False):
            scores = segment_scores(self.scorer, segment, asked, self.gallery)
        return self._finite(scores)[:, copy_of.to(scores.device)]

    def _asked(self, state: State, queries: Fragments) -> Fragments:
        if not state.ids:
            raise InvalidIndex("the index is empty; add items first")
        if queries.width != state.width:
            raise InvalidFragments(f"queries of width {queries.width} for an index of width {state.width}")
        return queries.to(self._device_of(queries))

    def _finite(self, scores: Tensor) -> Tensor:
        if bool(torch.isfinite(scores).all()):
            return scores
        raise InvalidSimilarity(
            f"{type(self.scorer).__name__} gave scores that are not finite: features of the gallery or of a query are "
            "NaN or too large"
        )

    def _numbers(self, count: int, taken: Set[str]) -> list[str]:
        """An opened index knows how many items it has, and not how many it once had."""
        free = (name for name in map(str, itertools.count(self._added)) if name not in taken)
        return list(itertools.islice(free, count))

    def _stored(self, items: Fragments) -> Fragments:
        items = transformed(self.scorer, items.to(self._device_of(items)), self.gallery)
        return kept_as(items, self.dtype, self.exact)

    def _packed(self, items: Fragments) -> Segment:
        with torch.no_grad(), torch.autocast(self._device_of(items).type, enabled=False):
            return pack_segment(self.scorer, items, self.gallery, self._device_of(items))

    def _device_of(self, items: Fragments) -> torch.device:
        return self._device or device_of(self.scorer, items)

    def _writer(self, path: Path | str) -> IndexWriter:
        return IndexWriter(path, self.gallery, type(self.scorer).__name__, scorer_sha256(self.scorer))

    def _write(self, path: Path | str, blocks: Iterable[Fragments], ids: Sequence[str] | None) -> None:
        start = 0
        with torch.no_grad(), self._writer(path) as writer:
            for block in blocks:
                writer.append(self._stored(block), ids_of_block(ids, start, len(block)))
                start += len(block)
            require_as_many(ids, start)
            writer.require_own_ids()

    def _compact(self) -> None:
        with self._lock:
            if len(self._state.segments) > 1:
                self._compact_now()

    def _compact_now(self) -> None:
        """Pack what is left anew, as one segment."""
        state = self._state
        if not state.ids:
            self._state = State()
            return
        kept, places = state.places.unique(return_inverse=True)
        items = state.take(kept)
        found = distinct(items)  # items that were added apart may be equal
        if found.repeats:
            items, places = items[found.first.to(items.device)], found.copy_of[places]
        self._state = State((self._packed(items),), state.ids, places)
