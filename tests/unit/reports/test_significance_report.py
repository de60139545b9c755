"""The significance report: what it is about, what it says, and that it says what the engine found."""

from __future__ import annotations

import hashlib
import json
from itertools import combinations

import numpy as np
import pytest
from compared import QUICK, only

from harness.errors import InvalidRecord, UnknownName
from harness.files.names import safe_name
from harness.reports.document import render
from harness.reports.runs.groups import groups
from harness.reports.runs.loading import finished_records, method_runs
from harness.reports.runs.sources import read_sources
from harness.reports.significance import figures as pictures
from harness.reports.significance.examine import Request, examine, parse_pairs
from harness.reports.significance.report import build
from harness.reports.significance.text import verdict_sentences
from harness.reports.statistics.comparison import compare
from harness.reports.statistics.errors import (
    AggregateOnlyResults,
    InvalidSetting,
    MissingEquivalenceBound,
    TooFewSeeds,
    UnequalSeeds,
)


@pytest.fixture
def five(runs):
    """Five scorers, one seed, from bad to good with small steps: groups overlap."""
    for n, scorer in enumerate(("clip", "scan", "chan", "grm", "vse_pp")):
        runs.add_drawn(0.25 + 0.1 * n, scorer=scorer, seeds=1, images=120)
    return runs


def test_every_way_to_name_runs_gives_the_same_runs(three_scorers, tmp_path):
    results = three_scorers.store.results
    board = results / "leaderboards" / "quick"
    board.mkdir(parents=True)
    (board / "leaderboard.json").write_text(json.dumps({"data": {"run_ids": three_scorers.ids}}))
    ways = [
        [str(results)],
        [str(board)],
        three_scorers.ids,
        [str(three_scorers.store.folder(run_id)) for run_id in three_scorers.ids],
    ]
    told = [
        [(item.method, item.seed, item.source, item.sha256) for item in subject.evidence]
        for way in ways
        for subject in read_sources(way, results)
    ]
    assert len(told[0]) == 9
    assert told == [told[0]] * 4


def test_runs_of_two_results_folders_are_compared(runs, tmp_path):
    here, there = type(runs)(tmp_path / "here"), type(runs)(tmp_path / "there")
    here.add_drawn(0.5, scorer="scan", seeds=1)
    there.ids.append("")  # so that run ids differ
    there.add_drawn(0.8, scorer="chan", seeds=1)
    (subject,) = read_sources([str(tmp_path / "here"), str(tmp_path / "there")], tmp_path)
    assert [run.name for run in subject.methods] == ["scan", "chan"]


def test_a_leaderboard_cannot_point_out_of_its_results_folder(three_scorers):
    board = three_scorers.store.results / "leaderboards" / "quick"
    board.mkdir(parents=True)
    (board / "leaderboard.json").write_text(json.dumps({"data": {"run_ids": ["../../elsewhere"]}}))
    with pytest.raises(InvalidRecord, match="not ids"):
        read_sources([str(board)], three_scorers.store.results)


@pytest.mark.parametrize("name", ["../../etc", "a/b", "..", "", "scenes-full", "x\ny", "naïve set"])
def test_a_folder_name_stays_one_folder(name, tmp_path):
    folder = tmp_path / safe_name(name)
    assert folder.parent == tmp_path
    assert folder.resolve().parent == tmp_path.resolve()


@pytest.mark.parametrize(
    ("spelled", "pairs"),
    [
        ("a:b", [("a", "b")]),
        ("a:b, b:c", [("a", "b"), ("b", "c")]),
        ("scan (pooling=lse, x:1):b", [("scan (pooling=lse, x:1)", "b")]),
        ("b:scan (pooling=lse, x:1),a:b", [("b", "scan (pooling=lse, x:1)"), ("a", "b")]),
        ("a:unknown", [("a", "unknown")]),
    ],
)
def test_pairs_are_read_even_where_names_hold_commas(spelled, pairs):
    assert parse_pairs(spelled, ["a", "b", "c", "scan (pooling=lse, x:1)"]) == pairs


@pytest.mark.parametrize("spelled", ["a", "a:", ":b", "a:b,c"])
def test_what_is_no_pair_is_refused(spelled):
    with pytest.raises(InvalidSetting, match="A:B,C:D"):
        parse_pairs(spelled, ["a", "b", "c"])


def test_the_numbers_are_those_of_the_engine(three_scorers):
    result = examine(only(three_scorers), Request(**QUICK))
    store = three_scorers.store
    (members,) = groups(finished_records(store, three_scorers.ids)).values()
    runs = {group.label: method_runs(store, group) for group in members}
    own = compare([runs[name] for name in ("chan", "scan", "clip")], claim="method", **QUICK)
    assert result.comparison.rows == own.rows
    report = build(result)
    assert list(report.main["p_adjusted"]) == [row.p_adjusted for row in own.rows]
    json_pairs = json.loads(render.render(report, "json"))["data"]["pairs"]
    assert [pair["difference"] for pair in json_pairs] == [row.difference for row in own.rows]


