"""Do gates on words tell words that name something in the picture from those that only hold a sentence together?"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from harness.grounding.texts import Located, plain

#: Articles, prepositions of no place, conjunctions, pronouns and auxiliaries. Words of place ("above", "left", "under") are
#: not among them: they say something of the picture.
FUNCTION_WORDS = frozenset((
    "a", "an", "the", "this", "that", "these", "those", "some", "of", "to", "in", "on", "at", "by", "for", "from", "with",
    "into", "as", "and", "or", "but", "while", "there", "is", "are", "was", "were", "be", "been", "being", "has", "have",
    "had", "does", "do", "it", "its", "he", "she", "they", "them", "his", "her", "hers", "him", "their", "who", "which",
    "what", "where",
))  # fmt: skip


def separation(content: Collection[float], function: Collection[float]) -> float:
    """Area under the ROC curve: how often a content word's gate is wider open than a function word's; ties count half.

    Returns:
        0 to 1, 0.5 = the gates do not tell them apart; NaN where either kind is missing.

    >>> separation([0.9, 0.8], [0.1, 0.8]), separation([0.5], [0.5])
    (0.875, 0.5)
    """
    if not content or not function:
        return float("nan")
    ours, theirs = np.asarray(list(content))[:, None], np.asarray(list(function))
    return float(((ours > theirs) + 0.5 * (ours == theirs)).mean())


def separation_of(caption: str, gates: np.ndarray, words: Sequence[Located], named: Sequence[tuple[int, int]]) -> float:
    """The separation in one caption.

    Args:
        caption: its text.
        gates: (W,) of its fragments; a word's gate is the mean of its fragments'.
        words: of the caption.
        named: parts of the caption that name something in the picture. Their words are content, but for function words;
            words that are neither, such as "picture" or "above", do not count.
    """
    text = plain(caption)
    content, function = [], []
    for word in words:
        gate = float(gates[list(word.places)].mean())
        if text[word.start : word.end] in FUNCTION_WORDS:
            function.append(gate)
        elif any(start < word.end and word.start < end for start, end in named):
            content.append(gate)
    return separation(content, function)
