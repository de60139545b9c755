"""TREC runs and qrels of other people: their ranks are those of a loop, and what cannot be trusted is refused."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from rank_files import CAPTIONS, IMAGES, naive_rank, similarity, write_csv, write_trec

from harness.errors import InvalidRecord
from harness.reports.runs.trec import read_trec, trec_ranks
from harness.reports.statistics.errors import (
    DifferentCaptionMaps,
    DifferentQueries,
    DuplicateQueries,
    InvalidRanks,
    MissingQueries,
)
from harness.reports.statistics.hits import METRICS, image_columns


def test_trec_ranks_are_those_of_a_loop_with_ties_against_the_method(tmp_path):
    generator = np.random.default_rng(4)
    run, qrels, scores, relevant = [], [], {}, defaultdict(set)
    for q in range(60):
        # Five levels of score for 15 documents: ties everywhere, between positives and negatives too.
        scores[f"q{q}"] = {f"d{d}": float(generator.integers(5)) for d in range(15)}
        for d in generator.choice(15, size=1 + q % 3, replace=False):
            relevant[f"q{q}"].add(f"d{d}")
            qrels.append({"query": f"q{q}", "document": f"d{d}"})
        run += [f"q{q} Q0 {d} 1 {s} x" for d, s in scores[f"q{q}"].items()]
    path = tmp_path / "x.run"
    path.write_text("\n".join(run))
    found = trec_ranks(path, pd.DataFrame(qrels), depth=10)
    assert found.to_dict() == {q: naive_rank(scores[q], relevant[q]) for q in scores}


def test_trec_recalls_are_those_of_ranx(tmp_path):
    (run,) = read_trec(write_trec(tmp_path / "trec", similarity()))
    assert (run.runs.name, run.runs.seeds) == ("theirs", (3,))
    found = dict(zip(METRICS, image_columns([run.runs], METRICS).scores[0].tolist(), strict=True))
    # hit_rate@K of ranx 0.3.21 on the same runs and qrels, in percent
    ranx = {"i2t_r1": 45.0, "i2t_r5": 77.5, "i2t_r10": 90.0, "t2i_r1": 31.25, "t2i_r5": 66.25, "t2i_r10": 85.0}
    assert {name: found[name] for name in ranx} == pytest.approx(ranx, abs=1e-9)


def test_a_cut_list_keeps_the_recalls_it_can_and_refuses_those_it_cannot(tmp_path):
    scores = similarity()
    (full,) = read_trec(write_trec(tmp_path / "full", scores, depth=80))
    (cut,) = read_trec(write_trec(tmp_path / "cut", scores, depth=10))
    recalls = [name for name in METRICS if name != "rsum"]
    assert image_columns([cut.runs], recalls).scores.tolist() == image_columns([full.runs], recalls).scores.tolist()
    with pytest.raises(InvalidRanks, match="end before 20 documents"):
        read_trec(tmp_path / "cut", depth=20)


def test_captions_with_several_positives_need_their_own_image(tmp_path):
    folder = write_trec(tmp_path / "trec", similarity())
    with (folder / "t2i.qrels").open("a") as file:
        file.write("c0-0 0 i7 1\n")
    with pytest.raises(DifferentCaptionMaps, match=r"1 \(c0-0\).*captions.csv"):
        read_trec(folder)
    owner = [{"caption_id": f"c{i}-{n}", "image_id": f"i{i}"} for i in range(IMAGES) for n in range(CAPTIONS)]
    write_csv(folder / "captions.csv", owner)
    (run,) = read_trec(folder)
    assert run.runs.image_ids[run.runs.caption_image[0]] == "i0"


def edit(name, change):
    def apply(folder):
        path = folder / name
        path.write_text(change(path.read_text()))

    return apply


@pytest.mark.parametrize(
    ("broken", "error", "message"),
    [
        (edit("theirs.seed3.i2t.run", lambda t: t.replace(t.split()[4], "nan", 1)), InvalidRanks, "NaN or infinite"),
        (edit("theirs.seed3.i2t.run", lambda t: t + t.splitlines()[0]), DuplicateQueries, r"1 \(i0\)"),
        (edit("theirs.seed3.i2t.run", lambda t: t + "i77 Q0 c0-0 1 0.5 x"), DifferentQueries, r"1 \(i77\)"),
        (
            edit("theirs.seed3.i2t.run", lambda t: t.replace(" tag\n", "\n", 1)),
            InvalidRecord,
            "line 1: 5 columns, 6 expected",
        ),
        (
            edit("theirs.seed3.t2i.run", lambda t: "\n" + t.replace(" tag\n", " a tag\n", 1)),
            InvalidRecord,
            "line 2: 7 columns, 6",
        ),
        (edit("i2t.qrels", lambda t: t + "i99 0 c0-0 1"), MissingQueries, r"lacks queries 1 \(i99\)"),
        (edit("i2t.qrels", lambda t: t + t.splitlines()[0]), DuplicateQueries, "judged twice"),
        (edit("i2t.qrels", lambda t: t.replace(" 0 ", " ", 1)), InvalidRecord, "cannot read|columns"),
        (edit("i2t.qrels", lambda t: t.replace(" 1\n", " yes\n", 1)), InvalidRecord, "line 1: relevance"),
        (
            edit("i2t.qrels", lambda t: t.replace(" 1\n", " nan\n", 1)),
            InvalidRecord,
            "relevance .* not finite .* 1 \\(",
        ),
        (lambda f: (f / "theirs.seed3.t2i.run").unlink(), InvalidRecord, "has no t2i run"),
        (lambda f: (f / "theirs.seed3.t2i.run").rename(f / "odd.run"), InvalidRecord, "METHOD.i2t.run"),
        (lambda f: (f / "t2i.qrels").unlink(), InvalidRecord, "cannot read"),
        (lambda f: [path.unlink() for path in f.glob("*.run")], InvalidRecord, "no run"),
    ],
)
def test_trec_folders_that_cannot_be_trusted_are_refused(tmp_path, broken, error, message):
    folder = write_trec(tmp_path / "trec", similarity())
    broken(folder)
    with pytest.raises(error, match=message):
        read_trec(folder)
