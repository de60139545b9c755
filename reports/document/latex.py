"""The tables of a report as LaTeX, by booktabs and graphicx."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from harness.reports.document.model import Cell, Report, Table
from harness.reports.document.text import MISSING, single_line

_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
        "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "[": "{[}", "]": "{]}",
        "–": "--", MISSING: "---", "±": r"$\pm$", "×": r"$\times$", "²": r"$^2$", "·": r"$\cdot$", "µ": r"$\mu$",
        "≥": r"$\geq$", "≤": r"$\leq$", "\N{MINUS SIGN}": "$-$", "→": r"$\rightarrow$", "“": "``", "”": "''", "’": "'",
    }
)  # fmt: skip


def render(report: Report) -> str:
    """The tables of the report that are meant for papers, each a `table*` float."""
    head = f"% {_comment(report.title)}\n% Needs \\usepackage[T1]{{fontenc}} and \\usepackage{{booktabs,graphicx}}.\n"
    return head + "\n".join(_table(table) for table in report.tables if table.for_paper)


def escape(text: str) -> str:
    """Untrusted text that LaTeX prints as it is; letters that the T1 fonts lack become a question mark."""
    return "".join(c if ord(c) < 0x180 else "?" for c in single_line(text).translate(_ESCAPES))


def _comment(text: str) -> str:
    return single_line(text)  # on one line, everything after % is ignored


def _table(table: Table) -> str:
    table = replace(table, columns=[column for column in table.columns if not column.prose])
    return "\n".join(
        (
            r"\begin{table*}[t]",
            r"  \centering\footnotesize\setlength{\tabcolsep}{3pt}",
            f"  \\caption{{{escape(table.caption)}}}",
            f"  \\label{{tab:{''.join(c if c.isascii() and c.isalnum() else '-' for c in table.key)}}}",
            # Shrunk to the width of the text where it is wider, never enlarged.
            r"  \resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
            f"  \\begin{{tabular}}{{@{{}}{''.join('r' if c.numeric else 'l' for c in table.columns)}@{{}}}}",
            *(f"    {line}" for line in _body(table)),
            r"  \end{tabular}}",
            r"\end{table*}",
            "",
        )
    )


def _body(table: Table) -> Iterator[str]:
    yield r"\toprule"
    if any(name for name, _ in table.groups()):
        yield from _spanning(table)
    titles = (f"\\multicolumn{{1}}{{{'c' if c.numeric else 'l'}}}{{{escape(c.title)}}}" for c in table.columns)
    yield " & ".join(titles) + r" \\"
    yield r"\midrule"
    two_lines = any(column.kind == "estimate" for column in table.columns)
    for number, row in enumerate(table.rows()):
        if number in table.rules:
            yield r"\midrule"
        elif number and two_lines:
            yield r"\addlinespace"
        yield " & ".join(_cell(cell) for cell in row) + r" \\"
    yield r"\bottomrule"


def _spanning(table: Table) -> Iterator[str]:
    headings, rules, start = [], [], 1
    for name, width in table.groups():
        headings.append(f"\\multicolumn{{{width}}}{{c}}{{{escape(name)}}}" if name else " & " * (width - 1))
        rules += [f"\\cmidrule(lr){{{start}-{start + width - 1}}}"] if name else []
        start += width
    yield " & ".join(headings) + r" \\"
    yield " ".join(rules)


def _cell(cell: Cell) -> str:
    """An estimate with its spread as a subscript and its interval below it, so that seven fit on a page."""
    main = escape(cell.main)
    if not cell.spread and not cell.interval:
        return main
    top = f"${cell.main}_{{\\pm {cell.spread}}}$" if cell.spread else main
    if not cell.interval:
        return top
    # The same size of type on both lines would not let seven estimates fit on a page.
    return f"\\shortstack[r]{{{top}\\\\{{\\tiny {escape(cell.interval)}}}}}"
