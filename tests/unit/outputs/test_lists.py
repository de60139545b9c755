"""Candidate lists: what they decide equals the matrix's numbers, and what they leave open is not given."""

from __future__ import annotations

import json

import numpy as np
import pytest
from outputs_cases import IMAGES, OWNER, PER_IMAGE, TEXTS, scores, write_dataset

from harness import datasets
from harness.metrics import retrieval_metrics
from harness.spec import Component

#: Weak enough that cut lists miss correct items.
MATRIX = scores(decimals=12, bonus=0.3)
WHOLE = retrieval_metrics(MATRIX, OWNER)


@pytest.fixture
def split(folder):
    return datasets.open_dataset(Component(name="precomp", options={"root": str(folder)})).split("test")


def orders(depth_i2t=TEXTS, depth_t2i=IMAGES, matrix=MATRIX):
    """Positions of the first items of each query, by its own sort."""
    return np.argsort(-matrix, axis=1)[:, :depth_i2t], np.argsort(-matrix.T, axis=1)[:, :depth_t2i]


def json_ids(folder, split, *depths):
    i2t, t2i = orders(*depths)
    content = {
        "i2t": {split.image_ids[i]: [split.caption_ids[t] for t in row] for i, row in enumerate(i2t)},
        "t2i": {split.caption_ids[t]: [split.image_ids[i] for i in row] for t, row in enumerate(t2i)},
    }
    (folder / "lists.json").write_text(json.dumps(content))
    return (folder / "lists.json",)


def json_positions(folder, split, *depths):
    i2t, t2i = orders(*depths)
    (folder / "lists.json").write_text(json.dumps({"i2t": i2t.tolist(), "t2i": t2i.tolist()}))
    return (folder / "lists.json",)


def npz(folder, split, *depths):
    i2t, t2i = orders(*depths)
    np.savez(folder / "lists.npz", i2t=i2t, t2i=t2i)
    return (folder / "lists.npz",)


def npz_scores(folder, split, *depths):
    i2t, t2i = orders(*depths)
    values = {"i2t_scores": np.take_along_axis(MATRIX, i2t, 1), "t2i_scores": np.take_along_axis(MATRIX.T, t2i, 1)}
    np.savez(folder / "lists.npz", i2t=i2t, t2i=t2i, **values)
    return (folder / "lists.npz",)


def trec(folder, split, *depths):
    i2t, t2i = orders(*depths)
    for name, rows, matrix, queries, items in (
        ("mine.i2t.run", i2t, MATRIX, split.image_ids, split.caption_ids),
        ("mine.t2i.run", t2i, MATRIX.T, split.caption_ids, split.image_ids),
    ):
        lines = [
            f"{queries[q]} Q0 {items[i]} {place} {matrix[q, i]:.9f} mine"
            for q, row in enumerate(rows)
            for place, i in enumerate(row, 1)
        ]
        np.random.default_rng(0).shuffle(lines)  # the order of the lines says nothing
        (folder / name).write_text("\n".join(lines) + "\n")
    return (folder / "mine.t2i.run", folder / "mine.i2t.run")


SHAPES = {f.__name__: f for f in (json_ids, json_positions, npz, npz_scores, trec)}


@pytest.mark.parametrize("name", SHAPES)
def test_whole_lists_give_the_numbers_of_the_matrix(name, evaluate, split, tmp_path):
    found = evaluate(*SHAPES[name](tmp_path, split))
    assert found.code == 0, found.err
    assert found.full == pytest.approx({key: value for key, value in WHOLE.items() if key != "tie_rate"})


@pytest.mark.parametrize("name", SHAPES)
def test_cut_lists_give_recalls_down_to_their_depth_and_nothing_else(name, evaluate, split, tmp_path):
    found = evaluate(*SHAPES[name](tmp_path, split, 7, 4))
    assert found.code == 0, found.err
    assert set(found.full) == {"i2t_r1", "i2t_r5", "t2i_r1"}
    assert found.full == pytest.approx({key: WHOLE[key] for key in found.full})
    assert "i2t 7 per query, t2i 4 per query" in found.content["shape"]


def test_a_folder_of_runs_is_read(evaluate, split, tmp_path):
    trec(tmp_path, split, 10, 10)
    assert evaluate(tmp_path).full["rsum"] == pytest.approx(WHOLE["rsum"])


