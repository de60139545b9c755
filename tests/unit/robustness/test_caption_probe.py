"""Retrieval with perturbed captions: equal questions to all models, and captions of scenes that really become false."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from harness.datasets.base import Split
from harness.datasets.scenes.dataset import Scenes, ScenesConfig
from harness.datasets.scenes.grammar import PLACES, SIZE_WORDS, holds
from harness.datasets.scenes.world import COLOURS, SHAPES, TEXTURES, Object, Scene
from harness.metrics import ranks
from harness.probes.sampling import sample
from harness.robustness.perturbations.captions import FALSE, KINDS, CaptionProbe, caption_probes
from harness.robustness.perturbations.lexicon import of_photographs

SCENES = Scenes(ScenesConfig(train_images=2, val_images=1, test_images=40, image_size=24, max_objects=6))
DATA = "0" * 64


class Blank(list):
    """Images that nothing looks at."""

    inputs = frozenset(("pixels",))
    region_width = 0


def photographs(*captions: str, per_image: int = 1) -> Split:
    count = len(captions) // per_image
    return Split(
        "test",
        Blank(range(count)),
        tuple(f"image-{row}" for row in range(count)),
        captions,
        tuple(f"caption-{column}" for column in range(len(captions))),
        np.arange(len(captions)) // per_image,
    )


def probe(name: str, split: Split, **changes) -> CaptionProbe:
    return CaptionProbe(name, split, DATA, of_photographs(), **changes)


def model(similarity) -> SimpleNamespace:
    return SimpleNamespace(similarity=lambda split: torch.as_tensor(similarity(split), dtype=torch.float32))


@pytest.mark.parametrize("name", KINDS)
def test_the_first_level_is_the_split_itself_and_all_levels_share_its_images(name):
    (asked,) = [found for found in caption_probes(SCENES, SCENES.split("test")) if found.name == name]
    split = SCENES.split("test")
    assert asked.split(0) is split
    assert [level.value for level in asked.levels] == [0, 1, 2, 3, 4, 5]
    for level in range(1, 6):
        found = asked.split(level)
        assert found.images is split.images
        assert found.captions is asked.split(level).captions  # so that they are encoded once
        assert found.caption_ids == split.caption_ids
        assert found.relevance is None  # a changed caption is true of other pictures
        assert all(caption.strip() for caption in found.captions)
    changed = [asked.changed(level) for level in range(6)]
    assert changed[0] == 0
    assert changed == sorted(changed)
    assert changed[5] > len(split.captions) / 2


@pytest.mark.parametrize("name", KINDS)
def test_a_caption_is_perturbed_alike_in_every_sample_order_and_choice_of_severities(name):
    whole = SCENES.split("test")
    some = sample(whole, 7, DATA)
    (one,) = [found for found in caption_probes(SCENES, whole) if found.name == name]
    (other,) = [found for found in caption_probes(SCENES, some, severities=(3,)) if found.name == name]
    by_id = dict(zip(whole.caption_ids, one.captions(3), strict=True))
    assert [by_id[caption_id] for caption_id in some.caption_ids] == list(other.captions(1))
    before = one.captions(5)
    one.forget()
    assert one.captions(5) == before


def test_the_identity_tells_data_sample_severities_seed_and_name_apart():
    split = photographs("a red dog", "a blue cat")
    base = probe("typos", split)
    others = [
        CaptionProbe("typos", split, "1" * 64, of_photographs()),
        probe("typos", photographs("a red dog")),
        probe("typos", split, severities=(1, 3, 5)),
        probe("typos", split, seed=1),
        probe("synonyms", split),
    ]
    assert all(other.identity != base.identity for other in others)
    assert base.identity == probe("typos", photographs("a red dog", "a blue cat")).identity


def test_seeds_draw_other_typos():
    split = photographs(*(f"a small brown puppy runs along the beach {number}" for number in range(20)))
    one, other = (probe("typos", split, seed=seed).captions(5) for seed in (0, 1))
    assert sum(a != b for a, b in zip(one, other, strict=True)) > 15


def test_ranks_are_those_of_each_level_and_changes_are_counted():
    """A model that counts shared words, against ranks computed from its scores level by level."""
    texts = ("a red dog", "two men run", "a man on a bench", "a big black ball", "snow")
    split = photographs(*texts)

    def words(split: Split) -> np.ndarray:
        return np.array([[len(set(own.split()) & set(said.split())) for said in split.captions] for own in texts])

    asked = probe("wrong_attribute", split)
    found = asked.answers(model(words))
    assert [measure.name for measure in found.measures] == ["i2t_rank", "t2i_rank"]
    for level in range(6):
        expected = ranks(torch.as_tensor(words(asked.split(level)), dtype=torch.float32), split.caption_image)
        for measure, rows in zip(found.measures, expected, strict=True):
            np.testing.assert_array_equal(measure.values[level], rows)
    assert found.counts["captions"] == 5
    assert found.counts["changed at severity 5"] == 3  # red, two, big and black; "a man" and "snow" have no attribute
    assert FALSE in found.remarks
    counted = found.counts["changed at severity 1"]
    told = (
        f"of 5 captions {counted} at severity 1 and 3 at severity 5 change (the share counts colours, sizes, numbers, "
    )
    assert any(remark.startswith(told) for remark in found.remarks)
    assert "drop is right" in asked.title


def test_captions_in_which_nothing_can_change_are_refused_in_words():
    split = photographs("ein Hund rennt", "zwei Katzen")
    assert probe("synonyms", split).refusal(model(None)) == (
        "none of the 2 captions changes at any severity: they have no words and phrases that have a synonym"
    )
    assert not probe("typos", split).refusal(model(None))
    assert probe("swapped_words", photographs("\u72d7", "...")).refusal(model(None))


PHRASE = re.compile(
    rf"an? (?:({'|'.join(word for size in SIZE_WORDS for word in size)}) )?(?:({'|'.join(TEXTURES[1:])}) )?"
    rf"({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})"
    rf"(?: ({'|'.join(sorted((text for cell in PLACES for text in cell), key=len, reverse=True))}))?"
)


def true_of(caption: str, scene: Scene) -> bool:
    """Whether a caption is true, read with a pattern and checked object by object."""
    said = [
        {
            "size": next((number for number, words in enumerate(SIZE_WORDS) if size in words), None),
            "texture": TEXTURES.index(texture) if texture else None,
            "colour": COLOURS.index(colour),
            "shape": SHAPES.index(shape),
            "cell": next((cell for cell, texts in enumerate(PLACES) if place in texts), None),
        }
        for size, texture, colour, shape, place in PHRASE.findall(caption)
    ]
    assert said, caption
    fits: list[list[Object]] = [
        [thing for thing in scene if all(value is None or getattr(thing, key) == value for key, value in each.items())]
        for each in said
    ]
    relation = re.search(r"\b(left of|right of|above|over|below|under)\b", caption)
    if relation:
        name = {"over": "above", "under": "below"}.get(relation[1], relation[1].removesuffix(" of"))
        return any(holds(name, first, second) for first in fits[0] for second in fits[1])
    return all(fits)


@pytest.mark.parametrize("clutter", [{}, {"minimal_edits": 0.0, "min_objects": 5, "max_objects": 6, "seed": 3}])
def test_captions_of_scenes_stay_true_under_synonyms_and_become_false_with_a_wrong_attribute(clutter):
    data = Scenes(SCENES.config.model_copy(update=clutter))
    split, scenes = data.split("test"), data.scenes("test")
    probes = {found.name: found for found in caption_probes(data, split)}
    same = changed = 0
    for level in range(6):
        texts = zip(
            split.captions, probes["synonyms"].captions(level), probes["wrong_attribute"].captions(level), strict=True
        )
        for image, (plain, reworded, wrong) in zip(split.caption_image.tolist(), texts, strict=True):
            assert true_of(plain, scenes[image])
            assert true_of(reworded, scenes[image]), reworded
            assert true_of(wrong, scenes[image]) == (wrong == plain), (wrong, plain)
            same, changed = same + (wrong == plain), changed + (wrong != plain)
    assert min(same, changed) > 100
