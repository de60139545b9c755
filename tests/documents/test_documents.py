"""Every command line of the documents runs as it stands, at a tiny size.

A document's `sh` blocks are executed from top to bottom in one folder, in this process. What a reader would have on disk
(photographs, a score matrix, somebody else's ranks) is made first; `TINY` shrinks what would take minutes; `STANDS_FOR`
lists each name that is only an example, with what takes its place here. Nothing else is changed: an option that is
misspelled, a key that is gone, or a file that a document promises and no command writes, fails.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness import registry
from harness.cli.main import COMMANDS, main
from harness.files import strict_yaml
from harness.records.store import RunStore
from harness.spec import load_experiment

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
DOCUMENTS = ["README.md", "results/README.md", "CONTRIBUTING.md", "AGENTS.md", *PAGES]

#: Programs that a document may name and that are not ours: installers, servers, viewers.
OTHERS = {"python3", ".venv/bin/tox", "tox", "pip", "mlflow", "optuna-dashboard", "createdb", "export", "cd"}

_SMALL_MODELS = ["seeds=1", "training.epochs=1", "training.batch_size=16", "evaluation.cost_repeats=3"]
_SMALL_SCENES = ["dataset.train_images=40", "dataset.val_images=10", "dataset.test_images=32", "dataset.image_size=32"]
#: Overrides that make an experiment small; they come last, so they win over the document's own.
TINY = {
    "quickstart": [*_SMALL_MODELS, *_SMALL_SCENES],
    "flickr8k_pretrained": [*_SMALL_MODELS, "image.image_size=32", "scorers=[grm, chan]"],
    "flickr8k_pretrained_quick": ["training.batch_size=16", "evaluation.cost_repeats=3", "image.image_size=64"],
    "flickr8k": [*_SMALL_MODELS, "image.image_size=32", "image.width=16", "text.width=16", "text.word_width=16"],
}
#: Methods of the quickstart that are enough for commands which ask each of them dozens of questions.
TWO = {"profile": "scorers=[clip, scan]", "robustness": "scorers=[grm, scan]"}
#: What measures anew with every call is run once, on however many pages it stands.
_MEASURES = "itm profile "
_run_before: set[str] = set()
#: Arguments that make a command short.
SHORT = {
    "profile": "--seconds 1 --rounds 2 --samples 3 --galleries 20,40 --gallery 40",
    "sweep": "--trials 2",
    "bench": "--quick --seconds 2",
}
#: What stands for an example -> what takes its place, given the results folder.
STANDS_FOR: dict[str, Callable[[RunStore], str]] = {
    "postgresql+psycopg://itm@db.example/optuna": lambda store: "sqlite:///server.db",  # no server here
    "3f2a...": lambda store: _run(store, "grm", "flickr8k"),
    "RUN RUN": lambda store: " ".join(_run(store, scorer, "flickr8k") for scorer in ("scan", "chan")),
    "itm diagnose RUN": lambda store: f"itm diagnose {_run(store, 'grm', 'flickr8k')}",
    "RUN": lambda store: _run(store, "scan", "flickr8k"),
    "eccv_caption": lambda store: "human",  # eccv_caption is about COCO's 5,000 test images
    # No cluster here: these runs are recorded by then.
    "--executor slurm --workers 8 --slurm partition=gpu --slurm time=4:00:00 --device cuda": lambda store: (
        "--executor slurm --slurm cluster=debug"
    ),
    "--executor slurm --workers 20 --slurm partition=gpu --slurm time=4:00:00 --device cuda": lambda store: (
        "--executor slurm --slurm cluster=debug"
    ),
    "scan, chan, clip, vsepp, vse_infinity, late_interaction, laps, grm": lambda store: "scan, laps",
    "https://example.org/flickr8k-1.0": lambda store: "results/frozen/flickr8k-1.0",  # no server here
    "--ann": lambda store: "",  # needs the optional package faiss
}


def _run(store: RunStore, scorer: str, dataset: str) -> str:
    return next(r.run_id for r in store.records() if (r.scorer, r.dataset, r.status) == (scorer, dataset, "finished"))


def blocks(document: str, language: str) -> list[str]:
    """The fenced code blocks of a document in one language ("" = none given)."""
    text = (ROOT / document).read_text(encoding="utf-8")
    fences = re.findall(r"^```([^\n`]*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    return [body for given, body in fences if given.strip() == language]


def command_lines(document: str) -> list[str]:
    """The lines of a document's shell blocks, continued ones joined, without comments."""
    lines = "\n".join(blocks(document, "sh")).replace("\\\n", " ").splitlines()
    return [" ".join(shlex.split(line, comments=True)) and line for line in lines if shlex.split(line, comments=True)]