def test_one_direction_alone_has_no_sum(evaluate, split, tmp_path):
    (_, i2t) = trec(tmp_path, split, 12, 12)
    found = evaluate(i2t).full
    assert found == pytest.approx({key: WHOLE[key] for key in ("i2t_r1", "i2t_r5", "i2t_r10")})


def test_a_short_list_that_holds_the_positive_leaves_nothing_open(evaluate, tmp_path):
    lists = [row[: int(np.argmax(OWNER[row] == image)) + 1].tolist() for image, row in enumerate(orders()[0])]
    assert min(map(len, lists)) == 1
    (tmp_path / "l.json").write_text(json.dumps({"i2t": lists}))
    expected = {key: value for key, value in WHOLE.items() if key.startswith("i2t")}
    assert evaluate(tmp_path / "l.json").full == pytest.approx(expected)


def test_a_shorter_list_without_the_positive_closes_the_deeper_recalls(evaluate, tmp_path):
    lists = orders(10)[0].tolist()
    lists[3] = [t for t in lists[3] if OWNER[t] != 3][:3]
    (tmp_path / "l.json").write_text(json.dumps({"i2t": lists}))
    assert set(evaluate(tmp_path / "l.json").full) == {"i2t_r1"}


def test_faiss_fills_short_lists_with_minus_one(evaluate, tmp_path):
    i2t = orders(10)[0].copy()
    i2t[:, 6:] = -1
    np.savez(tmp_path / "l.npz", i2t=i2t)
    assert set(evaluate(tmp_path / "l.npz").full) == {"i2t_r1", "i2t_r5"}


def test_ties_of_scores_follow_the_rule(evaluate, split, tmp_path):
    coarse = MATRIX.round(0)
    i2t, t2i = orders(matrix=coarse)
    values = {"i2t_scores": np.take_along_axis(coarse, i2t, 1), "t2i_scores": np.take_along_axis(coarse.T, t2i, 1)}
    np.savez(tmp_path / "l.npz", i2t=i2t, t2i=t2i, **values)
    found = evaluate(tmp_path / "l.npz", "--ties", "all").content["metrics"]["full"]
    for rule in ("pessimistic", "optimistic", "expected"):
        expected = retrieval_metrics(coarse, OWNER, rule)
        assert found[rule] == pytest.approx({key: value for key, value in expected.items() if key != "tie_rate"})


def test_queries_without_a_list_are_named_and_not_filled_in(evaluate, split, tmp_path):
    (path,) = json_ids(tmp_path, split, 10, 10)
    content = json.loads(path.read_text())
    del content["t2i"][split.caption_ids[0]]
    path.write_text(json.dumps(content))
    found = evaluate(path)
    assert "1 of 100 t2i queries have no list" in found.err
    assert set(found.full) == {"i2t_r1", "i2t_r5", "i2t_r10"}


def test_top_lists_of_coco_1k_are_ranked_within_their_fold(evaluate, tmp_path):
    """Fifty items of the whole gallery are about ten of a fold: what they leave open is absent, and nothing crashes."""
    from outputs_cases import write_dataset

    root = write_dataset(tmp_path / "coco_precomp", 5000, per_image=1)
    random = np.random.default_rng(0)
    i2t = np.stack([random.choice(4999, 50, replace=False) for _ in range(5000)])
    i2t[i2t >= np.arange(5000)[:, None]] += 1  # no list holds its positive
    hit = random.random(5000) < 0.5
    place = random.integers(0, 50, 5000)
    i2t[hit, place[hit]] = np.flatnonzero(hit)
    np.savez(tmp_path / "l.npz", i2t=i2t)
    found = evaluate(tmp_path / "l.npz", "--set", "captions_per_image=1", "--protocol", "coco_1k", root=root)
    fold = np.arange(5000) // 1000
    ranks, depths = np.full(5000, np.inf), np.zeros(5000, int)
    for query, items in enumerate(i2t):
        inside = [item for item in items if fold[item] == fold[query]]
        depths[query] = len(inside)
        if query in inside:
            ranks[query] = inside.index(query)
    expected = {f"i2t_r{k}": 100 * np.mean(ranks < k) for k in (1, 5, 10) if (depths[~np.isfinite(ranks)] >= k).all()}
    assert 0 < len(expected) < 3
    assert found.content["metrics"]["coco_1k"]["pessimistic"] == pytest.approx(expected)


