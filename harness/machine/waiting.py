"""What compute threads do while they wait for each other: sleep, or spin on their CPU.

torch's OpenMP spins by default. That is fastest as long as each thread has a CPU of its own; beside one other busy process
a thread that others wait for is put off, the others burn their CPUs meanwhile, and a training takes several times as long.
OpenMP reads its settings once, when torch is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

POLICY = "OMP_WAIT_POLICY"
#: Settings by which a user decides about this: of every OpenMP, GNU's and LLVM's (Intel's).
DECIDED_BY = (POLICY, "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def sleep_while_waiting(environment: MutableMapping[str, str]) -> None:
    """Have waiting threads sleep, unless the user decided otherwise; for processes that load torch later.

    Args:
        environment: variables of this process, which the processes that it starts inherit.

    >>> environment = {"OMP_NUM_THREADS": "2"}
    >>> sleep_while_waiting(environment)
    >>> environment["OMP_WAIT_POLICY"]
    'passive'
    """
    if not any(environment.get(name) for name in DECIDED_BY):
        environment[POLICY] = "passive"


def wait_policy(environment: Mapping[str, str]) -> str:
    """What the environment says of waiting threads, for a record; `default` = nothing, so they spin.

    >>> wait_policy({"OMP_WAIT_POLICY": "PASSIVE"}), wait_policy({"GOMP_SPINCOUNT": "1000"}), wait_policy({})
    ('passive', 'GOMP_SPINCOUNT=1000', 'default')
    """
    found = {name: environment[name].strip() for name in DECIDED_BY if environment.get(name)}
    if set(found) == {POLICY}:
        return found[POLICY].lower()
    return ", ".join(f"{name}={value}" for name, value in found.items()) or "default"