def test_the_verdicts_come_first_in_every_text(three_scorers):
    result = examine(only(three_scorers), Request(**QUICK))
    report = build(result)
    first = verdict_sentences(result.comparison)[0][0]
    assert "chan beats scan by" in first
    assert "on new images and new seeds" in first
    assert report.sentences[0] == first
    assert render.render(report, "md").splitlines()[2].startswith("chan beats scan by")
    page = render.render(report, "html")
    assert page.index("chan beats scan by") < page.index("<table")


def test_the_report_names_every_file_by_its_hash(three_scorers):
    page = render.render(build(examine(only(three_scorers), Request(**QUICK))), "md")
    for run_id in three_scorers.ids:
        ranks = (three_scorers.store.folder(run_id) / "ranks.npz").read_bytes()
        assert f"{run_id} | ranks.npz" in page
        assert hashlib.sha256(ranks).hexdigest() in page


def test_a_method_claim_is_taken_by_default_from_three_seeds_on(runs):
    for scorer, skill in (("scan", 0.4), ("chan", 0.6)):
        runs.add_drawn(skill, scorer=scorer, seeds=3)
    assert examine(only(runs), Request(**QUICK)).comparison.claim == "method"
    asked = examine(only(runs), Request(claim="checkpoint", **QUICK))
    assert asked.comparison.claim == "checkpoint"
    assert "fewest here" not in build(asked).sentences[-1]


def test_a_checkpoint_claim_by_default_says_why(five):
    report = build(examine(only(five), Request(**QUICK)))
    assert "needs 3 seeds of each, better 5; the fewest here: 1" in report.sentences[-1]


def test_a_reference_leaves_one_pair_a_method_and_no_tiers(five):
    result = examine(only(five), Request(reference="scan", **QUICK))
    rows = result.comparison.of_metric("rsum")
    assert {row.b for row in rows} == {"scan"}
    assert len(rows) == 4
    assert result.ranking == ()
    assert [section.title for section in build(result).sections][1] == "Scores"


def test_named_pairs_compare_only_the_methods_they_name(five):
    result = examine(only(five), Request(pairs="grm:scan", **QUICK))
    (row,) = result.comparison.of_metric("rsum")
    assert (row.a, row.b, row.family.m) == ("grm", "scan", 1)
    assert set(result.comparison.methods) == {"grm", "scan"}


def test_bars_of_the_diagram_join_exactly_what_is_not_told_apart(five):
    result = examine(only(five), Request(**QUICK))
    comparison, ranking = result.comparison, result.ranking
    figure = pictures.groups_diagram(comparison, ranking)
    score = {place.score: place.name for place in ranking}
    bars = [
        {score[x] for x in line.get_xdata()}
        for line in figure.drawing.axes[0].lines
        if line.get_marker() == "o" and line.get_color() == "black"
    ]
    p = {frozenset((row.a, row.b)): row.p_adjusted for row in comparison.of_metric("rsum")}
    alike = {pair for pair, value in p.items() if value > 0.05}
    assert 0 < len(alike) < len(p)  # the example must have both
    assert {frozenset(pair) for bar in bars for pair in combinations(bar, 2)} == alike


def test_the_matrix_holds_the_differences_and_the_corrected_p(five):
    comparison = examine(only(five), Request(**QUICK)).comparison
    axes = pictures.matrix(comparison).drawing.axes[0]
    written = {(int(t.get_position()[1]), int(t.get_position()[0])): t.get_text() for t in axes.texts}
    place = {name: i for i, name in enumerate(comparison.methods)}
    for row in comparison.of_metric("rsum"):
        i, j = place[row.a], place[row.b]
        assert written[i, j] == f"{row.difference:+.1f}".replace("-", "−")
        assert written[j, i] in ("< .001", f"{row.p_adjusted:.3f}".lstrip("0"))


def test_untrusted_names_stay_text(runs):
    for scorer, skill in (("<script>alert(1)</script>", 0.5), ("a|b$x$", 0.8), ("../../up", 0.2)):
        runs.add_drawn(skill, scorer=scorer, seeds=1)
    report = build(examine(only(runs), Request(metrics=("rsum",), **QUICK)))
    page = render.render(report, "html")
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert r"a\|b\$x\$" in render.render(report, "md")