def wrong(change):
    def write(folder, split):
        (path,) = json_ids(folder, split, 10, 10)
        content = json.loads(path.read_text())
        change(content, split)
        path.write_text(json.dumps(content))
        return (path,)

    return write


def first(content):
    return next(iter(content["i2t"].values()))


REFUSED = {
    "an item twice": (wrong(lambda c, s: first(c).append(first(c)[0])), "holds an item twice"),
    "an unknown item": (wrong(lambda c, s: first(c).append("nobody")), "item 'nobody' is not in the dataset's split"),
    "an unknown query": (wrong(lambda c, s: c["i2t"].update({"nobody": []})), "query 'nobody' is not in the dataset"),
    "no lists": (wrong(lambda c, s: c.update(i2t=3)), "holds int under 'i2t'"),
    "other lists": (wrong(lambda c, s: c["i2t"].update({s.image_ids[0]: 3})), "something else than lists of ids"),
    "too few lists": (wrong(lambda c, s: c.update(i2t=[[1]])), "holds 1 lists under 'i2t'; expected a mapping of 20"),
    "a position outside": (wrong(lambda c, s: c.update(i2t=[[100]] * 20)), "item 100 is no position; positions are 0 to 99"),
    "booleans": (wrong(lambda c, s: c.update(i2t=[[True]] * 20)), "something else than lists of ids"),
    "all empty": (wrong(lambda c, s: c.update(i2t=[[]] * 20)), "no i2t query has a list"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_lists_that_say_something_else_are_refused(name, evaluate, split, tmp_path):
    write, message = REFUSED[name]
    assert message in evaluate(*write(tmp_path, split)).error


def test_distances_are_refused(evaluate, tmp_path):
    i2t = orders(10)[0]
    np.savez(tmp_path / "l.npz", i2t=i2t, i2t_scores=-np.take_along_axis(MATRIX, i2t, 1))
    assert "in rising order of score; the best item comes first" in evaluate(tmp_path / "l.npz").error


RUNS = {
    "other ids": ("x Q0 y 1 0.5 t\n", "a.run", "its ids are not those of the dataset: query 'x' and document 'y'"),
    "no number": ("{i} Q0 {t} 1 high t\n{i} Q0 {u} 1 0.5 t\n", "a.i2t.run", "is a"),
    "NaN": ("{i} Q0 {t} 1 nan t\n", "a.i2t.run", "NaN or infinite"),
    "an item twice": ("{i} Q0 {t} 1 0.5 t\n{i} Q0 {t} 2 0.4 t\n", "a.i2t.run", "holds an item twice"),
}


@pytest.mark.parametrize("name", RUNS)
def test_runs_that_do_not_fit_are_refused(name, evaluate, split, tmp_path):
    text, file, message = RUNS[name]
    ids = {"i": split.image_ids[0], "t": split.caption_ids[0], "u": split.caption_ids[1]}
    (tmp_path / file).write_text(text.format(**ids))
    assert message in evaluate(tmp_path / file).error


def test_two_runs_of_one_direction_are_refused(evaluate, split, tmp_path):
    (_, i2t) = trec(tmp_path, split, 10, 10)
    assert "there are two runs of i2t" in evaluate(i2t, i2t).error


def test_numbers_at_the_end_of_ids_are_taken_in_one_line(evaluate, split, tmp_path):
    root = write_dataset(tmp_path / "coco_precomp", IMAGES)
    names = [f"COCO_val2014_{7 * k + 3:012}.jpg" for k in range(IMAGES)]
    (root / "test_ids.txt").write_text("\n".join(names) + "\n")
    _, t2i = orders(IMAGES, IMAGES)
    lists = {
        f"{names[c // PER_IMAGE]}#{c % PER_IMAGE}": [str(7 * int(i) + 3) for i in row] for c, row in enumerate(t2i)
    }
    (tmp_path / "lists.json").write_text(json.dumps({"t2i": lists}))
    found = evaluate(tmp_path / "lists.json", root=root)
    assert found.code == 0, found.err
    assert found.full == pytest.approx({key: value for key, value in WHOLE.items() if key.startswith("t2i")})
    assert found.err.count("whole numbers are taken for the numbers at the end of the dataset's ids") == 1
