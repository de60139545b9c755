"""Backbones that keep the contract, and doubles that break one of its rules each on purpose."""

import torch
from torch import nn

from harness.backbones.base import BackboneConfig, ImageEncoder, TextEncoder
from harness.backbones.grid import Grid
from harness.fragments import Fragments, Tokens


class Config(BackboneConfig):
    width: int = 6
    min_count: int = 1
    max_words: int = 32


class GoodText(TextEncoder):
    """An embedding with a layer behind it."""

    Config = Config

    def __init__(self, config, tokenizer, *, load_pretrained=True):
        super().__init__(config, tokenizer)
        self.width = config.width
        self.embedding = nn.Embedding(tokenizer.vocabulary_size, self.width)
        self.layer = nn.Linear(self.width, self.width)

    def states(self, batch):
        return self.layer(self.embedding(batch.ids) * batch.mask[..., None])

    def forward(self, batch):
        return Fragments(self.states(batch), batch.mask)


class GoodRegions(ImageEncoder):
    """A layer on region features."""

    Config = Config
    input = "regions"

    def __init__(self, config, region_width=0, *, load_pretrained=True):
        super().__init__(config)
        self.input_width, self.width = region_width, config.width
        self.layer = nn.Linear(region_width, self.width)

    def forward(self, batch):
        return Fragments(self.layer(batch.features), batch.mask)


class GoodPixels(ImageEncoder):
    """A tower of one convolution, and a head."""

    Config = Config
    image_size = 8
    raw_width = 4

    def __init__(self, config, region_width=0, *, load_pretrained=True):
        super().__init__(config)
        self.width = config.width
        self.grid = Grid(2, 2)
        self.tower = nn.Conv2d(3, 4, 4, stride=4)
        self.project = nn.Linear(4, self.width)

    def tower_module(self):
        return self.tower

    def raw(self, batch):
        cells = self.tower(batch / 255).flatten(2).transpose(1, 2)
        return Fragments(cells, torch.ones(cells.shape[:2], dtype=torch.bool))

    def head(self, raw):
        return Fragments(self.project(raw.features), raw.mask)


GOOD = (GoodText, GoodRegions, GoodPixels)
BROKEN: dict[str, list[type]] = {}


def breaks(rule):
    """Registers a double that the rule must catch."""

    def register(cls):
        BROKEN.setdefault(rule, []).append(cls)
        return cls

    return register


@breaks("declared")
class SaysNoWidth(GoodRegions):
    def __init__(self, config, region_width=0, **options):
        super().__init__(config, region_width)
        self.width = 0


@breaks("declared")
class TakesAnotherWidthThanTheData(GoodRegions):
    def __init__(self, config, region_width=0, **options):
        super().__init__(config, region_width)
        self.input_width = 7


class WithTokenizer(GoodText):
    """A tokenizer with something changed."""

    def __init__(self, config, tokenizer, **options):
        super().__init__(config, tokenizer)
        self.tokenizer = Changed(tokenizer, self.change)


class Changed:
    def __init__(self, tokenizer, change):
        self._tokenizer, self._change = tokenizer, change

    def __getattr__(self, name):
        return getattr(self._tokenizer, name)

    def __call__(self, captions):
        return self._change(self._tokenizer(captions))


@breaks("tokenizer")
class PadsAtTheFront(WithTokenizer):
    def change(self, tokens):
        return Tokens(tokens.ids.flip(1), tokens.mask.flip(1))


@breaks("tokenizer")
class IdsBeyondTheVocabulary(WithTokenizer):
    def change(self, tokens):
        return Tokens(tokens.ids + 1000, tokens.mask)


@breaks("shape")
class GivesAnotherWidth(GoodText):
    def states(self, batch):
        return super().states(batch)[..., :5]


@breaks("shape")
class NotANumber(GoodText):
    def forward(self, batch):
        return Fragments.unchecked(self.states(batch) * torch.nan, batch.mask, {})


@breaks("not_constant")
class SameForAll(GoodRegions):
    def forward(self, batch):
        return Fragments(0 * self.layer(batch.features) + 1, batch.mask)


@breaks("deterministic")
class DropoutInEvaluation(GoodRegions):
    def forward(self, batch):
        return Fragments(nn.functional.dropout(self.layer(batch.features), 0.5, training=True), batch.mask)


@breaks("inputs_kept")
class ScalesItsInput(GoodRegions):
    def forward(self, batch):
        batch.features.mul_(0.5)
        return super().forward(batch)


@breaks("padding")
class AddsTheMeanOfAllPositions(GoodText):
    def states(self, batch):
        states = self.layer(self.embedding(batch.ids))
        return states + states.mean(1, keepdim=True)


@breaks("padding")
class TakesPaddingForReal(GoodRegions):
    def forward(self, batch):
        return Fragments(self.layer(batch.features), torch.ones_like(batch.mask))


@breaks("other_items")
class CentresTheBatch(GoodPixels):
    def head(self, raw):
        found = self.project(raw.features)
        return Fragments(found - found.mean(0), raw.mask)


@breaks("other_items")
class FavoursTheFirst(GoodRegions):
    def forward(self, batch):
        place = torch.arange(len(batch))[:, None, None]
        return Fragments(self.layer(batch.features) + 0.01 * place, batch.mask)


@breaks("gradients")
class UnusedParameter(GoodText):
    def __init__(self, config, tokenizer, **options):
        super().__init__(config, tokenizer)
        self.forgotten = nn.Parameter(torch.ones(3))


@breaks("gradients")
class RootOfZero(GoodText):
    """The derivative of a root is infinite where the padding is 0."""

    def states(self, batch):
        return (self.layer(self.embedding(batch.ids)) * batch.mask[..., None]).abs().sqrt()


@breaks("state_dict")
class KeepsAWeightOutsideItsState(GoodRegions):
    def __init__(self, config, region_width=0, **options):
        super().__init__(config, region_width)
        self.hidden = torch.randn(self.width)

    def forward(self, batch):
        return Fragments(self.layer(batch.features) + self.hidden, batch.mask)


@breaks("state_dict")
class TokenizerStateIsNoJson(GoodText):
    def tokenizer_state(self):
        return {**super().tokenizer_state(), "words": {1, 2}}


@breaks("tower")
class SaysAnotherTowerWidth(GoodPixels):
    raw_width = 5

    def forward(self, batch):
        return self.head(batch if isinstance(batch, Fragments) else self.raw(batch))


@breaks("tower")
class AddsSomethingBehindItsTower(GoodPixels):
    def forward(self, batch):
        found = super().forward(batch)
        return found if isinstance(batch, Fragments) else Fragments(found.features + batch.float().mean(), found.mask)


@breaks("places")
class SaysTooFewPlaces(GoodPixels):
    def __init__(self, config, region_width=0, **options):
        super().__init__(config)
        self.grid = Grid(1, 2)
