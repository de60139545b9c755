"""How wide the columns of a table in a terminal are: a number is never cut, a text folds at the seams of its words and names."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from rich.cells import cell_len, set_cell_size

#: Columns of a text that may fold, at least; shorter texts have what they need.
_NARROWEST = 14
#: A line may end after one of these.
_SEAMS = re.compile(r"(?<=[\s/_.,:;=+-])")


def widths(
    titles: Sequence[str], rows: Sequence[Sequence[str]], numeric: Collection[int], room: int
) -> list[int] | None:
    """The widths of columns, together at most `room`; None where the numbers and the narrowest texts have no room.

    >>> widths(["name", "rSum"], [["a long name of a method", "301.4"]], {1}, 20)
    [15, 5]
    >>> widths(["name", "rSum"], [["a long name of a method", "301.4"]], {1}, 12) is None
    True
    """
    columns = [[titles[n], *(row[n] for row in rows)] for n in range(len(titles))]
    natural = [max(map(cell_len, column)) for column in columns]
    least = [
        max([*(cell_len(word) for word in titles[n].split()), *(cell_len(text) for text in column[1:])], default=0)
        if n in numeric
        else min(natural[n], _NARROWEST)
        for n, column in enumerate(columns)
    ]
    if sum(least) > room:
        return None
    wide = list(least)
    # What is left goes to the column that lacks the least, until none does.
    free = room - sum(least)
    for n in sorted(range(len(wide)), key=lambda n: natural[n] - least[n]):
        more = min(natural[n] - wide[n], free)
        wide[n] += more
        free -= more
    return wide


def folded(text: str, width: int) -> str:
    """Text in lines of at most `width` cells, broken within a word only where the word alone is longer.

    >>> folded("grm.no_original_level+no_salient_level", 20)
    'grm.no_original_\\nlevel+no_salient_\\nlevel'
    """
    lines = [""]
    for part in filter(None, _SEAMS.split(text)):
        while part:
            if cell_len((lines[-1] + part).rstrip()) <= width:
                lines[-1] += part
                break
            if lines[-1]:
                lines.append("")
                continue
            head = set_cell_size(part, width).rstrip() or part[:1]
            lines[-1], part = head, part[len(head) :]
            lines.append("")
    return "\n".join(line.rstrip() for line in lines if line.strip()) or text
