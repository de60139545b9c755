"""`itm bench`: the speed of the scoring engine on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import FiniteRange, NamedPath, device_option, torch_device
from harness.cli.terminal import say


@click.command()
@click.argument("out", type=NamedPath(file_okay=False), default=Path("results/benchmark"))
@click.option(
    "--quick", is_flag=True, help="Small sizes, about a minute, to see what stands out; the goals do not apply."
)
@device_option
@click.option(
    "--seconds",
    type=FiniteRange(min=0, min_open=True),
    help="Time for the whole comparison; what does not fit is sampled less, then left out.  [default: 480, quick: 60]",
)
def bench(out: Path, quick: bool, device: str, seconds: float | None) -> None:
    """Compare the scoring engine with the bare matrix product, the authors' loops and the installed peers.

    Writes scoring.csv, scoring.md, scoring.png and scoring.svg into OUT [default: results/benchmark] and prints the
    tables. Ratios count, not times. Leave the machine alone meanwhile: disturbed samples are repeated while there is time,
    and marked otherwise. On a GPU: COCO 5K in half precision, fused and unfused.
    """
    import torch

    from harness.benchmark.report import write
    from harness.benchmark.run import QUICK_SECONDS, SECONDS, all_rows

    chosen = torch_device(device)
    where = chosen.type
    if chosen.index is not None:  # everything on a GPU is made on the current one
        torch.cuda.set_device(chosen)
    time = seconds or (QUICK_SECONDS if quick else SECONDS)
    rows = list(all_rows(lambda text: say(f"\u2026 {text}", err=True), time, quick, where))
    say(write(rows, out, quick, where))
    say(f"written: {out}/scoring.md, .csv, .png, .svg")
