"""Files and folders that a user may hand over by mistake, each under the name by which a test of bad input calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from harness.files import strict_yaml

SCORER = "from harness.scorer import Scorer\nclass {name}(Scorer):\n    def score(self, images, texts): ...\n"
#: Files that are not what they are taken for: name -> content.
STRANGE = {
    "page.html": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "pointer.lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "empty": b"",
    "noise.bin": bytes(range(256)) * 8,
    "table.csv": b"a,b\n1,2\n",
    "archive.zip": b"PK\x05\x06" + b"\0" * 18,
    "run.gz": b"\x1f\x8b\x08\0\0\0\0\0\0\x03\0",
}
#: Experiment files: name -> YAML text. "..." stands for the tiny experiment's own keys.
EXPERIMENTS = {
    "duplicate_key": "...\nscorers: [scan]\nscorers: [chan]\n",
    "nested_duplicate": "...\nscorers:\n  a: {name: scan}\n  a: {name: chan}\n",
    "no_mapping": "- scan\n- chan\n",
    "nothing": "",
    "comment_only": "# nothing\n",
    "unclosed": "name: [tiny\n",
    "tab": "name: tiny\n\tdataset: scenes\n",
    "two_documents": "...\n---\nname: other\n",
    "python_tag": "...\nseeds: !!python/object/apply:os.system ['true']\n",
    "self_reference": "...\nscorers: &s [scan, *s]\n",
    "bomb": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)),
    "deep": "...\nscorers: " + "[" * 3000 + "]" * 3000 + "\n",
    "huge_number": "...\nseeds: " + "9" * 5000 + "\n",
    "number_key": "...\n1: 2\n",
    "yes_seed": "...\nseeds: yes\n",
    "no_name": "dataset: scenes\nscorers: [scan]\n",
    "no_dataset": "name: tiny\nscorers: [scan]\n",
    "no_scorers": "name: tiny\ndataset: scenes\n",
    "path_name": "name: ../../evil\ndataset: scenes\nscorers: [scan]\n",
    "typo": "...\ntrainig: {epochs: 1}\n",
}


def write_all(base: Path) -> dict[str, Path]:
    """Write every file below a folder: names -> paths. `nowhere` and `out` do not exist, `folder` is empty."""
    places = {"folder": base / "an_empty_folder", "nowhere": base / "nowhere", "out": base / "out.safetensors"}
    places["folder"].mkdir()
    for name, content in STRANGE.items():
        places[name.partition(".")[0]] = base / name
        (base / name).write_bytes(content)
    places |= _experiments(base) | _plugins(base) | _matrices(base) | _ranks(base)
    return places | _karpathy(base / "karpathy") | _precomp(base / "precomp")


def _tiny() -> dict[str, Any]:
    return {
        "name": "tiny",
        "dataset": {"name": "scenes", "train_images": 40, "val_images": 10, "test_images": 32, "image_size": 32},
        "seeds": 1,
        "image": {"name": "regions", "width": 16},
        "text": {"name": "bigru", "width": 16},
        "training": {"epochs": 1, "batch_size": 32},
        "evaluation": {"cost_repeats": 3},
        "scorers": ["scan"],
    }


def _experiments(base: Path) -> dict[str, Path]:
    own = strict_yaml.dump(_tiny())
    texts = {"tiny": own, **{name: text.replace("...\n", own) for name, text in EXPERIMENTS.items()}}
    for name, text in texts.items():
        (base / f"{name}.yaml").write_text(text)
    return {name: base / f"{name}.yaml" for name in texts}


def _plugins(base: Path) -> dict[str, Path]:
    sources = {
        "plugin_exits": "import sys\nsys.exit(0)\n",
        "plugin_raises": "raise RuntimeError('boom')\n",
        "plugin_syntax": "class Broken(:\n",
        "plugin_imports": "import no_such_module\n",
        "plugin_nothing": "x = 1\n",
        "plugin_several": SCORER.format(name="One") + SCORER.format(name="Two"),
        "scan": SCORER.format(name="Scan"),
        "plain": SCORER.format(name="Plain"),
    }
    for name, source in sources.items():
        (base / f"{name}.py").write_text(source)
    places = {name: base / f"{name}.py" for name in sources}
    return {**places, "scan_file": places["scan"]}


def _matrices(base: Path) -> dict[str, Path]:
    scores = np.random.default_rng(0).normal(size=(32, 160)).astype(np.float32)
    broken = scores.copy()
    broken[3, 4] = np.nan
    arrays = {
        "scores": scores,
        "scores_shape": scores[:, :150],
        "scores_nan": broken,
        "scores_text": scores.astype("U8"),
        "scores_complex": scores.astype(complex),
    }
    for name, array in arrays.items():
        np.save(base / f"{name}.npy", array)
    np.save(base / "scores_objects.npy", scores.astype(object), allow_pickle=True)
    (base / "scores_cut.npy").write_bytes((base / "scores.npy").read_bytes()[:-100])
    torch.save(torch.from_numpy(scores), base / "scores.pt")
    names = [*arrays, "scores_objects", "scores_cut"]
    return {name: base / f"{name}.npy" for name in names} | {"torch_scores": base / "scores.pt"}


def _ranks(base: Path) -> dict[str, Path]:
    header = "query_id,direction,rank,image_id,caption_id,seed,method\n"
    rows = [f"q{k},i2t,{k % 5},q{k},,0,theirs" for k in range(40)]
    rows += [f"c{k},t2i,{k % 5},q{k},c{k},0,theirs" for k in range(40)]

    def first(rank: str) -> str:
        return "\n".join([rows[0].replace(",0,q0", f",{rank},q0"), *rows[1:]])

    texts = {
        "ranks_negative": first("-1"),
        "ranks_fraction": first("0.5"),
        "ranks_text": first("first"),
        "ranks_twice": "\n".join([rows[0], *rows]),
        "ranks_empty": "",
        "ranks_from_1": "\n".join(row.replace(",0,q", ",4,q") for row in rows),
    }
    for name, text in texts.items():
        (base / f"{name}.csv").write_text(header + text + "\n")
    averages = {"averages": "i2t_r1,t2i_r1\n50,40\n", "averages_small": "i2t_r1,t2i_r1\n0.5,0.4\n"}
    averages["averages_falling"] = "i2t_r1,i2t_r5\n60,50\n"
    averages["averages_above"] = "i2t_r1,t2i_r1\n50,400\n"
    for name, text in averages.items():
        (base / f"{name}.csv").write_text(text)
    folder = base / "trec"
    folder.mkdir()
    (folder / "theirs.i2t.run").write_text("q0 Q0 c0 1 0.5 theirs\n")
    return {name: base / f"{name}.csv" for name in (*texts, *averages)} | {"trec_no_qrels": folder}


def _karpathy(base: Path) -> dict[str, Path]:
    """Folders in Karpathy's layout, each with one fault."""

    def images(**changes: Any) -> list[dict[str, Any]]:
        found = [
            {
                "filename": f"{number}.png",
                "split": split,
                "sentences": [{"raw": f"thing {k} of {number}"} for k in range(5)],
            }
            for number, split in enumerate(["train"] * 4 + ["val"] * 2 + ["test"] * 2)
        ]
        found[0] |= changes
        return found

    contents: dict[str, Any] = {
        "k_two": images(),
        "k_text": "{not json",
        "k_list": [],
        "k_split": images(split="dev"),
        "k_escape": images(filename="../../x.png"),
        "k_missing": images(filename="gone.png"),
        "k_page": images(filename="img.png"),
        "k_no_captions": images(sentences=[]),
        "k_no_train": [image for image in images() if image["split"] != "train"],
        "k_twice": images(filename="1.png"),
    }
    for name, content in contents.items():
        root = base / name
        (root / "images").mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (8, 8), (number * 30, 0, 0)).save(root / "images" / f"{number}.png")
        (root / "images" / "img.png").write_bytes(STRANGE["page.html"])
        text = content if isinstance(content, str) else json.dumps({"dataset": "own", "images": content})
        (root / "dataset_a.json").write_text("[]" if content == [] else text)
    (base / "k_two" / "dataset_b.json").write_text("{}")
    return {name: base / name for name in contents}


