"""The captions of a split, counted."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from harness.backbones.words.vocabulary import words as split_words
from harness.description.oddities import oddities, scripts
from harness.description.spreads import spread
from harness.description.ties import groups, repeats
from harness.description.words import new_words
from harness.records.description import CaptionFacts, Order

if TYPE_CHECKING:
    from harness.description.limits import TextLimit

#: A boundary between images is found only in so many of them, and only where it stands out so far.
_FEWEST_IMAGES, _STANDS_OUT = 50, 0.8
_FOLD = 1000


@dataclass(frozen=True, eq=False)
class Texts:
    """The captions of a split and whose they are.

    Args:
        captions: T texts as the dataset gives them.
        caption_image: (T,) image row of each.
        images: I.
        relevance: (I, T) bool, where more is relevant than each caption to its own image.
    """

    captions: Sequence[str]
    caption_image: np.ndarray
    images: int
    relevance: np.ndarray | None = None
    words: list[list[str]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", [split_words(caption) for caption in self.captions])

    def counts(self) -> Counter[str]:
        """Occurrences of each word."""
        return Counter(word for words in self.words for word in words)

    def pairs(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Image and caption rows of all relevant pairs, None where each caption has its own image only."""
        if self.relevance is None:
            return None
        image, caption = np.nonzero(self.relevance)
        return image, caption


def caption_facts(
    texts: Texts,
    image_keys: Sequence[object] | None,
    limits: Sequence[TextLimit],
    train: Texts | None,
    known: Collection[str] = (),
) -> CaptionFacts:
    """Count a split's captions.

    Args:
        texts: the captions.
        image_keys: I keys, equal for images of equal content; None = all images differ.
        limits: text encoders whose limit is asked for.
        train: the training captions, None for the training split itself.
        known: their words.
    """
    image_group = groups(image_keys) if image_keys is not None else np.arange(texts.images)
    fold = _FOLD if texts.images == 5 * _FOLD and texts.relevance is None else 0
    as_words = [" ".join(words) for words in texts.words]
    exact, loose = (
        repeats(list(form), texts.caption_image, image_group, texts.pairs(), fold)
        for form in (texts.captions, as_words)
    )
    lengths = [len(caption.split()) for caption in texts.captions]
    return CaptionFacts(
        number=len(texts.captions),
        per_image=captions_per_image(texts.caption_image, texts.images),
        words=spread(lengths),
        lengths=dict(sorted(Counter(lengths).items())),
        characters=spread([len(caption) for caption in texts.captions]),
        limits=[limit.of(texts.captions) for limit in limits],
        blank=sum(not caption.strip() for caption in texts.captions),
        exact=exact,
        as_words=loose,
        vocabulary=len(texts.counts()),
        new_words=None if train is None else new_words(texts.words, known),
        also_in_train=None if train is None else _also_in(texts.captions, train.captions),
        oddities=oddities(texts.captions),
        scripts=scripts(texts.captions),
        order=order(texts.words, texts.caption_image),
    )


def captions_per_image(caption_image: np.ndarray, images: int) -> dict[int, int]:
    """Captions per image -> images.

    >>> captions_per_image(np.array([0, 0, 1]), 2)
    {1: 1, 2: 1}
    """
    return dict(sorted(Counter(np.bincount(caption_image, minlength=images).tolist()).items()))


def order(words: Sequence[Sequence[str]], caption_image: np.ndarray) -> Order | None:
    """Whether the boundaries between images lie where the captions change their subject.

    Captions of one image share words; the last caption of an image and the first of the next share few. A file that lost
    or gained a line has that change elsewhere.

    Args:
        words: of each caption.
        caption_image: (T,) image row of each, in order.

    Returns:
        None where images have one caption or different numbers of them, or are too few.
    """
    total = len(words)
    each = int(np.bincount(caption_image).max(initial=0))
    images = total // max(1, each)
    if each < 2 or images < _FEWEST_IMAGES or not np.array_equal(caption_image, np.arange(total) // each):
        return None
    sets = [frozenset(caption) for caption in words]
    like = np.array([_jaccard(first, second) for first, second in itertools.pairwise(sets)])
    means = [100 * float(like[place::each].mean()) for place in range(each)]
    lowest = int(np.argmin(means))
    others = [mean for place, mean in enumerate(means) if place != lowest]
    shift = (lowest + 1) % each if means[lowest] < _STANDS_OUT * min(others) else 0
    return Order(likeness_percent=means, shift=shift)


def _jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    return len(first & second) / max(1, len(first | second))


def _also_in(captions: Sequence[str], others: Sequence[str]) -> int:
    there = set(others)
    return sum(caption in there for caption in captions)
