"""`itm add`: every form of one matrix is one set of ranks, equal to a loop; what cut lists leave open is never used."""

from __future__ import annotations

import json

import numpy as np
import pytest
from outputs_cases import IMAGES, OWNER, TEXTS, scores, write_dataset

from harness.cli.main import main
from harness.records.store import RunStore
from harness.records.ties import RECALLS
from harness.reports.runs.groups import groups
from harness.reports.runs.loading import method_runs
from harness.reports.runs.sources import read_sources
from harness.reports.statistics.comparison import compare
from harness.reports.statistics.errors import InvalidRanks

MATRIX = scores(bonus=1.0)
MANY = 40  # enough images to compare


def loop_ranks(matrix):
    """0-based rank of the best own item of every query, as the authors' evaluations count, ties aside."""
    i2t, t2i = [], []
    for image in range(len(matrix)):
        order = np.argsort(-matrix[image], kind="stable")
        i2t.append(min(int(np.where(order == own)[0][0]) for own in np.flatnonzero(image == OWNER)))
    for caption in range(matrix.shape[1]):
        order = np.argsort(-matrix[:, caption], kind="stable")
        t2i.append(int(np.where(order == OWNER[caption])[0][0]))
    return i2t, t2i


def trec(folder, matrix, dataset):
    from harness import datasets
    from harness.spec import Component

    split = datasets.open_dataset(Component(name="precomp", options={"root": str(dataset)})).split("test")
    lines = {"i2t": [], "t2i": []}
    for i, image in enumerate(split.image_ids):
        lines["i2t"] += [f"{image} Q0 {c} 0 {matrix[i, t]!r} x" for t, c in enumerate(split.caption_ids)]
    for t, caption in enumerate(split.caption_ids):
        lines["t2i"] += [f"{caption} Q0 {image} 0 {matrix[i, t]!r} x" for i, image in enumerate(split.image_ids)]
    paths = [folder / f"x.{way}.run" for way in lines]
    for path, rows in zip(paths, lines.values(), strict=True):
        path.write_text("\n".join(rows).replace("np.float32(", "").replace(")", "") + "\n")
    return paths


def vectors(folder):
    """Embeddings whose inner products are the matrix."""
    np.savez(folder / "e.npz", img_embs=MATRIX, cap_embs=np.eye(TEXTS, dtype=np.float32))
    return [folder / "e.npz", "--measure", "dot"]


def saved(folder, matrix, name="m.npy"):
    np.save(folder / name, matrix)
    return [folder / name]