def test_an_equivalence_margin_reaches_the_sentence_and_the_table(runs):
    runs.add_drawn(0.5, scorer="scan", seeds=1, images=100)
    runs.add_drawn(0.5, scorer="chan", seeds=1, images=100)
    result = examine(only(runs), Request(equivalence={"": 400.0}, **QUICK))
    report = build(result)
    assert "equivalent within ±400 rSum" in report.sentences[0]
    assert report.main["equivalence_delta"].dropna().tolist() == [400.0]
    with pytest.raises(MissingEquivalenceBound):
        examine(only(runs), Request(equivalence={"": -1.0}))


def test_many_pairs_leave_the_rest_of_the_verdicts_to_a_table(runs):
    for n in range(6):
        runs.add_drawn(0.2 + 0.1 * n, scorer=f"m{n}", seeds=1, images=60)
    result = examine(only(runs), Request(metrics=("rsum",), **QUICK))
    first, others = verdict_sentences(result.comparison)
    assert len(first) == 5
    assert all("m5" in sentence for sentence in first)
    assert len(first) + len(others) == 15
    table = build(result).sections[0].tables[0]
    assert list(table.frame["verdict"]) == others


def test_published_methods_are_told_why_they_cannot_be_tested(runs):
    runs.add_drawn(0.5, scorer="scan", seeds=1, dataset="flickr30k")
    runs.add_drawn(0.7, scorer="chan", seeds=1, dataset="flickr30k")
    subject = only(runs)
    for request in (Request(pairs="scan:VSE-inf"), Request(reference="VSE-inf")):
        with pytest.raises(AggregateOnlyResults, match=r"VSE-inf.*papers do not print"):
            examine(subject, request)
    with pytest.raises(UnknownName, match="did you mean 'scan'"):
        examine(subject, Request(pairs="scann:chan"))


def test_published_records_stand_aside(runs):
    runs.add_drawn(0.5, scorer="scan", seeds=1)
    runs.add_drawn(0.7, scorer="paper", seeds=1, origin="published")
    subject = only(runs)
    assert subject.published == ("paper",)
    with pytest.raises(AggregateOnlyResults, match="paper"):
        examine(subject, Request(**QUICK))
    runs.add_drawn(0.6, scorer="chan", seeds=1)
    report = build(examine(only(runs), Request(**QUICK)))
    warnings = next(section for section in report.sections if section.title == "Warnings")
    assert any("only published averages exist: paper" in sentence for sentence in warnings.sentences)


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        ({"claim": "method"}, TooFewSeeds, "needs 3 seeds"),
        ({"metrics": ("t2i_r1", "recall")}, UnknownName, "unknown metric 'recall'"),
        ({"reference": "grmm"}, UnknownName, "unknown method 'grmm'; did you mean 'grm'"),
        ({"pairs": "grm:scan", "reference": "scan"}, InvalidSetting, "exclude each other"),
        ({"alpha": 1.5}, InvalidSetting, "alpha"),
        ({"seed": -1}, InvalidSetting, "seed"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(five, request_, error, message):
    with pytest.raises(error, match=message):
        examine(only(five), Request(**request_))


def test_unequal_seeds_need_consent_and_are_said(runs):
    runs.add_drawn(0.5, scorer="scan", seeds=3)
    runs.add_drawn(0.7, scorer="chan", seeds=4)
    with pytest.raises(UnequalSeeds):
        examine(only(runs), Request(**QUICK))
    report = build(examine(only(runs), Request(allow_unequal_seeds=True, **QUICK)))
    warnings = next(section for section in report.sections if section.title == "Warnings")
    assert any("chan 4, scan 3" in sentence for sentence in warnings.sentences)


def test_two_galleries_of_one_name_get_folders_of_their_own(runs):
    for sha in ("a", "b"):
        for scorer in ("scan", "chan"):
            runs.add_drawn(0.5, scorer=scorer, seeds=1, data_sha256=sha * 64)
    slugs = [subject.slug for subject in read_sources([str(runs.store.results)], runs.store.results)]
    assert len(set(slugs)) == 2


def test_the_advice_follows_where_the_variance_lies(runs, table):
    owner = np.repeat(np.arange(60), 2)
    # All seeds alike: every bit of the variance comes from the images.
    for scorer, shift in (("steady", 0), ("calm", 3)):
        draw = np.random.default_rng(shift)
        i2t, t2i = draw.integers(0, 12, 60), draw.integers(0, 12, 120)
        for seed in range(3):
            runs.add(table(i2t, t2i, owner), scorer=scorer, seed=seed)
    report = build(examine(only(runs), Request(**QUICK)))
    advice = next(section for section in report.sections if section.title == "Images against seeds")
    assert "0 % of the variance comes from seeds, 100 % from images: add test images" in advice.sentences[0]


def test_writing_twice_gives_the_same_bytes(five, tmp_path):
    for name in ("one", "two"):
        render.write(build(examine(only(five), Request(**QUICK))), tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert "significance-critical-difference.svg" in files
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
