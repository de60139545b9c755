"""How a process died: by something that its work did, or because it was stopped from outside.

Only the process that started it can tell, and on its own machine only.
"""

from __future__ import annotations

import signal
from pathlib import Path

#: Signals that a process causes itself.
CAUSES = {
    "SIGSEGV": "invalid memory access (SIGSEGV)",
    "SIGBUS": "memory that could not be accessed (SIGBUS)",
    "SIGABRT": "abort (SIGABRT)",
    "SIGILL": "illegal instruction (SIGILL)",
    "SIGFPE": "arithmetic error (SIGFPE)",
}
OUT_OF_MEMORY = "out of memory, killed by the kernel (SIGKILL)"


def cause_of_death(exit_code: int | None, kernel_killed: bool) -> str:
    """How a worker died, if its work caused it; empty if it ended well or was stopped from outside.

    `kernel_killed`: whether the kernel killed any process for lack of memory while the worker lived.

    >>> cause_of_death(-signal.SIGSEGV, kernel_killed=False)
    'invalid memory access (SIGSEGV)'
    """
    if exit_code is None or exit_code >= 0:
        return ""
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        return ""
    return OUT_OF_MEMORY if name == "SIGKILL" and kernel_killed else CAUSES.get(name, "")


def kernel_kills() -> int | None:
    """How many processes the kernel has killed for lack of memory since it started; None where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)
