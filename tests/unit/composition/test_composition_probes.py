"""Scores of examples equal those of a naive loop; what a text encoder cannot tell apart is wrong, and is counted."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from colours import LONGEST, Constant, Guessing, answers_of, model_of, share

from harness.composition.asking import example_scores, portions
from harness.composition.examples import CROSSED, ONE_OF_FIVE, ONE_OF_THREE, PAIR, TWO_TRUE, chance, judged
from harness.composition.probes import CompositionProbe, Questions
from harness.composition.scenes import scenes_probes
from harness.datasets import open_dataset
from harness.datasets.images import ArrayImages
from harness.datasets.scenes.negatives import negatives
from harness.fragments import Fragments
from harness.registry import create
from harness.scorer import Scorer


def pictures(count: int) -> ArrayImages:
    """Random pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)
    return ArrayImages(pixels, np.zeros((count, 1, 1), np.float32), np.ones(count, np.int64))


def questions(captions, form=PAIR, rows=None, count=5, **given) -> Questions:
    """Examples of random pictures."""
    shown = len(form.true)
    rows = np.asarray(rows) if rows is not None else np.arange(len(captions) * shown).reshape(-1, shown) % count
    return Questions(
        suite="made",
        kind="up",
        form=form,
        ids=tuple(f"e{n}" for n in range(len(captions))),
        clusters=tuple(f"p{row[0]}" for row in rows),
        images=pictures(count),
        keys=[str(n) for n in range(count)],
        pictures=rows,
        captions=tuple(map(tuple, captions)),
        **given,
    )


@pytest.mark.parametrize("name", ["scan", "chan", "vsepp", "grm", "late_interaction"])
@pytest.mark.parametrize("form", [PAIR, ONE_OF_FIVE, CROSSED])
def test_scores_equal_those_of_a_naive_loop(name, form):
    generator = torch.Generator().manual_seed(0)
    scorer = create(name).eval()

    def side(items, longest):
        mask = torch.arange(longest) < torch.randint(1, longest + 1, (items, 1), generator=generator)
        return Fragments(torch.randn(items, longest, 8, generator=generator), mask)

    images, texts = side(9, 4), side(40, 6)
    images, texts = scorer.prepare_images(images), scorer.prepare_texts(texts)
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 9, (37, len(form.true)))
    columns = rng.integers(0, 40, (37, len(form.true[0])))
    with torch.no_grad():
        naive = [
            scorer.score(images[r.tolist()], texts[c.tolist()]).numpy() for r, c in zip(rows, columns, strict=True)
        ]
    np.testing.assert_allclose(example_scores(scorer, images, texts, rows, columns), np.stack(naive), atol=1e-5)


@pytest.mark.parametrize("most", [2, 7, 1000])
def test_portions_hold_every_example_once_with_its_own_pictures_and_captions(most):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 6, (20, 2))
    captions = [tuple(f"{rng.integers(0, 9)} {side}" for side in "ab") for _ in range(20)]
    images = pictures(8)
    found = list(portions(images, rows, captions, most))
    assert sorted(np.concatenate([part.examples for part in found])) == list(range(20))
    for part in found:
        for example, shown, texts in zip(part.examples, part.pictures, part.captions, strict=True):
            own = part.split.images.pixels(shown, 8)
            np.testing.assert_array_equal(own, images.pixels(rows[example], 8))
            assert tuple(part.split.captions[column] for column in texts) == captions[example]
    if most == 1000:
        assert found[0].split.images is images  # so that it is encoded once for all kinds
    else:
        assert max(len(part.examples) for part in found) == most // 2 or most // 2 == 0


def by_hand(scores, form):
    """One example, in loops over every true and false pair of scores."""
    p, c = np.asarray(form.true).shape
    true = form.true
    text = all(
        scores[i][a] > scores[i][b]
        for i in range(p)
        for a in range(c)
        for b in range(c)
        if true[i][a] and not true[i][b]
    )
    image = all(
        scores[i][a] > scores[j][a]
        for a in range(c)
        for i in range(p)
        for j in range(p)
        if true[i][a] and not true[j][a]
    )
    return {form.text: text, form.image: image, form.group: text and image}


@pytest.mark.parametrize("form", [PAIR, ONE_OF_FIVE, ONE_OF_THREE, TWO_TRUE, CROSSED])
def test_judgements_equal_loops_and_ties_are_wrong(form):
    shape = np.asarray(form.true).shape
    scores = np.random.default_rng(0).integers(0, 3, (300, *shape)).astype(np.float32)
    for name, right in judged(scores, form).items():
        assert right.tolist() == [by_hand(one, form)[name] for one in scores]
        assert not judged(np.zeros((1, *shape)), form)[name][0]


def test_chances_are_those_that_the_field_states():
    known = {
        PAIR: [1 / 2],
        ONE_OF_FIVE: [1 / 5],
        ONE_OF_THREE: [1 / 3],
        TWO_TRUE: [1 / 3],
        CROSSED: [1 / 4, 1 / 4, 1 / 6],
    }
    for form, values in known.items():
        assert list(chance(form).values()) == pytest.approx(values)


