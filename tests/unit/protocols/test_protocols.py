"""Protocols: folds in file order, each a gallery of its own; relevance sets from judgements; what each refuses."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from harness import protocols
from harness.errors import InvalidProtocol, UnknownName
from harness.metrics import retrieval_metrics

FLICKR8K = Path(os.environ.get("ITM_FLICKR8K", Path(__file__).parents[4] / "shared" / "flickr8k"))
needs_eccv = pytest.mark.skipif(
    importlib.util.find_spec("eccv_caption") is None, reason="needs the extra eccv: pip install eccv_caption"
)


def _problem(images: int, captions: int = 2) -> dict:
    owner = np.repeat(np.arange(images), captions)
    similarity = np.random.default_rng(0).normal(size=(images, len(owner))).astype(np.float32)
    similarity[owner, np.arange(len(owner))] += 2
    return {
        "similarity": similarity,
        "caption_image": owner,
        "image_ids": [f"i{i}" for i in range(images)],
        "caption_ids": [f"c{c}" for c in range(len(owner))],
    }


@pytest.fixture(scope="module")
def coco():
    return _problem(5000, captions=1)


def test_full_is_the_metrics_of_the_whole_matrix():
    problem = _problem(30)
    got = protocols.evaluate("full", **problem)
    assert got.metrics == retrieval_metrics(problem["similarity"], problem["caption_image"])
    assert got.ranks.i2t_image_id.tolist() == problem["image_ids"]
    np.testing.assert_array_equal(got.ranks.caption_image, problem["caption_image"])


def test_coco_1k_is_the_mean_of_five_blocks_of_a_thousand(coco):
    got = protocols.evaluate("coco_1k", **coco)
    folds = [
        retrieval_metrics(coco["similarity"][s : s + 1000, s : s + 1000], np.arange(1000)) for s in range(0, 5000, 1000)
    ]
    for key, value in got.metrics.items():
        assert value == pytest.approx(np.mean([fold[key] for fold in folds]), abs=1e-9)
    assert np.bincount(got.ranks.i2t_fold).tolist() == [1000] * 5
    assert got.metrics["rsum"] > protocols.evaluate("coco_5k", **coco).metrics["rsum"]


def test_folds_take_captions_of_any_order():
    problem = _problem(5000, captions=1)
    order = np.random.default_rng(1).permutation(5000)
    shuffled = {
        **problem,
        "similarity": problem["similarity"][:, order],
        "caption_image": problem["caption_image"][order],
        "caption_ids": [problem["caption_ids"][c] for c in order],
    }
    assert protocols.evaluate("coco_1k", **shuffled).metrics == protocols.evaluate("coco_1k", **problem).metrics


@pytest.mark.parametrize("name", ["coco_1k", "coco_5k"])
def test_a_dataset_that_does_not_fit_is_refused(name):
    with pytest.raises(InvalidProtocol, match=r"5,000 test images, this dataset has 30"):
        protocols.evaluate(name, **_problem(30))


def test_unknown_protocol():
    with pytest.raises(UnknownName, match=r"did you mean .*coco_1k"):
        protocols.get("coco_k1")


def test_flickr30k_1k_is_full_on_a_thousand_images_and_refuses_flickr8k():
    problem = _problem(1000, captions=1)
    assert (
        protocols.evaluate("flickr30k_1k", **problem, title="f30k").metrics
        == protocols.evaluate("full", **problem).metrics
    )
    with pytest.raises(InvalidProtocol, match="defined on flickr30k, not on flickr8k"):
        protocols.evaluate("flickr30k_1k", **problem, title="flickr8k")
    with pytest.raises(InvalidProtocol, match="1,000 test images, this dataset has 30"):
        protocols.evaluate("flickr30k_1k", **_problem(30))


def test_every_protocol_says_what_it_is_about():
    for name in protocols.PROTOCOLS:
        protocol = protocols.get(name)
        assert name == protocol.name
        for text in (protocol.queries, protocol.gallery, protocol.positives, protocol.metric, protocol.depth):
            assert text, name


def test_summary_needs_no_rsum_and_no_known_protocol():
    metrics = {"full": {"rsum": 300.04}, "pmrp": {"i2t_r_precision": 45.0}, "gone": {"rsum": 1.0}, "odd": {"x": 1.0}}
    assert protocols.summary(metrics) == "full rSum 300.0; pmrp i2t_r_precision 45.0; gone rSum 1.0; odd"


# scenes_relevance ------------------------------------------------------------------------------------------------


def test_how_often_a_wrong_first_item_is_right_in_truth():
    problem = _problem(3, captions=1)
    problem["similarity"] = np.array([[1.0, 2.0, 0.0], [0.0, 3.0, 0.0], [5.0, 0.0, 4.0]])
    relevance = np.eye(3, dtype=bool)
    relevance[0, 1] = True  # caption 1 is true of image 0 too; caption 0 is not true of image 2
    got = protocols.evaluate("scenes_relevance", **problem, relevance=relevance)
    # images 0 and 2 put a caption of another pair first; that of image 0 is right
    assert got.metrics["i2t_r1_own_pair"] == pytest.approx(100 / 3)
    assert got.metrics["i2t_r1"] == pytest.approx(200 / 3)
    assert got.metrics["i2t_top1_outside_pair_correct"] == 50.0
    # caption 0 alone puts another image first, and that one is wrong
    assert got.metrics["t2i_top1_outside_pair_correct"] == 0.0
    assert got.info["positives"] == {"i2t": 4, "t2i": 4}
    assert got.ranks.i2t_caption_id.tolist() == ["c1", "c1", "c2"]


def test_no_share_is_given_where_no_first_item_is_outside_the_pair():
    problem = _problem(3, captions=1)
    problem["similarity"] = np.eye(3)
    got = protocols.evaluate("scenes_relevance", **problem, relevance=np.eye(3, dtype=bool)).metrics
    assert got["i2t_r1_own_pair"] == 100.0
    assert "i2t_top1_outside_pair_correct" not in got


def test_exact_relevance_is_refused_where_it_is_not_known():
    with pytest.raises(InvalidProtocol, match="states its own pairs only"):
        protocols.evaluate("scenes_relevance", **_problem(3))


# human -----------------------------------------------------------------------------------------------------------

EXPERT = "a.jpg\tb.jpg#0\t1\t1\t2\na.jpg\ta.jpg#1\t4\t4\t4\nb.jpg\ta.jpg#0\t3\t3\t4\nb.jpg\tz.jpg#0\t4\t4\t4\n"
CROWD = "a.jpg\tb.jpg#0\t0.666666666666667\t2\t1\na.jpg\tc.jpg#0\t0.5\t1\t1\nb.jpg\tc.jpg#0\t0\t0\t3\n"


def _flickr(folder, **files: str) -> dict:
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)
    images = [f"{name}.jpg" for name in "abc"]
    return {
        "similarity": np.random.default_rng(0).normal(size=(3, 6)),
        "caption_image": np.repeat(np.arange(3), 2),
        "image_ids": images,
        "caption_ids": [f"{image}#{k}" for image in images for k in range(2)],
        "title": "flickr8k",
        "root": folder,
    }


def test_pairs_that_experts_graded_well_are_correct(tmp_path):
    problem = _flickr(tmp_path, ExpertAnnotations=EXPERT)
    got = protocols.evaluate("human", **problem)
    assert got.info["queries"] == {"i2t": 2, "t2i": 3}  # a, b; b#0, a#1, a#0 (z is of another split)
    assert got.info["judgements"] == 3
    assert got.info["relevant_outside_pairs"] == 1  # b with a#0
    assert got.info["positives"] == {"i2t": 5, "t2i": 4}
    assert protocols.evaluate("human@3.5", **problem).info["relevant_outside_pairs"] == 0
    assert got.ranks.i2t_image_id.tolist() == ["a.jpg", "b.jpg"]


def test_scores_that_follow_the_grades_correlate_perfectly(tmp_path):
    problem = _flickr(tmp_path, ExpertAnnotations=EXPERT)
    problem["similarity"] = np.zeros((3, 6))
    for image, caption, grade in ((0, 2, 4 / 3), (0, 1, 4.0), (1, 0, 10 / 3)):
        problem["similarity"][image, caption] = grade
    got = protocols.evaluate("human", **problem).metrics
    assert got["human_expert_kendall"] == got["human_expert_spearman"] == pytest.approx(1.0)
    problem["similarity"] = -problem["similarity"]
    assert protocols.evaluate("human", **problem).metrics["human_expert_kendall"] == pytest.approx(-1.0)
    problem["similarity"] = np.ones((3, 6))
    assert "human_expert_kendall" not in protocols.evaluate("human", **problem).metrics  # not defined, not 0


def test_a_majority_of_the_crowd_is_more_than_half(tmp_path):
    got = protocols.evaluate("human_crowd", **_flickr(tmp_path, CrowdFlowerAnnotations=CROWD))
    assert got.info["judgements"] == 3
    assert got.info["relevant_outside_pairs"] == 1  # a with b#0; a half is no majority


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg\tb.jpg#0\t1\t1\n", "line 1: expected image, caption id and three numbers"),
        (EXPERT + "a.jpg\tb.jpg#0\t1\t5\t1\n", "line 5: the grades .* must be 1 to 4"),
        ("x.jpg\ty.jpg#0\t1\t1\t1\n", "none of the 1 judged pairs"),
        ("\xff\xfe", "expected image"),
        (EXPERT + EXPERT.split("\n")[1], r"line 5: the pair \(a.jpg, a.jpg#1\) already stands in line 2"),
        (EXPERT + "\na.jpg\ta.jpg#1\t1\t1\t1", r"line 6: the pair .* already stands in line 2"),
        (EXPERT + "b.jpg\tz.jpg#0\t1\t1\t1", "line 5: the pair .* already stands in line 4"),
    ],
)
def test_a_damaged_judgement_file_is_refused(tmp_path, text, message):
    with pytest.raises(InvalidProtocol, match=message):
        protocols.evaluate("human", **_flickr(tmp_path, ExpertAnnotations=text))


@pytest.mark.parametrize(
    "content",
    ["\ufeff" + EXPERT, EXPERT.replace("\n", "\r\n"), EXPERT.replace("\n", "\r"), EXPERT + "\n \n"],
    ids=["byte-order mark", "CR LF", "CR", "blank last lines"],
)
def test_no_pair_is_lost_to_how_a_judgement_file_is_written(tmp_path, content):
    problem = _flickr(tmp_path, ExpertAnnotations=EXPERT)
    expected = protocols.evaluate("human", **problem)
    (tmp_path / "ExpertAnnotations.txt").write_bytes(content.encode())
    got = protocols.evaluate("human", **problem)
    assert got.metrics == expected.metrics
    assert got.info["judgements"] == 3


def test_pairs_of_other_images_are_counted_and_said(tmp_path, caplog):
    problem = _flickr(tmp_path, ExpertAnnotations=EXPERT)
    assert protocols.evaluate("human", **problem).info["judgements_left_out"] == 1  # z.jpg#0
    subject = protocols.Subject(**{key: value for key, value in problem.items() if key != "similarity"})
    caplog.set_level("INFO")
    protocols.report(["full", "human"], subject)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        "protocol human: of 4 judged pairs in ExpertAnnotations.txt, 3 are of this split and 1 name an image or a caption "
        "that it lacks"
    )


def test_a_missing_judgement_file_is_named(tmp_path):
    with pytest.raises(InvalidProtocol, match=r"ExpertAnnotations\.txt in the dataset's folder, it is not in"):
        protocols.evaluate("human", **_flickr(tmp_path))


@pytest.mark.parametrize("name", ["human@5", "human@x", "human@1", "full@3", "human_crowd@3"])
def test_a_threshold_that_makes_no_sense_is_refused(name):
    with pytest.raises(InvalidProtocol, match=r"human@3\.5"):
        protocols.get(name)


@pytest.mark.skipif(not (FLICKR8K / "ExpertAnnotations.txt").is_file(), reason="needs Flickr8k's judgements")
def test_the_real_judgements_are_read_whole():
    import json

    entries = json.loads((FLICKR8K / "dataset_flickr8k.json").read_text())["images"]
    images = [entry["filename"] for entry in entries if entry["split"] == "test"]
    problem = {
        "similarity": np.random.default_rng(0).normal(size=(1000, 5000)).astype(np.float32),
        "caption_image": np.repeat(np.arange(1000), 5),
        "image_ids": images,
        "caption_ids": [f"{image}#{k}" for image in images for k in range(5)],
        "title": "flickr8k",
        "root": FLICKR8K,
    }
    expert, crowd = (protocols.evaluate(name, **problem) for name in ("human", "human_crowd"))
    # counted in the files with awk: 5,822 pairs of 1,000 images and 977 captions, 623 with a mean of 3 or more
    assert expert.info["judgements"] == 5822
    assert expert.info["queries"] == {"i2t": 1000, "t2i": 977}
    assert crowd.info["judgements"] == 47830
    assert crowd.info["queries"] == {"i2t": 1000, "t2i": 1000}
    assert abs(expert.metrics["human_expert_kendall"]) < 0.05  # the scores are noise
    assert expert.metrics["i2t_r10"] >= protocols.evaluate("full", **problem).metrics["i2t_r10"]


# COCO ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cxc", "eccv_caption", "pmrp"])
def test_a_missing_package_is_named_with_the_command(monkeypatch, name):
    from harness.protocols import coco

    coco._package_data.cache_clear()
    monkeypatch.setattr(coco.importlib.util, "find_spec", lambda _: None)
    try:
        with pytest.raises(InvalidProtocol, match=r"pip install .*eccv"):
            protocols.get(name).check(_coco_subject())
    finally:
        coco._package_data.cache_clear()


def _coco_subject(title: str = "mscoco") -> protocols.Subject:
    return protocols.Subject(
        image_ids=[f"test-{i}" for i in range(5000)],
        caption_ids=[f"test-{c // 5}#{c % 5}" for c in range(25_000)],
        caption_image=np.arange(25_000) // 5,
        title=title,
    )


@needs_eccv
def test_positions_are_trusted_only_under_cocos_name():
    protocols.get("cxc").check(_coco_subject())
    with pytest.raises(InvalidProtocol, match=r"COCO's test split .* got 'other' with image id 'test-0'"):
        protocols.get("cxc").check(_coco_subject("other"))


@needs_eccv
def test_pmrp_says_which_files_it_needs():
    with pytest.raises(InvalidProtocol, match=r"pm_image_to_caption\.json and pm_caption_to_image\.json"):
        protocols.get("pmrp").check(_coco_subject())


@needs_eccv
def test_pmrp_is_the_r_precision_of_its_files(tmp_path):
    import json

    from harness.protocols import coco

    order = np.load(coco._package_data("pmrp") / "coco_test_ids.npy")
    own = coco._read(coco._package_data("pmrp") / "original_caption_to_image.json")
    first, other = (own[int(order[column])][0] for column in (0, 5))
    (tmp_path / "pm_image_to_caption.json").write_text(json.dumps({first: order[[0, 5]].tolist()}))
    (tmp_path / "pm_caption_to_image.json").write_text(json.dumps({str(order[0]): [first, other]}))
    scores = np.zeros((5000, 25_000), dtype=np.float32)
    scores[0, [0, 9]] = 2.0, 3.0  # of the first two captions of image 0 one is plausible
    scores[[0, 1], 0] = 2.0, 1.0  # caption 0 finds both of its images
    subject = dataclasses.replace(_coco_subject(), root=tmp_path)
    got = protocols.get("pmrp").evaluate(scores, subject)
    assert (got.metrics["i2t_r_precision"], got.metrics["t2i_r_precision"]) == (50.0, 100.0)
    assert set(got.info["files"]) == {"pm_image_to_caption.json", "pm_caption_to_image.json"}


@needs_eccv
def test_pairs_that_the_split_lacks_are_counted_and_a_corrected_file_is_read_again(tmp_path):
    import json

    from harness.protocols import coco

    order = np.load(coco._package_data("pmrp") / "coco_test_ids.npy")
    own = coco._read(coco._package_data("pmrp") / "original_caption_to_image.json")
    image = own[int(order[0])][0]
    subject = dataclasses.replace(_coco_subject(), root=tmp_path)
    (tmp_path / "pm_image_to_caption.json").write_text(json.dumps({image: [*order[[0, 1]].tolist(), 7]}))
    (tmp_path / "pm_caption_to_image.json").write_text(json.dumps({str(order[0]): [image]}))
    protocol = protocols.get("pmrp")
    files = protocol.files(subject)
    assert protocol.report(subject) == (
        "protocol pmrp: 1 of 3 pairs in pm_image_to_caption.json name an item that this split lacks"
    )
    (tmp_path / "pm_image_to_caption.json").write_text("\ufeff" + json.dumps({image: order[[0, 1]].tolist()}))
    assert protocol.report(subject) == ""
    assert {name for name in files if files[name] != protocol.files(subject)[name]} == {"pm_image_to_caption.json"}