FORMS = {
    "npy": lambda f, d: saved(f, MATRIX),
    "float64": lambda f, d: saved(f, MATRIX.astype(np.float64)),
    "big-endian and transposed": lambda f, d: saved(f, MATRIX.T.astype(">f4")),
    "npts and sims": lambda f, d: saved(f, np.array({"npts": IMAGES, "sims": MATRIX}, dtype=object)),
    "text": lambda f, d: (np.savetxt(f / "s.txt", MATRIX, fmt="%.5f"), [f / "s.txt"])[1],
    "distances": lambda f, d: [*saved(f, (10 - MATRIX.astype(np.float64)).round(4)), "--distances"],
    "embeddings": lambda f, d: vectors(f),
    "TREC runs": lambda f, d: trec(f, MATRIX, d),
    "whole lists": lambda f, d: (
        np.savez(f / "l.npz", i2t=np.argsort(-MATRIX, 1), t2i=np.argsort(-MATRIX.T, 1)),
        [f / "l.npz"],
    )[1],
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_matrix_is_one_set_of_ranks(form, add, folder, tmp_path):
    code, said = add(*FORMS[form](tmp_path, folder))
    assert code == 0, said
    (record,) = RunStore(tmp_path / "results").records()
    table = RunStore(tmp_path / "results").ranks(record.run_id)["full"]
    i2t, t2i = loop_ranks(MATRIX)
    assert table.i2t_rank.tolist() == i2t
    assert table.t2i_rank.tolist() == t2i
    recalls = {f"{d}_r{k}": 100 * np.mean(np.array(r) < k) for d, r in (("i2t", i2t), ("t2i", t2i)) for k in (1, 5, 10)}
    assert {key: record.metrics["full"][key] for key in RECALLS} == pytest.approx(recalls)
    assert record.origin == "foreign"
    assert record.metrics["full"]["rsum"] == pytest.approx(sum(recalls.values()))


def test_half_precision_is_ranked_as_it_stands(add, folder, tmp_path):
    code, said = add(*saved(tmp_path, MATRIX.astype(np.float16)))
    assert code == 0
    assert "the scores have float16" in said
    (record,) = RunStore(tmp_path / "results").records()
    table = RunStore(tmp_path / "results").ranks(record.run_id)["full"]
    half = MATRIX.astype(np.float16).astype(np.float64)
    owned = half[OWNER, np.arange(TEXTS)]
    assert table.t2i_rank.tolist() == ((half >= owned).sum(0) - 1).tolist()  # tied items stand ahead


def test_shards_are_recorded_for_the_mean_over_their_folds(add, tmp_path):
    root = write_dataset(tmp_path / "coco_precomp", 5000, 1)
    whole = np.random.default_rng(0).standard_normal((5000, 5000)).astype(np.float32)
    whole[np.arange(5000), np.arange(5000)] += 3
    for fold in range(5):
        part = slice(1000 * fold, 1000 * (fold + 1))
        np.save(tmp_path / f"{fold}sim.npy", whole[part, part])
    code, said = add(*sorted(tmp_path.glob("*sim.npy")), "--rows", "images", "--protocol", "coco_1k", root=root)
    assert code == 0, said
    (record,) = RunStore(tmp_path / "results").records()
    table = RunStore(tmp_path / "results").ranks(record.run_id)["coco_1k"]
    part = whole[2000:3000, 2000:3000]
    expected = (part > part.diagonal()[None]).sum(0)
    assert table.t2i_rank[table.t2i_fold == 2].tolist() == expected.tolist()
    assert set(record.metrics) == {"coco_1k"}


# What it is -----------------------------------------------------------------------------------------------------------


def test_the_record_says_what_was_added_and_what_its_author_says(add, tmp_path):
    path = saved(tmp_path, MATRIX.T)[0]
    words = ["--variant", "big", "--seed", "3", "--backbone", "ViT-L", "--citation", "A paper", "--trials", "7"]
    assert add(path, *words, "--selected-on", "last-epoch")[0] == 0
    (record,) = RunStore(tmp_path / "results").records()
    assert (record.label, record.seed, record.backbone, record.citation) == ("theirs.big", 3, "ViT-L", "A paper")
    assert (record.selected_on, record.tuning.trials, record.code_origin) == ("last epoch", 7, "foreign")
    (file,) = record.source.files
    assert file.name == "m.npy"
    assert len(file.sha256) == 64
    assert str(tmp_path) not in record.model_dump_json().replace(record.spec["dataset"].get("root", "-"), "")


def test_what_nobody_said_is_unknown_and_not_none(add, tmp_path):
    add(*saved(tmp_path, MATRIX))
    (record,) = RunStore(tmp_path / "results").records()
    assert record.selected_on is None
    assert not record.tuning.is_known


def test_the_same_file_twice_is_one_run_and_seeds_are_one_method(add, tmp_path):
    for seed, matrix in ((0, MATRIX), (0, MATRIX), (1, scores(seed=1, bonus=1.0)), (2, scores(seed=2, bonus=1.0))):
        assert add(*saved(tmp_path, matrix), "--seed", seed)[0] == 0
    records = RunStore(tmp_path / "results").records()
    assert len(records) == 3
    ((group,),) = groups(records).values()
    assert group.seeds == (0, 1, 2)


def test_another_name_or_another_word_is_another_run(add, tmp_path):
    path = saved(tmp_path, MATRIX)[0]
    for words in ((), ("--backbone", "x"), ("--variant", "v")):
        add(path, *words)
    add(path, name="others")
    assert len(RunStore(tmp_path / "results").records()) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--name", ""], "a foreign run needs a name"),
        (["--name", "two\nlines"], "--name must be one printable line"),
        (["--variant", "x" * 201], "--variant must be one printable line of at most 200 characters"),
    ],
)
def test_names_that_no_table_can_show_are_refused(words, message, add, tmp_path):
    name = words[1] if words[0] == "--name" else "theirs"
    code, said = add(*saved(tmp_path, MATRIX), *(words if words[0] != "--name" else ()), name=name)
    assert code == 2
    assert message in said
    assert RunStore(tmp_path / "results").records() == []


# Lists ---------------------------------------------------------------------------------------------------------------


def lists(folder, depth):
    np.savez(folder / "l.npz", i2t=np.argsort(-MATRIX, 1)[:, :depth], t2i=np.argsort(-MATRIX.T, 1)[:, :depth])
    return [folder / "l.npz"]


