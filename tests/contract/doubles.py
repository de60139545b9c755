"""Scorers that keep the contract, and doubles that break one of its rules each on purpose."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from harness import conformance as contract
from harness.fragments import Fragments
from harness.scorer import Reading, ScoreLevel, Scorer


class Good(Scorer):
    """Mean over words of the best region, with a projection that is made at first sight and a gate that starts shut."""

    def __init__(self):
        super().__init__()
        self.project = nn.LazyLinear(16, bias=False)
        self.gate = nn.Parameter(torch.zeros(()))

    def prepare_images(self, images):
        return images.normalized()

    def prepare_texts(self, texts):
        texts = texts.normalized()
        return Fragments(texts.features, texts.mask, {"length": texts.lengths.to(texts.features.dtype)})

    def best(self, images, texts):
        """(I, T, W) similarity of each word with its best region."""
        regions, words = self.project(images.features), self.project(texts.features)
        similarity = torch.einsum("ird,twd->itrw", regions, words)
        return similarity.masked_fill(~images.mask[:, None, :, None], -torch.inf).amax(2)

    def score(self, images, texts):
        best = self.best(images, texts).masked_fill(~texts.mask, 0)
        pooled = best.sum(2) / texts.extras["length"]
        strongest = (images.features.norm(dim=2) * images.mask).amax(1)[:, None]
        return pooled * (1 + self.gate * strongest)


class GoodWithLevels(Good):
    """Offers its score as two halves, and the length of each caption."""

    readings: ClassVar = {"length": Reading("length of each caption", "caption")}

    def score_levels(self):
        return halves(self)

    def text_readings(self, texts):
        return {"length": texts.extras["length"]}


BROKEN: dict[str, list[type[Scorer]]] = {}


def breaks(rule):
    """Registers a double that the check `rule` must catch."""

    def register(cls):
        BROKEN.setdefault(rule, []).append(cls)
        return cls

    return register


@breaks("shape")
class Transposed(Good):
    def score(self, images, texts):
        return super().score(images, texts).T


@breaks("shape")
class Rounded(Good):
    def score(self, images, texts):
        return (100 * super().score(images, texts)).long()


@breaks("finite")
class NotANumber(Good):
    def score(self, images, texts):
        scores = super().score(images, texts)
        scores[-1, -1] = torch.nan
        return scores


@breaks("finite")
class LogarithmOfACosine(Good):
    """Finite as long as some region of each image is similar to the caption."""

    def score(self, images, texts):
        return super().score(images, texts).log()


@breaks("finite")
class DividesByTheSpreadOfTheRegions(Good):
    def score(self, images, texts):
        spread = (images.features.square().mean(1) - images.features.mean(1).square()).clamp(min=0).sum(1)
        return super().score(images, texts) / spread.round(decimals=3)[:, None]


@breaks("not_constant")
class Constant(Good):
    def score(self, images, texts):
        return 0 * super().score(images, texts) + 1


@breaks("not_constant")
class ImagePrior(Good):
    """The same score for every caption: ranks captions by chance."""

    def score(self, images, texts):
        return images.features.sum((1, 2))[:, None].expand(-1, len(texts)) * self.gate


@breaks("single")
class Squeezes(Good):
    def score(self, images, texts):
        return super().score(images, texts).squeeze()


@breaks("single")
class VarianceOfOneRegion(Good):
    def score(self, images, texts):
        deviation = (images.features - images.features.mean(1, keepdim=True)).square().sum(1) / (
            images.mask.shape[1] - 1
        )
        return super().score(images, texts) - deviation.mean(1)[:, None]


@breaks("deterministic")
class DropoutInEvaluation(Good):
    def score(self, images, texts):
        return F.dropout(super().score(images, texts), 0.5, training=True)


@breaks("inputs_kept")
class NormalisesInPlace(Good):
    def prepare_images(self, images):
        images.features.div_(2 * images.features.norm(dim=2, keepdim=True).clamp(min=1e-6))
        return images


@breaks("inputs_kept")
class ChangesTheMask(Good):
    def score(self, images, texts):
        scores = super().score(images, texts)
        texts.mask[:, -1] = True
        return scores


@breaks("inputs_kept")
class WritesIntoExtras(Good):
    def score(self, images, texts):
        scores = super().score(images, texts)
        texts.extras["length"].add_(1)
        return scores


@breaks("inputs_kept")
class DropsWordsInPlaceWhileTraining(Good):
    def losses(self, images, texts, image_ids):
        losses = super().losses(images, texts, image_ids)
        texts.mask[0, 1:] = False
        return losses


@breaks("padding")
class MeanOverPadding(Good):
    def score(self, images, texts):
        return super().score(images, texts) + images.features.mean(1).sum(1)[:, None]


@breaks("padding")
class MasksWithZeroBeforeAMaximum(Good):
    """Right as long as each word has a region that is similar to it."""

    def best(self, images, texts):
        regions, words = self.project(images.features), self.project(texts.features)
        similarity = torch.einsum("ird,twd->itrw", regions, words)
        return (similarity * images.mask[:, None, :, None]).amax(2)


@breaks("padding")
class LeaksBehindAGateThatStartsShut(Good):
    def score(self, images, texts):
        return super().score(images, texts) + self.gate * images.features.sum((1, 2))[:, None]


@breaks("padding")
class DividesByThePaddedLength(Good):
    def score(self, images, texts):
        return super().score(images, texts) / texts.mask.shape[1]


@breaks("other_items")
class BatchNormalisation(Good):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(contract.WIDTH, track_running_stats=False)

    def score(self, images, texts):
        pooled = images.features.sum(1) / images.lengths[:, None]
        if len(images) > 1:
            pooled = self.norm(pooled)
        return super().score(images, texts) + pooled.mean(1)[:, None]


@breaks("other_items")
class SoftmaxOverCaptions(Good):
    def score(self, images, texts):
        return super().score(images, texts).softmax(1)


@breaks("permutation")
class FavoursTheFirst(Good):
    def score(self, images, texts):
        return super().score(images, texts) - 0.01 * torch.arange(len(images))[:, None]


@breaks("blocks")
class CentresTheBlock(Good):
    def score(self, images, texts):
        scores = super().score(images, texts)
        return scores - scores.mean()


@breaks("prepared_once")
class ShiftsAtEachPreparation(Good):
    def prepare_texts(self, texts):
        return super().prepare_texts(Fragments(texts.features + 0.1, texts.mask))


@breaks("prepared_once")
class AddsAFragmentAtEachPreparation(Good):
    def prepare_images(self, images):
        mean = images.features.sum(1, keepdim=True) / images.lengths[:, None, None]
        return Fragments(torch.cat([images.features, mean], 1), F.pad(images.mask, (0, 1), value=True))


@breaks("batches")
class KeepsItsOwnMaskAsAnExtra(Good):
    """Concatenation pads extras with 0, which here means a real region."""

    def prepare_images(self, images):
        padding = torch.zeros(images.mask.shape).masked_fill(~images.mask, -torch.inf)
        return Fragments(images.normalized().features, images.mask, {"padding": padding})

    def best(self, images, texts):
        regions, words = self.project(images.features), self.project(texts.features)
        similarity = torch.einsum("ird,twd->itrw", regions, words)
        return (similarity + images.extras["padding"][:, None, :, None]).amax(2)


@breaks("gradients")
class UnusedParameter(Good):
    def __init__(self):
        super().__init__()
        self.forgotten = nn.Parameter(torch.ones(3))


@breaks("gradients")
class RootOfZero(Good):
    """Padded fragments are zero vectors; the norm's derivative there is 0 / 0."""

    def score(self, images, texts):
        lengths = (images.features.square().sum(2)).sqrt() * images.mask
        return super().score(images, texts) * lengths.sum(1)[:, None]


