"""The comparison as a table to read, a CSV file and a figure, with the machine's description."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from harness.benchmark.cases import LIMIT
from harness.records.environment import describe
from harness.records.noise import BUSY_PERCENT

_TIMES = "case size form median_ms iqr_ms minimum_ms samples over_product peak_mib largest_error noisy"
#: Kind of row -> (title, columns), in the order of the page.
_TABLES = {
    "goal": ("Goals", "case size form ratio goal met"),
    "time": ("Scoring and ranking", _TIMES),
    "training": (
        "Training steps (forward and backward, peak memory over the inputs)",
        "form size median_ms peak_mib loss goal",
    ),
    "products": (
        "Training steps by another matrix product (goal: the faster `training.product`)",
        "case size form ratio goal",
    ),
    "skipped": ("Left out", "case goal"),
    "backend": ("Matrix product taken (GFLOP/s of the candidates)", "case form goal"),
}
QUICK = "A quick run on small sizes: the goals hold for the full ones."


def write(rows: list[dict[str, Any]], folder: Path, quick: bool = False, device: str = "cpu") -> str:
    """Write `scoring.csv`, `scoring.md` and the figure; returns the Markdown, which says whether the run was `quick`."""
    folder.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(rows)
    frame.to_csv(folder / "scoring.csv", index=False)
    text = markdown(frame, QUICK if quick else "", device)
    (folder / "scoring.md").write_text(text, encoding="utf-8")
    _figure(frame, folder)
    return text


def markdown(frame: pd.DataFrame, note: str = "", device: str = "cpu") -> str:
    """The tables, headed by the date, the machine and a note."""
    parts = ["# Scoring benchmark", _machine(device), *([note] if note else [])]
    for kind, (title, names) in _TABLES.items():
        part = frame[frame["kind"] == kind]
        if len(part):
            columns = [column for column in names.split() if column in part and part[column].notna().any()]
            table = part[columns].map(_text).to_markdown(index=False, disable_numparse=True)
            parts.append(f"## {title}\n\n{table}")
    return "\n\n".join(parts) + "\n"


def _machine(device: str) -> str:
    machine = describe(device)
    gpu = f", {machine.gpu}" if machine.gpu else ""
    clock = f", {machine.cpu_mhz:.0f} MHz" if machine.cpu_mhz else ""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {machine.processor}, {machine.cpus} processors, {machine.threads} threads"
        f"{clock}{gpu}, torch {machine.torch}. Medians; `noisy`: other processes took more than {BUSY_PERCENT:g} % of the "
        "processors."
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if pd.isna(value):
        return ""
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def _figure(frame: pd.DataFrame, folder: Path) -> None:
    """Bars of each form's time over the packed product's, logarithmic; the limit is the line at 1."""
    if "over_product" not in frame:
        return
    part = frame[(frame["kind"] == "time") & frame["over_product"].notna() & ~frame["form"].str.startswith(LIMIT)]
    if part.empty:
        return
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    labels = part["case"] + ", " + part["size"] + ": " + part["form"]
    figure, axes = plt.subplots(figsize=(9, 0.3 * len(part) + 1.2), layout="constrained")
    greys = ["0.25" if form.startswith("ours") else "0.7" for form in part["form"]]
    axes.bar_label(axes.barh(labels, part["over_product"], color=greys), fmt="%.2f", padding=3, fontsize=8)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(right=2 * part["over_product"].max())  # room for the last number
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xlabel("time over the packed matrix product of the same run (1 = the limit)")
    axes.tick_params(axis="y", labelsize=8)
    for suffix in ("png", "svg"):
        figure.savefig(folder / f"scoring.{suffix}", dpi=150)
    plt.close(figure)
