"""What a method says of its authors' checkpoints, as data beside its config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class AuthorCheckpoints:
    """A method whose authors save their models as SCAN's training script does, as most of its descendants do."""

    #: Each of the authors' options that decides a score -> our config name, and our word for each of their values
    #: (None = the value as it is).
    options: Mapping[str, tuple[str, Mapping[str, str] | None]]
    added_words: tuple[str, ...] = ()  #: words that their training script appends to those of the vocabulary file
