"""Suites as their files are: what a scorer that knows, sees nothing or guesses gets, and what missing pictures do."""

from __future__ import annotations

import numpy as np
import pytest
import suites_on_disk
from colours import Constant, Guessing, Knowing, model_of, picture, share
from suites_on_disk import COUNT, WRITTEN, coco, write

from harness.composition.catalogue import SUITES
from harness.composition.plan import suite_probes
from harness.errors import InvalidDataset, UnknownName


@pytest.fixture(params=list(WRITTEN))
def written(request, tmp_path):
    """A suite on disk with what is expected of it."""
    writer, name, kinds, count, chance = WRITTEN[request.param]
    return suite_probes(name, writer(tmp_path / "suite")), name, kinds, count, chance


def test_who_knows_the_truth_is_always_right_and_a_constant_never(written):
    probes, name, kinds, count, chance = written
    assert sorted(probe.name for probe in probes) == [f"{name}-{kind}" for kind in kinds]
    for probe in probes:
        knowing, constant = (probe.answers(model_of(kind)) for kind in (Knowing, Constant))
        assert not knowing.partial
        assert knowing.counts["examples"] == count
        for measure in chance:
            assert share(knowing, measure) == 1
            assert share(constant, measure) == 0
        assert probe.identity["chance"] == pytest.approx(chance)
        assert [(m.name, m.unit) for m in knowing.measures] == [(measure, "hit") for measure in chance]


