"""The same matrix evaluated by us and by others: eccv_caption, torchmetrics, ranx, and the authors' golden values.

Then the commands that let other code in: `itm evaluate`, `itm rescore`, `itm ensemble`, `itm compare-published`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import protocols
from harness.files import strict_yaml
from harness.metrics import relevance_metrics, retrieval_metrics
from harness.records.store import RunStore

GOLDEN = Path(__file__).parents[1] / "golden" / "retrieval.npz"


# eccv_caption ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coco():
    """COCO's test split as ids, and a random matrix over it that knows a little (5,000 x 25,000, no ties)."""
    pytest.importorskip("eccv_caption", reason="needs the extra eccv: pip install eccv_caption")
    from harness.protocols import coco as judgements

    folder = judgements._package_data("cxc")
    captions = np.load(folder / "coco_test_ids.npy")
    own = judgements._read(folder / "original_caption_to_image.json")
    owner = np.array([own[int(caption)][0] for caption in captions])
    images = owner[::5]
    assert np.array_equal(np.repeat(images, 5), owner)  # file order: five captions an image
    rows = np.arange(25_000) // 5
    scores = np.random.default_rng(0).standard_normal((5000, 25_000), dtype=np.float32)
    scores[rows, np.arange(25_000)] += 3
    subject = protocols.Subject(
        image_ids=[f"COCO_val2014_{image:012d}.jpg" for image in images],
        caption_ids=[str(caption) for caption in captions],
        caption_image=rows,
        title="mscoco",
    )
    return subject, images, captions, scores


