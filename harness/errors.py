"""The project's exceptions: each message says what came, what was expected and what to do, in one line.

The command line turns every `ItmError` into that one line and the exit code of its class: 2 for bad input, which is the
default, and 1 for a run that failed on good input.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class ItmError(Exception):
    """Base of all errors that a user can cause and fix."""

    exit_code = 2


class InvalidFragments(ItmError):
    """Fragments whose shapes, mask or values break the contract of `harness.fragments.Fragments`."""


class InvalidIndex(ItmError):
    """A packed gallery that cannot be read, was made for another scorer, or was asked for what it does not hold."""


class InvalidSimilarity(ItmError):
    """A similarity matrix of the wrong shape or with values that are not finite."""


class InvalidSpec(ItmError):
    """An experiment, run or component specification with an unknown key or an impossible value."""


class UnknownName(ItmError):
    """A scorer, variant, dataset, backbone, protocol or experiment that does not exist."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        super().__init__(f"unknown {kind} '{name}'{did_you_mean(name, known)}")


class DuplicateName(ItmError):
    """Two components claim one name."""


class InvalidDataset(ItmError):
    """A dataset that is missing, truncated or contradicts itself."""


class InvalidProtocol(ItmError):
    """A protocol asked of a dataset that it does not fit."""


class InvalidCheckpoint(ItmError):
    """Weights that do not fit the model, cannot be read, or are unsafe to read."""


class InvalidPlugin(ItmError):
    """A plug-in file that does not define one scorer, or a scorer that breaks the contract."""


class InvalidRecord(ItmError):
    """A run's record that cannot be read or was written by an incompatible version."""


class InvalidFrozen(InvalidRecord):
    """A frozen leaderboard that is damaged, contradicts itself, or may not be written where it is asked for."""


class NotFetched(ItmError):
    """An address that cannot be reached, is no web address, or gives more than is allowed."""


class InvalidFigure(ItmError):
    """A stored figure that is no SVG file, or one that no report can have written."""


class ResultsNotWritable(ItmError):
    """The results folder cannot be created or written."""


class StorageUnavailable(ItmError):
    """The storage of a sweep's study cannot be reached or written."""


class ClusterUnavailable(ItmError):
    """A cluster that cannot be reached, or that has no room for the work."""


class MissingPackage(ItmError):
    """A package of an optional extra that is not installed."""


class UnequalTuning(ItmError):
    """Methods that were tuned at different budgets are asked to be compared."""


class CannotEncode(ItmError):
    """A scorer without backbones was asked to encode."""


class TrainingDiverged(ItmError):
    """The loss or the weights became non-finite while training."""

    exit_code = 1


class RankFailed(ItmError):
    """One of the processes that train a run together failed or ended; the run resumes from its last epoch."""

    exit_code = 1


class FeedingFailed(ItmError):
    """A process that reads the batches of a training died, or could not be started."""

    exit_code = 1


class RunFailed(ItmError):
    """At least one run of an experiment failed; the others are kept."""

    exit_code = 1


class WorkerStopped(ItmError):
    """Workers that could not work where they were; the exit code is that of their reason."""

    def __init__(self, reason: str, exit_code: int):
        super().__init__(reason)
        self.exit_code = exit_code


def did_you_mean(name: str, known: Iterable[str], valid: str = "") -> str:
    """The tail of an error about an unknown name: the nearest valid names, then all of them.

    Args:
        name: what came.
        known: the valid names.
        valid: what to write for them where they are too many to list.

    Returns:
        A text that starts with a semicolon and can follow the complaint directly.

    >>> did_you_mean("scna", ["scan", "clip"])
    "; did you mean 'scan'? valid: clip, scan"
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ";"
    return f"{hint} valid: {valid or ', '.join(names) or 'none'}"


def counted(number: int, noun: str) -> str:
    """A number with its noun, which takes an s in the plural.

    >>> counted(1, "seed"), counted(1000, "image")
    ('1 seed', '1,000 images')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def one_line(error: object, limit: int = 200) -> str:
    r"""The text of an error on one line of at most `limit` characters.

    >>> one_line("a broken\n file", limit=8)
    'a bro...'
    """
    text = " ".join(str(error).split())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


@contextmanager
def reported_as(kind: type[ItmError], what: str, remedy: str = "") -> Iterator[None]:
    """Report whatever a library makes of bad input in one line; errors of our own pass.

    Args:
        kind: what is raised instead.
        what: what failed, with the name of the file or model.
        remedy: what to do about it.

    >>> with reported_as(InvalidSpec, "cannot read the width", "give a number"):
    ...     int("x")
    Traceback (most recent call last):
    harness.errors.InvalidSpec: cannot read the width: invalid literal for int() with base 10: 'x'; give a number
    """
    try:
        yield
    except ItmError:
        raise
    except Exception as error:
        raise kind(f"{what}: {one_line(error) or type(error).__name__}{f'; {remedy}' if remedy else ''}") from None
