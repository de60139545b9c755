"""Progress of a long job, as the job reports it; the command line decides how it looks."""

from __future__ import annotations


class Observer:
    """No-op progress callbacks. A job consists of pieces (runs, trials), and a piece of steps (epochs)."""

    def began(self, job: str, noun: str, total: int, done: int) -> None:
        """A job of `total` pieces called `noun` begins, `done` of which ended in earlier calls."""

    def started(self, piece: str, steps: int) -> None:
        """A piece starts."""

    def stepped(self, done: int, text: str) -> None:
        """This many steps of the piece are done."""

    def ended(self, text: str) -> None:
        """A piece has ended."""

    def noted(self, text: str) -> None:
        """Any other news."""
