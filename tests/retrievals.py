"""Made-up runs whose first results and ranks follow from one matrix of scores, with captions, pictures and relevance."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from harness.records.exhibits import Exhibits, exhibits_folder, picture_name, write_exhibits
from harness.records.ranks import RankTable
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.records.tops import TopTable

SHA = "a" * 64


@dataclass
class Made:
    """A split and the matrix of each run, (I, T)."""

    store: RunStore
    owner: np.ndarray  # (T,) image row of each caption
    captions: tuple[str, ...]
    unlabelled: dict[str, list[tuple[int, int]]]
    clutter: dict[int, int]
    scores: dict[str, np.ndarray]

    def add(self, run_id: str, scorer: str, seed: int, scores: np.ndarray, depth: int = 10, top: bool = True) -> None:
        """A finished run with these scores."""
        self.scores[run_id] = scores
        ranks = rank_table(scores, self.owner)
        self.store.write_ranks(run_id, {"full": ranks})
        if top:
            self.store.write_top(run_id, top_table(scores, self.owner, depth))
        recalls = {
            f"{d}_r{k}": 100.0 * float(np.mean(getattr(ranks, f"{d}_rank") < k))
            for d in ("i2t", "t2i")
            for k in (1, 5, 10)
        }
        self.store.write(
            RunRecord(
                run_id=run_id, scorer=scorer, backbone="regions+bigru", dataset="pets", split="test", protocols=("full",),
                seed=seed, metrics={"full": recalls | {"rsum": sum(recalls.values())}}, data_sha256=SHA,
                spec={"scorer": scorer, "seed": seed, "evaluation": {"ties": "pessimistic"}}, status="finished",
                started="2026-01-01T00:00:00+00:00",
            )
        )  # fmt: skip

    def exhibit(self, pictures: bool = True) -> None:
        """Captions, relevance, and one-colour pictures of all images but the last."""
        images = int(self.owner.max()) + 1
        folder = exhibits_folder(self.store.results, "pets", "test", SHA)
        folder.mkdir(parents=True, exist_ok=True)
        rows = range(images - 1) if pictures else range(0)
        for row in rows:
            (folder / picture_name(row)).write_bytes(picture(row))
        write_exhibits(
            folder,
            Exhibits(
                dataset="pets", split="test", data_sha256=SHA, image_ids=ids("image", images), captions=self.captions,
                caption_ids=ids("caption", len(self.owner)), caption_image=tuple(self.owner.tolist()),
                pictures={row: picture_name(row) for row in rows},
                unlabelled={source: {"pairs": tuple(pairs)} for source, pairs in self.unlabelled.items()},
                clutter=self.clutter,
            ),
        )  # fmt: skip


def ids(name: str, count: int) -> tuple[str, ...]:
    """`image0`, `image1`, ..."""
    return tuple(f"{name}{row}" for row in range(count))


def picture(row: int) -> bytes:
    """A small JPEG of one colour."""
    content = io.BytesIO()
    Image.new("RGB", (64, 48), ((37 * row) % 256, (91 * row) % 256, 120)).save(content, "JPEG")
    return content.getvalue()


def rank_table(scores: np.ndarray, owner: np.ndarray) -> RankTable:
    """Ranks under the pessimistic rule, query by query."""
    images, captions = scores.shape
    i2t, t2i, best = [], [], []
    for image in range(images):
        own = np.flatnonzero(owner == image)
        best.append(int(own[scores[image, own].argmax()]))
        wrong = np.delete(scores[image], own)
        truth = scores[image, best[-1]]
        i2t.append((int((wrong >= truth).sum()), int((wrong == truth).sum())))
    for caption in range(captions):
        truth, wrong = scores[owner[caption], caption], np.delete(scores[:, caption], owner[caption])
        t2i.append((int((wrong >= truth).sum()), int((wrong == truth).sum())))
    image_ids, caption_ids = np.array(ids("image", images)), np.array(ids("caption", captions))
    i2t_rank, i2t_ties = np.array(i2t).T
    t2i_rank, t2i_ties = np.array(t2i).T
    return RankTable(
        i2t_rank=i2t_rank, i2t_ties=i2t_ties, i2t_image_id=image_ids, i2t_caption_id=caption_ids[best],
        t2i_rank=t2i_rank, t2i_ties=t2i_ties, t2i_caption_id=caption_ids, t2i_image_id=image_ids[owner],
        i2t_fold=np.zeros(images, dtype=int), t2i_fold=np.zeros(captions, dtype=int),
    )  # fmt: skip


def top_table(scores: np.ndarray, owner: np.ndarray, depth: int = 10) -> TopTable:
    """The first results, ties by the lower row."""
    images, captions = scores.shape
    i2t = np.argsort(-scores, axis=1, kind="stable")[:, :depth].astype(np.int32)
    t2i = np.argsort(-scores.T, axis=1, kind="stable")[:, :depth].astype(np.int32)
    return TopTable(
        image_id=np.array(ids("image", images)), caption_id=np.array(ids("caption", captions)),
        caption_image=owner.astype(np.int64), i2t_top=i2t, t2i_top=t2i,
        i2t_score=np.take_along_axis(scores, i2t.astype(np.int64), 1).astype(np.float32),
        t2i_score=np.take_along_axis(scores.T, t2i.astype(np.int64), 1).astype(np.float32),
    )  # fmt: skip


NOUNS = ("dog", "cat", "horse", "parrot", "snail")


def made(folder, images: int = 30, per_image: int = 3, clutter: bool = True) -> Made:
    """A split without runs: captions of 3 to 9 words, one unlabelled pair in twenty."""
    draw = np.random.default_rng(7)
    owner = np.repeat(np.arange(images), per_image)
    captions = tuple(
        f"a {NOUNS[row % 5]} {' '.join(draw.choice(['on', 'the', 'snow', 'runs', 'fast'], draw.integers(1, 7)))} ."
        for row in range(len(owner))
    )
    pairs = [(i, t) for i in range(images) for t in range(len(owner)) if owner[t] != i and draw.random() < 0.05]
    objects = {row: int(draw.integers(1, 9)) for row in range(images)} if clutter else {}
    return Made(RunStore(folder), owner, captions, {"judges": pairs}, objects, {})


def drawn(made_up: Made, skill: float, seed: int) -> np.ndarray:
    """Scores whose own pairs score `skill` more on average; in steps, so that some tie."""
    images = int(made_up.owner.max()) + 1
    draw = np.random.default_rng([seed, int(100 * skill)])
    scores = draw.normal(size=(images, len(made_up.owner)))
    scores[made_up.owner, np.arange(len(made_up.owner))] += skill
    return np.round(scores, 1)


def three_methods(folder, **options) -> Made:
    """Three methods of three, three and two seeds, with exhibits."""
    split = made(folder, **options)
    for scorer, skill, seeds in (("grm", 2.5, 3), ("scan", 2.0, 3), ("chan", 1.0, 2)):
        for seed in range(seeds):
            split.add(f"{len(split.scores):016x}", scorer, seed, drawn(split, skill, seed))
    split.exhibit()
    return split
