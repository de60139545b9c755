"""Grounding on scenes: the truth gets everything, no constant wins, chance is chance, and real methods by plain loops."""

from __future__ import annotations

import re

import grounding_doubles as doubles
import numpy as np
import pytest
import torch
from small_grounding import encoders, scene_probe, scenes

from harness.datasets.scenes.world import COLOURS
from harness.grounding.probe import NO_ALIGNMENT, NO_ENCODERS, NO_PLACES, NO_WORDS
from harness.registry import create
from harness.scorer import Scorer

PROBE = scene_probe()


def asked(scorer, probe=PROBE):
    model = doubles.model_of(scorer)
    assert probe.refusal(model) == ""
    answers = probe.answers(model)
    return answers, {measure.name: measure.values[0] for measure in answers.measures}


def off_chance(values, images):
    """How many standard errors, of means over pictures, the mean is from 0."""
    means = np.array([np.nanmean(values[images == image]) for image in np.unique(images)])
    return abs(means.mean()) / (means.std() / np.sqrt(len(means)))


@pytest.mark.parametrize("image", ["patches", "regions"])
def test_the_truth_is_always_pointed_at(image):
    answers, found = asked(doubles.Truth(PROBE, image))
    reachable = found["reachable"] == 1
    assert 0.5 < reachable.mean() <= 1
    assert (found["pointing"][reachable] == 1).all()
    assert np.isnan(found["pointing"][~reachable]).all()
    assert answers.counts["unreachable"] == (~reachable).sum()
    assert found["inside"].mean() > 0.95 * found["inside_ceiling"].mean()
    assert (found["inside"] <= found["inside_ceiling"] + 1e-12).all()


@pytest.mark.parametrize("image", ["patches", "regions"])
def test_weights_in_the_order_of_the_overlaps_correlate_fully(image):
    _, found = asked(doubles.Overlapping(PROBE, image))
    asks = ~np.isnan(found["rank_correlation"])
    assert asks.mean() > 0.9  # a detector's only box may hold nothing of the object
    np.testing.assert_allclose(found["rank_correlation"][asks], 1)


@pytest.mark.parametrize("image", ["patches", "regions"])
def test_an_even_alignment_is_the_uniform_baseline_exactly(image):
    _, found = asked(doubles.Everywhere(PROBE, image))
    for name in ("pointing", "inside", "rank_correlation"):
        np.testing.assert_allclose(found[name], found[f"{name}_uniform"], atol=1e-6, rtol=0, equal_nan=True)


@pytest.mark.parametrize("image", ["patches", "regions"])
def test_random_draws_are_at_chance(image):
    answers, found = asked(doubles.Anywhere(PROBE, image))
    images = answers.measures[0].image
    for name in ("pointing", "inside", "rank_correlation"):
        for random in (name, f"{name}_random"):
            assert off_chance(found[random] - found[f"{name}_uniform"], images) < 4, random


def test_a_constant_look_does_not_win():
    _, found = asked(doubles.Corner(PROBE))
    assert np.nanmean(found["pointing"]) <= np.nanmean(found["pointing_uniform"])
    assert found["inside"].mean() <= found["inside_uniform"].mean()


def test_what_matches_nothing_misses():
    answers, found = asked(doubles.Nowhere(PROBE))
    assert not found["matched"].any()
    assert np.nansum(found["pointing"]) == 0 == found["inside"].sum()
    assert any("matches with nothing" in remark for remark in answers.remarks)


def test_each_region_has_its_best_word_alone():
    """Where weights are over words, a word's map is what the fragments give it."""

    class Best(doubles.Truth):
        def look(self, row, caption, words, regions):
            looks = super().look(row, caption, words, regions)
            taken = looks.cumsum(0) == 1  # of words that look at one fragment, the first gets it
            return looks * taken

    _, found = asked(Best(PROBE, over="words"))
    hit = found["matched"] == 1
    assert 0 < hit.mean() < 1
    reachable = found["reachable"] == 1
    assert (found["pointing"][hit & reachable] == 1).all()
    assert (found["pointing"][~hit & reachable] == 0).all()


