"""How evaluation grows with the gallery: run `python -m tests.studies.growth [IMAGESxCAPTIONS ...]`.

Scores random fragments (36 regions, captions of 11.7 words, one vector each for CLIP) and counts the ranks of both
directions: from the whole matrix, tile by tile from memory, and tile by tile from files. Prints CPU seconds of one thread,
ratios to the bare packed product of the same round, and time per pair, which should not depend on the size. The forms take
turns, so that a passing load hits all of them. On a busy machine read the ratios.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from harness.benchmark.data import Size, make
from harness.benchmark.forms import product
from harness.fragments import Fragments
from harness.metrics import retrieval_metrics
from harness.registry import create
from harness.scorer import Scorer
from harness.scoring import StreamedScores, similarity_matrix
from harness.scoring.spilled import Keeping, SideInFile

SIZES, ROUNDS = ("250x1250", "1000x5000"), 2
WIDTH, REGIONS, BATCH = 128, 36, 256
#: As the fragments of a gallery that fills files: what is scored at once is read anew for each tile.
BUDGET = 2**29


def scorers() -> dict[str, tuple[Scorer, int]]:
    """The scorers, with the number of regions of their images."""
    torch.manual_seed(0)
    named = {"CLIP": ("vsepp", 1), "CHAN": ("chan", REGIONS), "SCAN t2i": ("scan", REGIONS), "GRM": ("grm", REGIONS)}
    return {title: (create(name).eval(), regions) for title, (name, regions) in named.items()}


def in_file(side: Fragments) -> SideInFile:
    """A side in a file, as if no memory were left for it."""
    keeping = Keeping("items", 0)
    for start in range(0, len(side), BATCH):
        keeping.add(side[start : start + BATCH], 1.0)
    kept = keeping.finish(torch.arange(len(side)))
    assert isinstance(kept, SideInFile)
    return kept


def forms(scorer: Scorer, images: Fragments, texts: Fragments) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    owner = np.arange(len(texts)) % len(images)
    sides = in_file(images), in_file(texts)
    return {
        "product": product()(images, texts),
        "matrix": lambda: retrieval_metrics(similarity_matrix(scorer, images, texts), owner),
        "streamed": lambda: retrieval_metrics(StreamedScores(scorer, images, texts), owner),
        "from files": lambda: retrieval_metrics(StreamedScores(scorer, *sides, memory_budget=BUDGET), owner),
    }


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main(sizes: list[str]) -> None:
    torch.set_num_threads(1)
    print(
        "| scorer | size | "
        + " | ".join(("product, s", "matrix", "streamed", "from files", "ns per pair, streamed"))
        + " |"
    )
    print("|---|---|---|---|---|---|---|")
    for title, (scorer, regions) in scorers().items():
        for text in sizes:
            images, texts = make(Size(*(int(n) for n in text.split("x")), regions, WIDTH))
            if regions == 1:
                texts = Fragments(texts.features[:, :1], texts.mask[:, :1])
            with torch.no_grad():
                calls = forms(scorer, scorer.prepare_images(images), scorer.prepare_texts(texts))
                rounds = [{name: cpu_seconds(call) for name, call in calls.items()} for _ in range(ROUNDS)]
            best = {name: min(one[name] for one in rounds) for name in calls}
            ratios = " | ".join(f"{best[name] / best['product']:.2f}" for name in ("matrix", "streamed", "from files"))
            per_pair = 1e9 * best["streamed"] / (len(images) * len(texts))
            print(f"| {title} | {text} | {best['product']:.2f} | {ratios} | {per_pair:.0f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(SIZES))
