"""GRM: granularity-aware and region-uncertain matching, re-implemented from the paper.

Each side keeps or suppresses its tokens by learned gates; K prompts gather an image's patches into regions that are
Gaussians; a caption is matched to plain tokens, gated tokens and regions, and the three similarities are added.
Everything but that last product is computed once an image or once a caption. No code of the authors is public: every
choice that the paper leaves open is a field of `GrmConfig`, with its reason.

Shape letters: I images, T captions, B pairs, R patches, W words, K regions, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from harness.errors import InvalidFragments, InvalidSpec
from harness.fragments import Fragments
from harness.methods.grm.config import (
    PUBLISHED_ABLATION,
    PUBLISHED_ABLATION_SOURCE,
    RECIPE,
    SEARCH_SPACE,
    VARIANTS,
    GrmConfig,
)
from harness.methods.grm.explain import Explanation, explain
from harness.methods.grm.gates import MEANS, ORDERS, at_least_float32
from harness.methods.grm.levels import image_side, pairwise_levels, text_side
from harness.methods.grm.packed import LevelsKernel, image_rows
from harness.methods.grm.parts import Parts, RegionState, build_parts, regularisers
from harness.methods.grm.regions import Regions
from harness.scorer import Scorer
from harness.similarity.packed.kernels import PackedForm

if TYPE_CHECKING:
    from harness.backbones.base import ImageEncoder, TextEncoder


class Grm(Scorer):
    """Granularity-aware and region-uncertain matching.

    The parameters need the width D of the fragments: it is the config's, else the backbones', else that of the first
    fragments that are prepared, scored or loaded.

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
    recipe: ClassVar[Mapping[str, Any]] = RECIPE
    search_space: ClassVar[Mapping[str, Any]] = SEARCH_SPACE
    origin: ClassVar[str] = "re-implementation"
    citation: ClassVar[str] = (
        "Cross Modal Fine-Grained Alignment via Granularity-Aware and Region-Uncertain Modeling, AAAI 2026, "
        "pp. 23703-23711 (arXiv 2511.07710)"
    )
    #: rSum by variant ("" = complete) as the paper prints it, for the ablation report to stand beside measured effects.
    published_ablation: ClassVar[Mapping[str, float]] = PUBLISHED_ABLATION
    published_ablation_source: ClassVar[str] = PUBLISHED_ABLATION_SOURCE

    def __init__(
        self,
        config: GrmConfig | None = None,
        image_encoder: ImageEncoder | None = None,
        text_encoder: TextEncoder | None = None,
    ):
        super().__init__(config, image_encoder, text_encoder)
        #: What this method learns; None until the width is known.
        self.parts: Parts | None = None
        #: Source of the noise in training; None = torch's own generator, seeded by `torch.manual_seed`.
        self.generator: torch.Generator | None = None
        #: Largest number of token similarities held at once; None = by device.
        self.tile_elements: int | None = None
        self._trained = self.config.level_weights()
        self._ranking = self.config.ranking_weights()
        self._regularisers = regularisers(self.config)
        self._mean = MEANS[self.config.suppressed_mean]
        #: How a gate enters the similarity: a function of the gates.
        self.gate_order = ORDERS[self.config.gate_order]
        #: Applied to every token similarity.
        self.activation: Callable[[Tensor], Tensor] = (
            nn.LeakyReLU(self.config.leaky_slope) if self.config.leaky_slope else nn.Identity()
        )
        has_class_token = {"auto": getattr(image_encoder, "class_tokens", 0) > 0, "present": True, "absent": False}
        self._class_token = has_class_token[self.config.class_token]
        self._unscored_class_token = self._class_token and not self.config.keep_class_token
        width = _common_width(self.config, image_encoder, text_encoder)
        if width is not None:
            self._build(width)

    def prepare_images(self, images: Fragments) -> Fragments:
        """Add an image's gates and regions: sampled in training, at their modes in evaluation.

        Args:
            images: features (I, R, D). Fragments that are prepared already come back as they are.

        Returns:
            The same with the extras `gates` (I, R), `regions` (I, K, D), `region_mask` (I, K) and, in training with
            uncertainty, `region_logvar` (I, K, D). No regions if nothing of the configuration reads them: K = 0.

        Raises:
            InvalidFragments: D is not that of the parameters.
        """
        if "gates" in images.extras:
            return images
        parts = self._parts(images, "images")
        gates = parts.significance(_clean(images), images.mask, self.generator)
        drawn, region_mask = parts.regions(self._gated_patches(images, gates), self._patch_mask(images), self.generator)
        return Fragments(
            images.features, images.mask, {**images.extras, "gates": gates, "region_mask": region_mask, **drawn}
        )

    def prepare_texts(self, texts: Fragments) -> Fragments:
        """Add a caption's `gates` (T, W) to its extras, as `prepare_images` does.

        Raises:
            InvalidFragments: D is not that of the parameters.
        """
        if "gates" in texts.extras:
            return texts
        gates = self._parts(texts, "captions").granularity(_clean(texts), texts.mask, self.generator)
        return Fragments(texts.features, texts.mask, {**texts.extras, "gates": gates})

    def score(self, images: Fragments, texts: Fragments) -> Tensor:
        """Score every image against every caption.

        Args:
            images: I images, features (I, R, D), prepared or not.
            texts: T captions, features (T, W, D), prepared or not.

        Returns:
            (I, T) float32: the weighted sum of the levels that rank, each a sum of two mean cosines in [-2, 2].

        Raises:
            InvalidFragments: D is not that of the parameters.
        """
        return _weighted(self._levels(images, texts, tuple(self._ranking)), self._ranking)

    def packed_form(self) -> PackedForm:
        """The same scores for the scoring engine: three levels from one product of words x (patches + regions)."""
        kernel = LevelsKernel(self._ranking, self.gate_order, self._mean, self.activation)
        return PackedForm(((1.0, kernel),), image_rows=self._image_rows, text_rows=self._text_rows)

    def levels(self, images: Fragments, texts: Fragments) -> dict[str, Tensor]:
        """The unweighted similarity (I, T) of each level that is trained: original, salient, uncertain."""
        names = tuple(self._trained)
        return dict(zip(names, self._levels(images, texts, names).unbind(), strict=True))

    def losses(self, images: Fragments, texts: Fragments, image_ids: Tensor) -> dict[str, Tensor]:
        """The weighted objective of each level and the weighted regularisers.

        Args:
            images: B images, row b belongs to caption b.
            texts: B captions.
            image_ids: (B,) int64; pairs with equal ids are never taken as negatives.

        Returns:
            Scalars to add up: of `original`, `salient`, `uncertain`, `reconstruction`, `kl` and `entropy` those whose
            weight is not 0.
        """
        images, texts = self.prepare_images(images), self.prepare_texts(texts)
        levels = self.levels(images, texts)
        terms = {name: weight * self.objective(levels[name], image_ids) for name, weight in self._trained.items()}
        parts, patch_mask = self._parts(images, "images"), self._patch_mask(images)
        patches = self._gated_patches(images, images.extras["gates"])
        state = RegionState.of(parts.regions, patches, patch_mask, images.extras)
        return terms | {name: term(state) for name, term in self._regularisers.items()}

    def explain(self, images: Fragments, texts: Fragments) -> Explanation:
        """What matched what: per word the patches and regions, with their gates and variance, as NumPy arrays.

        Args:
            images: N images.
            texts: N captions; caption n is explained against image n. One image or one caption serves for all.

        Raises:
            InvalidFragments: the numbers of images and captions differ and neither is 1, or D does not fit.
        """
        return explain(self, images, texts)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As `nn.Module.load_state_dict`; parameters that wait for their width take it from the state."""
        if self.parts is None:
            width = Parts.width_of(state_dict, "parts.")
            if width is not None:
                self._build(width)
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    def _levels(self, images: Fragments, texts: Fragments, names: Sequence[str]) -> Tensor:
        images, texts = self.prepare_images(images), self.prepare_texts(texts)
        self._parts(images, "images")
        self._parts(texts, "captions")
        left = image_side(
            _clean(images),
            self.scored_patches(images),
            images.extras["gates"],
            images.extras["regions"],
            images.extras["region_mask"],
            self.gate_order,
            self._mean,
        )
        right = text_side(_clean(texts), texts.mask, texts.extras["gates"], self.gate_order, self._mean)
        return pairwise_levels(left, right, names, self.activation, self.tile_elements)

    def _image_rows(self, images: Fragments) -> Fragments:
        images = self.prepare_images(images)
        self._parts(images, "images")
        count = images.extras["regions"].shape[1] if "uncertain" in self._ranking else 0
        return image_rows(
            images,
            self.scored_patches(images),
            images.extras["regions"][:, :count],
            images.extras["region_mask"][:, :count],
        )

    def _text_rows(self, texts: Fragments) -> Fragments:
        texts = self.prepare_texts(texts)
        self._parts(texts, "captions")
        return texts.normalized()

    def _parts(self, fragments: Fragments, side: str) -> Parts:
        """The parameters, built now if these are the first fragments."""
        if self.parts is None:
            self._build(fragments.width, fragments.device)
        assert self.parts is not None
        if fragments.width != self.parts.width:
            raise InvalidFragments(
                f"{side} have width {fragments.width}, but this GRM was built for width {self.parts.width}; give both "
                "sides one width, or create a scorer anew for another"
            )
        return self.parts

    def _build(self, width: int, device: torch.device | None = None) -> None:
        with torch.inference_mode(False):  # else the parameters could never be trained
            self.parts = build_parts(self.config, width).to(device).train(self.training)

    def describe_regions(self, images: Fragments) -> tuple[Regions, Tensor]:
        """The regions of images that are prepared, and the variance (I, K, D) of each."""
        patches = self._gated_patches(images, images.extras["gates"])
        return self._parts(images, "images").regions.describe(patches, self._patch_mask(images))

    def scored_patches(self, images: Fragments) -> Tensor:
        """(I, R) bool, the fragments that take part in the similarities."""
        return _without_first(images.mask) if self._unscored_class_token else images.mask

    def _patch_mask(self, images: Fragments) -> Tensor:
        """(I, R) the real fragments that are places in the image; an image of nothing but a [CLS] keeps it."""
        return _without_first(images.mask) if self._class_token else images.mask

    def _gated_patches(self, images: Fragments, gates: Tensor) -> Tensor:
        return at_least_float32(_clean(images)) * gates[..., None]


def _clean(fragments: Fragments) -> Tensor:
    """Features with zeros at the padding, whose values are arbitrary and could overflow an adapter."""
    return fragments.features.masked_fill(~fragments.mask[..., None], 0)


def _without_first(mask: Tensor) -> Tensor:
    rest = mask.clone()
    rest[:, 0] = False
    return torch.where(rest.any(1, keepdim=True), rest, mask)


def _weighted(levels: Tensor, weights: Mapping[str, float]) -> Tensor:
    scale = levels.new_tensor(list(weights.values()))
    return (levels * scale[:, None, None]).sum(0)  # no matrix product, which autocast would round


def _common_width(
    config: GrmConfig, image_encoder: ImageEncoder | None, text_encoder: TextEncoder | None
) -> int | None:
    found = {
        "the config": config.width,
        "the image backbone": getattr(image_encoder, "width", None),
        "the text backbone": getattr(text_encoder, "width", None),
    }
    widths = {where: width for where, width in found.items() if width is not None}
    if len(set(widths.values())) > 1:
        listed = ", ".join(f"{width} from {where}" for where, width in widths.items())
        raise InvalidSpec(f"GRM needs one width D, got {listed}; set the option 'width' of both backbones to one value")
    return next(iter(widths.values()), None)
