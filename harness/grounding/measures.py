"""Does a word's map over the fragments of a picture point at its target? Three measures, and what they are without looking.

A map with no mass belongs to a word that the method matches with nothing: it points nowhere, so it misses, is not inside,
and is correlated with nothing. Were such words left out, a method could choose the words that it is measured on.

Shape letters: N words, R fragments of an image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata


def pointing(maps: np.ndarray, inside: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Pointing game: whether the fragment of the largest weight has its centre in the target.

    Of tied fragments the share is taken that hits, which is what a random choice among them would expect; so an even map
    gets its expectation, and no method wins by the order of fragments.

    Args:
        maps: (N, R) weights of each word, not negative.
        inside: (N, R) bool, fragments whose centre lies in the target, see `harness.grounding.boxes.centres_inside`.
        mask: (N, R) bool, fragments that take part.

    Returns:
        (N,) 0 to 1, and 0 for a map without mass.

    Source:
        Zhang et al., Top-down neural attention by excitation backprop, ECCV 2016, section 4.2. Differs: no tolerance round
        the target, which they set to 15 pixels, and ties.

    >>> inside = np.array([[True, False, True]])
    >>> mask = np.ones((1, 3), dtype=bool)
    >>> [pointing(np.array([row]), inside, mask).item() for row in ([0.2, 0.1, 0.7], [0.5, 0.5, 0.0], [0.0, 0.0, 0.0])]
    [1.0, 0.5, 0.0]
    """
    kept = np.where(mask, maps, 0.0)
    largest = kept.max(axis=1, keepdims=True, initial=0.0)
    first = mask & (kept == largest) & (largest > 0)
    return (first & inside).sum(axis=1) / np.maximum(first.sum(axis=1), 1)


def inside_share(maps: np.ndarray, overlap: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Share of a map inside the target, each fragment's weight spread evenly over its place.

    Args:
        maps: (N, R) weights of each word, not negative.
        overlap: (N, R) share of each fragment's place in the target, see `harness.grounding.boxes.overlaps`.
        mask: (N, R) bool, fragments that take part.

    Returns:
        (N,) 0 to 1, and 0 for a map without mass.

    >>> inside_share(np.array([[0.5, 0.5]]), np.array([[1.0, 0.25]]), np.ones((1, 2), dtype=bool)).tolist()
    [0.625]
    """
    kept = np.where(mask, maps, 0.0)
    mass = kept.sum(axis=1)
    return np.clip((kept * overlap).sum(axis=1) / np.where(mass > 0, mass, 1), 0, 1)


def rank_correlation(maps: np.ndarray, overlap: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Spearman's correlation between the weights of the fragments and their overlaps with the target; ties by mean ranks.

    Args:
        maps: (N, R) weights of each word.
        overlap: (N, R) share of each fragment's place in the target.
        mask: (N, R) bool, fragments that take part and have a place of their own.

    Returns:
        (N,) -1 to 1; 0 where all weights are equal; NaN where all overlaps are, since there is nothing to find.

    >>> overlap = np.array([[1.0, 0.5, 0.0]])
    >>> mask = np.ones((1, 3), dtype=bool)
    >>> [rank_correlation(np.array([row]), overlap, mask).item() for row in ([0.6, 0.3, 0.1], [0.2, 0.2, 0.2])]
    [1.0, 0.0]
    """
    ours, theirs = (_centred_ranks(values, mask) for values in (maps, overlap))
    spread, asked = ((ranks**2).sum(axis=1) for ranks in (ours, theirs))
    found = (ours * theirs).sum(axis=1) / np.sqrt(np.where((spread > 0) & (asked > 0), spread * asked, 1))
    return np.where(asked > 0, np.clip(found, -1, 1), np.nan)


def uniform(mask: np.ndarray) -> np.ndarray:
    """(N, R): the map of a word that looks at all fragments alike.

    >>> uniform(np.array([[True, True, False]])).tolist()
    [[0.5, 0.5, 0.0]]
    """
    return mask / np.maximum(mask.sum(axis=1, keepdims=True), 1)


def random_maps(items: Sequence[str], key: str, fragments: int) -> np.ndarray:
    """(N, R): for each word a map drawn evenly from all maps, up to their scale.

    A draw depends on the key, the word and the fragment's number alone: not on how many others there are.

    Args:
        items: N ids of words.
        key: seeds the draws, such as the hash of the data.
        fragments: R.

    >>> one, two = random_maps(["a"], "key", 3), random_maps(["b", "a"], "key", 2)
    >>> bool((one[0, :2] == two[1]).all())
    True
    """
    found = np.empty((len(items), fragments))
    for row, item in enumerate(items):
        digest = hashlib.blake2b(f"{key}\0{item}".encode(), digest_size=16).digest()
        # Weights of the exponential distribution, scaled to sum to 1, are even over all maps.
        found[row] = -np.log1p(-np.random.default_rng(int.from_bytes(digest)).random(fragments))
    return found


def _centred_ranks(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(N, R) mean ranks minus their mean, 0 where the mask is False."""
    if not values.size:
        return np.zeros(values.shape)
    # What takes no part stands last, and so changes no rank of what does.
    ranks = np.where(mask, rankdata(np.where(mask, values, np.inf), axis=1), 0.0)
    mean = ranks.sum(axis=1, keepdims=True) / np.maximum(mask.sum(axis=1, keepdims=True), 1)
    return np.where(mask, ranks - mean, 0.0)
