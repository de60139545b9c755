"""docs/experiments.md against the experiments themselves and the figures that were printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.reports.published.rows import published_rows
from harness.runs.planning import check
from harness.spec import TrainingSpec, load_experiment

PAGE = Path(__file__).parents[2] / "docs" / "experiments.md"
KEYS = {"vse_infinity": {"vseinfinity"}, "clip": {"clip", "openclip"}}
PROTOCOLS = {"printed": "full", "printed, 1K": "coco_1k", "printed, 5K": "coco_5k"}


def section(name: str) -> str:
    """The part of the page about an experiment."""
    return PAGE.read_text(encoding="utf-8").partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def table(name: str) -> list[dict[str, str]]:
    """Its rows by heading."""
    lines = [line for line in section(name).splitlines() if line.startswith("|")]
    titles, _, *rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(titles, row, strict=True)) for row in rows]


def recipe(training: TrainingSpec) -> str:
    """A training as the page writes it."""
    optimizer = {"adam": "Adam", "adamw": "AdamW"}[training.optimizer]
    decays = ", ".join(map(str, training.decay_epochs))
    return (
        f"{training.epochs} epochs of {training.batch_size}, {optimizer} {training.learning_rate:g}, "
        f"x {training.decay_factor:g} at {decays}, margin {training.margin:g}"
    )


@pytest.mark.parametrize("name", ["flickr30k_regions", "coco_regions", "flickr30k_vit", "coco_vit", "flickr30k_clip"])
def test_the_page_says_what_the_experiment_does(name):
    experiment = load_experiment(name, ["dataset.root=/nowhere"])
    drafts = check(experiment)
    rows = table(name)
    assert [row["entry"] for row in rows] == list(drafts)
    words = " ".join(section(name).split())
    for row, entry in zip(rows, experiment.scorers, strict=True):
        draft = drafts[entry.key]
        assert row["scorer"] == draft.label
        if "recipe" in row:
            assert row["recipe"] == recipe(draft.training)
        elif draft.training.epochs:
            assert recipe(draft.training) in " ".join(section("flickr30k_vit").split())
        assert f"{entry.source}. Differs: {entry.differs}." in words


@pytest.mark.parametrize("name", ["flickr30k_regions", "coco_regions", "flickr30k_vit", "coco_vit", "flickr30k_clip"])
def test_printed_figures_are_those_of_the_published_rows(name):
    experiment = load_experiment(name, ["dataset.root=/nowhere"])
    drafts, printed = check(experiment), published_rows()
    for row in table(name):
        keys = KEYS.get(drafts[row["entry"]].scorer, {drafts[row["entry"]].scorer})
        for title, protocol in PROTOCOLS.items():
            if title not in row or row[title] == "none":
                continue
            i2t, t2i = map(float, re.fullmatch(r"([\d.]+) / ([\d.]+)", row[title]).groups())
            same = printed[
                printed["key"].isin(keys)
                & (printed["dataset"] == experiment.expects)
                & (printed["protocol"] == protocol)
                & printed["kind"].isin(["single", "zero-shot"])
            ]
            close = ((same["i2t_r1"] - i2t).abs() < 0.011) & ((same["t2i_r1"] - t2i).abs() < 0.011)
            assert close.any(), f"{row['entry']}: {row[title]} on {protocol}"