@pytest.mark.parametrize("form", [PAIR, TWO_TRUE, CROSSED])
def test_random_scores_are_at_chance(form):
    scores = np.random.default_rng(0).standard_normal((20_000, *np.asarray(form.true).shape))
    for name, right in judged(scores, form).items():
        expected = chance(form)[name]
        assert abs(right.mean() - expected) < 4 * (expected * (1 - expected) / 20_000) ** 0.5


def test_what_the_text_encoder_reads_as_one_ties_and_is_counted():
    long = "thing " * LONGEST
    asked = questions(
        [
            ("a red thing", "a blue thing"),
            ("a red thing", "a Red thing!"),  # a mark is a word of its own, and unknown
            ("zebra", "giraffe"),  # two words that it does not know
            (f"{long} red", f"{long} blue"),  # cut before they differ
        ]
    )
    answers = CompositionProbe(asked).answers(model_of(Guessing))
    assert answers.counts["read_as_one"] >= 2
    assert answers_of(answers, "correct")[2:].tolist() == [0, 0]
    (remark,) = answers.remarks
    assert "of 4 examples the text encoder reads a true and a false caption as one" in remark
    assert f"2 captions of these cut at {LONGEST} tokens" in remark


def test_two_true_captions_that_read_alike_are_no_loss():
    asked = questions([("zebra", "giraffe", "a blue thing")], TWO_TRUE)
    assert CompositionProbe(asked).answers(model_of(Constant)).counts["read_as_one"] == 0


def test_the_identity_is_of_what_is_shown():
    captions = [("a red thing", "a blue thing")]
    same, other = questions(captions), questions([("a red thing", "a green thing")])
    moved = questions(captions, rows=[[1]])
    found = [CompositionProbe(asked).identity for asked in (same, questions(captions), other, moved)]
    assert found[0] == found[1]
    assert found[0] != found[2]
    assert found[0] != found[3]
    assert found[0]["chance"] == {"correct": 0.5}


@pytest.fixture(scope="module")
def scenes():
    return open_dataset({"name": "scenes", "train_images": 4, "val_images": 4, "test_images": 30, "image_size": 32})


def test_scenes_give_a_probe_per_kind_of_the_pictures_that_are_drawn(scenes):
    probes = scenes_probes(scenes, "test", 12)
    drawn = set().union(*(probe.questions.clusters for probe in probes))
    assert len(drawn) == 12
    assert {probe.name for probe in probes} >= {"scenes-swap_attribute", "scenes-relation", "scenes-count"}
    again = scenes_probes(scenes, "test", 12)
    assert [probe.identity for probe in probes] == [probe.identity for probe in again]
    assert {probe.questions.clusters for probe in scenes_probes(scenes, "test", 30)} != {
        probe.questions.clusters for probe in probes
    }
    for probe in probes:
        assert "regions" in probe.questions.images.inputs
        assert share(probe.answers(model_of(Constant)), "correct") == 0


def test_kinds_of_scenes_share_the_pictures_that_models_encode(scenes):
    for count in (12, 30):
        probes = [probe for probe in scenes_probes(scenes, "test", count) if probe.questions.kind != "count"]
        assert len({id(probe.questions.images) for probe in probes}) == 1
    assert probes[0].questions.images is scenes.split("test").images


def test_examples_of_scenes_show_the_picture_of_their_cluster(scenes):
    whole = scenes.split("test")
    place = {image: row for row, image in enumerate(whole.image_ids)}
    for probe in scenes_probes(scenes, "test", 12):
        asked = probe.questions
        for cluster, item, (row,) in zip(asked.clusters, asked.ids, asked.pictures, strict=True):
            shown = asked.images.pixels([row], 32)[0]
            own = whole.images.pixels([place[cluster]], 32)[0]
            assert np.array_equal(shown, own) == (not item.endswith("two"))


def test_who_knows_the_scenes_is_always_right(scenes):
    """The truth as the negatives state it, by the pixels of the picture and the text of the caption."""
    for probe in scenes_probes(scenes, "test", 30):
        stated = negatives(scenes, "test", probe.questions.kind)
        seen = {stated.images.pixels([item.image], 32).tobytes(): item.image for item in stated.items}
        true = {(item.image, item.true) for item in stated.items}
        number = {text: n for n, text in enumerate({text for item in stated.items for text in (item.true, item.false)})}
        table = torch.zeros(len(stated.images), len(number))
        for image, text in true:
            table[image, number[text]] = 1

        class Told(Scorer):
            def score(self, images, texts, table=table):
                return table[images.features[:, 0, 0].long()][:, texts.features[:, 0, 0].long()]

        def encode(split, seen=seen, number=number):
            rows = [seen.get(split.images.pixels([row], 32).tobytes(), 0) for row in range(len(split.images))]
            values = (rows, [number[text] for text in split.captions])
            return tuple(
                Fragments(torch.tensor(v, dtype=torch.float)[:, None, None], torch.ones(len(v), 1, dtype=torch.bool))
                for v in values
            )

        model = SimpleNamespace(encode=encode, scorer=Told(), record=None)
        assert share(probe.answers(model), "correct") == 1
