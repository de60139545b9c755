"""Words that some captions hold and others lack, and a given vocabulary against both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from harness.backbones.words.vocabulary import MASK, Vocabulary
from harness.records.description import NewWords, VocabularyFacts

_LISTED = 200
_SPECIAL = 4  # <pad>, <start>, <end>, <unk>


def new_words(captions: Sequence[Sequence[str]], known: Collection[str]) -> NewWords:
    """Words of captions that are not known.

    Args:
        captions: the words of each.
        known: such as the words of the training captions.

    >>> new_words([["a", "dog"], ["a", "cat", "cat"]], {"a", "dog"}).listed
    {'cat': 2}
    """
    counts = Counter(word for words in captions for word in words if word not in known)
    return NewWords(
        words=len(counts),
        occurrences=counts.total(),
        captions=sum(any(word not in known for word in words) for words in captions),
        listed=_listed(counts),
    )


def vocabulary_facts(
    path: Path, vocabulary: Vocabulary, train: Counter[str] | None, others: Counter[str]
) -> VocabularyFacts:
    """A vocabulary file against the words of the captions.

    Args:
        path: the file, named only.
        vocabulary: what it holds.
        train: words of the training captions; None where there are none, and every word then counts as not in train.
        others: words of the other splits' captions.
    """
    entries = [word for word in vocabulary.entries[_SPECIAL:] if word != MASK]
    counts = train or Counter()
    absent = [word for word in entries if word not in counts]
    leaked = Counter({word: others[word] for word in absent if word in others})
    lacking = {word: count for word, count in counts.items() if word not in vocabulary.ids}
    return VocabularyFacts(
        file=path.name,
        words=len(entries),
        not_in_train=len(absent),
        only_elsewhere=len(leaked),
        listed=_listed(leaked),
        unknown_in_train=len(lacking),
        unknown_occurrences_percent=100 * sum(lacking.values()) / max(1, counts.total()),
    )


def _listed(counts: Counter[str]) -> dict[str, int]:
    """The most frequent words, equal ones in alphabetical order."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_LISTED])