def test_cut_lists_give_recalls_up_to_their_depth_and_nothing_below(add, tmp_path):
    assert add(*lists(tmp_path, 10))[0] == 0
    store = RunStore(tmp_path / "results")
    (record,) = store.records()
    i2t, t2i = map(np.array, loop_ranks(MATRIX))
    known = record.metrics["full"]
    assert known["t2i_r10"] == pytest.approx(100 * np.mean(t2i < 10))
    assert not {"i2t_medr", "t2i_meanr", "tie_rate"} & known.keys()
    assert record.source.depths == {way: 10 for way, r in (("i2t", i2t), ("t2i", t2i)) if (r >= 10).any()}
    ((group,),) = groups([record]).values()
    runs = method_runs(store, group)
    assert runs.hits("t2i", 10)[0].tolist() == (t2i < 10).astype(float).tolist()
    with pytest.raises(InvalidRanks, match=r"its t2i lists are cut, so hits are known up to K = 10, not at 11"):
        runs.hits("t2i", 11)


def test_lists_that_do_not_decide_all_recalls_are_kept_and_named(add, tmp_path):
    code, said = add(*lists(tmp_path, 5))
    assert code == 0
    assert "theirs seed 0 has no rSum" in said
    assert "it stands in no leaderboard and no test" in said
    (record,) = RunStore(tmp_path / "results").records()
    assert "rsum" not in record.metrics["full"]
    assert groups([record]) == {}


def test_one_direction_alone_is_no_run(add, tmp_path):
    np.savez(tmp_path / "l.npz", i2t=np.argsort(-MATRIX, 1))
    code, said = add(tmp_path / "l.npz")
    assert code == 2
    assert "hold no t2i results; a run needs both directions" in said


def test_scores_are_kept_where_asked_for_and_averaged_with_others(add, tmp_path):
    others = scores(seed=5, bonus=1.0)
    add(*saved(tmp_path, MATRIX), "--save-scores")
    add(*saved(tmp_path, others), "--save-scores", name="others")
    code, said = add(*lists(tmp_path, 10), "--save-scores", name="lists")
    assert code == 2
    assert "hold no scores of all pairs, which --save-scores needs" in said
    store = RunStore(tmp_path / "results")
    ids = [record.run_id for record in store.records()]
    with pytest.raises(SystemExit) as stop:
        main(["ensemble", *ids, "--results", str(tmp_path / "results")])
    assert not stop.value.code
    (mean,) = [record for record in store.records() if record.code_origin == "ensemble"]
    table = store.ranks(mean.run_id)["full"]
    assert table.t2i_rank.tolist() == loop_ranks((MATRIX + others) / 2)[1]


# Chance ----------------------------------------------------------------------------------------------------------------


def interleaved(matrix):
    """Every image's first caption, then every second one, ..."""
    return matrix[:, np.argsort(np.arange(TEXTS) % 5, kind="stable")]


ORDERS = {
    "distances": (lambda m: -m, "worse than chance", "say so with --distances"),
    "captions block by block": (interleaved, "than chance", "the columns hold every image's first caption, then every second"),
    "shifted by an image": (lambda m: np.roll(m, 1, axis=0), "than chance", "the rows are shifted by one image"),
    "constant": (np.ones_like, "no better than chance", "100 % of the queries tie with wrong items"),
    "shuffled": (lambda m: m[:, np.random.default_rng(1).permutation(TEXTS)], "no better than chance", "check that row i"),
}  # fmt: skip


@pytest.mark.parametrize("order", ORDERS)
def test_results_at_chance_are_refused_unless_their_author_insists(order, add, evaluate, tmp_path):
    made, problem, advice = ORDERS[order]
    path = saved(tmp_path, made(scores(bonus=4.0)))[0]
    code, said = add(path)
    assert code == 2
    assert problem in said
    assert advice in said
    assert "--allow-chance" in said
    assert RunStore(tmp_path / "results").records() == []
    warned = evaluate(path)
    assert warned.code == 0
    assert advice in warned.err
    assert set(warned.content["at_chance"]) == {"i2t", "t2i"}
    assert add(path, "--allow-chance")[0] == 0


def test_a_direction_at_chance_beside_one_that_is_not_names_the_other(add, tmp_path):
    """Captions of an image that score high everywhere: images find them, nothing finds the images."""
    matrix = scores(bonus=3.0)
    matrix = matrix + 50 * np.random.default_rng(0).standard_normal(IMAGES).astype(np.float32)[:, None]
    code, said = add(*saved(tmp_path, matrix))
    assert code == 2
    assert "t2i (a caption searches images) ranks" in said
    assert "i2t is not: the order of one side" in said


