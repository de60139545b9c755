"""Workers that have ended when a crew looks at them."""

from __future__ import annotations

from harness.executors.base import Seat, Worker


class Ended(Worker):
    """A worker that ended with a code, or minus a signal, and the cause if its job was the cause."""

    def __init__(self, seat: Seat, code: int | None, cause: str = ""):
        super().__init__(seat)
        self._code, self._cause = code, cause

    def is_alive(self) -> bool:
        return False

    @property
    def exit_code(self) -> int | None:
        return self._code

    def cause_of_death(self) -> str:
        return self._cause
