"""What a file is, by its bytes: so that a message can name what came instead of what was expected.

Every command that takes a file asks here when it cannot read one. Only the beginning of a file is read (and the names
inside a zip archive); nothing of it is executed.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_HEAD = 4096


@dataclass(frozen=True)
class FileKind:
    """What a file is.

    Attributes:
        key: short name, for callers that can say more (`npy`, `torch`, `gzip`, `text`).
        title: with its article, for a sentence that begins "PATH is ...".
        advice: what to do about it wherever it turns up, empty if that depends on what was expected.
    """

    key: str
    title: str
    advice: str = ""


_UNPACK = "unpack it first"
_DOWNLOAD = "the download gave a page and not the file: download it again in a browser, or from a direct link"

#: The first bytes of binary formats.
_MAGIC: tuple[tuple[bytes, FileKind], ...] = (
    (b"\x1f\x8b", FileKind("gzip", "a gzip-compressed file", f"{_UNPACK} with `gunzip`")),
    (b"BZh", FileKind("bzip2", "a bzip2-compressed file", f"{_UNPACK} with `bunzip2`")),
    (b"\xfd7zXZ\x00", FileKind("xz", "an xz-compressed file", f"{_UNPACK} with `unxz`")),
    (b"\x28\xb5\x2f\xfd", FileKind("zstd", "a zstd-compressed file", f"{_UNPACK} with `unzstd`")),
    (b"7z\xbc\xaf\x27\x1c", FileKind("7z", "a 7z archive", _UNPACK)),
    (b"Rar!", FileKind("rar", "a RAR archive", _UNPACK)),
    (b"\x89HDF\r\n\x1a\n", FileKind("hdf5", "an HDF5 file")),
    (b"PAR1", FileKind("parquet", "a Parquet table")),
    (b"ARROW1", FileKind("arrow", "an Arrow file")),
    (b"SQLite format 3\x00", FileKind("sqlite", "an SQLite database")),
    (b"MATLAB 5.0 MAT-file", FileKind("matlab", "a MATLAB file")),
    (b"GGUF", FileKind("gguf", "a GGUF model")),
    (b"%PDF", FileKind("pdf", "a PDF document")),
    (b"\x89PNG\r\n\x1a\n", FileKind("image", "a PNG image")),
    (b"\xff\xd8\xff", FileKind("image", "a JPEG image")),
    (b"GIF8", FileKind("image", "a GIF image")),
    (b"\x7fELF", FileKind("program", "a program")),
    # PyTorch before 1.6 begins with a pickle of this number; it stands before the pickles of protocol 2 or later.
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", FileKind("torch", "a PyTorch file")),
    *((bytes((0x80, protocol)), FileKind("pickle", "a Python pickle")) for protocol in range(2, 6)),
    (codecs.BOM_UTF16_LE, FileKind("utf16", "a text in UTF-16", "save it as UTF-8")),
    (codecs.BOM_UTF16_BE, FileKind("utf16", "a text in UTF-16", "save it as UTF-8")),
)
#: How texts of an unwanted kind begin; the first match counts.
_UNWANTED: tuple[tuple[str, FileKind], ...] = (
    (r"$", FileKind("blank", "a file of white space only", "fetch or write it again")),
    (
        r"version https://git-lfs\.github\.com/spec/",
        FileKind("pointer", "a Git LFS pointer and not the file itself", "fetch the file with `git lfs pull`"),
    ),
    (
        r"\S*/annex/objects/\S+\s*$",
        FileKind("pointer", "a git-annex pointer and not the file itself", "fetch the file with `git annex get`"),
    ),
    (r"<(!doctype\s+html|html|head|body|script|title)\b", FileKind("html", "an HTML page", _DOWNLOAD)),
    (r"<\?xml(?s:.*)<html\b", FileKind("html", "an HTML page", _DOWNLOAD)),
    (r"<\?xml", FileKind("xml", "an XML document (perhaps a server's error message)", _DOWNLOAD)),
)
_NPY = b"\x93NUMPY"
#: Node types that are no files: reading them would wait or never end.
_SPECIAL: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def identify(path: str | Path) -> FileKind:
    """What a path holds.

    Args:
        path: any path; one that cannot be read is of a kind too.

    Returns:
        Its kind; `FileKind("binary", ...)` where it is unknown.

    >>> identify("no/such/file").key
    'missing'
    """
    path = Path(path)
    try:
        node = path.stat()
        special = next((title for test, title in _SPECIAL if test(node.st_mode)), None)
        if special:
            return FileKind("folder" if special == "a folder" else "special", special)
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except FileNotFoundError:
        return FileKind("missing", "missing")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        return FileKind("unreadable", f"unreadable ({getattr(error, 'strerror', None) or error})")
    if not head:
        return FileKind("empty", "an empty file", "its download or copy failed; fetch it again")
    if not head.strip(b"\0"):
        return FileKind("zeros", "a file of zero bytes only", "its download or copy was cut off; fetch it again")
    return _binary(path, head, node.st_size) or _text(path, head)


def mismatch(path: str | Path, expected: str, advice: str = "") -> str:
    """The message for a file that is not what was expected.

    Args:
        path: the file.
        expected: what should have come, with its article.
        advice: what to do, unless what the file is already says it.

    Returns:
        One line without a full stop: what came, what was expected, what to do.
    """
    kind = identify(path)
    if kind.key == "missing":
        return f"{path} does not exist; expected {expected}"
    todo = kind.advice or advice
    return f"{path} is {kind.title}; expected {expected}" + (f"; {todo}" if todo else "")


def _binary(path: Path, head: bytes, size: int) -> FileKind | None:
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head.startswith(_NPY):
        objects = re.search(rb"'descr':\s*'\|O", head[:256])
        if objects:
            return FileKind("npy-objects", "a .npy file of Python objects, which is a pickle")
        return FileKind("npy", "a NumPy array (.npy)")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip(path)
    if len(head) > 9 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= 100_000_000:
        whole = int.from_bytes(head[:8], "little") + 8 <= size
        return FileKind("safetensors", "a safetensors file" if whole else "a truncated safetensors file")
    if head[257:262] == b"ustar":
        return FileKind("tar", "a tar archive", f"{_UNPACK} with `tar -xf`")
    return None


def _zip(path: Path) -> FileKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return FileKind(
            "damaged-zip", "a damaged zip archive (PyTorch and .npz files are such), probably cut off", "fetch it again"
        )
    if any(name == "data.pkl" or name.endswith("/data.pkl") for name in names):
        return FileKind("torch", "a PyTorch file")
    if names and all(name.endswith(".npy") for name in names):
        return FileKind("npz", f"a NumPy archive (.npz) of {len(names)} array{'s' * (len(names) > 1)}")
    return FileKind("zip", f"a zip archive of {len(names)} file{'s' * (len(names) != 1)}", _UNPACK)


def _text(path: Path, head: bytes) -> FileKind:
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        text = None
    if text is None or "\0" in text:
        return FileKind("binary", "a binary file of an unknown kind")
    start = text.lstrip()
    for pattern, kind in _UNWANTED:
        if re.match(pattern, start, re.IGNORECASE):
            return kind
    if len(head) == _HEAD:  # a number that is cut (`-`, `1e`) would make a line of numbers one of words
        start = re.sub(r"(?<=[\s,;])[^\s,;]*$", "", start) or start
    if start[0] in "{[" and _is_json(path, start, len(head) < _HEAD):
        return FileKind("json", "a JSON file")
    return _table(start, path)


def _is_json(path: Path, start: str, whole: bool) -> bool:
    if not whole:
        return bool(re.match(r'\{\s*"|\[\s*[\[{"\d-]', start))
    try:
        json.loads(start)
    except (ValueError, RecursionError):
        return path.suffix == ".json"
    return True


def _table(text: str, path: Path) -> FileKind:
    lines = [line for line in text.splitlines() if line.strip()][:20]
    if len(lines) > 2:
        lines = lines[:-1]  # the last one may be cut
    fields = [line.split() for line in lines]
    if all(len(row) == 6 and _number(row[3]) and _number(row[4]) for row in fields):
        return FileKind("trec-run", "a TREC run")
    if all(len(row) == 4 and _number(row[3]) for row in fields) and not all(_number(row[0]) for row in fields):
        return FileKind("qrels", "a TREC qrels file")
    if all(len(row) > 1 and all(map(_number, row)) for row in fields):
        return FileKind("numbers", "a text of numbers")
    if path.suffix.lower() in (".yaml", ".yml") or re.match(r"(#.*\n)*[A-Za-z_][\w.-]*:(\s|$)", text):
        return FileKind("yaml", "a YAML text")
    for separator, name in ((",", "csv"), ("\t", "tsv"), (";", "csv")):
        widths = {len(row) for row in csv.reader(lines, delimiter=separator)}
        if len(widths) == 1 and widths.pop() > 1:
            return FileKind(name, "a table of tab-separated text" if name == "tsv" else "a CSV table")
    return FileKind("text", "a text")


def _number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
