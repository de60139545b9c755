"""Which entries of several datasets are one method: those with the same scorer and variant, wherever that is certain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.errors import counted
from harness.reports.significance.examine import Result


@dataclass(frozen=True)
class Matched:
    """The methods of several datasets by name."""

    complete: tuple[str, ...]  # on every dataset
    missing: Mapping[str, tuple[str, ...]]  # the other ones: the datasets that lack each
    ambiguous: Mapping[str, tuple[str, ...]]  # scorer and variant -> datasets where several entries have them

    @property
    def names(self) -> tuple[str, ...]:
        """All that are shown, the complete ones first."""
        return (*self.complete, *self.missing)


def matched(results: Sequence[Result]) -> Matched:
    """Match the methods of datasets by name.

    An entry is called by its scorer and variant. Several entries of one dataset that share them (other settings, other
    backbones) have a mark behind their name. They are matched with entries that have the very same mark, never with one
    that has none or another: which of them that is about cannot be told.
    """
    titles = [result.subject.title for result in results]
    has = [set(result.comparison.methods) for result in results]
    bases = [dict(result.subject.bases) for result in results]
    names = dict.fromkeys(name for result in results for name in result.comparison.methods)
    complete = tuple(name for name in names if all(name in own for own in has))
    missing = {
        name: tuple(title for title, own in zip(titles, has, strict=True) if name not in own)
        for name in names
        if name not in complete
    }
    called = {base.get(name, name) for name in missing for base, own in zip(bases, has, strict=True) if name in own}
    ambiguous = {}
    for base_name in sorted(called):
        several = tuple(
            title
            for title, own, base in zip(titles, has, bases, strict=True)
            if sum(base.get(name, name) == base_name for name in own) > 1
        )
        if several:
            ambiguous[base_name] = several
    return Matched(complete, missing, ambiguous)


def matching_sentences(found: Matched, datasets: int) -> list[str]:
    """What was matched, what is left out of the ranking, and why."""
    said = [
        f"{counted(len(found.complete), 'method')} on all {datasets} datasets, matched by scorer and variant. Backbones and "
        "settings may differ from dataset to dataset: the table of entries lists the backbones."
    ]
    said += [
        f"{name} is not merged: {listed_titles(titles)} {'has' if len(titles) == 1 else 'have'} several entries of this "
        "scorer and variant, and which of them belongs to the other datasets cannot be told. Report the runs that belong "
        "together, or give each a variant."
        for name, titles in found.ambiguous.items()
    ]
    said += [
        f"{name} is not ranked: {listed_titles(titles)} {'has' if len(titles) == 1 else 'have'} no entry of that name. Missing "
        "cells are not filled in."
        for name, titles in found.missing.items()
    ]
    return said


def listed_titles(titles: Sequence[str]) -> str:
    """Titles of galleries, which hold commas themselves.

    >>> listed_titles(["scenes test, full", "flickr8k test, full"])
    '"scenes test, full" and "flickr8k test, full"'
    """
    return " and ".join(f'"{title}"' for title in titles)
