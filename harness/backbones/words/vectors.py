"""Word embeddings from published vectors: a GloVe text file, or a tensor with one row per word of a vocabulary.

CHAN's authors copy GloVe's vector into the row of each word that GloVe knows, leave the other rows random, and train all
of them with the rest of the model.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.backbones.weights import read_safe_pickle
from harness.backbones.words.vocabulary import MASK, Vocabulary
from harness.errors import InvalidCheckpoint, InvalidSpec
from harness.files.kinds import identify, mismatch

_EXPECTED = "word vectors: a text with a word and its numbers per line (GloVe's), or a PyTorch file of one tensor"
_log = logging.getLogger(__name__)


def initialise(embedding: nn.Embedding, path: str | Path, vocabulary: Vocabulary, given: bool) -> int:
    """Copy published vectors into the rows of an embedding; rows of other words keep their values.

    Args:
        embedding: (V, E), one row per word of the vocabulary.
        path: GloVe's text, or a PyTorch file of a tensor (V, E) in the order of the vocabulary.
        vocabulary: V words.
        given: whether the vocabulary came from a file; a tensor's rows have no words of their own, so it needs one.

    Returns:
        How many rows were set, which is logged too.

    Raises:
        InvalidSpec: not such a file, of another width or number of rows, or about none of the words.
        InvalidCheckpoint: a PyTorch file that is damaged or unsafe.
    """
    path = Path(path)
    kind = identify(path)
    if kind.key == "torch":
        count = _from_tensor(embedding, path, vocabulary, given)
    elif kind.key in ("text", "csv", "qrels", "numbers"):
        count = _from_text(embedding, path, vocabulary)
    else:
        raise InvalidSpec(mismatch(path, _EXPECTED))
    total = len(vocabulary)
    _log.info("%s: vectors of %s of %s words; the others start random", path, f"{count:,}", f"{total:,}")
    return count


def _from_text(embedding: nn.Embedding, path: Path, vocabulary: Vocabulary) -> int:
    width = embedding.embedding_dim
    asked: dict[str, list[tuple[int, bool]]] = {}
    for word, number in vocabulary.ids.items():
        asked.setdefault(word, []).append((number, True))
        asked.setdefault(_plainer(word), []).append((number, False))
    found: dict[int, bool] = {}  # row -> whether by its own form
    for line, word, numbers in _lines(path, width, asked):
        values = _vector(path, line, numbers)
        for row, exact in asked[word]:
            # The first line of a word counts, and its own line before that of its plainer form.
            if row not in found or (exact and not found[row]):
                with torch.no_grad():
                    embedding.weight[row] = values
                found[row] = exact
    if not found:
        raise InvalidSpec(
            f"{path} has a vector for none of the {len(vocabulary):,} words (such as "
            f"{', '.join(vocabulary.entries[4:8])}); give vectors of the captions' language"
        )
    return len(found)


def _plainer(word: str) -> str:
    """The form under which the authors look a word up that has no vector itself."""
    return word.replace("-", "").replace(".", "").replace("'", "").split("/")[0]


def _lines(path: Path, width: int, asked: Mapping[str, Any]) -> Iterator[tuple[int, str, list[bytes]]]:
    """Number, word and texts of the values of each line about a word that is asked for."""
    with path.open("rb") as file:
        for line, content in enumerate(file, 1):
            parts = content.rstrip().split(b" ")
            if line == 1 and len(parts) == 2 and all(part.isdigit() for part in parts):
                continue  # the heading of word2vec's and fastText's text: words and width
            # A few words of GloVe 840B hold spaces themselves: the values are counted from the end.
            word = b" ".join(parts[:-width]).decode("utf-8", "replace")
            if len(parts) <= width or (line <= 2 and len(parts) != width + 1):
                raise InvalidSpec(
                    f"{path}, line {line}: expected a word and {width} values (text.word_width), got {len(parts) - 1} "
                    f"values; set text.word_width to the vectors' width"
                )
            if word in asked:
                yield line, word, parts[-width:]


def _vector(path: Path, line: int, numbers: list[bytes]) -> Tensor:
    try:
        values = np.array([float(number) for number in numbers], dtype=np.float32)
    except ValueError:
        raise InvalidSpec(f"{path}, line {line}: expected numbers after the word, got {numbers[0]!r:.40}") from None
    if not np.isfinite(values).all():
        raise InvalidSpec(f"{path}, line {line} holds NaN or infinite values")
    return torch.from_numpy(values)


def _from_tensor(embedding: nn.Embedding, path: Path, vocabulary: Vocabulary, given: bool) -> int:
    values = read_safe_pickle(path)
    if not isinstance(values, Tensor) or values.ndim != 2 or not values.is_floating_point():
        raise InvalidCheckpoint(f"{path} must hold one matrix of floats, words x width, got {type(values).__name__}")
    if not given:
        raise InvalidSpec(
            f"{path} is a matrix without words: its rows are in the order of a vocabulary file, so name that file "
            "(dataset.vocabulary), or give GloVe's text instead"
        )
    # Training scripts add <mask> to the words of the file that the matrix was made for.
    last_is_mask = vocabulary.entries[-1] == MASK
    rows = len(vocabulary) - (last_is_mask and len(values) == len(vocabulary) - 1)
    if values.shape != (rows, embedding.embedding_dim):
        raise InvalidSpec(
            f"{path} holds {len(values):,} words x {values.shape[1]}, expected {len(vocabulary):,} words (the vocabulary) "
            f"x {embedding.embedding_dim} (text.word_width)"
        )
    if not bool(torch.isfinite(values).all()):
        raise InvalidCheckpoint(f"{path} holds NaN or infinite values")
    with torch.no_grad():
        embedding.weight[:rows] = values.float()
    return rows
