"""Rescoring and ensembles of recorded runs: the numbers of a run made anew, and what is refused where they cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from harness import datasets
from harness.errors import InvalidDataset, InvalidProtocol, InvalidRecord, InvalidSimilarity
from harness.metrics import retrieval_metrics
from harness.records.parts import Evaluation
from harness.records.run import RunRecord
from harness.records.scores import mean_scores, open_scores
from harness.records.store import RunStore
from harness.records.ties import ALL_TIES
from harness.runs.ensemble import record_ensemble
from harness.runs.evaluation import evaluate
from harness.runs.rescoring import rescore
from harness.spec import Component, EvaluationSpec

OPTIONS = {"train_images": 4, "val_images": 4, "test_images": 12, "image_size": 32}


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "results")


@pytest.fixture
def dataset():
    return datasets.open_dataset(Component(name="scenes", options=OPTIONS))


def add_run(store, dataset, run_id="a" * 16, *, scores=None, keep=True, ties="pessimistic", seed=0, **changes):
    """A finished run of made-up scores, with or without its matrix."""
    split = dataset.split("test")
    if scores is None:  # one decimal: many ties
        draw = np.random.default_rng([seed, *run_id.encode()])
        scores = draw.normal(size=(len(split.image_ids), len(split.captions))).round(1).astype(np.float32)
    results = evaluate(scores, split, ["full"], EvaluationSpec(ties=ties), dataset)
    component = datasets.DATASETS.resolve(Component(name="scenes", options=OPTIONS))
    record = RunRecord(
        **{
            "run_id": run_id,
            "scorer": "scan",
            "variant": "t2i",
            "backbone": "regions+bigru",
            "dataset": dataset.title,
            "protocols": ("full",),
            "seed": seed,
            "metrics": results.metrics,
            "evaluation": results.info,
            "cost": {"params_millions": 2.0, "encode_image_ms_p50": 1.0},
            "data_sha256": dataset.sha256,
            "spec": {
                "scorer": "scan",
                "seed": seed,
                "dataset": component.model_dump(mode="json"),
                "evaluation": {"ties": ties},
            },
            "status": "finished",
            "started": "2026-01-01T00:00:00+00:00",
            **changes,
        }
    )
    store.write(record)
    store.write_ranks(run_id, results.ranks)
    if keep:
        np.save(store.folder(run_id) / "scores.npy", scores)
    return scores


def test_a_run_without_lists_gets_them_from_its_scores(store, dataset):
    scores = add_run(store, dataset)
    assert store.top("a" * 16) is None  # as of an earlier version
    rescore(store, "a" * 16, ["scenes_relevance"])
    np.testing.assert_array_equal(store.top("a" * 16).t2i_top, np.argsort(-scores.T, axis=1, kind="stable")[:, :10])


def test_a_protocol_is_added_from_the_scores_under_every_tie_rule(store, dataset):
    scores = add_run(store, dataset)
    done = rescore(store, "a" * 16, ["scenes_relevance", "full"], ALL_TIES)
    split = dataset.split("test")
    for ties in ALL_TIES:
        expected = evaluate(scores, split, ["scenes_relevance", "full"], EvaluationSpec(ties=ties), dataset)
        for name in ("scenes_relevance", "full"):
            assert done.metrics[name][ties] == expected.metrics[name]
    record = store.read("a" * 16)
    assert record is not None
    assert record.protocols == ("full", "scenes_relevance")
    assert record.metrics["scenes_relevance"] == done.metrics["scenes_relevance"]["pessimistic"]
    assert set(record.evaluation.other_ties["full"]) == {"optimistic", "expected"}
    assert record.evaluation.protocols["scenes_relevance"]["queries"] == {"i2t": 12, "t2i": 60}
    assert set(store.ranks("a" * 16)) == {"full", "scenes_relevance"}


@pytest.mark.parametrize("own", ALL_TIES)
def test_ranks_suffice_for_the_tie_rules_that_they_decide(store, dataset, own):
    # distinct for image queries, tied for caption queries: all three rules follow from the ranks
    draw = np.random.default_rng(0)
    scores = draw.permuted(np.tile(np.arange(60.0), (12, 1)), axis=1)
    add_run(store, dataset, scores=scores, keep=False, ties=own)
    done = rescore(store, "a" * 16, ["full"], ALL_TIES)
    assert done.source == "ranks.npz"
    owner = dataset.split("test").caption_image
    for ties in ALL_TIES:
        expected = retrieval_metrics(scores, owner, ties)
        assert expected["tie_rate"] > 0
        assert done.metrics["full"][ties] == pytest.approx(expected)


def test_ranks_of_tied_image_queries_decide_every_rule(store, dataset):
    """A constant: under the expected rule recalls are chance, 5 positives of 60 for an image and 1 of 12 for a caption."""
    add_run(store, dataset, scores=np.ones((12, 60)), keep=False)
    found = rescore(store, "a" * 16, ["full"], ALL_TIES).metrics["full"]
    owner = dataset.split("test").caption_image
    for ties in ALL_TIES:
        assert found[ties] == pytest.approx(retrieval_metrics(np.ones((12, 60)), owner, ties))
    assert found["expected"]["t2i_r5"] == pytest.approx(100 * 5 / 12)
    assert found["expected"]["i2t_r1"] == pytest.approx(100 * 5 / 60)


def test_ranks_of_earlier_versions_do_not_decide_the_expected_rule(store, dataset):
    add_run(store, dataset, scores=np.ones((12, 60)), keep=False)
    path = store.folder("a" * 16) / "ranks.npz"
    with np.load(path) as arrays:
        kept = {name: arrays[name] for name in arrays.files if not name.endswith("best_tied")}
    np.savez(path, **kept)
    assert rescore(store, "a" * 16, ["full"], ["optimistic"]).metrics["full"]["optimistic"]["rsum"] == 600.0
    with pytest.raises(InvalidRecord, match=r"12 image queries of protocol full tie.*save_scores=true"):
        rescore(store, "a" * 16, ["full"], ["expected"])


def test_what_is_missing_is_said_and_nothing_is_written(store, dataset):
    add_run(store, dataset, keep=False)
    before = store.read("a" * 16)
    with pytest.raises(InvalidRecord, match=r"no scores\.npy, which protocol scenes_relevance needs.*save_scores=true"):
        rescore(store, "a" * 16, ["full", "scenes_relevance"])
    with pytest.raises(InvalidProtocol, match="5,000 test images, this dataset has 12"):
        rescore(store, "a" * 16, ["coco_5k"])
    with pytest.raises(InvalidRecord, match="a finished one is needed"):
        rescore(store, "b" * 16, ["full"])
    assert store.read("a" * 16) == before


def test_numbers_are_not_made_from_another_runs_scores_or_ranks(store, dataset):
    """What can be computed again must be what the record says, or nothing is written."""
    add_run(store, dataset)
    add_run(store, dataset, "b" * 16, keep=False)
    other = np.random.default_rng(9).normal(size=(12, 60)).astype(np.float32)
    np.save(store.folder("a" * 16) / "scores.npy", other)
    store.write_ranks(
        "b" * 16, {"full": evaluate(other, dataset.split("test"), ["full"], EvaluationSpec()).ranks["full"]}
    )
    for run_id, source in (("a" * 16, r"scores\.npy"), ("b" * 16, r"ranks\.npz")):
        files = [store.folder(run_id) / name for name in ("record.json", "ranks.npz")]
        before = [path.read_bytes() for path in files]
        with pytest.raises(InvalidRecord, match=rf"record\.json says .* on full, {source} gives"):
            rescore(store, run_id, ["full"], ["optimistic"])
        assert [path.read_bytes() for path in files] == before


@pytest.mark.parametrize("value", [-1, 0.5, 61])
def test_numbers_are_not_made_from_ranks_that_cannot_be(store, dataset, value):
    add_run(store, dataset, keep=False)
    path = store.folder("a" * 16) / "ranks.npz"
    arrays = dict(np.load(path))
    ranks = arrays["full/i2t_rank"].astype(float)
    ranks[3] = value
    np.savez(path, **{**arrays, "full/i2t_rank": ranks})
    before = (store.folder("a" * 16) / "record.json").read_bytes()
    with pytest.raises(InvalidRecord, match=rf"i2t_rank holds {value:g}"):
        rescore(store, "a" * 16, ["full"], ["optimistic"])
    assert (store.folder("a" * 16) / "record.json").read_bytes() == before


def test_data_that_changed_are_refused(store, dataset):
    add_run(store, dataset)
    with pytest.raises(InvalidDataset, match="are not those of run"):
        rescore(store, "a" * 16, ["full"], options={"seed": 1})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((60, 12)), "transposed"),
        (np.zeros((12, 59)), r"expected \(12, 60\)"),
        (np.zeros((12, 60), dtype=complex), "complex128"),
        (np.full((12, 60), "a"), "<U1"),
        (np.array([[None] * 60] * 12), "Python objects, which is a pickle"),
        (np.full((12, 60), np.nan), "nan at image 0, caption 0"),
        (b"not an array", "is a text; expected a NumPy array"),
    ],
)
def test_a_matrix_of_other_code_is_checked(tmp_path, content, message):
    path = tmp_path / "scores.npy"
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
    with pytest.raises(InvalidSimilarity, match=message):
        open_scores(path, 12, 60)


def test_a_missing_matrix_and_an_archive_are_refused(tmp_path):
    with pytest.raises(InvalidSimilarity, match="does not exist"):
        open_scores(tmp_path / "none.npy", 1, 1)
    np.savez(tmp_path / "many.npz", a=np.zeros((1, 1)))
    with pytest.raises(InvalidSimilarity, match="archive"):
        open_scores(tmp_path / "many.npz", 1, 1)


def test_the_mean_is_that_of_the_field(monkeypatch):
    matrices = [np.random.default_rng(i).normal(size=(5, 7)).astype(np.float32) for i in range(3)]
    monkeypatch.setattr("harness.records.scores._BLOCK_ELEMENTS", 8)
    got = mean_scores(matrices)
    np.testing.assert_array_equal(got, (matrices[0] + matrices[1] + matrices[2]) / 3)
    assert got.dtype == np.float32
    assert mean_scores([matrices[0], np.ones((5, 7))]).dtype == np.float64


def test_an_ensemble_is_the_mean_and_says_so_everywhere(store, dataset):
    first = add_run(store, dataset)
    second = add_run(store, dataset, "b" * 16, variant="i2t")
    record = record_ensemble(store, ["a" * 16, "b" * 16])
    assert record.label == "scan.t2i + scan.i2t (ensemble)"
    assert record.code_origin == "ensemble"
    assert record.evaluation.ensemble == ("a" * 16, "b" * 16)
    assert record.cost.figures == {"params_millions": 4.0}  # times of two runs do not add up to one
    expected = retrieval_metrics((first + second) / 2, dataset.split("test").caption_image)
    assert record.metrics["full"] == expected
    assert rescore(store, record.run_id, ["scenes_relevance"]).record.metrics["full"] == expected
    np.testing.assert_array_equal(
        store.top(record.run_id).i2t_top, np.argsort(-(first + second) / 2, axis=1, kind="stable")[:, :10]
    )

    from harness.reports.leaderboard import report as leaderboard

    board = leaderboard.build(store, ["a" * 16, record.run_id], title="with an ensemble")
    (row,) = board.main.query("label == 'scan.t2i + scan.i2t (ensemble)' and protocol == 'full'").to_dict("records")
    assert (row["origin"], row["rsum"]) == ("ensemble", pytest.approx(expected["rsum"]))


def test_ensembles_over_seeds_are_one_method(store, dataset):
    from harness.reports.runs.groups import groups

    for seed in (0, 1):
        for number, variant in enumerate(("t2i", "i2t")):
            add_run(store, dataset, f"{seed}{number}" * 8, variant=variant, seed=seed)
    made = [record_ensemble(store, [f"{seed}0" * 8, f"{seed}1" * 8]) for seed in (0, 1)]
    (group,) = next(iter(groups(made).values()))
    assert group.seeds == (0, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep": False}, r"no scores\.npy"),
        ({"data_sha256": "f" * 64}, "differ in data_sha256"),
        ({"ties": "optimistic"}, "different tie rules"),
    ],
)
def test_ensembles_of_what_does_not_belong_together_are_refused(store, dataset, changes, message):
    add_run(store, dataset)
    add_run(store, dataset, "b" * 16, **changes)
    with pytest.raises(InvalidRecord, match=message):
        record_ensemble(store, ["a" * 16, "b" * 16])


@pytest.mark.parametrize("ids", [["a" * 16], ["a" * 16, "a" * 16]])
def test_one_run_is_no_ensemble(store, dataset, ids):
    add_run(store, dataset)
    with pytest.raises(InvalidRecord, match="two or more different runs"):
        record_ensemble(store, ids)


def test_a_leaderboard_takes_a_protocol_that_asks_some_images_only_and_leaves_out_one_without_rsum(store, tmp_path):
    from harness import protocols
    from harness.reports.leaderboard import report as leaderboard

    (tmp_path / "ExpertAnnotations.txt").write_text("".join(f"i{k}\ti{k + 1}#0\t{1 + k % 4}\t3\t3\n" for k in range(8)))
    images = [f"i{k}" for k in range(10)]
    problem = {
        "caption_image": np.repeat(np.arange(10), 2),
        "image_ids": images,
        "caption_ids": [f"{image}#{k}" for image in images for k in range(2)],
        "title": "flickr8k",
        "root": tmp_path,
    }
    for number, scorer in enumerate(("scan", "chan")):
        found = protocols.evaluate("human", np.random.default_rng(number).normal(size=(10, 20)), **problem)
        record = RunRecord(
            run_id=f"{number}" * 16,
            scorer=scorer,
            backbone="regions+bigru",
            dataset="flickr8k",
            protocols=("human", "odd"),
            seed=0,
            metrics={"human": found.metrics, "odd": {"i2t_r_precision": 1.0}},
            data_sha256="a" * 64,
            status="finished",
            started="2026-01-01T00:00:00+00:00",
        )
        store.write(record)
        store.write_ranks(record.run_id, {"human": found.ranks})
    board = leaderboard.build(store, ["0" * 16, "1" * 16], title="judged").main
    assert set(board["protocol"]) == {"human"}
    assert set(board["images"]) == {8}  # i0 to i7 were judged
    assert set(board["captions"]) == {8}


@pytest.mark.parametrize("keep", [True, False])
def test_a_metric_of_recorded_ranks_is_that_of_an_evaluation_that_asks_for_it(store, dataset, keep):
    scores = add_run(store, dataset, keep=keep)
    done = rescore(store, "a" * 16, [], metrics=["mrr"])
    spec = EvaluationSpec(metrics=["mrr"])
    assert done.source == "ranks.npz"
    expected = evaluate(scores, dataset.split("test"), ["full"], spec, dataset)
    record = store.require("a" * 16)
    assert record.metrics["full"] == pytest.approx(expected.metrics["full"])
    assert record.evaluation.metrics == expected.info["metrics"]
    # From now on the metric belongs to the run: further rules have it, too.
    done = rescore(store, "a" * 16, ["full"], ALL_TIES)
    for rule in ALL_TIES:
        spec = EvaluationSpec(metrics=["mrr"], ties=rule)
        expected = evaluate(scores, dataset.split("test"), ["full"], spec, dataset)
        assert done.metrics["full"][rule] == pytest.approx(expected.metrics["full"])


def test_a_metric_whose_plugin_is_not_named_keeps_its_numbers_and_one_that_changed_is_computed_anew(
    store, dataset, caplog
):
    kept = {
        "gone": {"better": "higher", "plugin": "gone.py", "sha256": "1"},
        "mrr": {"better": "higher", "sha256": "1"},
    }
    scores = add_run(store, dataset)
    record = store.require("a" * 16)
    numbers = {**record.metrics["full"], "i2t_gone": 1.0, "t2i_gone": 2.0, "i2t_mrr": -1.0, "t2i_mrr": -1.0}
    others = {"full": {"expected": {"i2t_r1": 5.0, "i2t_mrr": -1.0, "i2t_gone": 3.0}}}
    evaluation = Evaluation(ties="pessimistic", metrics=kept, other_ties=others)
    store.write(record.model_copy(update={"metrics": {"full": numbers}, "evaluation": evaluation}))
    rescore(store, "a" * 16, ["scenes_relevance"])
    found = store.require("a" * 16)
    spec = EvaluationSpec(metrics=["mrr"])
    expected = evaluate(scores, dataset.split("test"), ["full", "scenes_relevance"], spec, dataset).metrics
    assert found.metrics["full"] == pytest.approx({**expected["full"], "i2t_gone": 1.0, "t2i_gone": 2.0})
    assert found.metrics["scenes_relevance"] == pytest.approx(expected["scenes_relevance"])
    assert found.evaluation.other_ties == {"full": {"expected": {"i2t_r1": 5.0, "i2t_gone": 3.0}}}
    assert found.evaluation.metrics["gone"].plugin == "gone.py"
    assert found.evaluation.metrics["mrr"].sha256 == ""
    assert (
        "metric 'gone' of this run is not computed for scenes_relevance: name its plug-in with --plugin gone.py"
        in caplog.text
    )


def test_candidate_lists_decide_no_metric(store, dataset):
    add_run(store, dataset, keep=False, source={"depths": {"i2t": 10, "t2i": 10}})
    with pytest.raises(InvalidRecord, match=r"candidate lists.*not mrr"):
        rescore(store, "a" * 16, [], metrics=["mrr"])
