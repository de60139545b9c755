"""The scores of examples: distinct pictures and captions are encoded once, and each picture is scored with its own captions.

Shape letters: I pictures, T captions, N examples, P pictures and C captions per example.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from harness.datasets.base import Images, Split
from harness.fragments import Fragments
from harness.probes.sampling import SomeImages
from harness.scorer import Scorer
from harness.scoring import similarity_matrix
from harness.scoring.memory import default_budget

#: Examples that are scored in one call: all its pictures meet all its captions, so larger calls waste more pairs.
AT_ONCE = 16
#: Captions that are encoded at a time, which bounds the memory; examples of one picture stay together.
MOST_CAPTIONS = 6_000


@dataclass(frozen=True, eq=False)
class Portion:
    """Some examples as a split that models encode.

    Args:
        split: I pictures and T captions, among them all of the examples.
        examples: (n,) which examples these are.
        pictures: (n, P) rows of the split's images.
        captions: (n, C) columns of the split's captions.
    """

    split: Split
    examples: np.ndarray
    pictures: np.ndarray
    captions: np.ndarray


def portions(
    images: Images, pictures: np.ndarray, captions: Sequence[Sequence[str]], most: int = MOST_CAPTIONS
) -> Iterator[Portion]:
    """Examples in the order of their pictures, as splits of at most about `most` captions.

    One split keeps `images` as the object that it is, so that kinds that share it share what is encoded of it.

    Args:
        images: I of them.
        pictures: (N, P) rows of `images`.
        captions: C texts per example.
        most: captions per split, but at least one example.
    """
    order = np.lexsort(pictures.T[::-1])
    size = max(1, most // len(captions[0]))
    for start in range(0, len(order), size):
        some = order[start : start + size]
        whole = len(order) <= size
        rows = np.arange(len(images)) if whole else np.unique(pictures[some])
        yield _portion(images if whole else SomeImages(images, rows), rows, pictures[some], captions, some)


def _portion(
    images: Images, rows: np.ndarray, pictures: np.ndarray, captions: Sequence[Sequence[str]], examples: np.ndarray
) -> Portion:
    texts = [text for example in examples for text in captions[example]]
    distinct = list(dict.fromkeys(texts))
    column = {text: number for number, text in enumerate(distinct)}
    at = np.array([column[text] for text in texts]).reshape(len(examples), -1)
    # A split wants a caption for every picture and a picture for every caption; what is scored is chosen by the examples.
    bare = np.setdiff1d(np.arange(len(rows)), np.arange(len(distinct)))
    owner = np.concatenate([np.arange(len(distinct)) % len(rows), bare])
    everything = (*distinct, *[distinct[0]] * len(bare))
    split = Split(
        name="test",
        images=images,
        image_ids=tuple(map(str, rows)),
        captions=everything,
        caption_ids=tuple(map(str, range(len(everything)))),
        caption_image=owner.astype(np.int64),
    )
    return Portion(split, examples, np.searchsorted(rows, pictures), at)


@torch.no_grad()
def example_scores(
    scorer: Scorer, images: Fragments, texts: Fragments, pictures: np.ndarray, captions: np.ndarray
) -> np.ndarray:
    """The scores of each example's pictures with its captions, as `scorer.score` of these alone gives them within 1e-5.

    The captions of an example are scored in one call with the same pictures; captions that an encoder takes for equal
    have equal scores to the last bit.

    Args:
        scorer: any.
        images: I pictures, encoded.
        texts: T captions, encoded.
        pictures: (N, P) rows of `images`; examples that share pictures stand together.
        captions: (N, C) rows of `texts`.

    Returns:
        (N, P, C) float32.

    Raises:
        InvalidSimilarity: scores that are not finite, or of another shape.
    """
    found = np.empty((*pictures.shape, captions.shape[1]), np.float32)
    budget = default_budget(scorer.device)
    for start in range(0, len(pictures), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        rows, row = np.unique(pictures[some], return_inverse=True)
        columns, column = np.unique(captions[some], return_inverse=True)
        scores = similarity_matrix(
            scorer, images[torch.from_numpy(rows)], texts[torch.from_numpy(columns)], memory_budget=budget
        )
        row, column = row.reshape(pictures[some].shape), column.reshape(captions[some].shape)
        found[some] = scores.cpu().numpy()[row[:, :, None], column[:, None, :]]
    return found


def read_as_one(texts: Fragments, captions: np.ndarray, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """(N,) whether an encoder makes the same fragments of two captions of an example, which then tie by any score.

    Args:
        texts: T captions, encoded.
        captions: (N, C) rows of `texts`.
        pairs: columns of `captions` that are compared.
    """
    found = np.zeros(len(captions), dtype=bool)
    for first, second in pairs:
        for start in range(0, len(captions), 256):
            some = slice(start, start + 256)
            a, b = (texts[torch.from_numpy(captions[some, column])] for column in (first, second))
            equal = ((a.features == b.features).all(2) | ~a.mask) & (a.mask == b.mask)
            found[some] |= equal.all(1).cpu().numpy()
    return found
