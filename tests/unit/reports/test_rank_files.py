"""Foreign results: CSVs of ranks and TREC runs are read as what they say, or refused."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
from rank_files import CAPTIONS, IMAGES, csv_rows, similarity, write_csv, write_trec

from harness.errors import InvalidRecord, ItmError
from harness.reports.runs.queries import all_seeds, one_seed
from harness.reports.runs.rank_csv import read_rank_csv
from harness.reports.runs.subjects import first_place_remarks
from harness.reports.runs.trec import read_trec
from harness.reports.statistics.comparison import compare
from harness.reports.statistics.errors import (
    AggregateOnlyResults,
    DifferentCaptionMaps,
    DuplicateQueries,
    InvalidRanks,
    MissingQueries,
)


def test_a_csv_gives_the_ranks_that_it_holds(tmp_path):
    rows = csv_rows(seed=0) + csv_rows(seed=1, draw=1)
    runs = read_rank_csv(write_csv(tmp_path / "ranks.csv", rows))
    assert [run.runs.seeds for run in runs] == [(0,), (1,)]
    merged = all_seeds("theirs", [run.runs for run in runs])
    for seed in (0, 1):
        for direction, ids in (("i2t", merged.image_ids), ("t2i", merged.caption_ids)):
            stated = {r["query_id"]: r["rank"] for r in rows if r["direction"] == direction and r["seed"] == seed}
            ranks = getattr(merged, f"{direction}_ranks")[seed]
            assert dict(zip(ids.tolist(), ranks.tolist(), strict=True)) == stated
    owner = {r["query_id"]: r["image_id"] for r in rows if r["direction"] == "t2i"}
    assert dict(zip(merged.caption_ids, merged.image_ids[merged.caption_image], strict=True)) == owner


def test_the_order_of_the_rows_changes_nothing(tmp_path):
    rows = csv_rows() + csv_rows("other", draw=2)
    shuffled = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    results = []
    for name, some in (("a.csv", rows), ("b.csv", shuffled)):
        runs = {run.runs.name: run.runs for run in read_rank_csv(write_csv(tmp_path / name, some))}
        results.append(compare([runs["theirs"], runs["other"]], resamples=999).rows)
    for a, b in zip(*results, strict=True):
        assert (a.difference, a.wins, a.losses) == (b.difference, b.wins, b.losses)
        assert a.se == pytest.approx(b.se, rel=1e-12)


def test_folds_of_a_csv_are_strata(tmp_path):
    rows = [{**row, "fold": int(row["image_id"][1:]) // 20} for row in csv_rows()]
    (run,) = read_rank_csv(write_csv(tmp_path / "folds.csv", rows))
    assert np.bincount(run.runs.fold.astype(int)).tolist() == [20, 20]


def shifted(rows, by=1, **only):
    """The same rows with ranks counted from 1, of those that have these values."""
    return [{**r, "rank": r["rank"] + by * all(r[k] == v for k, v in only.items())} for r in rows]


@pytest.mark.parametrize(
    "rows",
    [
        shifted(csv_rows()),
        shifted(csv_rows("theirs") + csv_rows("others", draw=1), method="theirs"),
        shifted(csv_rows(seed=0) + csv_rows(seed=1, draw=1), seed=1),
        shifted(csv_rows(), direction="t2i"),
        shifted(csv_rows(), by=2),
    ],
    ids=["all", "one method of two", "one seed of two", "one direction", "no first or second place"],
)
def test_ranks_without_a_first_place_are_asked_about(tmp_path, rows):
    path = write_csv(tmp_path / "ranks.csv", rows)
    with pytest.raises(InvalidRanks, match=r"'theirs' seed . has no rank 0 among .*--ranks-from 1") as caught:
        read_rank_csv(path)
    assert "\n" not in str(caught.value)


def test_ranks_counted_from_one_are_those_counted_from_zero(tmp_path):
    plain = csv_rows("theirs") + csv_rows("others", draw=1)
    zero = read_rank_csv(write_csv(tmp_path / "zero.csv", plain))
    one = read_rank_csv(write_csv(tmp_path / "one.csv", shifted(plain, method="theirs")), ranks_from=1)
    for a, b in zip(zero, one, strict=True):
        assert a.runs.name == b.runs.name
        assert a.runs.i2t_ranks.tolist() == b.runs.i2t_ranks.tolist()
        assert a.runs.t2i_ranks.tolist() == b.runs.t2i_ranks.tolist()
        assert a.remark == ""
    assert "ranks of theirs are counted from 1, as --ranks-from says" in one[0].remark


def test_a_method_may_never_come_first_if_the_user_says_so(tmp_path):
    rows = shifted(csv_rows())
    (run,) = read_rank_csv(write_csv(tmp_path / "r.csv", rows), ranks_from=0)
    assert run.runs.i2t_ranks.min() == 1
    assert "read as counted from 0" in run.remark


@pytest.mark.parametrize(("direction", "items"), [("i2t", IMAGES * CAPTIONS), ("t2i", IMAGES)])
def test_a_rank_beyond_the_gallery_is_refused(tmp_path, direction, items):
    rows = csv_rows()
    place = next(n for n, row in enumerate(rows) if row["direction"] == direction and row["rank"] > 0)
    rows[place]["rank"] = items - 1
    read_rank_csv(write_csv(tmp_path / "last.csv", rows))
    rows[place]["rank"] = items
    path = write_csv(tmp_path / "beyond.csv", rows)
    with pytest.raises(
        InvalidRanks, match=rf"line {place + 2}: rank {items} of {direction}, but the file names {items}"
    ):
        read_rank_csv(path)
    judged = [{**row, "protocol": "eccv_caption"} for row in rows]  # asks some of the gallery's items only
    read_rank_csv(write_csv(tmp_path / "judged.csv", judged))


def test_a_byte_order_mark_is_no_part_of_a_heading(tmp_path):
    path = write_csv(tmp_path / "ranks.csv", csv_rows())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    (run,) = read_rank_csv(path)
    assert run.runs.name == "theirs"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html></html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer.*git lfs pull"),
        (b"\x1f\x8b\x08" + bytes(20), "a gzip-compressed file.*gunzip"),
        (b"", "an empty file"),
        (b"PK\x03\x04" + bytes(20), "a damaged zip archive"),
        (b'{"i2t": [1, 2]}', "a JSON file"),
        (b"query_id;direction;rank\na;i2t;0\nb;i2t;1\n", "separated by commas"),
        (b"query_id\tdirection\trank\na\ti2t\t0\nb\ti2t\t1\n", "tab-separated.*separated by commas"),
    ],
)
def test_what_is_no_csv_is_named(tmp_path, content, message):
    path = tmp_path / "ranks.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidRecord, match=message):
        read_rank_csv(path)


def test_packed_runs_and_files_in_place_of_their_folder_are_named(tmp_path):
    from harness.reports.runs.sources import read_sources

    folder = write_trec(tmp_path / "trec", similarity())
    for name, message in (("theirs.seed3.i2t.run", "a TREC run.*folder"), ("i2t.qrels", "a TREC qrels file.*folder")):
        with pytest.raises(InvalidRecord, match=message):
            read_sources([str(folder / name)], tmp_path)
    for path in list(folder.glob("*.run")):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    with pytest.raises(InvalidRecord, match=r"theirs.seed3.i2t.run.gz is a gzip-compressed file.*gunzip"):
        read_trec(folder)
    np.savez(tmp_path / "ranks.npz", a=np.zeros(3))
    with pytest.raises(InvalidRecord, match=r"a NumPy archive \(.npz\) of 1 array.*folder"):
        read_sources([str(tmp_path / "ranks.npz")], tmp_path)


def test_the_command_asks_once_and_takes_the_answer(tmp_path, capsys):
    from harness.cli.main import main

    rows = csv_rows("theirs") + shifted(csv_rows("others", draw=1))
    command = [
        "significance",
        str(write_csv(tmp_path / "r.csv", rows)),
        "--results",
        str(tmp_path),
        "--resamples",
        "200",
    ]
    with pytest.raises(SystemExit) as exit_code:
        main(command)
    assert exit_code.value.code == 2
    message = capsys.readouterr().err
    assert "'others' seed 0 has no rank 0" in message
    assert "though theirs beside it has" in message
    with pytest.raises(SystemExit) as exit_code:
        main([*command, "--ranks-from", "1"])
    assert exit_code.value.code == 0
    assert (
        "ranks of others are counted from 1"
        in (tmp_path / "significance" / "foreign-ranks" / "significance.md").read_text()
    )


def test_a_recorded_method_without_a_first_place_among_others_is_remarked():
    def smallest(**ranks: tuple[int, int]) -> list:
        return [
            one_seed(name, 0, pd.Series({"i": i2t}), pd.Series({"c": t2i}), ["i"]) for name, (i2t, t2i) in ranks.items()
        ]

    said = list(first_place_remarks(smallest(scan=(0, 0), chan=(1, 0))))
    assert [line.split(":")[0] for line in said] == ["chan has no rank 0 in i2t while others have"]
    assert list(first_place_remarks(smallest(scan=(2, 1), chan=(1, 3)))) == []


def test_a_best_seed_is_remembered_as_one(tmp_path):
    (run,) = read_rank_csv(write_csv(tmp_path / "best.csv", csv_rows(seed="best")))
    assert run.runs.seed_selection == "best"


def test_blank_lines_count_in_the_number_of_a_line(tmp_path):
    path = write_csv(tmp_path / "ranks.csv", change(3, rank="two")(csv_rows()))
    path.write_text(path.read_text().replace("\n", "\n\n", 2))
    with pytest.raises(InvalidRecord, match="line 7: rank must be a number, got 'two'"):
        read_rank_csv(path)


def test_a_line_with_a_further_value_is_refused(tmp_path):
    path = write_csv(tmp_path / "ranks.csv", csv_rows())
    lines = path.read_text().splitlines()
    for number in (1, 5):
        path.write_text("\n".join([*lines[:number], f"{lines[number]},x", *lines[number + 1 :]]))
        with pytest.raises(InvalidRecord, match=f"cannot read .*(line {number + 1}|loss of data)"):
            read_rank_csv(path)


def drop_column(rows):
    return [{k: v for k, v in row.items() if k != "image_id"} for row in rows]


def change(number, **values):
    return lambda rows: [{**row, **values} if n == number else row for n, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("broken", "error", "message"),
    [
        (drop_column, InvalidRecord, "lacks the columns image_id"),
        (change(3, rank="NaN"), InvalidRanks, r"NaN, infinite or negative for queries 1 \(i1\)"),
        (change(3, rank=-1), InvalidRanks, r"1 \(i1\)"),
        (change(3, rank=0.5), InvalidRanks, r"line 5: ranks are whole numbers counted from 0, got 0.5; .* \(1 of \d+ rows\)"),
        (change(0, seed="9" * 5000), InvalidRecord, "seed must be a whole number of at most 20 digits"),
        (change(3, rank="two"), InvalidRecord, "line 5: rank must be a number, got 'two'"),
        (change(0, direction="img"), InvalidRecord, "line 2: direction must be i2t or t2i, got 'img'"),
        (change(1, image_id=""), DifferentCaptionMaps, r"no image_id for captions 1 \(c0-0\)"),
        (change(1, caption_id="c9-9"), InvalidRecord, "line 3: the query_id of t2i is its caption_id"),
        (change(0, seed="first"), InvalidRecord, "seed must be a whole number of at most 20 digits or 'best', got 'first'"),
        (change(0, method=""), InvalidRecord, "a method needs a name"),
        (lambda rows: [*rows, rows[0]], DuplicateQueries, r"several rows for i2t queries 1 \(i0\)"),
        (lambda rows: [r for r in rows if r["direction"] == "t2i"], MissingQueries, "has no i2t query"),
        (lambda rows: [{**r, "dataset": f"d{n % 2}"} for n, r in enumerate(rows)], InvalidRecord, "several datasets"),
        (lambda rows: [{**r, "fold": n % 2} for n, r in enumerate(rows)], DifferentCaptionMaps, "more than one fold"),
        (lambda rows: [], InvalidRecord, "white space only"),
        (lambda rows: [{"method": "SCAN", "i2t_r1": 67.4, "t2i_r1": 48.6}], AggregateOnlyResults, "averages"),
    ],
)  # fmt: skip
def test_csvs_that_cannot_be_trusted_are_refused(tmp_path, broken, error, message):
    path = write_csv(tmp_path / "ranks.csv", broken(csv_rows()))
    with pytest.raises(error, match=message) as caught:
        read_rank_csv(path)
    assert isinstance(caught.value, ItmError)


def test_the_protocols_on_own_pairs_are_those_of_the_engine():
    from harness.protocols import PROTOCOLS
    from harness.protocols.folds import FoldProtocol
    from harness.records.ranks import OWN_GALLERY

    assert {name for name in PROTOCOLS if isinstance(PROTOCOLS.get(name), FoldProtocol)} == set(OWN_GALLERY)
