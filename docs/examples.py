"""An extension of griffe: the `>>>` examples of a docstring become code blocks, where Markdown would take them for quotations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import griffe


class ExamplesAsCode(griffe.Extension):
    """Fences every run of lines from a `>>>` to the next empty line."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = "\n".join(fenced(obj.docstring.value))


def fenced(text: str) -> Iterator[str]:
    """The lines of a docstring, its examples between fences.

    >>> list(fenced("Adds.\\n\\n>>> 1 + 1\\n2\\n\\nMore."))
    ['Adds.', '', '```pycon', '>>> 1 + 1', '2', '```', '', 'More.']
    """
    inside = False
    for line in text.splitlines():
        if not inside and line.startswith(">>>"):
            inside = True
            yield "```pycon"
        elif inside and not line.strip():
            inside = False
            yield "```"
        yield line
    if inside:
        yield "```"
