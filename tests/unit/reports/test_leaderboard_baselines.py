"""What every method is set against on request: the same numbers as the general comparison, and refusals in one line."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from rank_tables import rank_table

from harness.cli.main import main
from harness.errors import InvalidRecord, UnknownName
from harness.reports.document.model import is_missing
from harness.reports.gate.baseline import write_baseline
from harness.reports.leaderboard import report as leaderboard
from harness.reports.leaderboard.baseline import read_reference, require_known
from harness.reports.published.rows import printed_titles, published_rows_for
from harness.reports.runs.sources import read_sources
from harness.reports.statistics.comparison import compare
from harness.reports.statistics.errors import DifferentGalleries, InvalidComparison


def build(runs, baseline: str, **options):
    reference = read_reference(baseline, runs.store.results)
    return leaderboard.build(runs.store, runs.ids, title="Leaderboard: test", baseline=reference, **options)


def values(report, column: str) -> dict[str, float]:
    return dict(zip(report.main["label"], report.main[column], strict=True))


def test_differences_are_those_of_a_comparison_with_a_reference(three_scorers):
    report = build(three_scorers, "scan")
    (subject,) = read_sources([str(three_scorers.store.results)], three_scorers.store.results)
    whole = compare(subject.methods, metrics=("rsum",), claim="method", correction="holm", pairs="scan")
    for pair in whole.rows:
        assert values(report, "baseline_difference")[pair.a] == pytest.approx(pair.difference)
        assert values(report, "baseline_difference_low")[pair.a] == pytest.approx(pair.low)
        assert values(report, "baseline_p_adjusted")[pair.a] == pytest.approx(pair.p_adjusted)
    assert is_missing(values(report, "baseline_difference")["scan"])
    assert report.data["boards"][0]["baseline"]["correction"] == "holm"
    assert any(
        said.startswith("Against scan (rSum") and "chan is better; clip is worse" in said for said in report.sentences
    )
    assert "Δ rSum" in [column.title for column in report.tables[0].columns]


def test_tiers_and_numbers_do_not_depend_on_a_baseline(three_scorers):
    plain = leaderboard.build(three_scorers.store, three_scorers.ids, title="Leaderboard: test")
    others = [c for c in plain.main if not c.startswith("baseline")]
    pd.testing.assert_frame_equal(plain.main[others], build(three_scorers, "clip").main[others])
    assert plain.main["baseline_difference"].isna().all()
    assert "Δ rSum" not in [column.title for column in plain.tables[0].columns]


@pytest.mark.parametrize("kind", ["run", "folder", "csv", "method of a folder"])
def test_a_method_against_itself_is_no_difference_whatever_holds_it(runs, tmp_path, kind):
    for scorer in ("scan", "chan"):
        runs.add_drawn(0.5 if scorer == "scan" else 0.9, scorer=scorer, seeds=1)
    first = runs.ids[0]
    (subject,) = read_sources([first], runs.store.results)
    write_baseline(tmp_path / "scan.csv", subject.methods[0], dataset="scenes", protocol="full")
    spelled = {
        "run": first,
        "folder": str(runs.store.folder(first)),
        "csv": str(tmp_path / "scan.csv"),
        "method of a folder": f"{runs.store.results}:scan",
    }[kind]
    report = build(runs, spelled)
    assert values(report, "baseline_difference")["scan"] == pytest.approx(0.0)
    assert values(report, "baseline_p_adjusted")["scan"] == 1.0
    assert values(report, "baseline_difference")["chan"] > 0


@pytest.mark.parametrize(
    ("spelled", "error", "message"),
    [
        ("chann", UnknownName, "did you mean 'chan'"),
        ("{results}", InvalidRecord, "3 methods on scenes test, full .* say which by"),
        ("{results}:chann", UnknownName, "did you mean 'chan'"),
        ("{other}", DifferentGalleries, "about flickr8k test, full, and this leaderboard about scenes test, full"),
        ("{fewer}", InvalidComparison, "--baseline"),
    ],
)
def test_refused(three_scorers, tmp_path, spelled, error, message):
    other = type(three_scorers)(tmp_path / "other")
    other.add_drawn(0.5, scorer="scan", dataset="flickr8k")
    fewer = type(three_scorers)(tmp_path / "fewer")
    fewer.add_drawn(0.5, scorer="scan", images=50)
    places = {"results": three_scorers.store.results, "other": other.store.results, "fewer": fewer.store.results}
    with pytest.raises(error, match=message):
        build(three_scorers, spelled.format(**places))


def test_a_name_that_no_planned_method_can_have_is_refused_before_training(tmp_path):
    require_known(read_reference("scan (t2i)", tmp_path), ["scan", "chan"])
    with pytest.raises(UnknownName, match="did you mean 'chan'"):
        require_known(read_reference("chann", tmp_path), ["scan", "chan"])


def test_averages_give_a_plain_difference_that_is_called_untested(runs):
    runs.add_drawn(0.9, scorer="chan", dataset="flickr30k", images=1000)
    row = published_rows_for("flickr30k", "full").to_dict("records")[0]
    report = build(runs, printed_titles(row)[2])
    assert values(report, "baseline_difference")["chan"] == pytest.approx(values(report, "rsum")["chan"] - row["rsum"])
    assert is_missing(values(report, "baseline_p_adjusted")["chan"])
    assert is_missing(values(report, "baseline_difference_low")["chan"])
    assert any("untested" in said and "averages only" in said for said in report.sentences)
    assert "Δ rSum, untested" in [column.title for column in report.tables[0].columns]


def test_a_published_figure_of_another_gallery_size_is_refused(runs):
    runs.add_drawn(0.9, scorer="chan", dataset="flickr30k", images=60)
    row = published_rows_for("flickr30k", "full").to_dict("records")[0]
    with pytest.raises(DifferentGalleries, match="about 1,000 images, flickr30k test, full about 60"):
        build(runs, printed_titles(row)[2])


def test_too_few_images_leave_a_plain_difference(runs):
    for scorer, skill in (("scan", 0.3), ("chan", 0.9)):
        runs.add_drawn(skill, scorer=scorer, images=20)
    report = build(runs, "scan")
    assert values(report, "baseline_difference")["chan"] > 0
    assert is_missing(values(report, "baseline_p_adjusted")["chan"])
    assert any("untested: 20 images are too few" in said for said in report.sentences)


def test_a_dataset_without_the_baseline_is_reported_and_said(runs, capsys):
    runs.add_drawn(0.5, scorer="scan")
    runs.add_drawn(0.9, scorer="chan")
    runs.add_drawn(0.9, scorer="chan", dataset="pictures", data_sha256="b" * 64)
    with pytest.raises(SystemExit) as ended:
        main(["report", str(runs.store.results), "--baseline", "scan"])
    assert not ended.value.code
    assert "a leaderboard has no differences: unknown baseline 'scan'" in capsys.readouterr().err.replace("\n", " ")
    (board,) = json.loads((runs.store.results / "leaderboards/all-scenes/leaderboard.json").read_text())["data"][
        "boards"
    ]
    assert board["baseline"]["name"] == "scan"
    assert (runs.store.results / "leaderboards/all-pictures/leaderboard.json").is_file()


def test_chance_stands_below_the_methods_and_in_no_count(three_scorers):
    report = leaderboard.build(three_scorers.store, three_scorers.ids, title="Leaderboard: test")
    assert len(report.main) == 3  # the CSV holds methods
    table = report.tables[0]
    assert table.frame["label"].tolist() == ["chan", "scan", "clip", "random order", "constant scores"]
    assert list(table.muted) == [3, 4]
    assert "gallery: 60 images, 120 captions" in table.caption
    board = report.data["boards"][0]
    # 2 of 120 captions are correct for an image, 1 of 60 images for a caption.
    by_hand = sum(100 * (1 - (120 - k) * (119 - k) / (120 * 119)) + 100 * k / 60 for k in (1, 5, 10))
    assert board["chance"][0]["rsum"] == pytest.approx(by_hand)
    assert board["chance"][1]["rsum"] == 0.0
    assert report.main["chance_rsum"].tolist() == pytest.approx([by_hand] * 3)
    assert set(report.main["at_chance"]) == {"no"}


def test_a_method_whose_captions_were_shuffled_is_said_to_be_at_chance(runs):
    """Scores of a good model against captions in another order: ranks as a random order gives them."""
    images, captions = 100, 500
    owner = np.repeat(np.arange(images), 5)
    draw = np.random.default_rng(3)
    skill = draw.random((images, captions)) + 0.8 * (owner[None] == np.arange(images)[:, None])
    for name, columns in (("good", np.arange(captions)), ("shuffled", draw.permutation(captions))):
        scores = skill[:, columns]
        own = np.where(owner[None] == np.arange(images)[:, None], scores, -np.inf)
        i2t = (scores > own.max(axis=1, keepdims=True)).sum(axis=1)
        t2i = (scores > scores[owner, np.arange(captions)][None]).sum(axis=0)
        runs.add(rank_table(i2t, t2i, owner), scorer=name)
    report = leaderboard.build(runs.store, runs.ids, title="Leaderboard: test")
    assert values(report, "at_chance") == {"good": "no", "shuffled": "i2t, t2i, rSum"}
    assert report.tables[0].frame["shown_scorer"].tolist()[:2] == ["good", "shuffled §"]
    reading = " ".join(report.sections[0].reading)
    assert "No better than chance: the 95 % intervals of shuffled (in i2t, t2i and rSum)" in reading
    assert any(isinstance(part, str) and part.startswith("§ No better than chance") for part in report.brief)
    alone = leaderboard.build(runs.store, runs.ids[1:], title="Leaderboard: test")
    assert "no method is better than chance: shuffled has rSum" in alone.sentences[0]


def test_folds_are_galleries_of_their_own(runs, table):
    draw = np.random.default_rng(1)
    made = table(draw.integers(0, 9, 50), draw.integers(0, 9, 100), np.repeat(np.arange(50), 2), folds=5)
    runs.add(made, protocol="coco_1k", dataset="mscoco")
    report = leaderboard.build(runs.store, runs.ids, title="Leaderboard: test")
    assert "5 folds of 10 images and 20 captions" in report.tables[0].caption
    assert report.main[["folds", "gallery_images", "gallery_captions", "images"]].to_numpy().tolist() == [
        [5, 10, 20, 50]
    ]
    assert report.data["boards"][0]["chance"][0]["t2i_r5"] == pytest.approx(50.0)


def test_a_protocol_with_other_positives_has_no_row_of_chance(runs, table):
    draw = np.random.default_rng(1)
    made = table(draw.integers(0, 9, 50), draw.integers(0, 9, 100), np.repeat(np.arange(50), 2))
    runs.add(made, protocol="scenes_relevance")
    report = leaderboard.build(runs.store, runs.ids, title="Leaderboard: test")
    assert report.data["boards"][0]["chance"] == []
    assert "queries: 50 images, 100 captions" in report.tables[0].caption
    assert any("how many correct items each query has" in said for said in report.sections[0].reading)
