"""Word embeddings from published vectors: a file of words and vectors, or a matrix with one row per word of a vocabulary.

CHAN's authors copy GloVe's vector into the row of each word that GloVe knows, leave the other rows random, and train all
of them with the rest of the model.

Shape letters: V words of the vocabulary, E width of the vectors.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.backbones.weights import read_safe_pickle
from harness.backbones.words.vector_files import EXPECTED, Entry, entries, is_vector_file
from harness.backbones.words.vocabulary import MASK, Vocabulary
from harness.errors import InvalidCheckpoint, InvalidSpec, one_line
from harness.files.kinds import identify, mismatch
from harness.files.pickles import read_plain_pickle
from harness.files.reading import Damaged

_log = logging.getLogger(__name__)
_GENSIM = "save it in gensim with `vectors.save_word2vec_format(path, binary=True)`"


def initialise(embedding: nn.Embedding, path: str | Path, vocabulary: Vocabulary, given: bool) -> int:
    """Copy published vectors into the rows of an embedding; rows of other words keep their values.

    Args:
        embedding: (V, E), one row per word of the vocabulary.
        path: words with their vectors, in any of these forms: GloVe's, word2vec's or fastText's text, word2vec's binary
            file (each plain or in .gz, .bz2 or .zip), torchtext's cache (.pt), a pickled dictionary; or a matrix (V, E) in
            the order of the vocabulary, as a PyTorch file or as `.npy`.
        vocabulary: V words.
        given: whether the vocabulary came from a file; a matrix's rows have no words of their own, so it needs one.

    Returns:
        How many rows were set, which is logged too.

    Raises:
        InvalidSpec: not such a file, of another width or number of rows, or about none of the words.
        InvalidCheckpoint: a PyTorch file that is damaged or unsafe.
    """
    path = Path(path)
    kind = identify(path).key
    if kind in _MATRICES:
        value = _MATRICES[kind](path)
        count = (
            _from_words(embedding, path, vocabulary, functools.partial(_tabled, value))
            if isinstance(value, _Words)
            else _from_matrix(embedding, path, vocabulary, given, value)
        )
    elif is_vector_file(path):
        count = _from_words(embedding, path, vocabulary)
    else:
        raise InvalidSpec(mismatch(path, EXPECTED))
    total = len(vocabulary)
    _log.info(
        "%s: vectors of %s of the vocabulary's %s words; the other %s start random",
        path, f"{count:,}", f"{total:,}", f"{total - count:,}",
    )  # fmt: skip
    return count


def _from_words(
    embedding: nn.Embedding, path: Path, vocabulary: Vocabulary, read: Callable[..., Iterator[Entry]] = entries
) -> int:
    asked: dict[str, list[tuple[int, bool]]] = {}
    for word, number in vocabulary.ids.items():
        asked.setdefault(word, []).append((number, True))
        asked.setdefault(_plainer(word), []).append((number, False))
    found: dict[int, bool] = {}  # row -> whether by its own form
    for word, values in read(path, embedding.embedding_dim, asked):
        for row, exact in asked[word]:
            # The first entry of a word counts, and its own before that of its plainer form.
            if row not in found or (exact and not found[row]):
                with torch.no_grad():
                    embedding.weight[row] = torch.from_numpy(values)
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


def _tabled(table: Mapping[str, np.ndarray], path: Path, width: int, wanted: Mapping[str, object]) -> Iterator[Entry]:
    """As `entries`, from a mapping of words to vectors."""
    for word in wanted:
        if word not in table:
            continue
        values = np.array(table[word], dtype=np.float32)
        if values.shape != (width,):
            raise InvalidSpec(
                f"{path}: the vector of '{word:.40}' has shape {values.shape}, expected width {width} (text.word_width); set "
                "text.word_width to the vectors' width"
            )
        if not np.isfinite(values).all():
            raise InvalidSpec(f"{path}: the vector of '{word:.40}' holds NaN or infinite values")
        yield word, values


def _torch(path: Path) -> Any:
    """A matrix, or words with their vectors: torchtext keeps (words, numbers of words, matrix, width)."""
    value = read_safe_pickle(path)
    if isinstance(value, (tuple, list)):
        numbers = next((part for part in value if isinstance(part, Mapping)), None)
        matrix = next((part for part in value if isinstance(part, Tensor) and part.ndim == 2), None)
        if numbers is not None and matrix is not None and all(_is_row(n, matrix) for n in numbers.values()):
            return _Words(numbers, matrix.float().numpy())
    return value


def _is_row(number: Any, matrix: Tensor) -> bool:
    return isinstance(number, int) and 0 <= number < len(matrix)


class _Words(Mapping[str, Any]):
    """Words with their vectors, looked up in a matrix or another mapping."""

    def __init__(self, numbers: Mapping[str, Any], matrix: Any):
        self.numbers, self.matrix = numbers, matrix

    def __getitem__(self, word: str) -> Any:
        return self.matrix[self.numbers[word]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)


def _npy(path: Path) -> Any:
    try:
        return torch.from_numpy(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError, TypeError) as error:
        raise InvalidSpec(f"{path} cannot be read as an array of numbers: {one_line(error, 100)}") from None


def _pickle(path: Path) -> Any:
    """A dictionary of words and arrays."""
    try:
        value = read_plain_pickle(path)
    except Damaged as error:
        raise InvalidSpec(f"{path}: {error}; if it is gensim's, {_GENSIM}") from None
    if isinstance(value, dict) and value and all(isinstance(vector, np.ndarray) for vector in value.values()):
        return _Words({str(word): word for word in value}, value)
    return torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value


#: Kind of a file that holds a whole matrix, or a mapping of words to vectors -> how it is read.
_MATRICES = {"torch": _torch, "npy": _npy, "npy-objects": _pickle, "pickle": _pickle}


def _from_matrix(embedding: nn.Embedding, path: Path, vocabulary: Vocabulary, given: bool, values: Any) -> int:
    if not isinstance(values, Tensor) or values.ndim != 2 or not values.is_floating_point():
        raise InvalidCheckpoint(f"{path} must hold one matrix of floats, words x width, got {type(values).__name__}")
    if not given:
        raise InvalidSpec(
            f"{path} is a matrix without words: its rows are in the order of a vocabulary file, so name that file "
            "(dataset.vocabulary), or give a file of words and vectors instead"
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