def _precomp(base: Path) -> dict[str, Path]:
    """Folders in SCAN's layout, each with one fault in its training split."""
    names = ["good", "objects", "text", "cut", "nan", "counts", "latin", "widths", "ids", "vocabulary"]
    random = np.random.default_rng(0)
    for name in names:
        root = base / name
        root.mkdir(parents=True)
        for split, count in (("train", 6), ("dev", 4), ("test", 4)):
            np.save(root / f"{split}_ims.npy", random.normal(size=(count, 3, 8)).astype(np.float32))
            lines = [f"thing {k} of picture {number}" for number in range(count) for k in range(5)]
            (root / f"{split}_caps.txt").write_text("\n".join(lines) + "\n")
    array = np.load(base / "good" / "train_ims.npy")
    np.save(base / "objects" / "train_ims.npy", array.astype(object), allow_pickle=True)
    (base / "text" / "train_ims.npy").write_text("not an array")
    (base / "cut" / "train_ims.npy").write_bytes((base / "good" / "train_ims.npy").read_bytes()[:-64])
    holed = array.copy()
    holed[2, 1, 0] = np.nan
    np.save(base / "nan" / "train_ims.npy", holed)
    (base / "counts" / "train_caps.txt").write_text("one\ntwo\nthree\n")
    (base / "latin" / "train_caps.txt").write_bytes("caf\xe9\n".encode("latin-1") * 30)
    np.save(base / "widths" / "test_ims.npy", random.normal(size=(4, 3, 6)).astype(np.float32))
    (base / "ids" / "train_ids.txt").write_text("1\n2\n")
    (base / "vocabulary" / "own_vocab.json").write_text('{"words": []}')
    return {f"p_{name}": base / name for name in names}
