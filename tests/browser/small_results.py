"""A results folder of a few seconds, made by the commands that a user runs, and one whose data are hostile."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.cli.main import main
from harness.files import strict_yaml

TOWERS = {
    "image": {"name": "patches", "architecture": "conv_stem", "image_size": 32, "patch_size": 16, "width": 16},
    "text": {"name": "bigru", "width": 16},
}
SCENES = {"train_images": 32, "val_images": 10, "test_images": 40, "image_size": 32}
CLIP = {"name": "clip", **TOWERS}  # which would bring its own transformers
SMALL = {
    "name": "small",
    "dataset": {"name": "scenes", **SCENES},
    "seeds": 2,
    **TOWERS,
    "training": {"epochs": 2, "batch_size": 32, "learning_rate": 0.003, "decay_epochs": []},
    "evaluation": {"cost_repeats": 3},
    "scorers": ["scan", "chan", "grm", CLIP],
}
#: Texts that would act if any page took them for more than text. Each sets `pwned`, asks for a server, or turns the reading.
SCRIPT = "<script>window.pwned=1;alert(1)</script>"
ATTRIBUTE = '"onload="window.pwned=1" autofocus onfocus="window.pwned=1'
PICTURE = "<img src=x onerror=window.pwned=1>"
CLOSING = "</script><script>window.pwned=1</script><!--"
LINK = "javascript:window.pwned=1"
ELSEWHERE = "<link rel=stylesheet href=https://example.com/a.css><img src=https://example.com/a.png>"
TURNED = "abc\u202egnp.exe\u2066"
FORMULA = '=HYPERLINK("https://example.com";1)'
TEMPLATE = "{{ 7*7 }}{% raw %}${7*7}"
HOSTILE = (SCRIPT, ATTRIBUTE, PICTURE, CLOSING, LINK, ELSEWHERE, TURNED, FORMULA, TEMPLATE)


def itm(*arguments: object) -> None:
    """Run a command as a user does; it has to succeed."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert not stop.value.code, f"itm {' '.join(map(str, arguments))}: exit code {stop.value.code}"


def make(folder: Path) -> Path:
    """Results of four methods and two seeds, with a report of every command; returns `folder/results`."""
    results, experiment = folder / "results", folder / "small.yaml"
    experiment.write_text(strict_yaml.dump(SMALL))
    on = ("--results", results, "--no-mlflow")
    pair = folder / "pair.yaml"  # of the same runs: cascades of one with the other, in seconds
    pair.write_text(strict_yaml.dump(SMALL | {"scorers": ["chan", CLIP]}))
    quick = ("--seconds", 5, "--rounds", 2, "--samples", 3, "--galleries", "10,40", "--gallery", 40)
    itm("leaderboard", experiment, "--published", *on)
    itm("significance", results, "--resamples", 200)
    itm("ablate", experiment, "--scorer", "chan", "--variants", "vha_mean,tha_lse", *on)
    itm("sweep", experiment, "--scorer", "chan", "--trials", 2, *on)
    itm("profile", pair, *quick, *on)
    itm("describe", experiment, "--results", results)
    itm("site", results)
    return results


def make_hostile(folder: Path) -> Path:
    """Results on photographs whose captions, names, and title are hostile, of two methods with such names."""
    root, results, experiment = folder / "data", folder / "results", folder / "hostile.yaml"
    _hostile_dataset(root)
    settings = SMALL | {
        "name": "hostile",
        "description": f"{SCRIPT} {ATTRIBUTE}",
        "dataset": {"name": "karpathy", "root": str(root)},
        "scorers": [{"name": "chan", "key": SCRIPT}, {"name": "scan", "key": ATTRIBUTE}],
    }
    experiment.write_text(strict_yaml.dump(settings))
    on = ("--results", results, "--no-mlflow")
    itm("leaderboard", experiment, *on)
    _rename_methods(results)
    itm("report", results)
    itm("significance", results, "--resamples", 200)
    itm("describe", root, "--results", results)
    itm("site", results)
    return results


def _hostile_dataset(root: Path) -> None:
    (root / "images").mkdir(parents=True)
    draw = np.random.default_rng(0)
    images = []
    for split, count in {"train": 24, "val": 8, "test": 32}.items():
        for row in range(count):
            # A slash would be another folder: `</script>` can be in a caption, not in a file's name.
            text = HOSTILE[row % len(HOSTILE)]
            name = f"{split}{row}{text.replace('/', '')[:80]}.png" if split == "test" else f"{split}{row}.png"
            pixels = draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / name, format="PNG")
            sentences = [{"raw": f"{split} picture {row} {number} {text}"} for number in range(2)]
            images.append({"filename": name, "split": split, "sentences": sentences})
    content = {"dataset": f"photographs {SCRIPT}", "images": images}
    (root / "dataset_hostile.json").write_text(json.dumps(content))


def _rename_methods(results: Path) -> None:
    """Names that no experiment can give, as a foreign tool or another version may have recorded them."""
    for path in sorted(results.glob("runs/*/record.json")):
        record = json.loads(path.read_text("utf-8"))
        record["variant"] = (SCRIPT + CLOSING) if record["scorer"] == "chan" else (ATTRIBUTE + TURNED)
        path.write_text(json.dumps(record), "utf-8")
    shutil.rmtree(results / "leaderboards")
