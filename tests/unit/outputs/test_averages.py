"""Results of which only averages are known: what is read, what is never guessed, and how the record takes part."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from outputs_cases import IMAGES, OWNER, TEXTS, scores

from harness import datasets
from harness.cli.main import main
from harness.errors import InvalidSimilarity, ItmError
from harness.outputs.averages import is_averages, read_averages
from harness.records.store import RunStore
from harness.records.ties import RECALLS
from harness.reports.frozen.contents import About, frozen_files
from harness.reports.gate.sides import Place, one_side
from harness.reports.leaderboard.report import build
from harness.reports.published import compare
from harness.reports.run.overview import overview
from harness.reports.runs.sources import read_sources
from harness.reports.runs.stores import join
from harness.reports.significance.examine import Request, examine_all
from harness.runs.rescoring import rescore
from harness.spec import Component

SIX = dict(zip(RECALLS, (82.1, 95.9, 97.0, 61.5, 85.3, 91.0), strict=True))
RSUM = 512.8
#: As CLIP_benchmark writes it with --recall_k 1 5 10 20; its image_retrieval searches images for a caption.
CLIP_BENCHMARK = {
    "dataset": "wds/flickr8k",
    "model": "ViT-B-32",
    "pretrained": "laion2b_e16",
    "task": "zeroshot_retrieval",
    "metrics": {
        "image_retrieval_recall@1": 0.615, "text_retrieval_recall@1": 0.821,
        "image_retrieval_recall@5": 0.853, "text_retrieval_recall@5": 0.959,
        "image_retrieval_recall@10": 0.91, "text_retrieval_recall@10": 0.97,
        "image_retrieval_recall@20": 0.95,
    },
    "language": "en",
}  # fmt: skip


def written(path, values):
    if path.suffix == ".json":
        path.write_text(json.dumps(values))
    else:
        path.write_text(f"{','.join(values)}\n{','.join(map(str, values.values()))}\n")
    return path


def of_clip_benchmark(**metrics):
    return {**CLIP_BENCHMARK, "metrics": metrics}


FORMS = {
    "CLIP_benchmark": ("a.json", CLIP_BENCHMARK, None),
    "JSON": ("a.json", SIX, None),
    "CSV": ("a.csv", SIX, None),
    "with its sum": ("a.csv", {**SIX, "rsum": 512.9}, None),
    "fractions": ("a.csv", {key: value / 100 for key, value in SIX.items()}, "fraction"),
    "with other columns": ("a.csv", {"method": "theirs", **SIX}, "percent"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_percents(form, tmp_path):
    name, values, unit = FORMS[form]
    path = written(tmp_path / name, values)
    assert is_averages(path)
    assert read_averages(path, unit).metrics == pytest.approx({**SIX, "rsum": RSUM})


REFUSED = {
    "values that may be fractions": ("a.csv", {"i2t_r1": 0.58, "t2i_r1": 0.4}, None, "--unit fraction or --unit percent"),
    "all zeros": ("a.csv", {"i2t_r1": 0, "t2i_r1": 0}, None, "--unit"),
    "above 100": ("a.csv", {**SIX, "i2t_r10": 101}, None, "i2t_r10 is 101"),
    "below 0": ("a.csv", {**SIX, "i2t_r1": -1}, None, "i2t_r1 is -1"),
    "percents that are called fractions": ("a.csv", SIX, "fraction", "a fraction of 0 to 1"),
    "falling recalls": ("a.csv", {"i2t_r1": 60, "i2t_r5": 50}, None, "more items find no fewer"),
    "falling recalls over a gap": ("a.json", {"t2i_r1": 60, "t2i_r10": 50}, None, "more items find no fewer"),
    "another sum": ("a.csv", {**SIX, "rsum": 513.0}, None, "the sum of the six is 512.80"),
    "an impossible sum": ("a.csv", {"i2t_r1": 50, "rsum": 40}, None, "the 1 known make 50.00"),
    "no number": ("a.csv", {**SIX, "i2t_r1": "82.1%"}, None, "i2t_r1 is '82.1%'"),
    "not a number": ("a.csv", {**SIX, "i2t_r1": "nan"}, None, "a number is expected"),
    "a yes": ("a.json", {**SIX, "i2t_r1": True}, None, "i2t_r1 is True"),
    "a sum alone": ("a.json", {"rsum": 500}, None, "states no recall"),
    "CLIP_benchmark above 1": ("a.json", of_clip_benchmark(**{"image_retrieval_recall@1": 61.5}), None, "0 to 1"),
    "CLIP_benchmark in percent": ("a.json", CLIP_BENCHMARK, "percent", "which holds fractions"),
    "CLIP_benchmark of a classification": ("a.json", of_clip_benchmark(acc1=0.6), None, "with acc1"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_may_be_wrong_is_refused_in_one_line(case, tmp_path):
    name, values, unit, said = REFUSED[case]
    path = written(tmp_path / name, values)
    assert is_averages(path)
    with pytest.raises(InvalidSimilarity) as refused:
        read_averages(path, unit)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("i2t_r1,t2i_r1\n50,40\n51,41\n", "holds 2 rows"),
        ("i2t_r1,t2i_r1\n", "holds 0 rows"),
        ("i2t_r1,t2i_r1\n50\n", "1 values under 2 names"),
        ("i2t_r1,i2t_r1\n50,40\n", "names a column twice"),
    ],
)
def test_a_csv_has_one_row(text, said, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(text)
    assert is_averages(path)
    with pytest.raises(InvalidSimilarity, match=said):
        read_averages(path)


def test_other_results_are_no_averages(tmp_path):
    np.save(tmp_path / "m.npy", scores())
    written(tmp_path / "lists.json", {"i2t": [[1, 2]], "t2i": [[0]]})
    (tmp_path / "ranks.csv").write_text("query_id,direction,rank,image_id,caption_id,seed,method\na,i2t,0,a,,0,x\n")
    (tmp_path / "broken.json").write_text('{"i2t_r1": ')
    assert not [path for path in tmp_path.iterdir() if is_averages(path)]
    assert not is_averages(tmp_path)
    assert not is_averages(tmp_path / "nowhere")


def test_the_record_says_what_it_was_made_from(add, tmp_path):
    path = written(tmp_path / "a.json", CLIP_BENCHMARK)
    code, said = add(path, "--selected-on", "nothing")
    assert code == 0, said
    assert "image_retrieval_recall@20 is not read" in said
    assert "its dataset is wds/flickr8k; it is recorded for tiny_precomp" in said
    assert add(path, "--selected-on", "nothing")[0] == 0
    (record,) = RunStore(tmp_path / "results").records()  # adding twice is one run
    assert (record.origin, record.has_ranks) == ("published", False)
    assert record.metrics == {"full": pytest.approx({**SIX, "rsum": RSUM})}
    assert record.source.files[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record.source.shape.startswith("averages of CLIP_benchmark")
    assert record.source.reading == {"unit": "fraction"}
    assert (record.backbone, record.selected_on) == ("ViT-B-32 laion2b_e16", "nothing")
    assert str(tmp_path) not in record.model_dump_json()


def test_zeros_and_chance(add, tmp_path):
    zero = written(tmp_path / "zero.csv", {"i2t_r1": 0.0, "t2i_r1": 70.7})
    code, said = add(zero)
    assert code == 0
    assert "i2t_r1 is exactly 0 while t2i_r1 is not" in said
    low = written(tmp_path / "low.csv", {"i2t_r1": 0.58, "t2i_r1": 0.40})
    code, said = add(low, "--unit", "percent")
    assert code == 2
    assert "no better than chance" in said
    assert add(low, "--unit", "percent", "--allow-chance")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--save-scores"], "--save-scores has no meaning"),
        (["--ties", "expected"], "--ties has no meaning"),
        (["--distances"], "--distances has no meaning"),
        (["--ranks-from", "1"], "--ranks-from is for a CSV of ranks"),
        (["--protocol", "coco_5k"], "5,000"),
    ],
)
def test_options_without_a_meaning_are_refused(words, said, add, tmp_path):
    code, out = add(written(tmp_path / "a.csv", SIX), *words)
    assert code == 2
    assert said in out


def test_a_unit_is_refused_for_other_results(add, tmp_path):
    np.save(tmp_path / "m.npy", scores())
    code, said = add(tmp_path / "m.npy", "--unit", "percent")
    assert code == 2
    assert "--unit is for files of averages" in said


def test_evaluate_names_the_command_that_takes_averages(evaluate, tmp_path):
    assert "`itm add` records them" in evaluate(written(tmp_path / "a.csv", SIX)).error
    assert "`itm add` records them" in evaluate(written(tmp_path / "a.json", CLIP_BENCHMARK)).error


@pytest.fixture
def board(add, tmp_path):
    """Two methods with ranks, one of averages above them and one of which one recall is known."""
    for name, bonus in (("weak", 1.0), ("strong", 2.5)):
        np.save(tmp_path / f"{name}.npy", scores(bonus=bonus))
        assert add(tmp_path / f"{name}.npy", name=name)[0] == 0
    high = dict.fromkeys(RECALLS, 100)
    assert add(written(tmp_path / "high.csv", high), name="printed")[0] == 0
    assert add(written(tmp_path / "part.json", {"i2t_r5": 90.0}), name="part")[0] == 0
    return RunStore(tmp_path / "results")


def test_a_leaderboard_shows_averages_without_interval_and_tier(board):
    report = build(board, [record.run_id for record in board.records()], title="x")
    rows = report.main.set_index("label")
    assert rows.index[0] == "printed"
    assert rows.loc["printed", "rsum"] == 600
    for label in ("printed", "part"):
        assert rows.loc[label, ["tier", "rank", "rsum_low", "rsum_sd", "images"]].isna().all()
        assert rows.loc[label, "origin"] == "published"
    assert rows.loc["part", "i2t_r5"] == 90
    assert rows.loc["part", ["rsum", "t2i_r1"]].isna().all()
    assert rows.loc[["weak", "strong"], "rsum_low"].notna().all()
    head = report.sentences[0]
    assert "printed (600.0) stands above it with averages only, which cannot be tested" in head
    assert head.startswith("On tiny_precomp test, full, strong has")
    assert head.endswith("part has averages only and took no part in this.")


def test_tests_and_gates_refuse_averages_in_one_line(board, tmp_path):
    (printed,) = [record for record in board.records() if record.label == "printed"]
    subjects = read_sources([printed.run_id], board.results)
    with pytest.raises(ItmError, match="only published averages for 1 \\(printed\\)"):
        examine_all(subjects, Request())
    for source in (printed.run_id, f"{board.results}:printed"):
        with pytest.raises(ItmError, match="averages only"):
            one_side(source, Place(board.results))
    with pytest.raises(ItmError, match="averages only"):
        rescore(board, printed.run_id, ["full"])
    with pytest.raises(ItmError, match="averages only"):
        compare.build(board, [printed.run_id])


def test_averages_are_frozen_and_shown(board):
    store = join([str(board.results)], board.results)
    _, files = frozen_files(store, About("tiny", "1.0", "Tiny"))
    assert b"printed" in files["leaderboard.csv"]
    for record in board.records():
        report = overview(board, record)
        if not record.has_ranks:
            assert any("averages come from" in str(part) for part in report.brief)
            assert all("value_low" not in row for row in report.data["numbers"])


@pytest.mark.parametrize("command", ["add", "evaluate"])
def test_ranks_that_count_from_1_are_read_as_said(command, folder, tmp_path, capsys):
    split = datasets.open_dataset(Component(name="precomp", options={"root": str(folder)})).split("test")
    ranks = np.random.default_rng(0)
    i2t, t2i = ranks.integers(0, 4, IMAGES), ranks.integers(0, 4, TEXTS)
    lines = ["query_id,direction,rank,image_id,caption_id,seed,method"]
    lines += [f"{image},i2t,{rank + 1},{image},,0,x" for image, rank in zip(split.image_ids, i2t, strict=True)]
    for caption, rank, row in zip(split.caption_ids, t2i, OWNER, strict=True):
        lines.append(f"{caption},t2i,{rank + 1},{split.image_ids[row]},{caption},0,x")
    path = tmp_path / "ranks.csv"
    path.write_text("\n".join(lines) + "\n")
    own = (
        ["--name", "x", "--results", str(tmp_path / "r")] if command == "add" else ["--json", str(tmp_path / "n.json")]
    )
    words = [command, str(path), "--dataset", "precomp", "--set", f"root={folder}", *own]

    def run(*more):
        with pytest.raises(SystemExit) as stop:
            main([*words, *more])
        return int(stop.value.code or 0), "".join(capsys.readouterr())

    code, said = run()
    assert code == 2
    assert "--ranks-from 1" in said
    code, said = run("--ranks-from", "1")
    assert code == 0, said
    if command == "add":
        (record,) = RunStore(tmp_path / "r").records()
        found = record.metrics["full"]
        assert record.source.reading == {"ranks_from": 1}
    else:
        found = json.loads((tmp_path / "n.json").read_text())["metrics"]["full"]["pessimistic"]
    assert found["i2t_r1"] == pytest.approx(100 * np.mean(i2t == 0))
    assert found["t2i_r1"] == pytest.approx(100 * np.mean(t2i == 0))
