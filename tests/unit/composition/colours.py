"""Pictures of one colour, and models that see colours: one that knows them, one that sees nothing, one that guesses."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from harness.backbones.base import BackboneConfig, ImageEncoder, TextEncoder
from harness.backbones.words.tokenizers import WordTokenizer
from harness.backbones.words.vocabulary import Vocabulary
from harness.fragments import Fragments
from harness.probes.model import Model
from harness.scorer import Scorer

COLOURS = {
    "red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0), "white": (255, 255, 255),
    "black": (0, 0, 0), "cyan": (0, 255, 255), "pink": (255, 0, 255),
}  # fmt: skip
NAMES = tuple(COLOURS)
LONGEST = 12


def picture(path, colour: str, size=(16, 12)) -> None:
    """A PNG of one colour, whatever the name's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, COLOURS[colour]).save(path, "PNG")


class Eyes(ImageEncoder):
    """The mean colour of a picture, as one fragment."""

    image_size, width = 8, 3

    def __init__(self):
        super().__init__(BackboneConfig())

    def forward(self, batch):
        return Fragments(batch.float().mean((2, 3))[:, None] / 255, torch.ones(len(batch), 1, dtype=torch.bool))


class Words(TextEncoder):
    """The colour that a caption names first, as one fragment; an unknown word has no colour."""

    width = 3

    def __init__(self):
        vocabulary = Vocabulary.from_captions([" ".join([*NAMES, "a", "thing", "before", "beside", "in", "the"])])
        super().__init__(BackboneConfig(), WordTokenizer(vocabulary, LONGEST))

    def forward(self, batch):
        entries = self.tokenizer.vocabulary.entries
        rows = []
        for ids in batch.ids.tolist():
            named = [COLOURS[entries[i]] for i in ids if entries[i] in COLOURS]
            rows.append([value / 255 for value in (named or [(128, 128, 128)])[0]])
        return Fragments(torch.tensor(rows)[:, None], torch.ones(len(rows), 1, dtype=torch.bool))


class Knowing(Scorer):
    """Scores by how near the named colour is."""

    def score(self, images, texts):
        return -torch.cdist(images.features[:, 0], texts.features[:, 0])


class Constant(Scorer):
    """Scores every pair alike."""

    def score(self, images, texts):
        return torch.full((len(images), len(texts)), 0.5)


class Guessing(Scorer):
    """Scores that depend on the pair, and on nothing that it means."""

    def score(self, images, texts):
        pairs = torch.cat(
            [
                images.features[:, None].expand(-1, len(texts), -1, -1),
                texts.features[None].expand(len(images), -1, -1, -1),
            ],
            -1,
        )
        weights = torch.tensor([12.9898, 78.233, 37.719, 94.673, 53.117, 21.951], dtype=torch.float64)
        return ((pairs[:, :, 0].double() @ weights).sin() * 43758.5453).remainder(1.0).float()


def model_of(kind: type[Scorer], epochs: int = 1) -> Model:
    """A model whose scorer is of a class, with eyes and words."""
    record = SimpleNamespace(run_id="r", label="r", training=SimpleNamespace(epochs=epochs))
    return Model(None, record, kind(image_encoder=Eyes(), text_encoder=Words()).eval())


def share(answers, name: str) -> float:
    """The mean of a measure."""
    return float(np.mean(answers_of(answers, name)))


def answers_of(answers, name: str) -> np.ndarray:
    """The values of a measure, (N,)."""
    (found,) = [measure for measure in answers.measures if measure.name == name]
    return found.values[0]
