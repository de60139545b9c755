"""Models whose alignments are known: one that knows the truth, one that looks everywhere, and others that do not look."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from small_grounding import encoders

from harness.alignment import Alignment, one_hot
from harness.fragments import Fragments
from harness.grounding.boxes import centres_inside, overlaps, padded
from harness.grounding.places import fragment_places
from harness.grounding.texts import fragments_of, located
from harness.scorer import Scorer
from harness.scoring import encode_split


class Known(Scorer):
    """A scorer whose alignment is made of the numbers of the picture and the caption, which its fragments hold."""

    def __init__(self, probe, image="patches", over="regions"):
        super().__init__(None, *encoders(probe.split, image))
        self.probe, self.over = probe, over

    def encode_images(self, batch):
        return self._numbered(super().encode_images(batch))

    def encode_texts(self, batch):
        return self._numbered(super().encode_texts(batch))

    @staticmethod
    def _numbered(fragments):
        return Fragments(torch.zeros_like(fragments.features[..., :1]), fragments.mask)

    def align(self, images, texts):
        rows, captions = (side.features[:, 0, 0].long().tolist() for side in (images, texts))
        weights = torch.stack(
            [
                self.look(row, caption, texts.mask[n], images.mask[n])
                for n, (row, caption) in enumerate(zip(rows, captions, strict=True))
            ]
        )
        return Alignment(
            kind="known", weights=weights, over=self.over, word_mask=texts.mask, region_mask=images.mask,
            word_gates=self.gates(texts),
        )  # fmt: skip

    def gates(self, texts):
        return None

    def look(self, row, caption, words, regions):
        """(W, R) weights."""
        raise NotImplementedError


class Everywhere(Known):
    """Looks at all fragments alike."""

    def look(self, row, caption, words, regions):
        return (words[:, None] & regions) / regions.sum()


class Nowhere(Known):
    """Matches no word with anything."""

    def look(self, row, caption, words, regions):
        return torch.zeros(len(words), len(regions))


class Corner(Known):
    """Always looks at the same fragment."""

    def look(self, row, caption, words, regions):
        return one_hot(torch.zeros(len(words), dtype=torch.long), len(regions), words)


class Anywhere(Known):
    """Looks at a random fragment."""

    def look(self, row, caption, words, regions):
        generator = torch.Generator().manual_seed(caption)
        chosen = torch.randint(int(regions.sum()), (len(words),), generator=generator)
        return one_hot(chosen, len(regions), words)


class Truth(Known):
    """Looks at the fragment that covers most of the object, of those with their centre on it."""

    def look(self, row, caption, words, regions):
        probe, (image_encoder, text_encoder) = self.probe, self.encoders
        places = fragment_places(image_encoder, [row], len(regions), probe.picture_size, probe.region_places)
        text = probe.split.captions[caption]
        spelled = located(text, text_encoder.tokenizer.words(text))
        weights = torch.zeros(len(words), len(regions))
        for target in probe.targets:
            if target.caption == caption:
                own = self.worth(places, padded([target.boxes])) * regions
                weights[list(fragments_of(target.span, spelled))] = own.float()
        return weights

    def worth(self, places, boxes):
        """(R,) weights of a word whose target is these boxes."""
        worth = overlaps(places, boxes) + 2.0 * centres_inside(places, boxes)
        return one_hot(torch.from_numpy(worth[0]).argmax(), worth.shape[1], torch.tensor(True))


class Overlapping(Truth):
    """Looks at each fragment as much as it overlaps the object."""

    def worth(self, places, boxes):
        found = torch.from_numpy(overlaps(places, boxes)[0])
        return found / found.sum().clamp(min=1e-12)


def model_of(scorer, run_id="run"):
    """What a probe asks: the scorer, with the numbers of pictures and captions as features."""

    def encode(split):
        return encode_numbers(scorer, split) if isinstance(scorer, Known) else encode_split(scorer, split)

    return SimpleNamespace(scorer=scorer.eval(), encode=encode, record=SimpleNamespace(run_id=run_id))


def encode_numbers(scorer, split):
    tokens = scorer.text_encoder.tokenizer(split.captions)
    texts = torch.arange(len(tokens))[:, None, None].float().expand(-1, tokens.mask.shape[1], 1)
    count = len(split.image_ids)
    if scorer.image_encoder.input == "regions":
        mask = split.images.regions(range(count)).mask
    else:
        mask = torch.ones(count, scorer.image_encoder.grid.fragments, dtype=torch.bool)
    images = torch.arange(count)[:, None, None].float().expand(*mask.shape, 1)
    return Fragments(images.clone(), mask), Fragments(texts.clone(), tokens.mask)
