"""BLIP's image-text matching: a network reads each caption together with each image (Li et al., ICML 2022).

It costs a pass per pair, so it serves as the second stage of a cascade: `itm profile --cascade clip,blip_itm`.

Shape letters: I images, T captions, R image tokens, W words, D width, B pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from harness.backbones.blip.encoders import BlipImageEncoder, BlipTextEncoder
from harness.backbones.blip.reader import HEADS, Reader, ReaderShape
from harness.errors import InvalidSpec
from harness.fragments import Fragments
from harness.scorers.features import check_widths, clean
from harness.scorers.lazy_width import LazyWidthConfig, LazyWidthScorer
from harness.scorers.tiles import Side, budget, scores_of_all_pairs

#: Layers and width inside a layer, in units of D, of a reader that is trained from scratch.
SMALL_LAYERS, FEED_FORWARD = 2, 4
#: Values of one tile's largest tensor: what the words look at, or what a layer widens them to.
TILE_VALUES = {"cpu": 2**22, "cuda": 2**27}


class BlipItmConfig(LazyWidthConfig):
    """Settings of BLIP's matching; with the towers `blip`, the model says all of them."""

    layers: int | None = Field(None, ge=1, description="layers of the reader; None = the model's, or 2 without one")
    heads: int | None = Field(
        None, ge=1, description="attention heads; None = the model's, or the first of 12, 8, 4, 2 that divides D"
    )


@dataclass(frozen=True)
class Images(Side):
    """What the reader sees of I images: tokens (I, R, D) and mask (I, R)."""

    tokens: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Captions(Side):
    """What it reads: words (T, W, D) and mask (T, W)."""

    words: Tensor
    mask: Tensor


class BlipItm(LazyWidthScorer[Reader]):
    """Log-odds that image and caption belong together, by a BERT whose words also attend to the image's tokens.

    With the backbones `blip` on both sides, the reader has the weights of that model; with any others it is a small one to
    train from scratch.

    Source:
        Li et al., BLIP: Bootstrapping Language-Image Pre-training, ICML 2022, section 3, and the authors' evaluation of
        retrieval. Differs: see `Reader`; the authors add the similarity of the first stage to the logit of a match, which a
        cascade's second stage does not know.

    `align` gives None: words look at the image in every layer, and no layer's look is the score.
    """

    Config = BlipItmConfig
    config: BlipItmConfig
    width_parameters = ("head.weight",)
    #: The authors' fine-tuning for retrieval, without its momentum encoders.
    recipe: ClassVar = {
        "epochs": 6,
        "batch_size": 32,
        "optimizer": "adamw",
        "learning_rate": 1e-5,
        "weight_decay": 0.05,
        "schedule": "cosine",
        "backbone_learning_rate_scale": 1.0,
    }
    #: The loss is its own: of the training's objective it takes nothing. A BLIP has its layers: for one, set `config.layers`
    #: of the sweep to null.
    search_space: ClassVar = {"config.layers": [1, 2, 4], "training.margin": None, "training.temperature": None}
    citation = "Li et al., BLIP: Bootstrapping Language-Image Pre-training, ICML 2022"

    def setup(self) -> None:
        #: Largest number of values in a tile's tensors; None = by device.
        self.tile_values: int | None = None
        if isinstance(self.text_encoder, BlipTextEncoder):
            self._check_model(self.text_encoder)

    def build_parts(self, width: int) -> Reader:
        """The reader: of the text backbone's model, or a small one."""
        if isinstance(self.text_encoder, BlipTextEncoder):
            return self.text_encoder.reader()
        heads = self.config.heads or next(heads for heads in HEADS if width % heads == 0)
        return Reader(ReaderShape(width, width, self.config.layers or SMALL_LAYERS, heads, FEED_FORWARD * width))

    def prepare_images(self, images: Fragments) -> Fragments:
        """As they are: what the reader makes of an image depends on the caption."""
        self.parts_for(images, "images")
        return images

    def prepare_texts(self, texts: Fragments) -> Fragments:
        """As they are, likewise."""
        self.parts_for(texts, "captions")
        return texts

    def score(self, images: Fragments, texts: Fragments) -> Tensor:
        """(I, T) log-odds of a match; arguments and errors as `Scorer.score`."""
        check_widths(images, texts)
        reader = self.parts_for(images, "images")
        left = Images(clean(images).to(reader.head.weight.dtype), images.mask)
        right = Captions(clean(texts).to(reader.head.weight.dtype), texts.mask)
        widest = max(reader.shape.feed_forward, reader.shape.heads * left.mask.shape[1])
        values = budget(self.tile_values, TILE_VALUES, right.words.device)
        return scores_of_all_pairs(left, right, max(1, values // (widest * right.mask.shape[1])), self._tile)

    def losses(self, images: Fragments, texts: Fragments, image_ids: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of match or no match, whatever `training.objective` says. Arguments as `Scorer.losses`.

        Each pair is a match; each image with its hardest caption of the batch, and each caption with its hardest image, is
        none.

        Source:
            Li et al., section 3.2. Differs: the authors draw the negatives by the similarity of a second network, here they
            are the hardest by the score itself; BLIP's two other losses, of contrast and of language, are not trained.
        """
        scores = self.score(images, texts)
        others = scores.masked_fill(image_ids[:, None] == image_ids, -torch.inf)
        negatives = torch.cat([others.amax(1), others.amax(0)])
        negatives = negatives[negatives > -torch.inf]  # a batch of one image has none
        matches = scores.diagonal()
        total = F.softplus(-matches).sum() + F.softplus(negatives).sum()
        return {"matching": total / (len(matches) + len(negatives))}

    def _tile(self, images: Images, captions: Captions) -> Tensor:
        assert self.parts is not None
        return self.parts(captions.words, captions.mask, images.tokens, images.mask)

    def _check_model(self, text: BlipTextEncoder) -> None:
        model = text.config.model
        if self.config.layers or self.config.heads or self.config.width:
            raise InvalidSpec(f"blip_itm takes layers, heads and width from {model}; leave these options out")
        image = self.image_encoder
        if image is not None and not (isinstance(image, BlipImageEncoder) and image.config.model == model):
            named = image.config.model if isinstance(image, BlipImageEncoder) else type(image).__name__
            raise InvalidSpec(
                f"blip_itm reads image tokens of its own model {model}, got those of {named}; "
                f"set both backbones to {{name: blip, model: {model}}}"
            )
