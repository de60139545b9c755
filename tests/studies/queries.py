"""What one query costs against a gallery that stays packed, beside the bare product with what is stored.

`python -m tests.studies.queries [SIZE ...]`: a table per scorer and gallery size (images of 36 regions, width 256; one caption
of 12 words): seconds to build, MiB stored, ms per query, ms of the bare product, and their ratio. All times are minima of
interleaved repeats in one process and one thread. `--mapped FOLDER` streams the gallery to files and maps it from there.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from harness import registry
from harness.fragments import Fragments
from harness.scoring import Index, similarity_matrix
from harness.similarity.packed import products

REGIONS, WIDTH, WORDS = 36, 256, 12
SCORERS = ("chan", "late_interaction", "scan", "grm", "vse_infinity")
BLOCK = 1000
#: Rows of the bare product's tiles: the best of these is the limit.
TILES = (2304, 9216)


def unit(count: int, longest: int, seed: int) -> Fragments:
    features = torch.randn(count, longest, WIDTH, generator=torch.Generator().manual_seed(seed))
    return Fragments(torch.nn.functional.normalize(features, dim=-1), torch.ones(count, longest, dtype=torch.bool))


def blocks(scorer, size: int) -> Iterator[Fragments]:
    for start in range(0, size, BLOCK):
        with torch.no_grad():
            yield scorer.prepare_images(unit(min(BLOCK, size - start), REGIONS, start))


def bare(rows: torch.Tensor, words: torch.Tensor) -> float:
    """Seconds of the product of a query's words with all stored vectors, in tiles that are thrown away."""
    best = float("inf")
    padded = torch.nn.functional.pad(words, (0, 0, 0, -len(words) % 16))
    for tile in TILES:
        product = products.prepare(padded, tile)
        started = time.perf_counter()
        for start in range(0, len(rows), tile):
            product(rows[start : start + tile])
        best = min(best, time.perf_counter() - started)
    return best


def measure(name: str, size: int, repeats: int, folder: Path | None) -> str:
    torch.manual_seed(0)
    scorer = registry.create(name).eval()
    with torch.no_grad():
        query = scorer.prepare_texts(unit(1, WORDS, 7))
    started = time.perf_counter()
    index = Index.build(scorer, blocks(scorer, size), path=folder / name if folder else None)
    built = time.perf_counter() - started
    (segment,) = index._state.segments
    rows = segment.items.features.flatten(0, 1)
    query_s = product_s = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        scores = index.query(query)
        query_s = min(query_s, time.perf_counter() - started)
        product_s = min(product_s, bare(rows, query.features[0]))
    some = next(blocks(scorer, size))
    error = (scores[0, : len(some)] - similarity_matrix(scorer, some, query)[:, 0]).abs().max()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        f"{name:18}{size:>9,}{built:>10.1f}{index.nbytes / 2**20:>10.0f}{1e3 * query_s:>11.2f}{1e3 * product_s:>11.2f}"
        f"{query_s / product_s:>8.2f}{error:>10.1e}{peak:>10.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="*", type=int, default=[1000, 5000])
    parser.add_argument("--scorers", nargs="*", default=SCORERS)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--mapped", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    widths = {
        "images": 9,
        "build s": 10,
        "MiB": 10,
        "query ms": 11,
        "bare ms": 11,
        "ratio": 8,
        "error": 10,
        "peak MiB": 10,
    }
    print(f"{'scorer':18}" + "".join(f"{title:>{width}}" for title, width in widths.items()))
    for name in given.scorers:
        for size in given.sizes:
            print(measure(name, size, given.repeats, given.mapped), flush=True)
            if given.mapped:
                shutil.rmtree(given.mapped / name)


if __name__ == "__main__":
    main()
