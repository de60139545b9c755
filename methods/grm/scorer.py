"""GRM: granularity-aware and region-uncertain matching, re-implemented from the paper.

Each side keeps or suppresses its tokens by learned gates; K prompts gather an image's patches into regions that are
Gaussians; a caption is matched to plain tokens, gated tokens and regions, and the three similarities are added.
Everything but that last product is computed once per image or once per caption. No code of the authors is public: every
choice that the paper leaves open is a field of `GrmConfig`, with its reason.

Shape letters: I images, T captions, B pairs, R patches, W words, K regions, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from harness.alignment import Alignment, paired
from harness.fragments import Fragments
from harness.methods.grm.align import Pairs, alignment
from harness.methods.grm.config import (
    PUBLISHED_ABLATION,
    PUBLISHED_ABLATION_SOURCE,
    SEARCH_SPACE,
    VARIANTS,
    GrmConfig,
)
from harness.methods.grm.explain import Explanation, explanation
from harness.methods.grm.gates import MEANS, ORDERS
from harness.methods.grm.levels import Matching, image_side, pairwise_levels, text_side
from harness.methods.grm.losses import RegionState, masked_mean, regularisers
from harness.methods.grm.packed import LevelsKernel, image_rows
from harness.methods.grm.parts import Parts, build_parts
from harness.methods.grm.readings import READINGS, gates, region_readings
from harness.scorer import ScoreLevel
from harness.scorers import recipes
from harness.scorers.features import has_class_token, without_class_token, zero_padded
from harness.scorers.lazy_width import LazyWidthScorer
from harness.scorers.views import view
from harness.scoring import evaluating
from harness.similarity.packed.kernels import PackedForm
from harness.similarity.reductions import precise


class Grm(LazyWidthScorer[Parts]):
    """Granularity-aware and region-uncertain matching.

    Args:
        config: a `GrmConfig`.
        image_encoder: its `width` gives D; its `class_tokens` = 1 says that the first fragment is a [CLS].
        text_encoder: of the same width.

    Raises:
        InvalidSpec: the widths of the backbones and the config disagree.

    Source:
        GRM: Cross Modal Fine-Grained Alignment via Granularity-Aware and Region-Uncertain Modeling, AAAI 2026,
        pp. 23703-23711. Differs: see the comments of `GrmConfig`.
    """

    Config = GrmConfig
    config: GrmConfig
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = VARIANTS
    components: ClassVar[Sequence[str]] = tuple(name for name in PUBLISHED_ABLATION if name)
    recipe: ClassVar[Mapping[str, Any]] = recipes.LAPS
    search_space: ClassVar[Mapping[str, Any]] = SEARCH_SPACE
    readings: ClassVar = READINGS
    citation: ClassVar[str] = (
        "Cross Modal Fine-Grained Alignment via Granularity-Aware and Region-Uncertain Modeling, AAAI 2026, "
        "pp. 23703-23711 (arXiv 2511.07710)"
    )
    published_ablation: ClassVar[Mapping[str, float]] = PUBLISHED_ABLATION
    published_ablation_source: ClassVar[str] = PUBLISHED_ABLATION_SOURCE
    width_parameters = (
        "significance.hidden.weight",
        "granularity.hidden.weight",
        "regions.prompting.prompts",
        "regions.uncertainty.hidden.weight",
    )

    def setup(self) -> None:
        """The choices of the config; what is learned waits for the width."""
        config = self.config
        #: Source of the noise in training; None = torch's own generator, seeded by `torch.manual_seed`.
        self.generator: torch.Generator | None = None
        #: Largest number of token similarities held at once; None = by device.
        self.tile_elements: int | None = None
        self._trained, self._ranking = config.level_weights(), config.ranking_weights()
        self._regularisers = regularisers(config)
        activation = nn.LeakyReLU(config.leaky_slope) if config.leaky_slope else nn.Identity()
        self._matching = Matching(ORDERS[config.gate_order], MEANS[config.suppressed_mean], activation)
        self._class_token = has_class_token(config.class_token, self.image_encoder)

    def build_parts(self, width: int) -> Parts:
        """Gates, prompts and variances for fragments of width D."""
        return build_parts(self.config, width)

    def prepare_images(self, images: Fragments) -> Fragments:
        """Add an image's gates and regions: sampled in training, at their modes in evaluation.

        Args:
            images: features (I, R, D). Fragments that are prepared already come back as they are.

        Returns:
            The same with the extras `gates` (I, R), `regions` (I, K, D), `region_mask` (I, K) and, in training with
            uncertainty, `region_logvar` (I, K, D). K = 0 if nothing in the configuration reads regions.

        Raises:
            InvalidFragments: D is not that of the parameters.
        """
        if "gates" in images.extras:
            return images
        parts = self.parts_for(images, "images")
        gates = parts.significance(zero_padded(images), images.mask, self.generator)
        drawn, region_mask = parts.regions(_gated(images, gates), self._places(images), self.generator)
        extras = {**images.extras, "gates": gates, "region_mask": region_mask, **drawn}
        return Fragments(images.features, images.mask, extras)

    def prepare_texts(self, texts: Fragments) -> Fragments:
        """Add a caption's `gates` (T, W) to its extras, as `prepare_images` does.

        Raises:
            InvalidFragments: D is not that of the parameters.
        """
        if "gates" in texts.extras:
            return texts
        gates = self.parts_for(texts, "captions").granularity(zero_padded(texts), texts.mask, self.generator)
        return Fragments(texts.features, texts.mask, {**texts.extras, "gates": gates})

    def score(self, images: Fragments, texts: Fragments) -> Tensor:
        """(I, T) float32: the weighted sum of the levels that rank, each a sum of two mean cosines in [-2, 2].

        Arguments and errors as `Scorer.score`.
        """
        levels = self._levels(images, texts, tuple(self._ranking))
        weights = levels.new_tensor(list(self._ranking.values()))
        return (levels * weights[:, None, None]).sum(0)  # no matrix product, which autocast would round

    def packed_form(self) -> PackedForm:
        """The same scores for the scoring engine: three levels from one product of words x (patches + regions)."""
        kernel = LevelsKernel(self._ranking, self._matching)
        return PackedForm(((1.0, kernel),), image_rows=self._image_rows, text_rows=self._text_rows)

    def levels(self, images: Fragments, texts: Fragments) -> dict[str, Tensor]:
        """The unweighted similarity (I, T) of each level that is trained: original, salient, uncertain."""
        names = tuple(self._trained)
        return dict(zip(names, self._levels(images, texts, names).unbind(), strict=True))

    def score_levels(self) -> dict[str, ScoreLevel]:
        """The trained levels; one that is left out of the ranking has weight 0."""
        return {
            name: ScoreLevel(self._ranking.get(name, 0.0), view(self, _ranking={name: 1.0})) for name in self._trained
        }

    def image_readings(self, images: Fragments) -> dict[str, Tensor]:
        """Patch gates (I, R), and per region (I, K) or image (I,) what `readings.READINGS` says."""
        places, patch_gates = self._places(images), images.extras["gates"]
        model = self.parts_for(images, "images").regions
        regions, variance = model.describe(_gated(images, patch_gates), places)
        found = region_readings(regions, variance, places.sum(1))
        return {"patch_gate": gates(patch_gates, images.mask), **found}

    def text_readings(self, texts: Fragments) -> dict[str, Tensor]:
        """Word gates (T, W)."""
        return {"word_gate": gates(texts.extras["gates"], texts.mask)}

    def losses(self, images: Fragments, texts: Fragments, image_ids: Tensor) -> dict[str, Tensor]:
        """The weighted objective of each level and the weighted regularisers; arguments as `Scorer.losses`.

        Returns:
            Scalars to add up: of `original`, `salient`, `uncertain`, `reconstruction`, `kl` and `entropy` those whose
            weight is not 0.
        """
        images, texts = self.prepare_images(images), self.prepare_texts(texts)
        levels = self.levels(images, texts)
        terms = {name: weight * self.objective(levels[name], image_ids) for name, weight in self._trained.items()}
        state = self._region_state(images)
        return terms | {name: term(state) for name, term in self._regularisers.items()}

    def align(self, images: Fragments, texts: Fragments) -> Alignment:
        """The best patch of each word, and in `reverse` the best word of each patch, in the salient level.

        The scores are what the means of that level read: token similarities times both gates. `regions` are the prompts'
        attention maps and `word_regions` the best region of each word, which the uncertain level reads. Where the
        salient level does not rank, it is the original level's alignment, or the uncertain one's alone. `explain` has
        the numbers of all levels.
        """
        images, texts = paired(self.prepare_images(images), self.prepare_texts(texts))
        parts = self.parts_for(images, "images")
        self.parts_for(texts, "captions")
        regions = parts.regions.prompting(_gated(images, images.extras["gates"]), self._places(images))
        pairs = Pairs(images, texts, self._scored(images), regions, self._matching, parts)
        return alignment(pairs, self._ranking)

    def explain(self, images: Fragments, texts: Fragments) -> Explanation:
        """What matched what: per word the patches and regions, with their gates and variance, as NumPy arrays.

        Args:
            images: N images.
            texts: N captions; caption n is explained against image n. One image or one caption serves for all.

        Raises:
            InvalidFragments: the numbers of images and captions differ and neither is 1, or D does not fit.
        """
        images, texts = paired(images, texts)
        with evaluating(self):
            images, texts = self.prepare_images(images), self.prepare_texts(texts)
            pairs = [(images[[n]], texts[[n]]) for n in range(len(images))]
            patches = _gated(images, images.extras["gates"])
            regions, variance = self.parts_for(images, "images").regions.describe(patches, self._places(images))
            return explanation(
                images,
                texts,
                self._scored(images),
                regions,
                variance,
                self._matching,
                score=[self.score(*pair).item() for pair in pairs],
                levels=[{name: value.item() for name, value in self.levels(*pair).items()} for pair in pairs],
            )

    def _levels(self, images: Fragments, texts: Fragments, names: Sequence[str]) -> Tensor:
        images, texts = self.prepare_images(images), self.prepare_texts(texts)
        self.parts_for(images, "images")
        self.parts_for(texts, "captions")
        left, right = image_side(images, self._scored(images), self._matching), text_side(texts, self._matching)
        return pairwise_levels(left, right, names, self._matching.activation, self.tile_elements)

    def _image_rows(self, images: Fragments) -> Fragments:
        images = self.prepare_images(images)
        self.parts_for(images, "images")
        return image_rows(images, self._scored(images), with_regions="uncertain" in self._ranking)

    def _text_rows(self, texts: Fragments) -> Fragments:
        texts = self.prepare_texts(texts)
        self.parts_for(texts, "captions")
        return texts.normalized()

    def _region_state(self, images: Fragments) -> RegionState:
        """What the regularisers read of prepared images."""
        patches, mask = _gated(images, images.extras["gates"]), self._places(images)
        model = self.parts_for(images, "images").regions
        regions = model.prompting(patches, mask)
        logvar = images.extras.get("region_logvar")  # missing in fragments that were prepared for evaluation
        logvar = model.uncertainty.log_variance(regions.mean) if logvar is None else logvar
        return RegionState(regions, images.extras["regions"], logvar, masked_mean(patches, mask))

    def _scored(self, images: Fragments) -> Tensor:
        """(I, R) bool, the fragments that take part in the similarities."""
        return images.mask if self.config.keep_class_token else self._places(images)

    def _places(self, images: Fragments) -> Tensor:
        """(I, R) bool, the real fragments that are places in the image; an image of nothing but a [CLS] keeps it."""
        return without_class_token(images.mask) if self._class_token else images.mask


def _gated(images: Fragments, gates: Tensor) -> Tensor:
    """Patches (I, R, D), at least float32, scaled by their gates (I, R)."""
    return precise(zero_padded(images)) * gates[..., None]