def test_cut_lists_at_chance_are_noticed_by_their_recall(add, tmp_path):
    random = np.random.default_rng(3)
    i2t = np.stack([random.permutation(TEXTS)[:10] for _ in range(IMAGES)])
    t2i = np.stack([random.permutation(IMAGES)[:10] for _ in range(TEXTS)])
    np.savez(tmp_path / "l.npz", i2t=i2t, t2i=t2i)
    code, said = add(tmp_path / "l.npz")
    assert code == 2
    assert "no better than chance: R@10" in said


# A CSV of ranks --------------------------------------------------------------------------------------------------------


def rank_csv(folder, dataset, *, change=lambda rows: rows):
    from harness import datasets
    from harness.spec import Component

    split = datasets.open_dataset(Component(name="precomp", options={"root": str(dataset)})).split("test")
    i2t, t2i = loop_ranks(MATRIX)
    images = [str(name) for name in split.image_ids]
    rows = [f"{name},i2t,{rank},{name},,0,theirs" for name, rank in zip(images, i2t, strict=True)]
    for name, owner, rank in zip(split.caption_ids, OWNER, t2i, strict=True):
        rows.append(f"{name},t2i,{rank},{images[owner]},{name},0,theirs")
    path = folder / "ranks.csv"
    path.write_text("\n".join(["query_id,direction,rank,image_id,caption_id,seed,method", *change(rows)]))
    return path


def test_a_csv_of_ranks_in_any_order_gives_the_ranks_of_the_matrix(add, folder, tmp_path):
    code, said = add(rank_csv(tmp_path, folder, change=lambda rows: rows[::-1]))
    assert code == 0, said
    store = RunStore(tmp_path / "results")
    (record,) = store.records()
    table = store.ranks(record.run_id)["full"]
    assert (table.i2t_rank.tolist(), table.t2i_rank.tolist()) == loop_ranks(MATRIX)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], f"{TEXTS - 1} of the dataset's {TEXTS}"),
        (lambda rows: [*rows, *(row.replace(",0,theirs", ",1,theirs") for row in rows)], "holds ranks of 2 runs"),
        (lambda rows: [row.replace(",0,theirs", ",best,theirs") for row in rows], "the best of several seeds"),
    ],
)
def test_a_csv_of_other_queries_or_several_runs_is_refused(change, message, add, folder, tmp_path):
    code, said = add(rank_csv(tmp_path, folder, change=change))
    assert code == 2
    assert message in said
    assert RunStore(tmp_path / "results").records() == []


# Beside others ---------------------------------------------------------------------------------------------------------


def test_added_runs_are_compared_as_their_ranks_say(tmp_path, add):
    root = write_dataset(tmp_path / "many_precomp", MANY)
    for name, bonus in (("strong", 2.0), ("weak", 1.0)):
        matrix = scores(MANY, 5 * MANY, seed=1, bonus=bonus)
        assert add(*saved(tmp_path, matrix), root=root, name=name)[0] == 0
    results = tmp_path / "results"
    (subject,) = read_sources([str(results)], results, protocols=["full"])
    comparison = compare(subject.methods, metrics=("rsum",))
    (row,) = comparison.rows
    assert {row.a, row.b} == {"strong", "weak"}
    recorded = {record.label: record.metrics["full"]["rsum"] for record in RunStore(results).records()}
    assert abs(row.difference) == pytest.approx(recorded["strong"] - recorded["weak"])
    assert row.significant


def test_evaluate_gives_the_interval_of_the_image_as_unit(evaluate, tmp_path):
    found = evaluate(*saved(tmp_path, MATRIX))
    low, high = found.content["intervals"]["protocols"]["full"]["i2t_r5"]
    hits = np.array(loop_ranks(MATRIX)[0]) < 5
    error = hits.std(ddof=1) / np.sqrt(IMAGES)
    from scipy import stats

    factor = stats.t.ppf(0.975, IMAGES - 1)
    middle = 100 * hits.mean()
    assert (low, high) == pytest.approx(
        (max(0, middle - 100 * factor * error), min(100, middle + 100 * factor * error))
    )
    assert found.content["intervals"]["unit"] == "image"
    assert "95 % interval" in found.out
    assert json.dumps(found.content)