def test_words_of_gated_methods_are_told_apart_per_caption():
    class Gated(doubles.Everywhere):
        def gates(self, texts):
            return texts.mask.float() * torch.arange(texts.mask.shape[1]) / texts.mask.shape[1]

    answers, _ = asked(Gated(PROBE))
    measure = next(one for one in answers.measures if one.name == "gate_separation")
    split = PROBE.split
    for item, value in zip(measure.item[:40], measure.values[0], strict=False):
        words = split.captions[split.caption_ids.index(item)].split()
        named = {"a", "an", "and", "there", "is", "of", "with", "the", "in", "at", "on", "to"}
        neither = {"picture", "scene", "left", "right", "above", "over", "below", "under"}
        placed = item.endswith("#scene")  # whose "left" is part of a place
        content = [n for n, word in enumerate(words) if word not in named and (placed or word not in neither)]
        function = [n for n, word in enumerate(words) if word in named]
        pairs = [c > f for c in content for f in function]
        assert value == pytest.approx(np.mean(pairs)), item


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("late_interaction", {}), ("scan", {"direction": "t2i"}), ("scan", {"direction": "i2t"}),
        ("chan", {"coding": "tha"}), ("grm", {"regions": 4}), ("laps", {}),
    ],
)  # fmt: skip
def test_methods_are_measured_as_plain_loops_do(name, config):
    """The colour words of real methods, by loops over pairs, words and fragments that share no code with the probe."""
    probe = scene_probe(6)
    torch.manual_seed(1)
    scorer = create(name, image_encoder=encoders(probe.split)[0], text_encoder=encoders(probe.split)[1], **config)
    answers, found = asked(scorer, probe)
    items = answers.measures[0].item.tolist()
    split, dataset = probe.split, probe._dataset
    boxes, vocabulary = dataset.boxes("test"), scorer.text_encoder.tokenizer.vocabulary
    images, texts = doubles.model_of(scorer).encode(split)
    cells = scorer.image_encoder.grid.boxes()
    for number, item in enumerate(items):
        caption_id, _, role = item.split("/")
        if role != "colour":
            continue
        column = split.caption_ids.index(caption_id)
        row = int(split.caption_image[column])
        target = probe.targets[number]
        word = re.sub("[^a-z]", "", split.captions[column])[slice(*target.span)]
        tokens = scorer.text_encoder.tokenizer([split.captions[column]]).ids[0].tolist()
        places = [p for p, token in enumerate(tokens) if vocabulary.entries[token] == word]
        if len(places) > 1:  # two objects of one colour: this loop would not know which
            continue
        with torch.no_grad():
            alignment = scorer.align(images[[row]], texts[[column]])
        part = alignment if alignment.over == "regions" or alignment.reverse is None else alignment.reverse
        weights = part.weights[0, places[0]].double().tolist()
        object_box = next(box for box in boxes[row] if tuple(box) == tuple(target.boxes[0]))
        hits, inside = [], 0.0
        top = max(weights)
        for cell, weight in zip(cells, weights, strict=True):
            across, down = (cell[0] + cell[2]) / 2, (cell[1] + cell[3]) / 2
            hit = object_box[0] <= across <= object_box[2] and object_box[1] <= down <= object_box[3]
            hits += [hit] if weight == top > 0 else []
            wide = max(0.0, min(cell[2], object_box[2]) - max(cell[0], object_box[0]))
            high = max(0.0, min(cell[3], object_box[3]) - max(cell[1], object_box[1]))
            inside += weight * wide * high / ((cell[2] - cell[0]) * (cell[3] - cell[1]))
        if found["reachable"][number]:
            assert found["pointing"][number] == pytest.approx(np.mean(hits) if hits else 0)
        assert found["inside"][number] == pytest.approx(inside / sum(weights) if sum(weights) else 0, abs=1e-6)
    assert ("inside_regions" in found) == (name in ("grm", "laps"))
    if name == "laps":  # whose map of a word is the one of its best token
        np.testing.assert_allclose(found["inside_regions"], found["inside"], atol=1e-6)


def test_targets_are_the_words_and_boxes_of_the_scene():
    dataset, split = PROBE._dataset, PROBE.split
    for target in PROBE.targets[:60]:
        word = re.sub("[^a-z0-9]", "", split.captions[target.caption])[slice(*target.span)]
        scene = dataset.scenes("test")[split.caption_image[target.caption]]
        boxes = dataset.boxes("test")[split.caption_image[target.caption]]
        index = next(number for number, box in enumerate(boxes) if (box == target.boxes[0]).all())
        if target.role == "colour":
            assert COLOURS[scene[index].colour] == word


def test_items_name_their_caption_and_role_once():
    answers, _ = asked(doubles.Everywhere(PROBE))
    items = answers.measures[0].item.tolist()
    assert len(set(items)) == len(items)
    assert {item.rpartition("/")[2] for item in items} == {"colour", "shape", "size", "texture", "place"}
    assert all(item.startswith(image) for item, image in zip(items, answers.measures[0].image, strict=True))


def test_a_smaller_sample_asks_some_pictures_with_all_their_words():
    whole, part = PROBE, scene_probe(7)
    items = {target.caption for target in part.targets}
    rows = {int(part.split.caption_image[caption]) for caption in items}
    assert len(rows) == 7
    assert [t.span for t in part.targets] == [
        t.span for t in whole.targets if int(whole.split.caption_image[t.caption]) in rows
    ]
    assert part.identity != whole.identity


# --- refusals -----------------------------------------------------------------------------------------------------


class Silent(doubles.Everywhere):
    """Aligns nothing."""

    def align(self, images, texts):
        return None


def test_models_that_cannot_be_asked_say_why():
    assert PROBE.refusal(doubles.model_of(Silent(PROBE))) == NO_ALIGNMENT
    assert PROBE.refusal(doubles.model_of(Scorer())) == NO_ENCODERS
    unknown = doubles.Everywhere(PROBE)
    unknown.image_encoder.grid = None
    assert PROBE.refusal(doubles.model_of(unknown)) == NO_PLACES
    foreign = doubles.Everywhere(PROBE)
    foreign.text_encoder.tokenizer.words = lambda caption: ()
    assert PROBE.refusal(doubles.model_of(foreign)) == NO_WORDS


def test_clip_and_vse_align_nothing():
    images, texts = encoders(PROBE.split)
    assert PROBE.refusal(doubles.model_of(create("vsepp", image_encoder=images, text_encoder=texts))) == NO_ALIGNMENT


def test_the_detectors_boxes_are_those_in_its_features():
    dataset = scenes()
    features = dataset.split("test").images.regions(range(40))
    for row, boxes in enumerate(dataset.detections("test")):
        own = features.features[row, features.mask[row], -6:-2].numpy()
        np.testing.assert_allclose((own + 1) / 2, boxes, atol=1e-6)
