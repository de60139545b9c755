"""The one place where untrusted text meets a medium: nothing in it is obeyed by a browser, Markdown, TeX or a spreadsheet."""

from __future__ import annotations

import re
from typing import Any

import markupsafe

from harness.reports.document.text import MISSING, plain_lines, single_line

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_SPECIAL = re.compile(r"([\\`*\[|~$])")
# An underscore inside a word (no_uncertainty) is no emphasis in this dialect and stays readable.
_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_LINE_START = re.compile(r"^([#+=-]|\d+(?=[.)]))")
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
        "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "[": "{[}", "]": "{]}",
        "–": "--", MISSING: "---", "±": r"$\pm$", "×": r"$\times$", "²": r"$^2$", "·": r"$\cdot$", "µ": r"$\mu$",
        "†": r"\dag{}", "‡": r"\ddag{}", "Δ": r"$\Delta$",
        "≥": r"$\geq$", "≤": r"$\leq$", "\N{MINUS SIGN}": "$-$", "→": r"$\rightarrow$", "“": "``", "”": "''", "’": "'",
    }
)  # fmt: skip
#: What a spreadsheet takes for the beginning of a formula, or of a cell that hides one.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def html(text: str) -> str:
    """Text for HTML, its attributes included."""
    return markupsafe.escape(single_line(text))


def html_lines(text: str) -> str:
    """Text of several lines for an HTML element that keeps them."""
    return markupsafe.escape(plain_lines(text))


def markdown(text: str) -> str:
    r"""Text for GitHub's Markdown: no HTML, links, emphasis, cells or formulas come to life.

    >>> markdown("grm.no_uncertainty | *a* <b>")
    'grm.no_uncertainty \\| \\*a\\* &lt;b&gt;'
    """
    text = _SPECIAL.sub(r"\\\1", single_line(text).translate(_ENTITIES))
    return _UNDERSCORE.sub(r"\\_", text)


def alternative(text: str) -> str:
    r"""Text between the brackets of a Markdown image, which a bracket of its own would end.

    >>> alternative("a](b)")
    'a\\](b)'
    """
    return markdown(text).replace("]", "\\]")


def fenced(text: str) -> str:
    r"""Text of several lines as a block of Markdown that is shown as it is, whatever ticks it holds.

    >>> fenced("itm site results")
    '```\nitm site results\n```'
    """
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{plain_lines(text)}\n{fence}"


def paragraph(text: str) -> str:
    """Text that begins a line of Markdown: neither a heading nor an item of a list."""
    return _LINE_START.sub(lambda m: f"\\{m[1]}" if not m[1].isdigit() else f"{m[1]}\\", markdown(text))


def latex(text: str) -> str:
    r"""Text that LaTeX prints as it is; letters that the T1 fonts lack become a question mark.

    >>> latex("50 % of a_b")
    '50 \\% of a\\_b'
    """
    return "".join(c if ord(c) < 0x180 else "?" for c in single_line(text).translate(_LATEX))


def spreadsheet(value: Any) -> Any:
    """A value of a CSV file; a text that begins like a formula gets an apostrophe before it.

    >>> spreadsheet("=1+1"), spreadsheet(-1.5)
    ("'=1+1", -1.5)
    """
    return f"'{value}" if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA) else value