def photographs(root: Path, name: str) -> None:
    """A dataset in Karpathy's layout with 40 training, 10 validation and 32 test images, and experts' judgements."""
    splits = ["train"] * 40 + ["val"] * 10 + ["test"] * 32
    (root / "images").mkdir(parents=True)
    images = []
    for number, split in enumerate(splits):
        file = f"{number:03}.png"
        pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / file)
        sentences = [{"raw": f"picture {number} shows thing {k}", "sentid": 5 * number + k} for k in range(5)]
        images.append({"filename": file, "split": split, "sentences": sentences})
    (root / f"dataset_{name}.json").write_text(json.dumps({"dataset": name, "images": images}))
    names = [image["filename"] for image in images if image["split"] == "test"]
    grades = [f"{image}\t{other}#{k}\t{g}\t{g}\t{g}" for image, other, k, g in _judged(names)]
    (root / "ExpertAnnotations.txt").write_text("\n".join(grades) + "\n")


def _judged(names: list[str]) -> Iterator[tuple[str, str, int, int]]:
    for number, image in enumerate(names):
        yield image, image, 0, 4
        yield image, names[(number + 1) % len(names)], 1, 1 + number % 3


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a reader types: photographs, a score matrix, and somebody else's ranks beside it."""
    base = tmp_path_factory.mktemp("reader")
    folder = base / "clone"
    folder.mkdir()
    photographs(base / "shared" / "flickr8k", "flickr8k")
    for name in ("flickr8k", "coco"):
        photographs(folder / "data" / name, name)
    random = np.random.default_rng(0)
    for name in ("SCORES.npy", "A.npy", "B.npy"):
        own = np.arange(32)[:, None] == np.arange(160) // 5  # results at chance are warned of, and not recorded
        np.save(folder / name, (random.normal(size=(32, 160)) + 2 * own).astype(np.float32))
    results_of_others(folder, np.load(folder / "SCORES.npy"))
    (folder / "train_ids.txt").write_text("COCO_train2014_000000000001.jpg\n")
    (plugin,) = blocks("README.md", "python")
    (folder / "mean_max.py").write_text(plugin, encoding="utf-8")
    (method,) = blocks("docs/howto/own_method.md", "python")
    (folder / "best_region.py").write_text(method, encoding="utf-8")
    return folder


def results_of_others(folder: Path, scores: np.ndarray) -> None:
    """The files of docs/outputs.md: one score matrix in the shapes that other programs write."""
    images, texts = scores.shape
    owner = np.arange(texts) // 5
    np.save(folder / "results_f30k.npy", {"npts": images, "sims": scores})  # type: ignore[arg-type]
    np.savetxt(folder / "sim_best.txt", scores, fmt="%.5f")
    random = np.random.default_rng(1)
    vectors = {"img_embs": random.normal(size=(images, 8))}
    vectors["cap_embs"] = vectors["img_embs"][owner] + random.normal(size=(texts, 8))
    np.save(folder / "img.npy", vectors["img_embs"])
    np.save(folder / "cap.npy", vectors["cap_embs"])
    np.savez(folder / "embeddings.npz", **vectors)
    i2t, t2i = np.argsort(-scores, axis=1), np.argsort(-scores.T, axis=1)
    ranks = {
        "rt": (np.argmax(owner[i2t] == np.arange(images)[:, None], 1), i2t[:, 0]),
        "rti": (np.argmax(t2i == owner[:, None], 1), t2i[:, 0]),
    }
    torch.save(ranks, folder / "ranks.pth.tar")
    (folder / "top50.json").write_text(json.dumps({"i2t": i2t[:, :50].tolist(), "t2i": t2i[:, :32].tolist()}))
    names = [f"{way}_r{k}" for way in ("i2t", "t2i") for k in (1, 5, 10)]
    (folder / "averages.csv").write_text(f"{','.join(names)}\n90.1,95,97.5,80,92,96\n")
    theirs = {"image_retrieval_recall@5": 0.92, "text_retrieval_recall@5": 0.95}
    said = {"dataset": "flickr8k", "model": "ViT-B-32", "pretrained": "openai", "task": "zeroshot_retrieval"}
    (folder / "clip_benchmark.json").write_text(json.dumps({**said, "metrics": theirs, "language": "en"}))
    annotation = json.loads((folder / "data" / "flickr8k" / "dataset_flickr8k.json").read_text())
    tests = [image for image in annotation["images"] if image["split"] == "test"]
    names = [image["filename"] for image in tests]
    captions = [f"{name}#{k}" for name in names for k in range(5)]
    for direction, order, queries, items in (("i2t", i2t, names, captions), ("t2i", t2i, captions, names)):
        lines = [
            f"{queries[q]} Q0 {items[i]} {n} {-n} mine" for q, row in enumerate(order) for n, i in enumerate(row[:20])
        ]
        (folder / f"mine.{direction}.run").write_text("\n".join(lines) + "\n")


