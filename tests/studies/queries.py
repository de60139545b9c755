"""What one query costs against a gallery that stays packed, beside the bare product with what is stored.

`python -m tests.studies.queries [SIZE ...]`: a table per scorer and gallery size (images of 36 regions, width 256; one caption
of 12 words): seconds to build, MiB stored, ms of the best ten of a query, ms of the bare float32 product, and their ratio; the
largest error of the scores given; and how many of the ten best by exact scores are found, percent, over 20 queries. All times
are minima of interleaved repeats in one process and one thread. `--dtype` keeps the gallery in another precision, `--mapped
FOLDER` streams it to files and maps it from there.
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
from harness.scoring.index.kept import best_known
from harness.scoring.index.stored import DTYPES
from harness.similarity.packed import products

REGIONS, WIDTH, WORDS = 36, 256, 12
SCORERS = ("chan", "late_interaction", "scan", "grm", "vse_infinity")
BLOCK, BEST = 1000, 10
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


def measure(name: str, size: int, repeats: int, folder: Path | None, dtype: str) -> str:
    torch.manual_seed(0)
    scorer = registry.create(name).eval()
    with torch.no_grad():
        query, several = scorer.prepare_texts(unit(1, WORDS, 7)), scorer.prepare_texts(unit(20, WORDS, 8))
    started = time.perf_counter()
    index = Index.build(scorer, blocks(scorer, size), dtype=dtype, path=folder / name if folder else None)
    built = time.perf_counter() - started
    (segment,) = index._state.segments
    rows = best_known(segment.items).features.float().flatten(0, 1)
    query_s = product_s = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        index.top(query, BEST)
        query_s = min(query_s, time.perf_counter() - started)
        product_s = min(product_s, bare(rows, query.features[0]))
    exact = torch.cat([similarity_matrix(scorer, some, several).T for some in blocks(scorer, size)], 1)
    found = index.top(several, BEST).items
    kept = [len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.topk(BEST).indices.tolist(), strict=True)]
    error = (index.top(several, BEST).scores - exact.gather(1, found)).abs().max()
    stored = (index.nbytes + index.exact_nbytes) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        f"{name:18}{size:>9,}{built:>10.1f}{stored:>10.0f}{1e3 * query_s:>11.2f}{1e3 * product_s:>11.2f}"
        f"{query_s / product_s:>8.2f}{error:>10.1e}{10 * sum(kept) / len(kept):>8.1f}{peak:>10.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="*", type=int, default=[1000, 5000])
    parser.add_argument("--scorers", nargs="*", default=SCORERS)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--dtype", default="float32", choices=DTYPES)
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
        "found": 8,
        "peak MiB": 10,
    }
    print(f"{'scorer':18}" + "".join(f"{title:>{width}}" for title, width in widths.items()))
    for name in given.scorers:
        for size in given.sizes:
            print(measure(name, size, given.repeats, given.mapped, given.dtype), flush=True)
            if given.mapped:
                shutil.rmtree(given.mapped / name)


if __name__ == "__main__":
    main()
