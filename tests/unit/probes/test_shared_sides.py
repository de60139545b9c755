"""What models encode: towers that several share run once, and what is kept is bounded."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import torch

from harness import datasets
from harness.backbones.base import TextEncoder
from harness.fragments import Fragments, Tokens
from harness.probes.model import Model
from harness.probes.retrieval import filtered_ranks
from harness.probes.sampling import sample
from harness.probes.sides import RecentlyUsed, Towers
from harness.runs.trained import scorer_of
from harness.scorer import Scorer

CPU = torch.device("cpu")


def opened(store):
    records = store.records()
    dataset = datasets.open_dataset(records[0].spec["dataset"])
    return records, [scorer_of(store, record, CPU).eval() for record in records], dataset.split("test")


def test_a_shared_tower_runs_once_and_changes_no_score(store, monkeypatch):
    records, scorers, split = opened(store)
    alone = [Model(store, record, scorer).similarity(split) for record, scorer in zip(records, scorers, strict=True)]
    image_encoders = [scorer.encoders[0] for scorer in scorers]
    with_tower = [encoder for encoder in image_encoders if encoder.tower_module() is not None]
    twice = [scorers[0], copy.deepcopy(scorers[0])]
    towers = Towers(twice)
    calls = []
    for scorer in twice:
        encoder = scorer.encoders[0]
        if encoder.tower_module() is None:
            continue
        raw = encoder.raw
        monkeypatch.setattr(encoder, "raw", lambda batch, raw=raw: calls.append(len(batch)) or raw(batch))
    found = [Model(store, records[0], scorer, towers).similarity(split) for scorer in twice]
    for scores in found:
        torch.testing.assert_close(scores, alone[0], rtol=0, atol=1e-6)
    assert not with_tower or sum(calls) == len(split.image_ids)


class Reads(TextEncoder):
    """A tower that gives each token's number, of the first `longest` words."""

    raw_width = 1

    def __init__(self, longest):
        super().__init__(None, lambda texts: self.read(texts, longest))
        self.tower = torch.nn.Linear(1, 1)
        torch.nn.init.ones_(self.tower.weight)
        torch.nn.init.zeros_(self.tower.bias)

    @staticmethod
    def read(texts, longest):
        words = [[len(word) for word in text.split()[:longest]] for text in texts]
        width = max(map(len, words))
        ids = torch.tensor([own + [0] * (width - len(own)) for own in words])
        return Tokens(ids, ids > 0)

    def tower_module(self):
        return self.tower

    def raw(self, batch):
        return Fragments(self.tower(batch.ids[..., None].float()), batch.mask)


class Speaks(Scorer):
    """A scorer of captions alone."""

    def __init__(self, longest):
        torch.nn.Module.__init__(self)
        self.image_encoder, self.text_encoder = torch.nn.Identity(), Reads(longest)
        self.image_encoder.tower_module = lambda: None


def test_encoders_of_one_tower_that_read_other_tokens_share_nothing():
    captions = ("a small dog", "two cats", "a small dog")
    scorers = [Speaks(longest) for longest in (1, 3, 3)]
    towers = Towers(scorers)
    found = [towers.outputs(scorer, scorer.text_encoder, captions) for scorer in scorers]
    assert [int(one.lengths(one.rows).max()) for one in found] == [1, 3, 3]
    assert found[1] is found[2]
    assert found[1].read(found[1].rows)[[0]].features[0, :, 0].tolist() == [1.0, 5.0, 3.0]


def test_what_is_kept_is_bounded_and_the_latest():
    kept, made = RecentlyUsed(10), itertools.count()
    first, second, third = object(), object(), object()

    def value(of):
        return kept.get("x", (of,), lambda: next(made), lambda _: 5)

    assert [value(first), value(second), value(first), value(third), value(first), value(second)] == [0, 1, 0, 2, 0, 3]


def test_filtered_ranks_equal_a_loop():
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 4, (6, 9)).astype(np.float32)
    owner = np.sort(np.concatenate([np.arange(6), generator.integers(0, 6, 3)]))
    true = generator.random((6, 9)) < 0.3
    true[owner, np.arange(9)] = True
    i2t, t2i = filtered_ranks(scores, owner, true)
    for image in range(6):
        best = max(scores[image, t] for t in range(9) if owner[t] == image)
        assert i2t[image] == sum(scores[image, t] >= best for t in range(9) if not true[image, t])
    for text in range(9):
        own = scores[owner[text], text]
        assert t2i[text] == sum(scores[image, text] >= own for image in range(6) if not true[image, text])


def test_a_sample_holds_all_captions_of_its_pictures(store):
    _, _, split = opened(store)
    part = sample(split, 5, "12ab")
    assert len(part.image_ids) == 5
    for image, name in enumerate(part.image_ids):
        whole = split.image_ids.index(name)
        wanted = [split.captions[t] for t in np.flatnonzero(split.caption_image == whole)]
        assert [part.captions[t] for t in np.flatnonzero(part.caption_image == image)] == wanted
        np.testing.assert_array_equal(part.images.pixels([image], 32), split.images.pixels([whole], 32))
        assert part.images.original(image).tobytes() == split.images.original(whole).tobytes()
    assert part.image_ids == sample(split, 5, "12ab").image_ids != sample(split, 5, "34cd").image_ids
    assert sample(split, 14, "12ab") is split
