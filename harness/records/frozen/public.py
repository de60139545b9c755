"""A record as it may be published: no folder of the machine that made it, no error message, nothing else left out."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from harness.records.run import RunRecord

#: A text that is a path of some machine as a whole, and such paths within a text. Within a text, a slash begins one
#: where a folder or a file with an ending follows, so that `with / without`, `B /16` and `</b>` are none.
_WHOLE = re.compile(r"(file:)?(/(?!/)|//+(?=\S+/)|~[\w.-]*/|\.\.[/\\]|[A-Za-z]:[/\\]|\\\\).*", re.DOTALL)
_INSIDE = re.compile(
    r"(?:(?<=^)|(?<=[\s\"'`=(,;:\[{<|]))(?!(?<=<)/\w+[\s>])(?:file:/+|/(?=[^\s/\"'`),;\]}>|]+(?:/|\.\w))|~[\w.-]*/|\.\.[/\\]|[A-Za-z]:[/\\](?!/)|\\\\)[^\s\"'`),;\]}>|]*"
)


def public_record(record: RunRecord) -> dict[str, Any]:
    """A record as JSON values, without the paths of the machine that made it.

    Where the dataset lay is left out. Any other path is replaced by the file name at its end and six digits of the path's
    hash, so that two files of one name are still told apart; of a folder, only the digits stay.
    """
    values = record.model_dump(mode="json")
    values["error"] = ""
    dataset = values["spec"].get("dataset")
    if isinstance(dataset, dict):
        dataset.pop("root", None)
    return {key: without_paths(value) for key, value in values.items()}


def without_paths(value: Any) -> Any:
    """JSON values whose texts name no folder of a machine.

    >>> without_paths({"weights": "/home/ann/w.pt", "from": "a https://example.org/x/y", "n": 2})
    {'weights': 'w.pt (path 6ae5c1)', 'from': 'a https://example.org/x/y', 'n': 2}
    >>> without_paths("read from ../ann/w.pt: damaged")
    'read from w.pt (path dd3a7e): damaged'
    """
    if isinstance(value, str):
        return _shown(value) if _WHOLE.fullmatch(value) else _INSIDE.sub(lambda found: _shown(found[0]), value)
    if isinstance(value, dict):
        return {without_paths(key): without_paths(content) for key, content in value.items()}
    return [without_paths(content) for content in value] if isinstance(value, list | tuple) else value


def names_a_path(value: Any) -> bool:
    """Whether a text in JSON values names a folder of a machine."""
    return without_paths(value) != (list(value) if isinstance(value, tuple) else value)


def _shown(path: str) -> str:
    """The name of a file; a folder's name may be a person's."""
    end = path.rstrip(":.") or path
    name = (PureWindowsPath if "\\" in end else PurePosixPath)(end).name
    digest = hashlib.sha256(end.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return f"{name if '.' in name.strip('.') else 'folder'} (path {digest}){path[len(end) :]}"
