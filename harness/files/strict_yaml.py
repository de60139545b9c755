"""The one reader and writer of YAML: YAML 1.2, plain data, nothing that a person and the parser would read differently.

`010` is ten, `yes` is a word, and what YAML 1.1 and 1.2 read differently (`1_000`, `0b11`) is refused. So are duplicate
keys, keys that are not text, tags, dates, numbers that are not finite, several documents, and input whose size, depth or
aliases are beyond reason.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    NodeEvent,
    ScalarEvent,
)

from harness.errors import InvalidSpec, one_line

LARGEST_BYTES = 2**20
LARGEST_DEPTH = 40
LARGEST_NODES = 50_000  #: with every alias written out
LONGEST_NUMBER = 400  #: characters; the largest float has 309 digits

#: Numbers of YAML 1.1, or of Python, that YAML 1.2 reads as text.
_NUMBER_OF_ANOTHER_YAML = re.compile(r"[-+]?(0b[01_]+|[0-9][0-9_]*_[0-9_.]*([eE][-+]?[0-9]+)?)")
_NUMBER = re.compile(r"[-+]?[0-9.][0-9._eE+-]*")


def read_file(path: Path) -> dict[str, Any]:
    """A mapping from a YAML file (UTF-8, with or without a byte-order mark).

    Raises:
        InvalidSpec: missing, unreadable, not such YAML (with the line), or not a mapping.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise InvalidSpec(
                f"{path} is not valid YAML for an experiment: it is larger than {LARGEST_BYTES // 2**20} MiB"
            )
        value = parse(content.decode("utf-8-sig"), str(path))
    except OSError as error:
        raise InvalidSpec(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InvalidSpec(f"{path} is not valid YAML: not UTF-8 text ({error.reason} at byte {error.start})") from None
    if not isinstance(value, dict):
        kind = "nothing" if value is None else _kind(value)
        raise InvalidSpec(f"{path} must hold a mapping of keys to values, got {kind}")
    return value


def parse(text: str, where: str) -> Any:
    """The value of a YAML text: dicts with text keys, lists, text, numbers, booleans and None.

    Args:
        text: YAML.
        where: what it is, for the message: a file, or `the value of --set seeds`.

    Raises:
        InvalidSpec: one line that says what is wrong, with its line number.

    >>> parse("{epochs: 010, name: yes}", "the text")
    {'epochs': 10, 'name': 'yes'}
    """
    try:
        _check_events(text, where)
        return _plain(_yaml().load(text), where)
    except DuplicateKeyError as error:
        key = re.search(r'duplicate key "(.*?)"', str(error.problem or ""))
        name = f"key '{key[1]}'" if key else "a key"
        raise InvalidSpec(f"{where} is not valid YAML: {name} appears twice{_line(error)}; keep one of them") from None
    except (YAMLError, ValueError, RecursionError, AttributeError) as error:
        problem, line = str(error), ""
        if isinstance(error, MarkedYAMLError):
            problem, line = str(error.problem or error.context or "malformed"), _line(error)
        raise InvalidSpec(f"{where} is not valid YAML: {one_line(problem)}{line}") from None


def dump(value: Any) -> str:
    """YAML of plain data, in the order of its keys; `parse` gives the same value back."""
    yaml = _yaml()
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.allow_unicode = True
    yaml.width = 120
    out = io.StringIO()
    yaml.dump(value, out)
    return out.getvalue()


def _yaml() -> YAML:
    return YAML(typ="safe", pure=True)  # the pure parser is the one that speaks YAML 1.2


def _check_events(text: str, where: str) -> None:
    """Refuse what may not even be built: documents, depth, aliases, and text that only looks like a number."""
    documents = total = 0
    open_at: list[tuple[str | None, int]] = []  # anchor and count of nodes before each open collection
    sizes: dict[str, int] = {}  # nodes below each finished anchor
    for event in _yaml().parse(text):
        if isinstance(event, DocumentStartEvent):
            documents += 1
            _check_document(event, documents, where)
        elif isinstance(event, AliasEvent):
            if event.anchor not in sizes:
                inside = any(event.anchor == anchor for anchor, _ in open_at)
                problem = "stands inside what it names" if inside else "names nothing above it"
                raise InvalidSpec(f"{where}: '*{event.anchor}' {problem}{_line(event)}")
            total += sizes[event.anchor]
        elif isinstance(event, NodeEvent):
            total += 1
            if isinstance(event, CollectionStartEvent):
                open_at.append((event.anchor, total - 1))
            else:
                _check_scalar(event, where)
                if event.anchor:
                    sizes[event.anchor] = 1
        elif isinstance(event, CollectionEndEvent):
            anchor, before = open_at.pop()
            if anchor:
                sizes[anchor] = total - before
        if len(open_at) > LARGEST_DEPTH:
            raise InvalidSpec(f"{where} is nested more than {LARGEST_DEPTH} levels deep{_line(event)}")
        if total > LARGEST_NODES:
            raise InvalidSpec(f"{where} holds more than {LARGEST_NODES:,} values once its aliases are written out")


def _check_document(event: DocumentStartEvent, number: int, where: str) -> None:
    if number > 1:
        raise InvalidSpec(f"{where} holds several YAML documents{_line(event)}; expected one")
    if event.version not in (None, (1, 2)):
        raise InvalidSpec(f"{where} asks for YAML {'.'.join(map(str, event.version))}; only 1.2 is read")


def _check_scalar(event: NodeEvent, where: str) -> None:
    if not isinstance(event, ScalarEvent) or event.style is not None:  # quoted text is text
        return
    if _NUMBER_OF_ANOTHER_YAML.fullmatch(event.value):
        raise InvalidSpec(
            f"{where}: '{event.value:.40}' is a number in some versions of YAML and text in others{_line(event)}; "
            "write the digits alone, or quote it"
        )
    if len(event.value) > LONGEST_NUMBER and _NUMBER.fullmatch(event.value):
        raise InvalidSpec(f"{where}: a number of {len(event.value):,} characters{_line(event)}; none is that large")


def _plain(value: Any, where: str, path: str = "") -> Any:
    """The value, if it is plain data."""
    at = f" at '{path}'" if path else ""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise InvalidSpec(f"{where}: key {key!r:.80}{at} is {_kind(key)}; keys are text, quote it")
        return {key: _plain(inner, where, f"{path}.{key}".lstrip(".")) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner, where, path) for inner in value]
    if isinstance(value, float) and not float("-inf") < value < float("inf"):
        raise InvalidSpec(f"{where}: {value}{at} is not a finite number")
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise InvalidSpec(f"{where}: {value!r:.80}{at} is {_kind(value)}; quote it if text is meant")


def _kind(value: Any) -> str:
    names = {list: "a list", str: "text", int: "a number", float: "a number", bool: "a boolean", tuple: "a list"}
    return names.get(type(value), f"a {type(value).__name__}")


def _line(source: MarkedYAMLError | Event) -> str:
    mark = getattr(source, "problem_mark", None) or getattr(source, "start_mark", None)
    return f" (line {mark.line + 1})" if mark is not None else ""
