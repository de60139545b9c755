"""Matrices of numbers as text, as `numpy.savetxt` writes them: one row per line, separated by white space or commas."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np

from harness.errors import one_line
from harness.files.reading import Damaged

#: Numbers that are parsed at once.
_BLOCK_ELEMENTS = 5_000_000
_SAMPLED_LINES = 3


def read_matrix_text(path: Path) -> tuple[np.ndarray, int]:
    """A matrix of numbers from a text, and the largest number of decimals of its first lines.

    Returns:
        (rows, columns) float64, and the decimals.

    Raises:
        Damaged: lines of different length, or something that is no number, with the line.
    """
    try:
        separator, columns, decimals = _layout(path)
        with path.open("rb") as file:
            rows = sum(1 for line in file if line.strip())
        matrix = np.empty((rows, columns))
        _fill(path, matrix, separator)
    except UnicodeDecodeError:
        raise Damaged("it is not a text in UTF-8") from None
    except MemoryError:
        raise Damaged("its numbers need more memory than there is") from None
    return matrix, decimals


def _layout(path: Path) -> tuple[str | None, int, int]:
    with path.open(encoding="utf-8-sig") as file:
        lines = [line for line in itertools.islice(file, _SAMPLED_LINES) if line.strip()]
    separator = "," if "," in lines[0] else None
    columns = len(lines[0].strip().split(separator))
    found = re.findall(r"\.(\d*)(?![\d.]*[eE])", " ".join(lines))
    return separator, columns, max(map(len, found), default=0)


def _fill(path: Path, matrix: np.ndarray, separator: str | None) -> None:
    rows, columns = matrix.shape
    step = max(1, _BLOCK_ELEMENTS // max(1, columns))
    done = 0
    with path.open(encoding="utf-8-sig") as file:
        lines = (line for line in file if line.strip())
        while done < rows:
            part = list(itertools.islice(lines, min(step, rows - done)))
            try:
                block = np.loadtxt(part, dtype=np.float64, delimiter=separator, comments=None, ndmin=2)
            except ValueError as error:
                raise Damaged(f"{_problem(part, columns, separator, done) or one_line(error, 120)}") from None
            if block.shape != (len(part), columns):
                raise Damaged(_problem(part, columns, separator, done) or "its lines differ in length")
            matrix[done : done + len(part)] = block
            done += len(part)


def _problem(lines: list[str], columns: int, separator: str | None, before: int) -> str:
    """The first line that is no row of numbers, in words."""
    for number, line in enumerate(lines, before + 1):
        words = line.strip().split(separator)
        if len(words) != columns:
            return f"row {number:,} has {len(words):,} numbers, the first row {columns:,}"
        for word in words:
            try:
                float(word)
            except ValueError:
                return f"row {number:,} holds {word.strip()!r:.40}, which is no number"
    return ""
