"""Captions as files hold them, and as they are used: on one line, one blank between words."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Sequence

from harness.errors import counted

logger = logging.getLogger(__name__)

_RUN = re.compile(r"[^\S\r\n]{2,}")


def one_line_each(captions: Sequence[str], where: str) -> list[str]:
    r"""Captions with their white space normalised; a line says how many were changed, and what was wrong with them.

    A tokenizer that keeps white space would tell them from others by it.

    Args:
        captions: as the file holds them.
        where: the file, for the line.

    >>> one_line_each(["A  dog\n", "a cat"], "captions.json")
    ['A dog', 'a cat']
    """
    tidy = [" ".join(caption.split()) for caption in captions]
    odd = [caption for caption, text in zip(captions, tidy, strict=True) if caption != text]
    if odd:
        counts = {
            "begin or end with it": sum(caption != caption.strip() for caption in odd),
            "hold a line break": sum("\n" in caption or "\r" in caption for caption in odd),
            "hold several blanks in a row": sum(bool(_RUN.search(caption)) for caption in odd),
        }
        kinds = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        logger.info(
            "%s: white space of %s of %s normalised%s",
            where,
            f"{len(odd):,}",
            counted(len(captions), "caption"),
            f" ({kinds})" if kinds else "",
        )
    return tidy


def unquoted(caption: str) -> str:
    """A caption that was written as a quoted field of a CSV table, without its quotation marks; any other as it is.

    >>> unquoted('"A dog, a ""red"" one ."'), unquoted('"Stop" , says the sign')
    ('A dog, a "red" one .', '"Stop" , says the sign')
    """
    if len(caption) < 2 or not caption.startswith('"') or not caption.endswith('"'):
        return caption
    try:
        fields = next(csv.reader([caption], strict=True))
    except csv.Error:
        return caption
    return fields[0] if len(fields) == 1 else caption