def test_every_picture_is_one_cluster(written):
    probes, *_ = written
    for probe in probes:
        measure = probe.answers(model_of(Knowing)).measures[0]
        repeats = 2 if probe.name == "aro-coco_order" else 1  # two captions per picture
        by_picture = np.unique(measure.image, return_counts=True)[1]
        distinct = suites_on_disk.NAMES if probe.name == "aro-coco_order" else measure.item
        assert len(by_picture) == min(len(measure.item) // repeats, len(distinct))
        assert len(set(measure.item.tolist())) == len(measure.item)


def test_the_same_files_give_the_same_identity_and_other_pictures_another(tmp_path):
    ids = [suite_probes("sugarcrepe", suites_on_disk.sugarcrepe(tmp_path / name))[0].identity for name in "ab"]
    assert ids[0] == ids[1]
    picture(tmp_path / "b" / "val2017" / coco(0), "pink")
    assert suite_probes("sugarcrepe", tmp_path / "b")[0].identity != ids[0]


def test_white_space_is_taken_from_both_sides_and_said(tmp_path):
    root = suites_on_disk.sugarcrepe(tmp_path)
    by_kind = {probe.questions.kind: probe for probe in suite_probes("sugarcrepe", root)}
    assert not by_kind["add_att"].questions.remarks
    assert by_kind["swap_obj"].questions.remarks == (
        "white space normalised in 8 true and 0 false captions, which it would have told apart",
    )
    assert all(text == text.strip() for texts in by_kind["swap_obj"].questions.captions for text in texts)
    assert by_kind["swap_obj"].questions.ids[:2] == ("swap_obj#0", "swap_obj#2")  # keys with gaps


def test_captions_of_one_text_are_left_out(tmp_path):
    root = suites_on_disk.sugarcrepe(tmp_path)
    row = {"filename": coco(0), "caption": "a red thing ", "negative_caption": "a red thing"}
    path = root / "data" / "swap_obj.json"
    write(path, {"0": row, "9": {**row, "negative_caption": "a blue thing"}})
    (probe,) = [probe for probe in suite_probes("sugarcrepe", root) if probe.name.endswith("swap_obj")]
    assert probe.questions.ids == ("swap_obj#9",)
    assert probe.questions.counts["same_text"] == 1
    assert any(
        "1 example left out: the true and a false caption are the same text" in r for r in probe.questions.remarks
    )


def test_only_valid_rows_of_valse_are_asked(tmp_path):
    probe = suite_probes("valse", suites_on_disk.valse(tmp_path))[0]
    assert probe.questions.counts == {"rows": COUNT, "not_valid": 3}
    assert "9 of 12 rows are valid (at least 2 of 3 annotators); the others are left out" in probe.questions.remarks


def test_votes_that_are_missing_do_not_count(tmp_path):
    root = suites_on_disk.valse(tmp_path)
    row = {"image_file": coco(0), "caption": "a red thing", "foil": "a blue thing"}
    write(root / "data" / "plurals.json", {"a": row, "b": {**row, "mturk": {"caption": 3}}})
    by_kind = {probe.questions.kind: probe for probe in suite_probes("valse", root)}
    assert by_kind["plurals"].questions.ids == ("plurals#b",)
    assert "1 rows without votes count as not valid" in by_kind["plurals"].questions.remarks
    write(root / "data" / "plurals.json", {"a": row})
    with pytest.raises(InvalidDataset, match=r"plurals\.json: none of its 1 rows is valid"):
        suite_probes("valse", root)


def test_guessing_is_right_by_chance(tmp_path):
    """Four standard errors, over 400 examples of each form."""
    names, count = suites_on_disk.NAMES, 400
    rng = np.random.default_rng(0)
    two = [rng.choice(len(names), 2, replace=False) for _ in range(count)]
    for number, (a, _) in enumerate(two):  # pictures that differ a little each, so that guesses are independent
        path = tmp_path / "val2017" / coco(number)
        picture(path, names[a], size=(8, 8))
        _speck(path, rng)
    rows = {
        str(n): {
            "filename": coco(n),
            "caption": f"a {names[a]} thing",
            "negative_caption": f"a {names[b]} thing",
        }
        for n, (a, b) in enumerate(two)
    }
    write(tmp_path / "data" / "add_obj.json", rows)
    (probe,) = suite_probes("sugarcrepe", tmp_path)
    found = share(probe.answers(model_of(Guessing)), "correct")
    assert abs(found - 0.5) < 4 * 0.5 / count**0.5


def _speck(path, rng):
    from PIL import Image

    pixels = np.asarray(Image.open(path)).copy()
    pixels[:4] = rng.integers(0, 256, pixels[:4].shape)
    Image.fromarray(pixels).save(path, "PNG")


@pytest.mark.parametrize("writer", [suites_on_disk.sugarcrepe, suites_on_disk.sugarcrepe_pp])
def test_missing_and_broken_pictures_make_a_suite_partial_or_refused(writer, tmp_path, caplog):
    root = writer(tmp_path)
    name = writer.__name__
    (root / "val2017" / coco(0)).unlink()
    (root / "val2017" / coco(1)).write_bytes(b"\xff\xd8 no picture")
    probe = suite_probes(name, root)[0]
    assert probe.questions.partial.startswith("1 of 12 pictures missing, 1 of 12 pictures not readable (first: image ")
    assert probe.questions.partial.endswith("2 of 12 examples left out")
    answers = probe.answers(model_of(Knowing))
    assert (answers.counts["missing_pictures"], answers.counts["left_out"], answers.counts["examples"]) == (1, 2, 10)
    for number in range(2, 7):
        (root / "val2017" / coco(number)).unlink()
    with pytest.raises(
        InvalidDataset, match=r"6 of 12 pictures are missing .* less than half .*put val2017/ of COCO there"
    ):
        suite_probes(name, root)


def test_kinds_without_their_pictures_are_left_out_and_the_others_asked(tmp_path, caplog):
    root = suites_on_disk.valse(tmp_path)
    for path in (root / "visual7w").iterdir():
        path.unlink()
    assert [probe.name for probe in suite_probes("valse", root)] == ["valse-plurals"]
    assert "valse-existence is not asked: the pictures of 0 of 9 examples are there and can be read" in caplog.text


@pytest.mark.parametrize("name", ["../../x.jpg", "/etc/passwd", "a/../../x.jpg", "..\\x.jpg"])
def test_no_picture_s_name_leaves_the_folder(name, tmp_path):
    root = suites_on_disk.sugarcrepe(tmp_path / "suite")
    picture(tmp_path / "x.jpg", "red")
    write(root / "data" / "add_att.json", {"0": {"filename": name, "caption": "a", "negative_caption": "b"}})
    with pytest.raises(InvalidDataset, match="leaves"):
        suite_probes("sugarcrepe", root)


def test_no_link_leaves_the_folder(tmp_path):
    root = suites_on_disk.sugarcrepe(tmp_path / "suite")
    picture(tmp_path / "outside" / "x.jpg", "red")
    for number in range(COUNT):
        path = root / "val2017" / coco(number)
        path.unlink()
        path.symlink_to(tmp_path / "outside" / "x.jpg")
    with pytest.raises(InvalidDataset, match=r"12 cannot be read, so less than half .* is a link to "):
        suite_probes("sugarcrepe", root)


ROW = {"filename": coco(0), "caption": "a red thing", "negative_caption": "a blue thing"}
HOSTILE = {
    "no JSON": ("{", "is not valid JSON"),
    "NaN": ('{"0": {"filename": NaN}}', "not a finite number"),
    "a key twice": ('{"0": {}, "0": {}}', "the key '0' stands twice"),
    "nested": ("[" * 100_000, "nested too deeply"),
    "another type": ('{"0": 3}', r"row '0'.*expected a row of SugarCrepe"),
    "a number as caption": (
        '{"0": {"filename": "a.jpg", "caption": 3, "negative_caption": "b"}}',
        "field 'caption'|caption",
    ),
    "a missing field": (
        '{"0": {"filename": "a.jpg", "caption": "b"}}',
        "negative_caption' is missing|negative_caption",
    ),
    "a blank caption": ('{"0": {"filename": "a.jpg", "caption": " ", "negative_caption": "b"}}', "without words"),
    "nothing": ("{}", "holds no example"),
}


@pytest.mark.parametrize("case", list(HOSTILE))
def test_a_file_that_does_not_fit_gets_one_line(case, tmp_path):
    content, message = HOSTILE[case]
    if content.startswith("["):
        content = '{"0": ' + content
    root = suites_on_disk.sugarcrepe(tmp_path)
    (root / "data" / "add_att.json").write_text(content)
    with pytest.raises(InvalidDataset, match=message) as caught:
        suite_probes("sugarcrepe", root)
    assert "\n" not in str(caught.value)
    assert "add_att.json" in str(caught.value)


def test_a_huge_file_is_refused_unread(tmp_path, monkeypatch):
    root = suites_on_disk.sugarcrepe(tmp_path)
    with (root / "data" / "add_att.json").open("r+b") as file:
        file.truncate(2**30)
    with pytest.raises(InvalidDataset, match=r"it has 1,073,741,824 bytes, expected at most"):
        suite_probes("sugarcrepe", root)


def test_names_and_folders_that_are_wrong_get_one_line(tmp_path):
    root = suites_on_disk.sugarcrepe(tmp_path / "suite")
    with pytest.raises(UnknownName, match="did you mean 'sugarcrepe'"):
        suite_probes("sugarcrep", root)
    with pytest.raises(InvalidDataset, match="does not exist; name the folder"):
        suite_probes("sugarcrepe", tmp_path / "none")
    with pytest.raises(InvalidDataset, match="is not a folder"):
        suite_probes("sugarcrepe", root / "data" / "add_att.json")
    with pytest.raises(
        InvalidDataset, match=r"holds no files of winoground; .*it holds sugarcrepe: --suite sugarcrepe="
    ):
        suite_probes("winoground", root)
    with pytest.raises(InvalidDataset, match=r"holds no files of sugarcrepe_pp; .*it holds sugarcrepe"):
        suite_probes("sugarcrepe_pp", root)


def test_every_suite_says_what_it_is():
    assert set(SUITES) == {"sugarcrepe", "sugarcrepe_pp", "winoground", "aro", "valse"}
    for name in SUITES:
        suite = SUITES.get(name)
        assert suite.description
        assert "\n" not in suite.description


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox_w": 0}, "row 0 has a box of 0 x 20 pixels"),
        ({"bbox_x": "left"}, "bbox_x"),
        ({"bbox_x": 100}, None),
    ],
)
def test_boxes_that_bound_nothing(change, message, tmp_path):
    root = suites_on_disk.aro_boxes(tmp_path)
    (root / "visual_genome_attribution.json").unlink()
    row = {
        "image_path": "1.jpg", "bbox_x": 20, "bbox_y": 0, "bbox_w": 20, "bbox_h": 20, "true_caption": "a red thing",
        "false_caption": "a blue thing",
    }  # fmt: skip
    write(root / "visual_genome_relation.json", [{**row, **change}, row])
    if message:
        with pytest.raises(InvalidDataset, match=message):
            suite_probes("aro", root)
        return
    (probe,) = suite_probes("aro", root)
    assert "not readable (first: the box (100, 0, 120, 20) lies outside of 1.jpg)" in probe.questions.partial


def test_captions_of_blip_s_lists_are_shuffled_by_a_fixed_seed(tmp_path):
    rows = [
        {"image": f"flickr30k-images/{n}.jpg", "caption": ["red before blue in the thing", "a b"]} for n in range(4)
    ]
    for n in range(4):
        picture(tmp_path / "flickr30k-images" / f"{n}.jpg", "red")
    write(tmp_path / "flickr30k_test.json", rows)
    probes = [suite_probes("aro", tmp_path)[0] for _ in range(2)]
    assert probes[0].name == "aro-flickr_trigrams"
    assert probes[0].questions.captions == probes[1].questions.captions
    assert any("drawn here (seed 0)" in remark for remark in probes[0].questions.remarks)
    for captions in probes[0].questions.captions:
        assert len({tuple(sorted(text.split())) for text in captions}) == 1
        assert captions[0] not in captions[1:]
