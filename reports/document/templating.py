"""Templates of reports and of the site: whatever they print is escaped for its medium."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from jinja2.bccache import Bucket
from jinja2.runtime import Context
from markupsafe import Markup

#: What would end a script element, or a line of JavaScript, inside a JSON text.
_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}

TEMPLATES = Path(__file__).parent / "templates"


class Compiled(jinja2.BytecodeCache):
    """What the templates of one medium compile to, kept while the process lives."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], CodeType | None] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._codes[bucket.key, bucket.checksum] = bucket.code


@functools.cache
def compiled(escape: Callable[[str], str], marks: tuple[tuple[str, str], ...]) -> Compiled:
    """The memory of a medium: how it escapes and marks goes into what its templates compile to."""
    return Compiled()


def environment(
    folders: Sequence[Path], escape: Callable[[str], str], filters: Mapping[str, Callable[..., str]], **marks: str
) -> jinja2.Environment:
    """An environment whose templates escape every value, but for what a filter returns, which is taken as it is.

    Args:
        folders: of the templates; an earlier one goes before a later one.
        escape: for the medium.
        filters: by name; what they return is markup.
        marks: of blocks, variables and comments, where the medium needs braces.
    """

    def finalize(value: Any) -> Any:
        return value if hasattr(value, "__html__") else Markup(escape(str(value)))

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=finalize,
        bytecode_cache=compiled(escape, tuple(sorted(marks.items()))),
        **marks,  # type: ignore[arg-type]
    )
    for key, function in filters.items():
        made.filters[key] = _as_markup(function)
    return made


def _as_markup(function: Callable[..., str]) -> Callable[..., Markup]:
    """A filter that is never applied while a template compiles: another report's may differ."""

    @jinja2.pass_context
    def applied(context: Context, value: Any) -> Markup:
        return Markup(function(value))

    return applied


def plain(value: Any) -> Any:
    """JSON values only: numpy scalars as Python's, NaN and infinity as null.

    >>> plain({"x": (np.float64(1.5), float("nan"))})
    {'x': [1.5, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


def embedded(value: Any) -> str:
    """A value as JSON for a script element: no text in it can end the element.

    >>> embedded({"caption": "</script>"})
    '{"caption":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(_UNSAFE)