@breaks("gradients")
class DetachesTheImages(Good):
    def prepare_images(self, images):
        return images.normalized().detach()


@breaks("gradients")
class LossWithoutAGraph(Good):
    def losses(self, images, texts, image_ids):
        return {"matching": super().losses(images, texts, image_ids)["matching"].detach()}


@breaks("gradients")
class LossOfEachPair(Good):
    def losses(self, images, texts, image_ids):
        return {"matching": -self.score(images, texts).diagonal()}


@breaks("gradients")
class InfiniteLoss(Good):
    def losses(self, images, texts, image_ids):
        return {"matching": (self.score(images, texts) * torch.inf).sum()}


@breaks("state_dict")
class KeepsAWeightOutsideItsState(Good):
    def __init__(self):
        super().__init__()
        self.hidden = torch.randn(contract.WIDTH)

    def score(self, images, texts):
        return (
            super().score(images, texts) + (images.features @ self.hidden).masked_fill(~images.mask, 0).sum(1)[:, None]
        )


def halves(scorer, **changes):
    """Two levels of one scorer, by default halves of its score."""
    level = ScoreLevel(changes.get("weight", 0.5), scorer)
    return {"first": level, "second": changes.get("second", level)}


@breaks("levels")
class LevelsDoNotAddUp(Good):
    def score_levels(self):
        return halves(self, weight=0.4)


@breaks("levels")
class LevelTakesAwayAProjection(Good):
    """The level is a change of the scorer itself, not a view of it."""

    def score_levels(self):
        self.doubled = True
        return halves(self)

    def score(self, images, texts):
        return super().score(images, texts) * (2 if hasattr(self, "doubled") else 1)


@breaks("levels")
class LevelIsNotANumber(Good):
    def score_levels(self):
        return halves(self, second=ScoreLevel(0.5, NotANumber()))


class Reads(Good):
    readings: ClassVar = {"length": Reading("length of each caption", "caption")}


@breaks("readings")
class DeclaresAReadingThatItDoesNotGive(Reads):
    pass


@breaks("readings")
class ReadsThePadding(Reads):
    def text_readings(self, texts):
        return {"length": texts.features.abs().sum((1, 2))}


@breaks("readings")
class ReadsOneNumberForAll(Reads):
    def text_readings(self, texts):
        return {"length": texts.extras["length"].mean()}


@breaks("readings")
class ReadsInfinity(Reads):
    def text_readings(self, texts):
        return {"length": texts.extras["length"] / 0}
