"""The probes of clutter: the same gallery at every level, whatever becomes true there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness import datasets
from harness.datasets.base import Dataset
from harness.robustness.clutter import ObjectsProbe, clutter_probes
from harness.spec import Component


def scenes(**options: object) -> Dataset:
    small = {"train_images": 12, "val_images": 4, "test_images": 6, "image_size": 32}
    return datasets.open_dataset(Component(name="scenes", options={**small, **options}))


class Knowing:
    """A model that scores a pair 1 if it is true at the level that is shown, else 0; own pairs a little higher."""

    record = None

    def similarity(self, split):
        scores = torch.from_numpy(split.relevance.astype(np.float32))
        scores[torch.from_numpy(split.caption_image), torch.arange(len(split.captions))] += 0.5
        return scores


class Constant(Knowing):
    def similarity(self, split):
        return torch.zeros(len(split.image_ids), len(split.captions))


@pytest.fixture(scope="module")
def probes():
    return clutter_probes(scenes(), "test", 6)


def test_three_probes_fit_scenes_and_none_other_data(probes):
    assert [probe.name for probe in probes] == ["objects", "overlap", "occlusion"]
    assert clutter_probes(Dataset(None), "test") == ()
    assert len({str(probe.levels) + probe.name for probe in probes}) == 3


@pytest.mark.parametrize("number", range(3))
def test_who_knows_the_truth_finds_every_target(probes, number):
    answers = probes[number].answers(Knowing())
    for measure in answers.measures:
        assert measure.values.shape[0] == len(probes[number].levels)
        assert not measure.values.any()
    assert answers.remarks == ("training shows 2 to 4 objects per picture",)


def test_a_constant_score_is_last_in_a_gallery_that_stays_as_large(probes):
    answers = probes[0].answers(Constant())
    i2t, t2i = (measure.values for measure in answers.measures)
    assert (i2t == i2t[0]).all()
    assert (t2i == t2i[0]).all()
    true = np.logical_or.reduce([probes[0].split(level).relevance for level in range(len(probes[0].levels))])
    np.testing.assert_array_equal(t2i[0], (~true).sum(axis=0))
    np.testing.assert_array_equal(i2t[0], (~true).sum(axis=1))


def test_pictures_are_made_once_and_dropped(probes):
    probe = next(one for one in probes if isinstance(one, ObjectsProbe))
    first = probe.split(1)
    assert probe.split(1) is first
    probe.forget()
    again = probe.split(1)
    assert again is not first
    np.testing.assert_array_equal(again.images.pixels(range(6), 32), first.images.pixels(range(6), 32))


def test_the_identity_changes_with_what_decides_the_pictures(probes):
    assert clutter_probes(scenes(), "test", 6)[0].identity == probes[0].identity
    assert clutter_probes(scenes(), "test", 5)[0].identity != probes[0].identity
    assert clutter_probes(scenes(seed=1), "test", 6)[0].identity != probes[0].identity
    assert clutter_probes(scenes(), "val", 6)[0].identity != probes[0].identity
