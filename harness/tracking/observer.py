"""Progress of a long job, as the job reports it; the command line decides how it looks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """A step of a piece that has ended: an epoch of a run.

    Args:
        number: its 1-based number among the steps of the piece.
        steps: of the piece.
        text: what it brought, in full; "" = nothing that is worth a line of a log.
        short: the same in a word or two.
        seconds: that it took.
        left: seconds until the piece ends; None = not known yet.
        all_left: seconds until the job ends; None = not known yet.
    """

    number: int
    steps: int
    text: str
    short: str
    seconds: float
    left: float | None = None
    all_left: float | None = None


class Observer:
    """No-op progress callbacks. A job consists of pieces (runs, trials), and a piece of steps (epochs).

    Several pieces may be in progress at once. A piece is named in the same way in all of its callbacks, and no two pieces
    of a job share a name.
    """

    def began(self, job: str, noun: str, total: int, done: int) -> None:
        """A job of `total` pieces called `noun` begins, `done` of which ended in earlier calls."""

    def started(self, piece: str, steps: int, worker: str = "") -> None:
        """A piece starts, or starts again elsewhere; `worker` says who has it, where there are several."""

    def stepped(self, piece: str, step: Step) -> None:
        """A step of the piece has ended."""

    def stopped(self, piece: str) -> None:
        """Nobody has the piece any more, and it has not ended: its worker is gone. It may start again."""

    def ended(self, piece: str, text: str, all_left: float | None = None) -> None:
        """A piece has ended; seconds until the job ends, where the job knows them."""

    def noted(self, text: str) -> None:
        """Any other news."""