@pytest.fixture
def shell(desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable]:
    """Run one command line in the reader's folder; it must end well."""
    monkeypatch.chdir(desk)
    monkeypatch.delenv("ITM_RESULTS", raising=False)
    monkeypatch.setattr("harness.plugins.registered.registered", {})

    def run(line: str) -> None:
        if line in _run_before:
            return
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(shlex.split(line, comments=True)[1:])
        captured = capsys.readouterr()
        assert not stop.value.code, f"{line}\n{captured.out}\n{captured.err}"
        if line.startswith(_MEASURES):
            _run_before.add(line)

    yield run
    for name in [name for name in sys.modules if name.startswith("itm_plugin_")]:
        del sys.modules[name]


@pytest.fixture
def reader(shell: Callable, desk: Path) -> Callable:
    """As `shell`, after the two leaderboards that the documents take for granted."""
    store = RunStore(desk / "results")
    if not (desk / "theirs.csv").is_file():
        shell(at_tiny_size("itm leaderboard quickstart", store))
        shell(
            at_tiny_size(
                "itm leaderboard flickr8k --set dataset.root=../shared/flickr8k --set evaluation.save_scores=true",
                store,
            )
        )
        their_ranks(store, desk / "theirs.csv")
    return shell


def their_ranks(store: RunStore, path: Path) -> None:
    """Ranks of another method on the same queries, in the layout of docs/significance.md."""
    table = store.ranks(_run(store, "grm", "flickr8k"))["full"]
    lines = [blocks("docs/significance.md", "csv")[0].splitlines()[0]]
    lines += [f"{image},i2t,{k % 30},{image},,0,theirs" for k, image in enumerate(table.i2t_image_id.tolist())]
    pairs = zip(table.t2i_caption_id.tolist(), table.t2i_image_id.tolist(), strict=True)
    lines += [f"{caption},t2i,{k % 32},{image},{caption},0,theirs" for k, (caption, image) in enumerate(pairs)]
    path.write_text("\n".join(lines) + "\n")


def at_tiny_size(line: str, store: RunStore) -> str:
    """A command line as documented, with examples replaced and sizes reduced."""
    for example, place in STANDS_FOR.items():
        pattern = rf"(?<![\w.]){re.escape(example)}(?![\w])"
        if re.search(pattern, line):
            line = re.sub(pattern, place(store).replace("\\", r"\\"), line)
    words = shlex.split(line, comments=True)
    sets = (
        TINY.get(words[2], [])
        if words[1] in ("leaderboard", "ablate", "sweep", "profile", "robustness", "power")
        else []
    )
    if words[1] in TWO and words[2:3] == ["quickstart"]:
        sets = [*sets, TWO[words[1]]]
    root = [] if "dataset.root" in line or "flickr8k" not in words[2:3] else ["dataset.root=../shared/flickr8k"]
    more = [part for setting in [*sets, *root] for part in ("--set", setting)]
    return shlex.join([*words, *more, *shlex.split(SHORT.get(words[1], ""))])


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if command_lines(d)])
def test_every_command_line_runs(document, reader, desk):
    store = RunStore(desk / "results")
    for line in command_lines(document):
        program = shlex.split(line, comments=True)[0]
        if program in OTHERS:
            # an install line may end in a command of ours, as the README's first one does
            ours = line.rpartition(".venv/bin/itm ")[2] if ".venv/bin/itm " in line else ""
            if ours:
                reader(at_tiny_size(f"itm {ours}", store))
            continue
        assert program == "itm", f"{document} shows a program that this test does not know: {line}"
        reader(at_tiny_size(line, store))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_in_the_text_exist(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    named = set(re.findall(r"`itm ([a-z][a-z-]*)", text))
    assert named <= set(COMMANDS)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_shell_block_hides_from_these_tests(document):
    hidden = [body for body in blocks(document, "") if re.search(r"^(itm|python3?|pip) ", body, flags=re.MULTILINE)]
    assert not hidden, f"{document}: mark this block as sh"


@pytest.mark.parametrize(
    ("document", "body"), [(document, body) for document in DOCUMENTS for body in blocks(document, "yaml")]
)
def test_yaml_blocks_are_valid_settings(document, body):
    settings = strict_yaml.parse(body, "text")
    base = {"name": "example", "dataset": "scenes", "scorers": ["scan", "chan"]}
    load_experiment({**base, **settings})


def test_the_scoring_example_runs():
    (block,) = blocks("docs/scoring.md", "python")
    unit = torch.nn.functional.normalize
    from harness.fragments import Fragments

    sides = [
        Fragments(
            unit(torch.randn(n, f, 8, generator=torch.Generator().manual_seed(n)), dim=-1), torch.ones(n, f).bool()
        )
        for n, f in ((3, 4), (5, 6))
    ]
    names = {"scorer": registry.create("chan"), "images": sides[0], "texts": sides[1], "torch": torch}
    half = 'dtype=torch.float16, device="cuda"'
    assert half in block
    exec(block.replace(half, "dtype=torch.bfloat16"), names)
    assert names["scores"].shape == (3, 5)
