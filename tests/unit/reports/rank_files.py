"""Ranks and scores of 40 images with 2 captions each, as CSVs and as TREC runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

IMAGES, CAPTIONS = 40, 2


def csv_rows(method: str = "theirs", seed: object = 0, draw: int = 0, **extra: str) -> list[dict]:
    """Ranks 0 to 11 of 40 images with 2 captions each, as rows of the documented CSV."""
    generator = np.random.default_rng(draw)
    rows = []
    for image in range(IMAGES):
        common = {"seed": seed, "method": method, **extra}
        rows.append(
            {"query_id": f"i{image}", "direction": "i2t", "rank": int(generator.integers(12)), "image_id": f"i{image}",
             "caption_id": "", **common}
        )  # fmt: skip
        for n in range(CAPTIONS):
            caption = f"c{image}-{n}"
            rows.append(
                {"query_id": caption, "direction": "t2i", "rank": int(generator.integers(12)), "image_id": f"i{image}",
                 "caption_id": caption, **common}
            )  # fmt: skip
    return rows


def write_csv(path: Path, rows: list[dict]) -> Path:
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def similarity(seed: int = 0) -> np.ndarray:
    """(I, T) scores without ties; a caption's own image is favoured."""
    scores = np.random.default_rng(seed).standard_normal((IMAGES, IMAGES * CAPTIONS))
    return scores + 1.5 * np.kron(np.eye(IMAGES), np.ones((1, CAPTIONS)))


def write_trec(folder: Path, scores: np.ndarray, method: str = "theirs.seed3", depth: int = 20) -> Path:
    """Runs and qrels of a similarity, lists cut at a depth."""
    folder.mkdir(exist_ok=True)
    captions = [f"c{t // CAPTIONS}-{t % CAPTIONS}" for t in range(scores.shape[1])]
    images = [f"i{i}" for i in range(len(scores))]
    sides = {"i2t": (images, captions, scores), "t2i": (captions, images, scores.T)}
    for direction, (queries, documents, matrix) in sides.items():
        run, qrels = [], []
        for q, query in enumerate(queries):
            best = np.argsort(-matrix[q], kind="stable")[:depth]
            run += [f"{query} Q0 {documents[d]} {n} {matrix[q, d]} tag" for n, d in enumerate(best, 1)]
            same = [d for d in documents if d.split("-")[0][1:] == query.split("-")[0][1:]]
            qrels += [f"{query} 0 {document} 1" for document in same]
        (folder / f"{method}.{direction}.run").write_text("\n".join(run) + "\n")
        (folder / f"{direction}.qrels").write_text("\n".join(qrels) + "\n")
    return folder


def naive_rank(scores: dict[str, float], positives: set[str]) -> int:
    """Negatives that score at least as much as the best positive, one by one."""
    best = max((scores[p] for p in positives if p in scores), default=-np.inf)
    return sum(value >= best for document, value in scores.items() if document not in positives)
