"""Names from data as names of files: one folder or file on every system, never a path."""

from __future__ import annotations

import hashlib

#: Characters of a name. Every file system takes 255 bytes; the rest is left for endings and temporary names.
LONGEST = 80
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}


def safe_name(text: str) -> str:
    """A name that is one plain file or folder on every system, whatever a dataset or a method is called.

    A text that needs no change is returned as it is. Any other one loses what it may not hold and gets six digits of
    its hash, so that two texts never share a name: `a/b` is not `a-b`.

    >>> safe_name("flickr8k-full")
    'flickr8k-full'
    >>> safe_name("/../../EVIL")
    'EVIL-8b4b44'
    """
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text)
    kept = kept[:LONGEST].strip(".-") or "unnamed"
    if kept.partition(".")[0].lower() in _RESERVED:
        kept = f"_{kept}"
    if kept == text:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return f"{kept[: LONGEST - 7].rstrip('.-')}-{digest}"


def is_safe_name(text: object) -> bool:
    """Whether a value is a text that may be used as the name of a file as it stands."""
    return isinstance(text, str) and text == safe_name(text)