@pytest.fixture(scope="module")
def theirs(coco):
    """`eccv_caption`'s numbers of that matrix."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it advises to install ujson
        from eccv_caption import Metrics

        evaluator = Metrics()
    _, images, captions, scores = coco
    depth = 60  # deeper than any R of ECCV Caption
    i2t = {int(image): captions[top].tolist() for image, top in zip(images, _top(scores, depth), strict=True)}
    t2i = {int(caption): images[top].tolist() for caption, top in zip(captions, _top(scores.T, depth), strict=True)}
    names = ("coco_5k_recalls", "cxc_recalls")
    found = evaluator.compute_all_metrics(i2t, t2i, target_metrics=names, Ks=(1, 5, 10))
    return found | evaluator.eccv_metrics({"i2t": i2t, "t2i": t2i}, "all")


def _top(scores: np.ndarray, depth: int) -> np.ndarray:
    """(rows, depth) the columns of the highest scores, best first."""
    blocks = (
        torch.from_numpy(np.ascontiguousarray(scores[start : start + 500])) for start in range(0, len(scores), 500)
    )
    return np.concatenate([torch.topk(block, depth, dim=1).indices.numpy() for block in blocks])


@pytest.mark.parametrize("name", ["coco_5k", "cxc"])
def test_recalls_equal_those_of_eccv_caption(coco, theirs, name):
    subject, _, _, scores = coco
    got = protocols.get(name).evaluate(scores, subject).metrics
    for k in (1, 5, 10):
        for direction, value in theirs[f"{name}_r{k}"].items():
            assert got[f"{direction}_r{k}"] == pytest.approx(100 * value, abs=1e-9)
            assert 0 < value < 1


def test_map_at_r_and_r_precision_equal_those_of_eccv_caption(coco, theirs):
    subject, _, _, scores = coco
    got = protocols.get("eccv_caption").evaluate(scores, subject)
    assert got.info["queries"] == {"i2t": 1261, "t2i": 1332}
    for ours, name in (("map_at_r", "eccv_map_at_r"), ("r_precision", "eccv_rprecision"), ("r1", "eccv_r1")):
        for direction, value in theirs[name].items():
            assert got.metrics[f"{direction}_{ours}"] == pytest.approx(100 * value, abs=1e-9)
            assert 0 < value < 1


def test_ids_and_positions_find_the_same_pairs(coco):
    from dataclasses import replace

    subject, _, _, scores = coco
    by_position = replace(
        subject, image_ids=[f"{i}" for i in range(5000)], caption_ids=[f"{c}#" for c in range(25_000)]
    )
    first, second = (protocols.get("eccv_caption").evaluate(scores, s) for s in (subject, by_position))
    assert (first.info["matched"], second.info["matched"]) == ("ids", "position in file order")
    assert first.metrics == second.metrics


def test_coco_1k_equals_eccv_caption_on_image_queries_of_the_first_fold(coco):
    from eccv_caption._metrics import compute_coco1k_r_at_k

    subject, images, captions, scores = coco
    got = protocols.get("coco_1k").evaluate(scores, subject).ranks
    fold = set(captions[:5000].tolist())
    order = np.argsort(-scores[:20], axis=1)
    for k in (1, 5, 10):
        wanted = {int(images[i]): captions[5 * i : 5 * i + 5].tolist() for i in range(20)}
        ranked = {int(images[i]): captions[order[i]].tolist() for i in range(20)}
        assert np.mean(got.i2t_rank[:20] < k) == pytest.approx(
            compute_coco1k_r_at_k(ranked, wanted, fold, k), abs=1e-12
        )


# torchmetrics and ranx ---------------------------------------------------------------------------------------------


def _matrix(shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    scores = np.random.default_rng(1).normal(size=(40, 120)) + shift
    return scores.astype(np.float32), np.random.default_rng(2).random((40, 120)) < 0.05


@pytest.mark.parametrize("shift", [0.0, -100.0])
def test_recall_at_k_is_the_hit_rate_of_torchmetrics_and_r_precision_its_r_precision(shift):
    name = "torchmetrics.functional.retrieval"
    theirs = pytest.importorskip(name, reason="torchmetrics is not installed: pip install torchmetrics")
    scores, relevance = _matrix(shift)
    got = relevance_metrics(scores, relevance)
    for direction, rows, flags in (("i2t", scores, relevance), ("t2i", scores.T, relevance.T)):
        asked = [(torch.tensor(s), torch.tensor(f)) for s, f in zip(rows.copy(), flags.copy(), strict=True) if f.any()]
        for k in (1, 5, 10):
            rate = np.mean([theirs.retrieval_hit_rate(s, f, top_k=k).item() for s, f in asked])
            assert got[f"{direction}_r{k}"] == pytest.approx(100 * rate, abs=1e-9)
        precision = np.mean([theirs.retrieval_r_precision(s, f).double().item() for s, f in asked])
        assert got[f"{direction}_r_precision"] == pytest.approx(100 * precision, abs=1e-5)  # it divides in float32


def test_torchmetrics_recall_differs_because_it_drops_positives_scored_zero_or_less():
    name = "torchmetrics.functional.retrieval"
    theirs = pytest.importorskip(name, reason="torchmetrics is not installed: pip install torchmetrics")
    scores, owner = _matrix()[0][:, :40] * 0.1, np.arange(40)
    scores[owner, owner] += 1
    negative = scores - 10  # the same order
    ours = [retrieval_metrics(matrix, owner)["i2t_r1"] for matrix in (scores, negative)]
    recall = [
        100 * np.mean([theirs.retrieval_recall(torch.tensor(row), torch.arange(40) == i, top_k=1) for i, row in pairs])
        for pairs in (list(enumerate(scores)), list(enumerate(negative)))
    ]
    assert ours == [100.0, 100.0]
    assert recall == [100.0, 0.0]


def test_recall_at_k_is_the_hit_rate_of_ranx():
    ranx = pytest.importorskip("ranx", reason="ranx (with numba) is not installed: pip install ranx")
    scores, relevance = _matrix()
    got = relevance_metrics(scores, relevance)
    for direction, rows, flags in (("i2t", scores, relevance), ("t2i", scores.T, relevance.T)):
        asked = np.flatnonzero(flags.any(axis=1))
        qrels = {f"q{q}": {f"d{i}": 1 for i in np.flatnonzero(flags[q])} for q in asked}
        run = {f"q{q}": {f"d{i}": float(s) for i, s in enumerate(rows[q])} for q in asked}
        found = ranx.evaluate(
            ranx.Qrels(qrels), ranx.Run(run), ["hit_rate@1", "hit_rate@5", "hit_rate@10", "r-precision"]
        )
        for k in (1, 5, 10):
            assert got[f"{direction}_r{k}"] == pytest.approx(100 * found[f"hit_rate@{k}"], abs=1e-9)
        assert got[f"{direction}_r_precision"] == pytest.approx(100 * found["r-precision"], abs=1e-9)


def test_the_authors_values_are_those_of_every_path():
    golden = np.load(GOLDEN)
    owner = np.arange(100) // 5
    relevance = owner[None] == np.arange(20)[:, None]
    full = protocols.evaluate(
        "full", golden["scores"], owner, [f"i{i}" for i in range(20)], [f"c{c}" for c in range(100)]
    )
    for metrics in (full.metrics, relevance_metrics(golden["scores"], relevance)):
        for direction in ("i2t", "t2i"):
            got = [metrics[f"{direction}_{key}"] for key in ("r1", "r5", "r10", "medr", "meanr")]
            np.testing.assert_allclose(got, golden[direction], rtol=0, atol=1e-9)


# Commands ----------------------------------------------------------------------------------------------------------


SCENES = ["--dataset", "scenes"]
for _option in ("train_images=4", "val_images=4", "test_images=12", "image_size=32"):
    SCENES += ["--set", _option]


@pytest.fixture
def scores(tmp_path) -> Path:
    path = tmp_path / "scores.npy"
    np.save(path, np.random.default_rng(0).normal(size=(12, 60)).round(1))
    return path


def test_evaluate_takes_a_matrix_of_any_code(itm, scores, tmp_path):
    code, out, err = itm("evaluate", scores, *SCENES, "--ties", "all", "--json", tmp_path / "out.json")
    assert code == 0, err
    assert "captions repeat another one word for word" in err
    (unfit,) = [line for line in err.splitlines() if line.startswith("not evaluated: ")]
    assert "coco_5k" in unfit
    assert "which are defined on other data" in unfit
    found = json.loads((tmp_path / "out.json").read_text())
    owner = np.arange(60) // 5
    for ties in ("pessimistic", "optimistic", "expected"):
        expected = retrieval_metrics(np.load(scores), owner, ties)
        assert found["metrics"]["full"][ties] == pytest.approx(expected)
        assert f"{expected['rsum']:.2f}" in out
    assert set(found["metrics"]) == {"full", "scenes_relevance"}
    assert found["duplicate_captions"]["captions"] == 60


def test_evaluate_marks_an_ensemble(itm, scores, tmp_path):
    other = tmp_path / "other.npy"
    np.save(other, np.random.default_rng(1).normal(size=(12, 60)))
    code, out, _ = itm(
        "evaluate", scores, other, *SCENES, "--ensemble", "--protocol", "full", "--json", tmp_path / "o.json"
    )
    assert code == 0
    assert "scores.npy + other.npy (ensemble) on scenes test" in out
    found = json.loads((tmp_path / "o.json").read_text())
    assert found["origin"] == "ensemble"
    mean = (np.load(scores) + np.load(other)) / 2
    assert found["metrics"]["full"]["pessimistic"] == pytest.approx(retrieval_metrics(mean, np.arange(60) // 5))
    for arguments in ((scores, other), (scores, "--ensemble")):
        code, _, err = itm("evaluate", *arguments, *SCENES)
        assert code == 2
        assert "--ensemble" in err


@pytest.mark.parametrize(
    ("matrix", "arguments", "message"),
    [
        (np.zeros((60, 11)), [], "has shape (60, 11), the dataset has 12 images and 60 captions: expected (12, 60)"),
        (np.zeros((12, 60), dtype=complex), [], "scores must be real numbers"),
        (np.full((12, 60), np.nan), [], "holds nan at image 0, caption 0"),
        (np.zeros((12, 60)), ["--protocol", "coco_5k"], "defined on 5,000 test images, this dataset has 12"),
        (np.zeros((12, 60)), ["--protocol", "ful"], "did you mean 'full'?"),
        (np.zeros((12, 60)), ["--set", "bad"], "--set takes key=value"),
    ],
)
def test_evaluate_refuses_in_one_line(itm, tmp_path, matrix, arguments, message):
    np.save(tmp_path / "scores.npy", matrix)
    code, _, err = itm("evaluate", tmp_path / "scores.npy", *SCENES, *arguments)
    assert code == 2
    (line,) = [line for line in err.splitlines() if line.startswith("itm: error:")]
    assert message in line


def test_a_run_is_rescored_ensembled_and_compared(itm, tiny, tmp_path):
    tiny = {**tiny, "evaluation": {**tiny["evaluation"], "save_scores": True}, "training": {"epochs": 0}}
    tiny["scorers"] = ["scan.t2i_avg", "scan.i2t_avg"] if "t2i_avg" in _variants("scan") else ["scan", "chan"]
    path = tmp_path / "tiny.yaml"
    path.write_text(strict_yaml.dump(tiny))
    code, _, err = itm("leaderboard", path, "--no-mlflow")
    assert code == 0, err
    store = RunStore(tmp_path / "results")
    first, second = store.records()
    assert first.evaluation.duplicate_captions["captions"] == 60

    code, out, err = itm("rescore", first.run_id[:8], "--protocol", "scenes_relevance", "--ties", "all")
    assert code == 0, err
    assert "from scores.npy" in out
    assert "scenes_relevance" in store.read(first.run_id).metrics
    code, out, _ = itm("rescore", store.folder(first.run_id), "--protocol", "human")
    assert code == 2

    code, out, err = itm("ensemble", first.run_id, second.run_id)
    assert code == 0, err
    assert f"{first.label} + {second.label} (ensemble)" in out
    code, out, _ = itm("ls", "runs")
    assert code == 0
    assert "scenes_relevance rSum" in out
    assert itm("report", tmp_path / "results")[0] == 0
    assert "ensemble" in (tmp_path / "results/leaderboards/all-scenes/leaderboard.csv").read_text()

    code, out, err = itm("compare-published", tmp_path / "results")
    assert code == 0, err
    assert "no published row of this method on scenes, full; nearest: SCAN" in out
    written = {p.name for p in (tmp_path / "results/compare-published").iterdir()}
    assert {f"compare-published.{ending}" for ending in ("md", "html", "csv", "json", "tex")} <= written


def _variants(name: str) -> set[str]:
    from harness import registry

    return set(registry.variants(name))


def test_compare_published_needs_a_run(itm, tmp_path):
    code, _, err = itm("compare-published", tmp_path)
    assert code == 2
    assert "no finished run below" in err
