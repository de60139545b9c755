"""A scorer that gives its alignment, and doubles that break the rule of alignments each on purpose."""

from dataclasses import replace

import torch
from doubles import Good, breaks

from harness.alignment import Alignment


class Aligns(Good):
    """Offers the attention of each word to the regions, and its gate."""

    def align(self, images, texts):
        images, texts = self.prepare_images(images), self.prepare_texts(texts)
        weights = self.attention(images, texts) * texts.mask[..., None]
        gates = texts.features.abs().amax(2) * texts.mask
        return self.alignment(images, texts, weights, word_gates=gates)

    def attention(self, images, texts):
        """(N, W, R)"""
        logits = self.project(texts.features) @ self.project(images.features).mT
        return logits.masked_fill(~images.mask[:, None], -torch.inf).softmax(2)

    def alignment(self, images, texts, weights, **more):
        masks = {"word_mask": texts.mask, "region_mask": images.mask}
        return Alignment(**{"kind": "attention", "weights": weights, "over": "regions", **masks, **more})


@breaks("alignment")
class AlignsWithATensor(Aligns):
    def align(self, images, texts):
        return super().align(images, texts).weights


@breaks("alignment")
class AlignsRegionsByWords(Aligns):
    def align(self, images, texts):
        found = super().align(images, texts)
        return Alignment(
            kind=found.kind,
            weights=found.weights.mT,
            over="words",
            word_mask=found.region_mask,
            region_mask=found.word_mask,
        )


@breaks("alignment")
class AttentionThatIsNotNormalised(Aligns):
    def attention(self, images, texts):
        return super().attention(images, texts) / 2


@breaks("alignment")
class AttendsToThePadding(Aligns):
    def attention(self, images, texts):
        return (self.project(texts.features) @ self.project(images.features).mT).softmax(2)


@breaks("alignment")
class CountsThePaddingAsWords(Aligns):
    def alignment(self, images, texts, weights, **more):
        return super().alignment(images, texts, weights, word_mask=torch.ones_like(texts.mask), **more)


@breaks("alignment")
class AttendsMoreSharplyInALongerCaption(Aligns):
    """Reads the padded length."""

    def attention(self, images, texts):
        return torch.softmax(super().attention(images, texts).log() * texts.mask.shape[1], 2)


@breaks("alignment")
class AttentionRelativeToTheBatch(Aligns):
    def attention(self, images, texts):
        return torch.softmax(super().attention(images, texts).log() * len(images), 2)


@breaks("alignment")
class GateRelativeToTheBatch(Aligns):
    def alignment(self, images, texts, weights, *, word_gates):
        return super().alignment(images, texts, weights, word_gates=word_gates / word_gates.amax())


@breaks("alignment")
class AttentionWithNoise(Aligns):
    def attention(self, images, texts):
        return torch.softmax(super().attention(images, texts).log() * torch.rand(()), 2)


@breaks("alignment")
class AlignsPreparedFragmentsOtherwise(Aligns):
    def align(self, images, texts):
        found = super().align(images, texts)
        return replace(found, word_gates=found.word_gates / 2) if "length" in texts.extras else found


@breaks("alignment")
class AlignsInPlace(Aligns):
    def align(self, images, texts):
        found = super().align(images, texts)
        texts.features.mul_(2)
        return found


@breaks("alignment")
class AligningChangesTheScore(Aligns):
    def align(self, images, texts):
        self.aligned = True
        return super().align(images, texts)

    def score(self, images, texts):
        return super().score(images, texts) * (2 if hasattr(self, "aligned") else 1)


@breaks("alignment")
class AlignsByAWeightOutsideItsState(Aligns):
    def __init__(self):
        super().__init__()
        self.sharpness = 1 + torch.rand(())

    def attention(self, images, texts):
        return torch.softmax(super().attention(images, texts).log() * self.sharpness, 2)


@breaks("alignment")
class AlignsOnlySomeOfTheTime(Aligns):
    def align(self, images, texts):
        return super().align(images, texts) if len(images) > 1 else None
