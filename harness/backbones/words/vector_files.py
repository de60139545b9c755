"""Files of word vectors, read entry by entry: text or binary, plain or compressed.

Text is GloVe's (a word and its numbers per line) or word2vec's and fastText's (the same after a heading of count and width);
binary is word2vec's. A file may be compressed by gzip or bzip2, or lie in a zip archive as GloVe's authors serve it. Nothing
is unpacked to disk.

Shape letters: E width of the vectors.
"""

from __future__ import annotations

import bz2
import gzip
import re
import zipfile
import zlib
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from harness.errors import InvalidSpec, one_line
from harness.files.kinds import identify, mismatch

EXPECTED = (
    "word vectors: GloVe's or word2vec's text, word2vec's binary form, one of them in .zip, .gz or .bz2, or a PyTorch or "
    ".npy file with one row per word of the vocabulary"
)
#: Longest line of a text and longest word of a binary file, in bytes: a width of 4,096 takes 50,000.
_LONGEST_LINE, _LONGEST_WORD = 2**20, 2**12
_CHUNK = 2**22
_HEADING = re.compile(rb"(\d+)[ \t](\d+)[ \t]*\r?\n")
#: Of a vector in binary form, what stands where text has a number.
_NUMBER = re.compile(rb"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf)", re.IGNORECASE)

Entry = tuple[str, np.ndarray]  #: a word and its vector (E,) float32


def entries(path: Path, width: int, wanted: Container[str]) -> Iterator[Entry]:
    """The entries of some words in a file, in its order; repeated words come repeatedly.

    Args:
        path: the file.
        width: E that the vectors must have.
        wanted: words whose vectors are read; the others are passed over.

    Raises:
        InvalidSpec: no file of word vectors, of another width, damaged, or with values that are not finite.
    """
    try:
        with _opened(path, width) as file:
            head = file.readline(_LONGEST_LINE)
            heading = _HEADING.fullmatch(head)
            if heading is None:
                yield from _text(path, file, head, 1, width, wanted)
                return
            count, found = int(heading[1]), int(heading[2])
            if found != width:
                raise InvalidSpec(
                    f"{path}, line 1: its heading says {count:,} vectors of width {found:,}, expected {width} "
                    "(text.word_width); set text.word_width to the vectors' width"
                )
            second = file.readline(_LONGEST_LINE)
            if _is_text(second, width):
                yield from _text(path, file, second, 2, width, wanted)
            else:
                yield from _binary(path, file, second, count, width, wanted)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise InvalidSpec(
            f"{path} cannot be read to its end: {one_line(error, 100)}; its download was cut off, fetch it again"
        ) from None


#: Kind of a file -> how it is opened for reading, where it is one stream.
_STREAMS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("text", "csv", "qrels", "numbers", "binary", "trec-run", "yaml"), open),
    "gzip": gzip.open,
    "bzip2": bz2.open,
}


def is_vector_file(path: Path) -> bool:
    """Whether a file is of a kind that `entries` reads."""
    return identify(path).key in (*_STREAMS, "zip")


@contextmanager
def _opened(path: Path, width: int) -> Iterator[IO[bytes]]:
    kind = identify(path).key
    if kind == "zip":
        with zipfile.ZipFile(path) as archive, archive.open(_member(path, archive, width)) as file:
            yield file
    elif kind in _STREAMS:
        with _STREAMS[kind](path, "rb") as file:
            yield file
    else:
        raise InvalidSpec(mismatch(path, EXPECTED))


def _member(path: Path, archive: zipfile.ZipFile, width: int) -> zipfile.ZipInfo:
    """The one file of an archive, or the one whose name says the width: glove.6B.zip holds four."""
    files = [m for m in archive.infolist() if not m.is_dir() and not re.search(r"(^|/)(\.|__MACOSX)", m.filename)]
    named = [m for m in files if re.search(rf"(?<!\d){width}d(?!\w)", m.filename)]
    chosen = files if len(files) == 1 else named
    if len(chosen) != 1:
        names = ", ".join(m.filename for m in files) or "nothing"
        raise InvalidSpec(
            f"{path} holds {one_line(names, 120)}: not one file of width {width} (text.word_width); set text.word_width to a "
            "width in it, or unpack the file you mean"
        )
    return chosen[0]


def _text(
    path: Path, file: IO[bytes], first: bytes, number: int, width: int, wanted: Container[str]
) -> Iterator[Entry]:
    content, start = first, number
    while content:
        if len(content) >= _LONGEST_LINE:
            raise InvalidSpec(f"{path}, line {number:,} has more than {_LONGEST_LINE:,} bytes; expected {EXPECTED}")
        parts = content.rstrip().split(b" ")
        # A few words of GloVe 840B hold spaces themselves: the values are counted from the end.
        if len(parts) <= width or (number - start < 2 and len(parts) != width + 1):
            raise InvalidSpec(
                f"{path}, line {number:,}: expected a word and {width} values (text.word_width), got {len(parts) - 1} "
                "values; set text.word_width to the vectors' width"
            )
        word = b" ".join(parts[:-width]).decode("utf-8", "replace")
        if word in wanted:
            yield word, _parsed(path, number, parts[-width:])
        content = file.readline(_LONGEST_LINE)
        number += 1


def _parsed(path: Path, line: int, texts: list[bytes]) -> np.ndarray:
    try:
        values = np.array([float(text) for text in texts], dtype=np.float32)
    except ValueError:
        raise InvalidSpec(f"{path}, line {line:,}: expected numbers after the word, got {texts[0]!r:.40}") from None
    return _finite(path, f"line {line:,}", values)


def _finite(path: Path, where: str, values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise InvalidSpec(f"{path}, {where} holds NaN or infinite values")
    return values


def _is_text(line: bytes, width: int) -> bool:
    parts = line.rstrip().split(b" ")
    return len(parts) > width and all(_NUMBER.fullmatch(part) for part in parts[-width:])


def _binary(
    path: Path, file: IO[bytes], first: bytes, count: int, width: int, wanted: Container[str]
) -> Iterator[Entry]:
    """`count` times a word, a space, `width` little-endian float32, and in some files a line feed."""
    size, buffer, at = 4 * width, first, 0
    for number in range(1, count + 1):
        if len(buffer) - at < size + _LONGEST_WORD:
            buffer, at = buffer[at:] + file.read(_CHUNK), 0
        space = buffer.find(b" ", at, at + _LONGEST_WORD)
        if space < 0 or len(buffer) < space + 1 + size:
            raise InvalidSpec(
                f"{path} is damaged or no file of word vectors: its heading says {count:,} words in binary form, and word "
                f"{number:,} is not whole"
            )
        word = buffer[at:space].lstrip(b"\n").decode("utf-8", "replace")
        if word in wanted:
            values = np.frombuffer(buffer, dtype="<f4", count=width, offset=space + 1)
            yield word, _finite(path, f"word {number:,}", values.astype(np.float32))
        at = space + 1 + size
