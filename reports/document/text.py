"""How numbers and untrusted texts are printed: one form for every table, sentence and figure."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

MISSING = "—"


def fixed(value: float, digits: int) -> str:
    """A number with a fixed number of decimals, separated thousands and a true minus sign.

    >>> fixed(1234.56, 1), fixed(-0.04, 1)
    ('1,234.6', '0.0')
    """
    text = f"{value:,.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text.replace(",", "")) else text.lstrip("-")


def signed(value: float, digits: int) -> str:
    """A difference with its sign, unless it is printed as zero.

    >>> signed(1.25, 1), signed(-3, 0), signed(0.04, 1)
    ('+1.2', '−3', '0.0')
    """
    text = fixed(value, digits)
    return f"+{text}" if value > 0 and float(text.replace(",", "")) else text


def significant(value: float, digits: int) -> str:
    """A number with that many significant digits, written out; whole digits are kept.

    >>> [significant(value, 3) for value in (0.01234, 1.234, 12345.6)]
    ['0.0123', '1.23', '12,346']
    """
    if not math.isfinite(value) or value == 0:
        return fixed(value, 0)
    magnitude = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    return fixed(value, max(0, digits - 1 - magnitude))


def interval(low: float, high: float, digits: int) -> str:
    """An interval in brackets.

    >>> interval(0.25, 1.5, 1)
    '[0.2, 1.5]'
    """
    return f"[{fixed(low, digits)}, {fixed(high, digits)}]"


def duration(seconds: float) -> str:
    """A time for people, in its two largest units.

    >>> [duration(seconds) for seconds in (0.041, 4.25, 42, 750, 12_000, 250_000)]
    ['41 ms', '4.2 s', '42 s', '12 min', '3 h 20 min', '2 d 21 h']
    """
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days:,} d" if days > 99 else f"{days} d {hours} h"


def size(count: float) -> str:
    """Bytes for people, in powers of 1,000 as disks are sold.

    >>> [size(count) for count in (999, 1_500, 343_000_000, 33_410_000_000)]
    ['999 B', '1.5 kB', '343 MB', '33.4 GB']
    """
    units = ["B", "kB", "MB", "GB", "TB"]
    while count >= 999.5 and len(units) > 1:
        count /= 1000
        units.pop(0)
    return f"{count:.0f} {units[0]}" if units[0] == "B" or count >= 99.95 else f"{count:.1f} {units[0]}"


def p_value(p: float) -> str:
    """A p-value as papers print it, with three decimals.

    >>> p_value(0.0123), p_value(0.0001), p_value(1.0)
    ('.012', '< .001', '1.000')
    """
    return "< .001" if p < 0.0005 else f"{p:.3f}".removeprefix("0")


def listed(names: Sequence[str]) -> str:
    """Names as a list in prose.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def single_line(text: str) -> str:
    r"""Untrusted text on one line, without control or direction-changing characters.

    >>> single_line("a\x1b[31m\n b")
    'a[31m b'
    """
    if text.isascii() and text.isprintable():  # most texts, by far the fastest way
        return " ".join(text.split())
    kept = (" " if c.isspace() else c for c in text)
    return " ".join("".join(c for c in kept if unicodedata.category(c) not in ("Cc", "Cf", "Cs")).split())


def plain_lines(text: str) -> str:
    r"""Untrusted text of several lines, as it is but for control and direction-changing characters; tabs become spaces.

    >>> plain_lines("key:\n\t- a\x1b[31m  b\n")
    'key:\n    - a[31m  b'
    """
    lines = (line.expandtabs(4).rstrip() for line in text.splitlines())
    return "\n".join("".join(c for c in line if unicodedata.category(c) not in ("Cc", "Cf", "Cs")) for line in lines)


def shortened(text: str, limit: int) -> str:
    """Untrusted text on one line of at most `limit` characters, the last of which says that something is missing."""
    text = single_line(text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
