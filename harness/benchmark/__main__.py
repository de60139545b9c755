"""`python -m harness.benchmark [OUT]`: run the comparison, write it to OUT (default `results/benchmark`), print it."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.benchmark.report import write
from harness.benchmark.run import all_rows


def main(arguments: list[str]) -> int:
    """Run and write; returns the exit code."""
    if len(arguments) > 1 or any(a.startswith("-") for a in arguments):
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(arguments[0]) if arguments else Path("results/benchmark")
    rows = list(all_rows(lambda text: print(f"… {text}", file=sys.stderr, flush=True)))
    print(write(rows, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
